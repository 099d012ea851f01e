"""The bench of all protocols: pictures, captions, edits and their place in the judge's space, kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tgim._version import __version__
from tgim.checkpoints import checkpoint
from tgim.checkpoints.checkpoint import Checkpoint
from tgim.data import open_dataset
from tgim.data.base import CaptionedImages
from tgim.data.cache import PixelCache, cache_folder, store_array, stored_array
from tgim.data.config import DataConfig
from tgim.data.synthetic.pool import PoolSpec, SyntheticPool
from tgim.environment import origin
from tgim.errors import DataError, UserError
from tgim.evaluation.contenders import Contender, quantised, shown_name
from tgim.evaluation.records import Measured, Options
from tgim.evaluation.task import Task, content_hash, draw_task, in_order
from tgim.images.photo import from_uint8, to_uint8
from tgim.images.resample import resize
from tgim.models.base import Codes, Matching
from tgim.text.vocabulary import Tokens

CHUNK = 64  # pictures that are edited, or looked at, at a time: part of what makes figures repeat to the last digit
APART = {
    "evaluation", "reporting", "metrics", "stages",
    "cli.py", "cli_eval.py", "ranking.py", "card.py", "jobs.py", "train.py",
}  # fmt: skip
Progress = Callable[[str, int, int], None]  # (what, done, total)


class Bench:
    """Pictures of one data set at one size, what is to be done to them, and who judges.

    Attributes:
        dataset: all readable pictures of the split, in the order of their names.
        content: hash of the data set's pictures and captions, 16 hex digits.
        task: own and target captions, target pictures, wrong captions.
        judge: the matching model, or None.
        judge_label: "judge-birds:0123456789abcdef", or None.

    Args:
        data: the data set and split; pictures are cut as it says (`crop`, `fit`), never varied.
        size: pixels, side of the pictures that are edited and compared.
        seed: of the task.
        judge: name or path of a matching model, or None.
        extractor: of `realism@1`, as `tgim.evaluation.features` understands it, or None for none.
        limit: measure on this many pictures, a seeded choice; targets and wrong captions are those of the whole split.
        photos: folder of whole photographs for protocols that edit photographs at their own size; without it they
            edit the pictures of the data set.
        cache: where pictures, edits and embeddings are kept; `cache_folder()` unless given.
        progress: called with (what, done, total).

    Raises:
        DataError: the data set, or its captions, will not do.
        UserError: the judge is no matching model, or `size` or `limit` is out of range.
    """

    def __init__(
        self,
        data: DataConfig,
        *,
        size: int,
        seed: int = 0,
        judge: str | None = None,
        extractor: str | None = None,
        limit: int | None = None,
        photos: Path | None = None,
        cache: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        if size < 16:
            raise UserError(f"size is {size} pixels, expected at least 16")
        if limit is not None and limit < 2:
            raise UserError(f"limit is {limit} pictures, expected at least 2")
        self.data, self.size, self.seed, self.extractor, self.limit = data, size, seed, extractor, limit
        self.photos = photos
        self.folder = cache if cache is not None else cache_folder()
        self.progress: Progress = progress if progress is not None else lambda what, done, total: None
        self._judge = open_judge(judge) if judge is not None else None
        self.judge_label = None if judge is None else f"{shown_name(judge)}:{checkpoint.fingerprint(judge)}"
        self._load()
        self.task: Task = draw_task(self.dataset, split=data.split, seed=seed, limit=limit)
        self._held: tuple[str, Tensor] = ("", torch.empty(0))
        self._texts: dict[str, Tensor] = {}

    def _load(self) -> None:
        """Read the data set and open its pixels; unreadable pictures are left out."""
        self.dataset: CaptionedImages = (full := open_dataset(self.data))
        if not full.captions:
            raise DataError(f"{full.root} has no captions in split {self.data.split!r}; an edit is told by a caption")
        if self.data.name == "synthetic":
            d, side = self.data.synthetic, self.data.stored_size
            spec = PoolSpec(kind=d.kind, count=d.pool, size=side, seed=d.seed, split=self.data.split)
            pool = SyntheticPool.open(spec, folder=self.folder)
            pixels = np.ascontiguousarray(pool.pixels[..., :3])
            digest = hashlib.sha256(pixels.tobytes() + repr(pool.captions).encode())
            self._pixels, self.content = PixelCache(pixels), digest.hexdigest()[:16]
            return
        ordered = in_order(full)
        show = self.progress
        pixels_of = PixelCache.open(
            ordered.items,
            size=self.size,
            fit=self.data.fit,
            folder=self.folder,
            progress=lambda done, total: show("pictures", done, total),
        )
        if not len(pixels_of.rows):
            raise DataError(f"{full.root}: none of {len(full)} pictures can be read; run tgim data check on it")
        self.dataset = replace(ordered, items=tuple(ordered.items[row] for row in pixels_of.rows))
        self._pixels = PixelCache(pixels_of.pixels)
        self._places = pixels_of.rows
        self.content = content_hash(self.dataset, fit=self.data.fit, folder=self.folder)

    def __len__(self) -> int:
        """Number of pictures that are measured."""
        return len(self.task.rows)

    def facts(self) -> dict[str, Any]:
        """What every line says of the data, the code and the machine."""
        place = origin()
        return {
            "data": self.data.name,
            "split": self.data.split,
            "content": self.content,
            "size": self.size,
            "seed": self.seed,
            "commit": place["commit"],
            "tgim": __version__,
            "torch": torch.__version__,
            "machine": f"{place['gpu'] or place['processor']}, {place['cores']} cores",
        }

    def limited(self) -> Options:
        """The limit as an option of lines, where there is one that leaves pictures out."""
        return {"limit": self.limit} if self.limit is not None and len(self) < len(self.dataset) else {}

    @property
    def rows(self) -> NDArray[np.int64]:
        """(n,) rows of `dataset` that are measured."""
        return self.task.rows

    @property
    def own(self) -> list[str]:
        """n captions: one of each picture."""
        return self.task.own

    @property
    def targets(self) -> NDArray[np.int64]:
        """(n,) rows of `dataset`: a picture of another class for each."""
        return self.task.targets

    @property
    def target(self) -> list[str]:
        """n captions: one of each target picture."""
        return list(self.task.target)

    @property
    def pictures(self) -> Tensor:
        """The photographs that are edited, (n, 3, S, S) in [-1, 1]."""
        return self.images(self.rows)

    def images(self, rows: NDArray[np.int64]) -> Tensor:
        """Photographs of any rows of `dataset`, (m, 3, S, S) in [-1, 1] on the 256 levels."""
        if self.data.name != "synthetic":
            return self._pixels.images(self._places[rows])
        drawn = self._pixels.images(rows)
        return drawn if self._pixels.size == self.size else quantised(resize(drawn, (self.size, self.size)))

    def edits(
        self, contender: Contender, captions: Sequence[str], strength: float = 1.0, *, pictures: Tensor | None = None
    ) -> Tensor:
        """`pictures` (the bench's own unless given; as many as `captions`) edited, (n, 3, S, S) on the 256 levels.

        A strength below 1 blends the full edit with the photograph, unless the contender `has_strength` of its own.
        Edits of models are kept in the cache folder in chunks of 64, named by all that they depend on: model file,
        code of tgim, pictures, captions.
        """
        pictures = self.pictures if pictures is None else pictures
        asked = strength if contender.has_strength else 1.0
        mark = f"{contender.name}|{contender.checkpoint}|{asked}|{digest(pictures, captions)}"
        if self._held[0] != mark:
            self._held = mark, self._edited(contender, captions, asked, pictures)
        full = from_uint8(self._held[1])
        return full if asked == strength else quantised(pictures + strength * (full - pictures))

    def _edited(self, contender: Contender, captions: Sequence[str], strength: float, pictures: Tensor) -> Tensor:
        """The same as uint8, chunk by chunk."""
        edited = torch.empty(pictures.shape, dtype=torch.uint8)
        for first in range(0, len(captions), CHUNK):
            part = slice(first, min(first + CHUNK, len(captions)))
            rows = range(part.start, part.stop)

            def make(part: slice = part, rows: range = rows) -> NDArray[Any]:
                with torch.no_grad():
                    made = contender.edit(pictures[part], captions[part], rows, strength)
                return to_uint8(made).numpy()

            edited[part] = torch.from_numpy(
                self.kept(contender, make, "edits", strength, pictures[part], captions[part])
            )
            self.progress(f"{contender.name}: edits", part.stop, len(captions))
        return edited

    def kept(self, contender: Contender, make: Callable[[], NDArray[Any]], kind: str, *depends: Any) -> NDArray[Any]:
        """What `make` returns, from the cache folder where a model made it before from the same `depends`."""
        if contender.checkpoint is None:
            return make()
        return self._stored(f"{kind}-{digest(contender.checkpoint, code(), *depends)}", make)

    def _stored(self, name: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        folder = self.folder / "evaluation"
        found = stored_array(folder, name)
        if found is not None:
            return np.array(found[0])
        array = make()

        def fill(path: Path) -> dict[str, Any]:
            with path.open("wb") as file:  # given a path, numpy would add a suffix
                np.save(file, array)
            return {}

        store_array(folder, name, fill)
        return array

    @torch.no_grad()
    def embeddings(self, pictures: Tensor) -> Tensor:
        """Pictures (n, 3, S, S) in the judge's space, (n, D); resized to the judge's side if need be."""
        model, side = self.judge, self.judge.image_size

        def make() -> NDArray[Any]:
            seen = []
            for first in range(0, len(pictures), CHUNK):
                part = pictures[first : first + CHUNK]
                seen.append(model.embed_images(resize(part, (side, side))).float().cpu())
                self.progress("judge", first + len(part), len(pictures))
            return torch.cat(seen).numpy()

        return torch.from_numpy(self._stored(f"seen-{digest(self.judge_label, code(), pictures)}", make))

    @torch.no_grad()
    def captions(self, texts: Sequence[str]) -> Tensor:
        """Captions in the judge's space, (n, D)."""
        mark = digest(texts)
        if mark not in self._texts:
            parts = [texts[first : first + CHUNK] for first in range(0, len(texts), CHUNK)]
            vocabulary, model = self._judge_file.vocabulary, self.judge
            self._texts[mark] = torch.cat([model.embed_captions(vocabulary.encode(part)).float() for part in parts])
        return self._texts[mark]

    def fits(self, pictures: Tensor, right: Sequence[str], wrong: NDArray[np.int64]) -> NDArray[np.float32]:
        """How well each picture fits its right caption and its wrong ones by the judge's own score: (n, 1 + K).

        Args:
            pictures: (n, 3, S, S); resized to the judge's side if need be.
            right: n captions.
            wrong: (n, K) rows of `task.captions`.
        """
        own = np.arange(len(right))[:, None]
        return self.scores(pictures, [*right, *self.task.captions], np.concatenate([own, len(right) + wrong], 1))

    @torch.no_grad()
    def scores(self, pictures: Tensor, texts: Sequence[str], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The judge's own score of each picture with some of `texts`: (n, K) for rows (n, K) of `texts`."""
        model, side = self.judge, self.judge.image_size

        def make() -> NDArray[Any]:
            codes = self.read(texts)
            scores = np.empty(rows.shape, np.float32)
            for first in range(0, len(pictures), CHUNK):
                part = pictures[first : first + CHUNK]
                seen = model.read_images(resize(part, (side, side)))
                for i in range(len(part)):
                    asked = torch.from_numpy(rows[first + i])
                    one = tuple(each[i : i + 1] for each in seen)
                    scores[first + i] = model.scores(one, tuple(each[asked] for each in codes))[0].float().numpy()
                self.progress("judge", first + len(part), len(pictures))
            return scores

        mark = digest(self.judge_label, code(), pictures, texts, rows.ravel().tolist())
        return self._stored(f"fits-{mark}", make)

    def read(self, texts: Sequence[str]) -> Codes:
        """The judge's codes of captions, all padded alike."""
        ids, mask = self._judge_file.vocabulary.encode(texts)
        cuts = [slice(first, first + CHUNK) for first in range(0, len(texts), CHUNK)]
        parts = [self.judge.read_captions(Tokens(ids[cut], mask[cut])) for cut in cuts]
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))

    @property
    def judge(self) -> Matching:
        """The matching model; UserError without one."""
        model = self._judge_file.model
        if not isinstance(model, Matching):
            raise UserError(f"{self.judge_label} is no matching model")
        return model

    @property
    def _judge_file(self) -> Checkpoint:
        if self._judge is None:
            raise UserError("this protocol needs a judge: name a matching model, such as judge='judge-birds'")
        return self._judge


def open_judge(source: str) -> Checkpoint:
    """The checkpoint of a matching model; UserError when it is of another kind, CheckpointError when there is none."""
    found = checkpoint.load(source)
    if not isinstance(found.model, Matching):
        raise UserError(f"judge {source} is a {found.name!r}, which edits; name a matching model, such as judge-birds")
    return found


def digest(*parts: Any) -> str:
    """24 hex digits of texts, numbers, lists of texts and pictures."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            found.update(repr(tuple(part.shape)).encode() + to_uint8(part).numpy().tobytes())
        else:
            found.update(repr(part if isinstance(part, str | int | float | None) else list(part)).encode())
        found.update(b"\0")
    return found.hexdigest()[:24]


@cache
def code() -> str:
    """A hash of the library's code that edits and sees: what other code made is not taken for its own."""
    home = Path(checkpoint.__file__).parent
    files = sorted(path for path in home.rglob("*.py") if path.relative_to(home).parts[0] not in APART)
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]


def nothing(bench: Bench) -> Iterator[tuple[str, Measured]]:
    """No reference rows."""
    return iter(())


def no_label(bench: Bench) -> str | None:
    """No feature extractor."""
    return None


def no_facts(bench: Bench) -> dict[str, Any]:
    """What lines say is what the bench says."""
    return {}


def always(bench: Bench) -> bool:
    """Any data will do."""
    return True


@dataclass(frozen=True)
class Protocol:
    """A way to measure.

    `measure` yields the figures of one contender, `references` those of rows that stand in the table for comparison
    (name, figure). `metrics` names what each of them yields: once a results file has a line of every metric for a
    contender, it is not measured again, so a figure that sums up others comes last.
    """

    name: str  # with its version: raise it when figures would no longer be comparable
    metrics: tuple[str, ...]
    measure: Callable[[Bench, Contender], Iterator[Measured]]
    references: Callable[[Bench], Iterator[tuple[str, Measured]]] = nothing
    reference_names: tuple[str, ...] = ()
    needs_judge: bool = False
    needs_extractor: bool = False
    extractor_label: Callable[[Bench], str | None] = no_label  # what the lines say of the extractor
    fewest: int = 2  # pictures that it makes sense of
    draws: bool = False  # whether it is of pictures drawn from captions alone, not of edits
    own_size: bool = False  # whether photographs are edited at their own size, whatever the bench's is
    facts: Callable[[Bench], dict[str, Any]] = no_facts  # what its lines say otherwise than the bench
    possible: Callable[[Bench], bool] = always  # whether the data will do, where it was not named
