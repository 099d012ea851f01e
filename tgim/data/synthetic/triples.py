"""Synthetic triples: a source picture, a text that says what is to be different, and the exact target picture.

After the set of rendered scenes in Vo et al., "Composing Text and Image for Image Retrieval" (TIRG, CVPR 2019, §4.3):

- colour: a part takes another colour ("but with a red head");
- size: the subject, with what it sits on, fills less or more of the picture ("make the bird smaller");
- add: a pattern that the subject lacks appears ("add white wingbars");
- remove: a pattern vanishes ("without the wingbars").

All else (pose, light, backdrop, other colours) stays. Triples come in groups of six that share one source picture, so
that neither the picture nor the text alone determines the target: the picture leaves six candidates, the text all
scenes that it fits. The seven pictures of a group differ plainly from each other. Training and test triples come from
streams of random numbers of their own.

>>> rng = np.random.default_rng(0)
>>> triple = next(triples_of(random_view("bird", rng), rng))
>>> triple.change, triple.source.scene == triple.target.scene
('size', True)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from tgim.data.base import Split, Stream, random_source
from tgim.data.cache import Progress, new_array
from tgim.data.differences import with_article
from tgim.data.synthetic.canvas import Exposed
from tgim.data.synthetic.captions import apply_caption, caption_of
from tgim.data.synthetic.pairs import KINDS, albedos, expose
from tgim.data.synthetic.pool import CHUNK, Kind, PoolSpec, SyntheticPool
from tgim.data.synthetic.scenes import Rng, Scene, pick_colour, random_scene
from tgim.errors import DataError
from tgim.text.lexicon.synthetic import PATTERN_WORDS, PATTERNS, WHOLE, WORDS

if TYPE_CHECKING:
    from typing_extensions import Self

Change = Literal["colour", "size", "add", "remove"]
CHANGES: tuple[Change, ...] = get_args(Change)
GROUP = 6  # triples of one source picture
PARTS_OF_STREAM: dict[Split, int] = {"train": 0, "trainval": 0, "val": 1, "test": 2}
SMALL = 0.7  # scale of a smaller subject
PLAIN = 24  # of 255: pixels that differ by so much in a channel differ plainly
LEAST = 0.003  # share of the pixels by which two pictures of a group must differ plainly
TRIES = 100  # scenes that may be passed over for one group
_COLOUR = (
    "make the {word} {colour}", "change the {word} to {colour}", "but with {thing}", "the same {kind} with {thing}",
    "with {thing}", "now it has {thing}", "{colour} {word} instead", "give it {thing}",
)  # fmt: skip
_ADD = ("add {colour} {word}", "with {colour} {word} added", "now it also has {colour} {word}", "plus {colour} {word}")
_REMOVE = ("remove the {word}", "without the {word}", "no {word}", "but without {word}", "take the {word} away")
_SIZE = {
    False: ("make the {kind} smaller", "but smaller", "the same {kind} but smaller", "a smaller {kind}"),
    True: ("make the {kind} larger", "but larger", "the same {kind} but bigger", "a larger {kind}"),
}
WORDING = re.sub(r"{\w+}", " ", " ".join((*_COLOUR, *_ADD, *_REMOVE, *_SIZE[False], *_SIZE[True])))  # around names


@dataclass(frozen=True)
class View:
    """A scene and the scale of its subject. Its name and fields are in what `triples_hash` hashes."""

    scene: Scene
    scale: float = 1.0


@dataclass(frozen=True)
class Triple:
    """A source view, a text, and the target view that the text makes of it."""

    change: Change
    text: str
    source: View
    target: View


class Group(NamedTuple):
    """`GROUP` triples of one source, rendered at S pixels square."""

    triples: list[Triple]
    image: NDArray[np.uint8]  # (S, S, 3)
    targets: list[NDArray[np.uint8]]  # (S, S, 3) each
    subject: NDArray[np.uint8]  # (S, S) 255 where all of the pixel is subject, of the source


class TriplePool(SyntheticPool):
    """Synthetic triples, rendered once; `target_captions` are the texts, `changes` the kind of each change.

    There are `count` triples of one split, rounded down to whole groups of six. Group i depends on kind, size, seed,
    split and i alone; "trainval" is "train", and there is no "all".
    """

    def __init__(
        self, pixels: NDArray[np.uint8], captions: list[str], target_captions: list[str], changes: list[Change]
    ) -> None:
        super().__init__(pixels, captions, target_captions)
        self.changes = changes

    @classmethod
    def _name(cls, spec: PoolSpec) -> str:
        """Name of the file of the triples of one split."""
        groups, stream = _extent(spec)
        return f"triples-{spec.kind}-{spec.size}-{groups}-{spec.seed}-{stream}-{triples_hash(spec.kind)}"

    @classmethod
    def _of(cls, spec: PoolSpec, pixels: NDArray[np.uint8], notes: dict[str, Any]) -> Self:
        return cls(pixels, notes["captions"], notes["texts"], notes["changes"])

    @classmethod
    def _render(cls, spec: PoolSpec, path: Path, progress: Progress | None) -> dict[str, Any]:
        """Write the pixels of one split to `path`; returns captions, texts, and the kinds of change."""
        notes: dict[str, Any] = {"captions": [], "texts": [], "changes": []}
        groups, stream = _extent(spec)
        shape = (groups * GROUP, spec.size, spec.size, 8)
        pixels = new_array(path, dtype=np.uint8, shape=shape)
        for i in range(groups):
            rng = random_source(spec.seed, Stream.TRIPLES, stream, i)
            group = render_group(spec.kind, rng, spec.size)
            for j, (triple, target) in enumerate(zip(group.triples, group.targets, strict=True)):
                differs = 255 * (group.image != target).any(-1, keepdims=True).astype(np.uint8)
                pixels[i * GROUP + j] = np.concatenate([group.image, target, differs, group.subject[..., None]], -1)
                notes["captions"].append(caption_of(triple.source.scene, rng))
                notes["texts"].append(triple.text)
                notes["changes"].append(triple.change)
            done = (i + 1) * GROUP
            if progress is not None and (done % (CHUNK * GROUP) == 0 or i + 1 == groups):
                progress(done, groups * GROUP)
        pixels.flush()
        return notes

    def pick(self, source: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Sample rows (count,) by whole groups, each at most once while there are enough.

        The triples of one source are each other's negatives.
        """
        groups = -(-count // GROUP)
        chosen = source.choice(len(self) // GROUP, groups, replace=groups > len(self) // GROUP)
        return np.asarray((chosen[:, None] * GROUP + np.arange(GROUP)).ravel()[:count], np.int64)


def random_view(kind: str, rng: Rng) -> View:
    """Sample a scene of "bird" or "flower" at either size; each pattern is there with probability one half."""
    scene = random_scene(kind, rng)
    for part in PATTERNS:
        if part in dict(scene.colours):
            scene = scene.repaint({part: pick_colour(part, rng) if rng.random() < 0.5 else ""})
    return View(scene, 1.0 if rng.random() < 0.5 else SMALL)


def triples_of(view: View, rng: Rng) -> Iterator[Triple]:
    """Yield triples of one source without end: its size, two of its patterns, then colours; some change little."""
    scene = view.scene
    larger = view.scale < 1
    yield Triple("size", _one(rng, _SIZE[larger]).format(kind=scene.kind), view, View(scene, 1.0 if larger else SMALL))
    toggles = [part for part, _ in scene.colours if part in PATTERNS]
    for part in (toggles[i] for i in rng.choice(len(toggles), 2, replace=len(toggles) < 2)):
        word = _one(rng, PATTERN_WORDS[part])
        if scene.colour(part):
            text = _one(rng, _REMOVE).format(word=word)
            yield Triple("remove", text, view, replace(view, scene=scene.repaint({part: ""})))
        else:
            new = pick_colour(part, rng, flat=0.5)
            text = _one(rng, _ADD).format(colour=new, word=word)
            yield Triple("add", text, view, replace(view, scene=scene.repaint({part: new})))
    words = [
        word
        for word, parts in WORDS[scene.kind].items()
        if word not in WHOLE[scene.kind] and all(scene.colour(part) for part in parts)
    ]
    while True:
        word = _one(rng, words)
        new = pick_colour(WORDS[scene.kind][word][0], rng, flat=0.5)
        thing = with_article(f"{new} {word}")
        text = _one(rng, _COLOUR).format(word=word, colour=new, thing=thing, kind=scene.kind)
        target = apply_caption(scene, f"{new} {word}")
        if target != scene:
            yield Triple("colour", text, view, replace(view, scene=target))


def render_group(kind: str, rng: Rng, size: int) -> Group:
    """Render six triples of a random source of "birds" or "flowers"; a source without six plain changes is replaced.

    Raises:
        DataError: no scene does at this size.
    """
    for _ in range(TRIES):
        source = random_view(KINDS[kind], rng)
        exposed = expose(source.scene, size, scale=source.scale)
        pictures, kept = [exposed.paint(albedos(source.scene))], list[Triple]()
        for triple, _ in zip(triples_of(source, rng), range(10 * GROUP), strict=False):
            picture = _target_picture(triple, exposed, size)
            if all(plainly_differ(picture, other) for other in pictures):
                pictures.append(picture)
                kept.append(triple)
            if len(kept) == GROUP:
                subject = np.ceil(255 * exposed.subject).astype(np.uint8)
                return Group(kept, pictures[0], pictures[1:], subject)
    raise DataError(f"no scene at {size} pixels shows {GROUP} plain changes; render at 48 pixels or more")


def _target_picture(triple: Triple, exposed: Exposed, size: int) -> NDArray[np.uint8]:
    """Render the target's picture (S, S, 3); `exposed` is the source."""
    if triple.change == "size":
        exposed = expose(triple.target.scene, size, scale=triple.target.scale)
    return exposed.paint(albedos(triple.target.scene))


def plainly_differ(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Test whether pictures (S, S, 3) differ by 24 of 255 or more in some channel, in 0.3 % of the pixels or more.

    >>> black = np.zeros((20, 20, 3), np.uint8)
    >>> plainly_differ(black, black), plainly_differ(black, black + 30), plainly_differ(black, black + 20)
    (False, True, False)
    """
    far = np.abs(one.astype(np.int16) - other).max(-1) >= PLAIN
    return bool(far.mean() >= LEAST)


@cache
def triples_hash(kind: Kind) -> str:
    """Hash the present renderer's triples, over two small groups: 12 hex digits."""
    digest = hashlib.sha256()
    for i in range(2):
        group = render_group(kind, random_source(0, Stream.TRIPLES, 0, i), 48)
        digest.update(repr(group.triples).encode())
        for pixels in (group.image, group.subject, *group.targets):
            digest.update(pixels.tobytes())
    return digest.hexdigest()[:12]


def _one(rng: Rng, texts: list[str] | tuple[str, ...]) -> str:
    return texts[rng.integers(len(texts))]


def _extent(spec: PoolSpec) -> tuple[int, int]:
    """Count the groups of a pool of triples; also returns the stream of random numbers of its split.

    Raises:
        DataError: there is no such split.
    """
    if spec.split not in PARTS_OF_STREAM:
        raise DataError(f"triples have no split {spec.split!r}; take one of: {', '.join(PARTS_OF_STREAM)}")
    return max(1, spec.count // GROUP), PARTS_OF_STREAM[spec.split]
