"""Systems for composed retrieval: a picture and a text that says what is to be different find the picture meant."""

from tgim.models.retrieval.base import Composer
from tgim.models.retrieval.concat import ComposeConcat
from tgim.models.retrieval.tirg import TIRG

COMPOSERS: dict[str, type[Composer]] = {"tirg": TIRG, "compose_concat": ComposeConcat}
