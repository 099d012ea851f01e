"""Ranking of pictures for a caption, and of captions for a picture, by the score of a matching model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from tgim.checkpoints import checkpoint
from tgim.checkpoints.checkpoint import Checkpoint
from tgim.data.cache import Progress
from tgim.errors import CheckpointError, ImageError, TextError, UserError
from tgim.images.photo import Source
from tgim.images.resample import Floats
from tgim.inference import scoring
from tgim.inference.engines import Engines, check_engine
from tgim.system.notices import notify
from tgim.text.understand import UnknownWordWarning
from tgim.text.vocabulary import Vocabulary, complete

if TYPE_CHECKING:
    from tgim.inference.embeddings import Embeddings


class Reading(Protocol):
    """Something that reads captions: a checkpoint, or a matcher."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Words that it knows."""

    @property
    def template(self) -> str:
        """Sentence that completes a phrase."""


class Matcher(Reading, Protocol):
    """A matching model, whatever computes it."""

    @property
    def image_size(self) -> int:
        """S, side of the pictures that it sees, in pixels."""

    @property
    def made_by(self) -> str:
        """The engine that computes, as far as the bits of a result depend on it."""

    def read_captions(self, captions: Sequence[str]) -> Any:
        """Read captions for `scores`."""

    def see(self, pictures: Floats) -> Floats:
        """Look at pictures (B, 3, S, S) in [-1, 1]: numbers (B, L) for `scores`, each picture's computed alone."""

    def scores(self, seen: Floats, captions: Any) -> Floats:
        """Scores (B, N) of pictures that were seen, (B, L), with N captions that were read."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Scores of N pictures with T captions.

    Scores are the model's own, of most models a cosine, -1 to 1. They order what was compared in one call; they are no
    probabilities, and say nothing between models.
    """

    images: tuple[str, ...]  # names of the N pictures that could be read, in the order they were given
    texts: tuple[str, ...]  # the T captions as they were given
    scores: NDArray[np.float32]  # (N, T)
    failed: tuple[str, ...] = ()  # one line for each picture that could not be read

    @property
    def pictures(self) -> NDArray[np.int64]:
        """(T, N): for each caption the rows of the pictures, best first; of equal scores the earlier one."""
        return np.argsort(-self.scores.T, axis=1, kind="stable")

    @property
    def captions(self) -> NDArray[np.int64]:
        """(N, T): for each picture the columns of the captions, best first; of equal scores the earlier one."""
        return np.argsort(-self.scores, axis=1, kind="stable")

    def pairs(self, *, top: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield every pair as JSON values, best first: pictures of each caption; captions of a single picture.

        The keys are text, image, score, picture_rank (the picture's place for the text, from 1) and text_rank (the
        text's place for the picture). `top` keeps so many of each list.
        """
        picture_ranks, text_ranks = self.pictures.argsort(1).T + 1, self.captions.argsort(1) + 1  # both (N, T)
        for _, listed in self._lists(top):
            for row, column in listed:
                yield {
                    "text": self.texts[column],
                    "image": self.images[row],
                    "score": round(float(self.scores[row, column]), 6),
                    "picture_rank": int(picture_ranks[row, column]),
                    "text_rank": int(text_ranks[row, column]),
                }

    def text(self, *, top: int) -> str:
        """The lists of `pairs` for people, `top` of each: place, score and name under a heading."""
        blocks = []
        of_captions = len(self.images) == 1
        more = len(self.texts if of_captions else self.images) - top
        for heading, listed in self._lists(top):
            lines = [heading]
            for place, (row, column) in enumerate(listed, 1):
                name = self.texts[column] if of_captions else self.images[row]
                lines.append(f"{place:>6}  {self.scores[row, column]:6.3f}  {name}")
            if more > 0:
                lines.append(f"        and {more:,} more")
            blocks.append("\n".join(lines))
        return "\n\n".join(blocks)

    def _lists(self, top: int | None) -> Iterator[tuple[str, list[tuple[int, int]]]]:
        """Make the lists: a heading, and below it (row, column) of the `top` best scores, best first."""
        if len(self.images) == 1:
            yield self.images[0], [(0, column) for column in self.captions[0, :top].tolist()]
            return
        for column, order in enumerate(self.pictures):
            yield self.texts[column], [(row, column) for row in order[:top].tolist()]


def rank(
    images: Sequence[Source],
    texts: Sequence[str],
    *,
    model: str | Path | Checkpoint = "judge-birds",
    device: str = "cpu",
    engine: Engines = "auto",
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> Ranking:
    """Score every picture against every caption.

    A picture that cannot be read is left out and named in `Ranking.failed`. Memory is that of the scores and, a few
    at a time, of the pictures.

    Args:
        images: paths, bytes, PIL images or arrays.
        texts: captions; a bare phrase is completed by the checkpoint's template.
        model: name or file of a matching model's checkpoint, or what `open_matching` returned.
        device: "cpu" or "cuda".
        engine: "onnx" runs embedded models that have a graph, on the CPU and without torch; "torch" runs all; "auto"
            takes the first where it can. Scores differ by rounding.
        cache: folder in which what the model sees of each file is kept, such as `tgim.data.cache.cache_folder()`, so
            that it is computed once; scores are the same bits. Of a model given as a `Checkpoint` nothing is kept.
        progress: called with (done, total) while pictures are read.

    Raises:
        CheckpointError: no such model, or one that does not match.
        UserError: the engine cannot run it.
        TextError: no caption, or one that cannot be used.
        ImageError: no picture, or not one that can be read.
    """
    if isinstance(images, str | os.PathLike | bytes) or isinstance(texts, str):
        raise UserError("rank takes lists: rank(['bird.jpg'], ['a red bird'])")
    if not images:
        raise ImageError("there is no picture to rank; give one or more")
    matcher = open_matcher(model, device=device, engine=engine)
    sentences = check_captions(matcher, texts)
    read = [
        matcher.read_captions(sentences[first : first + scoring.CHUNK])
        for first in range(0, len(sentences), scoring.CHUNK)
    ]

    def score(seen: Floats) -> Floats:
        return np.concatenate([matcher.scores(seen, captions) for captions in read], 1)

    def run(kept: Embeddings | None = None) -> scoring.Scored:
        size = matcher.image_size
        return scoring.score_pictures(images, matcher.see, score, size=size, kept=kept, progress=progress)

    if cache is None or isinstance(model, Checkpoint):
        found = run()
    else:
        found = with_embeddings(cache, run, matcher.see, model=model, made_by=matcher.made_by, size=matcher.image_size)
    return Ranking(found.names, tuple(texts), found.scores, found.failed)


def with_embeddings(
    cache: str | Path,
    run: Callable[[Embeddings | None], scoring.Scored],
    see: Callable[[Floats], Floats],
    *,
    model: str | Path,
    made_by: str,
    size: int,
) -> scoring.Scored:
    """Give `run` what is kept in the folder `cache` of a model that sees pictures of `size` pixels by `see`."""
    from tgim.inference.embeddings import Embeddings

    width = see(np.zeros((1, 3, size, size), np.float32)).shape[1]
    kept = Embeddings.open(cache, model=checkpoint.fingerprint(model), made_by=f"{made_by}, {size} px", width=width)
    if kept is None:
        return run(None)
    with kept:
        return run(kept)


def open_matcher(model: str | Path | Checkpoint, *, device: str = "cpu", engine: Engines = "auto") -> Matcher:
    """Open a matching model to score with; arguments and errors as of `rank`."""
    check_engine(engine)
    if not isinstance(model, Checkpoint) and engine != "torch":
        from tgim.inference import onnx_matching
        from tgim.inference.onnx_engine import has_graph

        if engine == "onnx" or (str(device) == "cpu" and has_graph(model, onnx_matching.MATCHING)):
            return onnx_matching.open_matcher(model)
    from tgim.inference.torch_engine import TorchMatcher

    source = model if isinstance(model, Checkpoint) else open_matching(model, device=device)
    _matching(source, "the checkpoint")
    return TorchMatcher(source, device=device)


def open_matching(name_or_path: str | Path, *, device: str = "cpu") -> Checkpoint:
    """Load a matching model; one that edits is refused by its header, before its weights are read.

    Raises:
        CheckpointError: as `tgim.checkpoints.checkpoint.load`, or no matching model.
    """
    header = checkpoint.read_header(name_or_path)
    if header["role"] != "matching":
        _refuse(str(name_or_path), header["name"])
    source = checkpoint.load(name_or_path, device=device)
    _matching(source, str(name_or_path))
    return source


def check_captions(source: Reading, texts: Sequence[str]) -> list[str]:
    """The captions that are really used for `texts`: checked, and phrases completed by the checkpoint's template.

    Warns with `UnknownWordWarning`, once for each unknown word.

    Raises:
        TextError: none, or one that cannot be used.
    """
    if not texts:
        raise TextError("there is no text to rank by; give one or more, e.g. 'a red bird with black wings'")
    if wrong := [type(text).__name__ for text in texts if not isinstance(text, str)]:
        raise TextError(f"a text is a {wrong[0]}, expected a string such as 'a red bird with black wings'")
    unknown: dict[str, tuple[str, ...]] = {}
    result = []
    for text in texts:
        checked = source.vocabulary.check(text)
        unknown |= source.vocabulary.unknown(checked)
        result.append(complete(checked, source.template))
    for word, near in unknown.items():
        hint = f"; nearest known: {', '.join(near)}" if near else ""
        notify(f"unknown word {word!r} is ignored{hint}", UnknownWordWarning, stacklevel=3)
    return result


def _matching(source: Checkpoint, name: str) -> None:
    from tgim.models.base import Matching

    if not isinstance(source.model, Matching):
        _refuse(name, source.model.name)


def _refuse(name: str, system: str) -> NoReturn:
    headers = {embedded: checkpoint.read_header(embedded) for embedded in checkpoint.list_embedded()}
    there = [embedded for embedded, header in headers.items() if header["role"] == "matching"]
    known = f"one of: {', '.join(there)}" if there else "the file of one that you trained (recipes/matching_*.yaml)"
    raise CheckpointError(f"{name} is a {system}, which does not match pictures with captions; choose {known}")
