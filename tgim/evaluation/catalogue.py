"""Catalogue of the protocols, in the order in which they are measured: what each is, and where its code is.

This module imports nothing heavy, so that `tgim eval --help` answers at once; `protocol.load` imports the code.

>>> RETRIEVAL.name, RETRIEVAL.role
('retrieval@1', 'editor')
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tgim.checkpoints.registry import Role
from tgim.errors import UserError, nearest

CEILING, FLOOR, CHANCE = "real", "unedited", "chance"  # names of reference rows that several protocols have


@dataclass(frozen=True)
class Entry:
    """Description of a protocol, which can be read without importing its code."""

    name: str  # with its version
    role: Role  # the kind of model that it measures
    address: str  # "module:NAME" of the `Protocol`, in this package
    help: str  # one line of `tgim eval --help`
    reading: str  # sentences for a page of results: how its figures are to be read
    own_counts: bool = False  # whether its figures are of different counts of pictures, so that columns name them

    @property
    def short(self) -> str:
        """The name without its version."""
        return self.name.partition("@")[0]


RETRIEVAL = Entry(
    "retrieval@1",
    "editor",
    "retrieval:RETRIEVAL",
    "the judge looks for the target caption among 100: recall, mrr",
    "A judge that no editor was trained against looks for the edited picture's target caption among "
    "100. Read every figure against the rows of real and of unedited photographs.",
)
TRADEOFF = Entry(
    "tradeoff@1",
    "editor",
    "tradeoff:TRADEOFF",
    "recall against RMSE at four strengths; the area ranks editors",
    "Change of the picture against fit of the caption, at several strengths. A good curve is steep.",
)
MP = Entry(
    "mp@1",
    "editor",
    "retrieval:MP",
    "manipulative precision: what fits the caption times what was kept",
    "Manipulative precision: (1 - mean change) times similarity of result and caption. High only if both are.",
)
DIRECTIONAL = Entry(
    "directional@1",
    "editor",
    "retrieval:DIRECTIONAL",
    "whether picture and caption moved the same way",
    "Cosine between how picture and caption moved in the judge's space; 0 if the picture did not.",
)
L2_EDIT = Entry(
    "l2-edit@1",
    "editor",
    "l2:L2_EDIT",
    "RMSE under the target caption: what the edit costs",
    "The same for a caption of another class. Some change is wanted here: doing nothing scores 0, too.",
)
L2_OWN_CAPTION = Entry(
    "l2-own-caption@1",
    "editor",
    "l2:L2_OWN_CAPTION",
    "RMSE under the picture's own captions, which ask for no change",
    "The picture is edited by each of its own captions, which already fit: the less it changes, "
    "the better. A picture that is not touched scores 0.",
)
TRUTH = Entry(
    "truth@1",
    "editor",
    "truth:TRUTH",
    "synthetic birds or flowers against their true edit, part by part",
    "On synthetic pictures the true edit is known: how far off the result is, and how many parts are right.",
    own_counts=True,
)
PARTS = Entry(
    "parts@1",
    "editor",
    "parts:PARTS",
    "photographs with points: does the named part take the colour, and all else stay",
    "One part of a photograph is asked for in a colour that it does not have. Hit: the part is nearest to it. "
    "Spilt: other parts, not beside it, that change. Texture: 1 where it is all kept, 0 under flat paint. Painting "
    "everything hits and spills, doing nothing does neither.",
    own_counts=True,
)
SWAPS = Entry(
    "swaps@1",
    "editor",
    "swaps:SWAPS",
    "whether the judge tells apart two captions that swap the colours of two parts",
    "Two captions swap the colours of two parts: the judge must prefer either edit's own. Doing nothing "
    "scores 0. Read photographs against one colour for all, and synthetic pictures against their true edits.",
    own_counts=True,
)
PERCEPTUAL = Entry(
    "perceptual@1",
    "editor",
    "perceptual:PERCEPTUAL",
    "distance of edit and photograph in the stages of EfficientNet-Lite0",
    "Distance of the edit from its photograph in the stages of a network that knows ImageNet; like LPIPS, without its "
    "learned weights. It says how much was changed, not how well: doing nothing scores 0.",
)
REALISM = Entry(
    "realism@1",
    "editor",
    "realism:REALISM",
    "KID and Frechet distance of edited from real pictures, by features",
    "Statistics of edited against real pictures. They depend on extractor and n: compare within a table, by KID, and "
    "against real photographs of another half. Doing nothing scores as they do.",
)
INVERSION = Entry(
    "inversion@1",
    "editor",
    "inversion:INVERSION",
    "ways to find a photograph's noise: is it made again, does the noise edit",
    "A photograph's noise is found under its own caption, by an encoder, a search or both: is the photograph generated "
    "again from it, and does another caption then edit it? Random noise edits and reconstructs nothing; read both.",
)
GENERATION = Entry(
    "generation@1",
    "generator",
    "generation:GENERATION",
    "pictures of text-to-image models: recall, KID, diversity",
    "Pictures of captions alone: does the judge find the caption among 100, are they like photographs "
    "(KID: less is better), do those of one caption differ? Read each figure against real photographs.",
    own_counts=True,
)
MATCHING = Entry(
    "matching@1",
    "matching",
    "matching:MATCHING",
    "matching models: recall among 100, from picture to caption and back",
    "A matching model looks for a picture's caption among 100, and for a caption's picture. Chance is 1, 5 and 10 %.",
)
COMPOSE = Entry(
    "compose@1",
    "retrieval",
    "composing:COMPOSE",
    "composing models: the picture meant by a picture and a text, recall at 1 to 50",
    "A picture and a text that says what is to be different: is the picture meant among the first? Read each figure "
    "against those of the same embeddings without composing: picture alone, text alone, and both added.",
    own_counts=True,
)

CATALOGUE: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        RETRIEVAL, TRADEOFF, MP, DIRECTIONAL, L2_EDIT, L2_OWN_CAPTION, PERCEPTUAL, TRUTH, PARTS, SWAPS,
        REALISM, INVERSION, GENERATION, MATCHING, COMPOSE,
    )
}  # fmt: skip


def entries(names: Iterable[str], *, roles: Iterable[Role] | None = None) -> list[Entry]:
    """Look up protocols by name, each once; versions may be left out.

    Args:
        names: "retrieval@1" or "retrieval".
        roles: take only protocols that measure such models; any by default.

    Raises:
        UserError: there is none of that name.

    >>> [entry.name for entry in entries(["retrieval", "mp@1", "mp"])]
    ['retrieval@1', 'mp@1']
    """
    allowed = {each.name: each for each in CATALOGUE.values() if roles is None or each.role in tuple(roles)}
    short = {entry.short: entry for entry in allowed.values()}
    found = {}
    for name in names:
        entry = allowed.get(name) or short.get(name)
        if entry is None:
            hint = nearest(str(name), [*short, *allowed])
            raise UserError(f"no protocol {name!r}{hint} (there are: all, {', '.join(short)})")
        found[entry.name] = entry
    return list(found.values())
