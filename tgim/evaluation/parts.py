"""`parts@1`: a colour for one part of a photograph: does the part take the colour, and does everything else stay?

Each text asks for a colour that the part does not have, "this bird has a red head". At most 300 pictures are edited by
three texts each; visible parts and colours are chosen by the picture's name and the seed. Parts are known by points
(`tgim.data.points`): CUB's part locations of pictures with four visible parts or more, points of flowers, a folder's
own. Photographs are edited at their own size, by `Editor.edit_photo`. The figures of an ask, one part in one colour:

- `hit`: the share of the part's points whose colour is nearest to the named one among eleven (CIELAB, squared
  differences of lightness counted by half; the colour of a point is the median of a square around it, whose half side
  is 2 % of the subject's longer side, or 1.2 % of the picture's where no box is known).
- `half_way`: the share of them that covered at least half of the CIELAB distance to the named colour.
- `named_change`: their mean change, CIELAB.
- `spilt`: the share of the other parts that change by more than 10 in CIELAB, mean over a part's points, and
  `others_change`, their mean change. Parts beside the named one do not count (`NEAR`; `near_change` is theirs), nor do
  points whose squares overlap one of the named part's.
- `outside`: mean absolute change, of 255, of what lies outside the subject's box with a twentieth around it: whole
  photographs of which that is 2 % or more. `background_change`, `background_spilt`: the same as of parts, at points on
  background, each point counted for itself.
- `texture`: high-passed lightness in discs around the part's points, where the edit acted, against the photograph's:
  correlation times the share of contrast that is left (`part_scores.texture`). `texture_correlation` is the first
  factor alone, which fog does not lower.

`hit/<part>`, `hit/<colour>`, `spilt/<part>` and `spilt/<colour>` are the same of some of the asks. A figure is a mean
over pictures, of the mean over a picture's asks; intervals are bootstrapped over pictures.

Points do not show how much of a part was painted, and CUB has none on background close to the bird: look at pictures.

Trivial edits. No change: a few per cent of hits, at points that have the named colour already; nothing is spilt, and
there is no texture. The whole picture in the named colour: hits, all spilt, much outside. Another photograph: hits by
chance, all spilt, texture about 0. Flat paint on exactly the part: all hits, nothing spilt, texture 0. Fog on exactly
the part, a blend with the colour: texture is about the photograph's share of the blend, a third where nine of ten hit.

Source: none; published evaluations of these editors do not measure where an edit acted.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tgim.data.base import relative
from tgim.data.points import ASKED, Points, has_points, photographs, read_points
from tgim.errors import DataError
from tgim.evaluation import catalogue
from tgim.evaluation.bench import Bench
from tgim.evaluation.contenders import Contender
from tgim.evaluation.part_points import Pointed, pointed
from tgim.evaluation.part_scores import BACKGROUND, colours_at, named, scene_of, score
from tgim.evaluation.protocol import Protocol
from tgim.evaluation.records import Measured
from tgim.evaluation.task import hash_text
from tgim.images.photo import Photo, open_image, to_uint8
from tgim.nn.resize import resize
from tgim.text.lexicon.colours import ASKED_OF_BIRDS, ASKED_OF_FLOWERS
from tgim.text.lexicon.parts import CAPTION_PARTS, MEASURED
from tgim.text.phrases import sentence

ASKS = 3  # of each picture
MOST = 300  # pictures, a seeded choice
UNASKED = frozenset({"throat"})  # too small, and between two others
NEAR: Mapping[str, tuple[str, ...]] = {  # what touches a part so that points do not part them
    "head": ("throat",),
    "throat": ("head", "breast"),
    "breast": ("throat", "belly"),
    "belly": ("breast",),
    "back": ("wings",),
    "wings": ("back",),
}
FEWEST = 4  # parts that CUB's pictures must show
WEIGHTS: Mapping[str, float] = {"petals": 0.6, "center": 0.4}  # of parts; others weigh alike
NOT_PARTS = frozenset({BACKGROUND, "other"})  # keys of points that name no part
LOWER = frozenset(
    {"spilt", "others_change", "near_change", "background_spilt", "background_change", "outside"}
)  # the better
BROKEN_DOWN = ("hit", "spilt")


@dataclass(frozen=True)
class Ask:
    """A wanted edit of a picture: a colour for one of its parts, and the text that asks for it."""

    part: str
    colour: str
    text: str


@dataclass(frozen=True)
class Asked:
    """A picture and its asks."""

    picture: Pointed
    asks: tuple[Ask, ...]


@dataclass(frozen=True)
class PartsTask:
    """The pictures of a bench with their asks, and their description in results lines."""

    data: str
    content: str
    pictures: tuple[Asked, ...]


@lru_cache(maxsize=1)
def parts_task(bench: Bench) -> PartsTask:
    """Choose the pictures and asks of a bench by its seed: as many usable pictures as its limit allows, 300 at most.

    Raises:
        DataError: there are no points, or fewer than two usable pictures.
    """
    name = bench.data.name
    if name == "synthetic":
        raise DataError("parts@1 is of photographs, the data set is synthetic; measure truth@1 of it")
    root = bench.data.folder
    if bench.photos is not None:
        pictures, data = pointed(whole_photographs(bench)), f"{name} photographs"
    elif has_points(bench.dataset):
        pictures, data = pointed(read_points(bench.dataset, grouping=ASKED).items()), name
    else:
        raise DataError(f"{root} has no points that say where parts are; parts@1 needs them (tgim.data.points)")
    where = bench.photos or root
    usable = [each for each in pictures if len(parts_of(each, name)) >= (FEWEST if name == "cub" else 1)]
    chosen = sorted(usable, key=lambda each: hash_text(f"{bench.seed}:limit:{each.path.name}"))
    chosen = chosen[: min(MOST, bench.limit or MOST)]
    asked = [
        Asked(each, choose_asks(each, name, seed=bench.seed))
        for each in sorted(chosen, key=lambda each: relative(each.path, where))
    ]
    asked = [each for each in asked if each.asks]
    if len(asked) < 2:
        raise DataError(
            f"{where}: {len(asked)} pictures of split {bench.data.split!r} have parts to ask about, expected 2 or more"
        )
    return PartsTask(data, content_of(usable, where), tuple(asked))


def whole_photographs(bench: Bench) -> list[tuple[Path, Points]]:
    """Photographs of the bench's folder `photos`, named like CUB's pictures, of the classes of its split.

    Raises:
        DataError: the data set is another, or none is named like one of its pictures.
    """
    name, data = bench.data.name, bench.data
    if name != "cub" or bench.photos is None:
        raise DataError(f"whole photographs are those of cub's pictures, the data set is {name}; leave out the photos")
    found = photographs(bench.photos, data.folder, split=data.split, seed=data.split_seed, grouping=ASKED)
    if not found:
        raise DataError(
            f"{bench.photos} has no photograph that is named like one of cub's pictures (images.txt) of split "
            f"{data.split!r}"
        )
    return found


def parts_of(picture: Pointed, name: str) -> list[str]:
    """Parts of a picture at which edits are measured."""
    return [part for part in picture.points if (part in MEASURED if name == "cub" else part not in NOT_PARTS)]


def choose_asks(picture: Pointed, name: str, *, seed: int) -> tuple[Ask, ...]:
    """Choose the asks of a picture: up to three pairs of a part and a colour that it does not have."""
    photo = pixels_of(open_image(picture.path))
    scene = scene_of(picture.points, picture.box, height=photo.shape[0], width=photo.shape[1])
    parts = [part for part in parts_of(picture, name) if part not in UNASKED]
    now = {p: named(np.median(colours_at(photo, scene.points[p], scene.reach), axis=0)[None])[0] for p in parts}
    subject = subject_of(parts)
    asks: list[Ask] = []
    for number in range(ASKS):
        part = _weighted(parts, hash_text(f"{seed}:part {number}:{picture.path.name}"))
        before = {now[part], *(ask.colour for ask in asks if ask.part == part)}
        colours = [c for c in (ASKED_OF_FLOWERS if subject == "flower" else ASKED_OF_BIRDS) if c not in before]
        colour = colours[hash_text(f"{seed}:colour {number}:{picture.path.name}") % len(colours)]
        asks.append(Ask(part, colour, text_of(part, colour, subject)))
    return tuple(asks)


def _weighted(parts: Sequence[str], key: int) -> str:
    """Choose one of `parts` by weight, by a key of 64 bits."""
    weights = np.cumsum([WEIGHTS.get(part, 0.5) for part in parts])
    return parts[int(np.searchsorted(weights, key / 2**64 * weights[-1], side="right"))]


def subject_of(parts: Sequence[str]) -> str:
    """Subject that has these parts: "bird", "flower", or "" if it is unknown.

    >>> subject_of(["petals", "center"]), subject_of(["tail"]), subject_of(["roof"])
    ('flower', 'bird', '')
    """
    return "flower" if {"petals", "center"} & set(parts) else "bird" if set(MEASURED) & set(parts) else ""


def text_of(part: str, colour: str, subject: str) -> str:
    """Caption that asks for a part in a colour; a phrase where the subject is unknown.

    >>> text_of("head", "red", "bird"), text_of("petals", "pink", "flower")
    ('this bird has a red head', 'this flower has pink petals')
    """
    phrase = f"{colour} {part}"
    return sentence(phrase, subject=subject) if subject and part in CAPTION_PARTS else phrase


def content_of(pictures: Sequence[Pointed], root: Path) -> str:
    """16 hex digits of all pictures' names and bytes and of their points."""
    digest = hashlib.sha256()
    for each in sorted(pictures, key=lambda each: relative(each.path, root)):
        entry = [relative(each.path, root), sorted(each.points.items()), each.box]
        digest.update(json.dumps(entry).encode() + hashlib.sha256(each.path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def pixels_of(photo: Photo) -> NDArray[np.uint8]:
    """A photograph's pixels, (H, W, 3) of 255."""
    return np.ascontiguousarray(to_uint8(photo.pixels).transpose(1, 2, 0))


def measure(bench: Bench, contender: Contender) -> Iterator[Measured]:
    """The figures of one contender."""
    pictures = parts_task(bench).pictures
    table = []
    for number, asked in enumerate(pictures):
        photo = open_image(asked.picture.path)
        other = pictures[number - 1].picture.path
        edits = edited(bench, contender, photo, [ask.text for ask in asked.asks], other=other)
        table.append(scores(asked, pixels_of(photo), edits, name=bench.data.name))
        bench.progress(f"{contender.name}: photographs", number + 1, len(pictures))
    yield from figures(pictures, table)


def edited(
    bench: Bench, contender: Contender, photo: Photo, texts: Sequence[str], *, other: Path
) -> list[NDArray[np.uint8]]:
    """A photograph edited by each text at its own size, (H, W, 3) each; models' edits are kept on disk.

    A contender that `replaces` returns the `other` photograph, resized.
    """
    if contender.replaces:
        shown = resize(open_image(other).tensor[None], (photo.height, photo.width))
        return [pixels_of(photo.with_pixels(shown))] * len(texts)

    def make() -> NDArray[Any]:
        with torch.no_grad():
            return np.stack([pixels_of(contender.edit_photo(photo, text)) for text in texts])

    return list(bench.kept(contender, make, "photo", photo.tensor, texts))


def scores(
    asked: Asked, before: NDArray[np.uint8], edits: Sequence[NDArray[np.uint8]], *, name: str
) -> list[dict[str, float]]:
    """The figures of each ask of a picture (H, W, 3) that was edited."""
    scene = scene_of(asked.picture.points, asked.picture.box, height=before.shape[0], width=before.shape[1])
    parts = parts_of(asked.picture, name)
    found = []
    for ask, after in zip(asked.asks, edits, strict=True):
        near = NEAR.get(ask.part, ())
        apart = [part for part in parts if part != ask.part and part not in near]
        found.append(score(before, after, scene, part=ask.part, colour=ask.colour, near=near, apart=apart))
    return found


def figures(pictures: Sequence[Asked], table: Sequence[Sequence[Mapping[str, float]]]) -> Iterator[Measured]:
    """Summarise the scores of all asks: for each part and colour first, then over all."""
    asks = [ask for asked in pictures for ask in asked.asks]
    for metric in BROKEN_DOWN:
        for kind in ("part", "colour"):
            for value in sorted({str(getattr(ask, kind)) for ask in asks}):
                some = [
                    [row[metric] for ask, row in zip(asked.asks, rows, strict=True) if getattr(ask, kind) == value]
                    for asked, rows in zip(pictures, table, strict=True)
                ]
                yield from _measured(f"{metric}/{value}", some)
    names = list(table[0][0])
    for metric in (*(name for name in names if name != "hit"), "hit"):
        yield from _measured(metric, [[row[metric] for row in rows] for rows in table])


def _measured(metric: str, rows: Sequence[Sequence[float]]) -> Iterator[Measured]:
    """The mean over pictures of the means over their asks; nothing where it applies to no picture."""
    known = [[value for value in row if not math.isnan(value)] for row in rows]
    values = np.array([np.mean(row) for row in known if row])
    if len(values):
        better = metric.partition("/")[0] not in LOWER
        yield Measured(metric, values, strength=1.0, higher_is_better=better, options={"asks": ASKS})


def facts(bench: Bench) -> dict[str, Any]:
    """Fields of a results line that describe the pictures, which are edited at their own sizes (`size` is 0)."""
    found = parts_task(bench)
    return {"data": found.data, "content": found.content, "size": 0, "options": bench.limited()}


def possible(bench: Bench) -> bool:
    """True if there are points to measure at."""
    if bench.photos is not None:
        return True
    if bench.data.name == "synthetic" or not has_points(bench.dataset):
        return False
    try:
        return bool(parts_task(bench).pictures)
    except DataError:  # none of this split has points
        return False


PARTS = Protocol(catalogue.PARTS, ("spilt", "half_way", "hit"), measure, facts=facts, possible=possible, own_size=True)
