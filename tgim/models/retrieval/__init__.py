"""Systems for composed retrieval: a picture and a text that says what is to be different find the picture meant."""

from tgim.composing.base import Composer
from tgim.composing.concat import ComposeConcat
from tgim.composing.tirg import TIRG

COMPOSERS: dict[str, type[Composer]] = {"tirg": TIRG, "compose_concat": ComposeConcat}
