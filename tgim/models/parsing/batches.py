"""Batches for a part localiser: views, and what the frozen backbone makes of them, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from tgim.data import cub, oxford102
from tgim.data import folder as own_folder
from tgim.data.base import BoundingBox, CaptionedImages, Stream, existing, random_source
from tgim.data.batch import Batch, LabelledViews
from tgim.data.cache import Progress, cache_folder, kept_array, new_array, readable, state_of
from tgim.data.config import DataConfig
from tgim.data.guesses import guesser
from tgim.data.points import BACKGROUND, Points, has_points, photographs, read_points
from tgim.data.report import detect
from tgim.data.views import STRIDE, VERSION, Guess, Views
from tgim.errors import DataError
from tgim.images.photo import from_uint8
from tgim.models.efficientnet import STRIDES, EfficientNetLite, widths
from tgim.models.parsing.teacher import Teacher
from tgim.text.lexicon.synthetic import LOCALISED
from tgim.text.vocabulary import Tokens, Vocabulary

CHUNK = 32  # views that the backbone sees at once
MAPS = ("map4", "map8", "map16", "map32")  # by stride
WHOLE = "subject"  # the one part of a localiser that has no points to learn from
FEWEST = 3  # pictures that must show a part whose name is taken from the points


class HasBackbone(Protocol):
    """A localiser on a frozen backbone, as far as its batches go."""

    config: Any  # with `image_size`, `backbone` and `teacher`
    backbone: EfficientNetLite

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the maps; the first is the background."""


class ViewBatches:
    """Batches of views with the backbone's maps: `batch(step)` depends on the constructor's arguments and `step` alone.

    Takes what `tgim.data.loader.Batches` takes, after the model whose backbone it is.
    """

    def __init__(
        self,
        model: HasBackbone,
        dataset: CaptionedImages,
        config: DataConfig,
        *,
        batch_size: int,
        vocabulary: Vocabulary,
        seed: int = 0,
        cache: str | Path | None = None,
        progress: Progress | None = None,
        limit: int | None = None,
    ) -> None:
        self.batch_size, self.seed, self.dataset = batch_size, seed, dataset
        views = open_views(model, dataset, config, seed=seed, limit=limit)
        views = _whole(views, dataset.root, cache, progress)
        folder = cache_folder(cache)
        name = f"views-{model.config.backbone}-{views.size}-{_key(model, views)}"
        self.rows, _ = kept_array(folder, name, lambda path: _make(model, views, path, progress))
        self.total = max(len(self.rows), config.views.count if config.name != "synthetic" else 0)
        self._orders: dict[int, NDArray[np.int64]] = {}

    @property
    def steps_per_epoch(self) -> float:
        """Batches in which each view is seen once."""
        return len(self.rows) / self.batch_size

    def mapped(self, pictures: int, pairs: int) -> int:
        """Bytes of the cache that a run has mapped in the end: all views, of however many pictures they are."""
        return int(self.rows.dtype.itemsize) * self.total

    def batch(self, step: int) -> Batch:
        """The batch of `step` (0, 1, ...), on the CPU."""
        count = len(self.rows)
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        rows = np.concatenate(
            [self._order(epoch)[places[places // count == epoch] % count] for epoch in np.unique(places // count)]
        )
        found = self.rows[rows]
        maps = tuple(torch.from_numpy(np.ascontiguousarray(found[name])).permute(0, 3, 1, 2).float() for name in MAPS)
        picture = torch.from_numpy(np.ascontiguousarray(found["picture"])).permute(0, 3, 1, 2)
        cells = torch.from_numpy(np.ascontiguousarray(found["cells"])).long()
        nothing = Tokens(torch.zeros(len(rows), 1, dtype=torch.long), torch.ones(len(rows), 1, dtype=torch.bool))
        image = from_uint8(picture)
        labels = torch.from_numpy(-1 - rows)
        return Batch(image, nothing, labels, views=LabelledViews(cells, *maps))

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:
            self._orders = {e: order for e, order in self._orders.items() if e >= epoch - 1}
            self._orders[epoch] = random_source(self.seed, Stream.PARTS_ORDER, epoch).permutation(len(self.rows))
        return self._orders[epoch]


def open_views(
    model: HasBackbone, dataset: CaptionedImages, config: DataConfig, *, seed: int = 0, limit: int | None = None
) -> Views:
    """The views that a recipe asks for.

    Raises:
        DataError: no picture has points, a part is none of the model's, or a folder is not there.
    """
    size, settings, own = model.config.image_size, config.views, config.synthetic
    if config.name == "synthetic":
        settings = settings.model_copy(
            update={"synthetic": 1.0, "synthetic_kind": own.kind, "count": max(1, round(0.8 * own.pool))}
        )
        return Views((), (), settings, model.parts, size, seed=seed)
    points = read_points(dataset) if not settings.unlabelled or has_points(dataset) else {}
    pictures = [(item.path, points[item.path]) for item in dataset.items if item.path in points]
    scenes: list[tuple[Path, BoundingBox | None]] = []
    if settings.elsewhere is not None:
        scenes += [(path, None) for path in scenes_of(config.folder.parent / settings.elsewhere)]
    if settings.photographs is not None:
        whole = photographs(
            config.folder.parent / settings.photographs, dataset.root, split=config.split, seed=config.split_seed
        )
        pictures += settings.photograph_times * whole
        beside = [(path, each.box) for path, each in whole]
        scenes += max(1, len(scenes) // (2 * max(1, len(beside)))) * beside  # a third of all scenes
    teacher = model.config.teacher
    others = [(item.path, Points({})) for item in dataset.items if item.path not in points]
    if not pictures and not (settings.unlabelled and others and teacher is None):
        raise DataError(f"{dataset.root} has no points of parts; run tgim data check on it to see where they belong")
    check_parts(pictures, model.parts, dataset.root)
    guess: Guess | None = guesser(pointed=settings.guess == "grabcut", others=settings.unlabelled > 0)
    if teacher is not None:
        guess = Teacher.load(teacher, model.parts)
        pictures = pictures * max(1, len(others) // len(pictures)) + others  # half of the views are of known points
    elif settings.unlabelled:
        pictures = mixed(pictures, others, share=settings.unlabelled)
    if limit is not None:
        settings = settings.model_copy(update={"count": min(settings.count, limit)})
    return Views(pictures, scenes, settings, model.parts, size, seed=seed, guess=guess)


def _whole(views: Views, root: Path, cache: str | Path | None, progress: Progress | None) -> Views:
    """Leave out pictures that cannot be read."""
    paths = sorted({path for path, _ in (*views.pictures, *views.scenes)})
    whole = readable(paths, folder=cache, progress=progress) if paths else set()
    pictures = [each for each in views.pictures if each[0] in whole]
    if views.pictures and not pictures:
        raise DataError(f"{root}: none of its pictures can be read; run tgim data check on it")
    return replace(views, pictures=pictures, scenes=[each for each in views.scenes if each[0] in whole])


def part_names(dataset: CaptionedImages, data: DataConfig) -> tuple[str, ...]:
    """Names of the parts that the points of a data set name; "subject" alone where no picture has any.

    Raises:
        DataError: a part has points in too few pictures.
    """
    if data.name == "synthetic":
        return tuple(dict.fromkeys(LOCALISED[data.synthetic.kind].values()))
    points = read_points(dataset) if has_points(dataset) else {}
    pictures = Counter(part for each in points.values() for part in each.spots if part != BACKGROUND)
    for part, count in sorted(pictures.items()):
        if count < FEWEST:
            raise DataError(
                f"{dataset.root} has points of {part!r} in {count} of the pictures to train on, expected {FEWEST} or "
                "more; add some, or remove these"
            )
    return tuple(sorted(pictures)) or (WHOLE,)


def mixed(
    pictures: list[tuple[Path, Points]], others: list[tuple[Path, Points]], *, share: float
) -> list[tuple[Path, Points]]:
    """Repeat pictures with points so often that others are about `share` of all, or as many as there are.

    >>> len(mixed([(Path("a"), Points({}))], [(Path("b"), Points({}))] * 10, share=0.5))
    20
    """
    times = round(len(others) * (1 - share) / share / len(pictures)) if pictures else 0
    return pictures * max(1, times) + others


def check_parts(pictures: Sequence[tuple[Path, Points]], parts: tuple[str, ...], root: Path) -> None:
    """Raise DataError where points are of a part that the model does not know, or the model's part has none."""
    named = {part for _, points in pictures for part in points.spots}
    if unknown := sorted(named - set(parts)):
        raise DataError(
            f"{root} has points of {unknown[0]!r}, which is none of the model's parts ({', '.join(parts[1:])}); "
            f"set model.part_names=[{', '.join(sorted(named - {parts[0]}))}]"
        )
    if missing := [part for part in parts[1:] if part not in named and parts[1:] != (WHOLE,)]:
        raise DataError(f"{root} has no points of {missing[0]!r}; leave it out of model.part_names, or add some")


def scenes_of(folder: Path) -> list[Path]:
    """Pictures of another data set, which show no subject; of its training classes where it has classes."""
    layout = detect(existing(folder))
    load = {"cub": cub.load, "oxford102": oxford102.load, "folder": own_folder.load}[layout]
    return [item.path for item in load(folder, split="trainval").items]


def _key(model: HasBackbone, views: Views) -> str:
    """A hash of all that the views and their maps depend on."""
    digest = hashlib.sha256(json.dumps([VERSION, views.size, views.seed, views.parts]).encode())
    digest.update(views.config.model_dump_json().encode())
    digest.update((views.guess.fingerprint if isinstance(views.guess, Teacher) else "").encode())
    for path, points in (*views.pictures, *views.scenes):
        digest.update(repr((path.absolute().as_posix(), *state_of(path), points)).encode())
    for name, value in model.backbone.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:20]


def _make(model: HasBackbone, views: Views, path: Path, progress: Progress | None) -> dict[str, Any]:
    """Make all views, let the backbone look at them, and write both: 0.44 MB for a view of 224 pixels."""
    side = views.size // STRIDE
    channels = widths(model.config.backbone)
    sizes = [(-(-views.size // stride), count) for stride, count in zip(STRIDES, channels, strict=True)]
    kind = np.dtype(
        [("picture", np.uint8, (views.size, views.size, 3)), ("cells", np.uint8, (side, side))]
        + [(each, np.float16, (n, n, count)) for each, (n, count) in zip(MAPS, sizes, strict=True)]
    )

    rows = new_array(path, dtype=kind, shape=(len(views),))
    for start in range(0, len(views), CHUNK):
        made = [views.view(i) for i in range(start, min(start + CHUNK, len(views)))]
        pictures = np.stack([view.picture for view in made])
        chunk = rows[start : start + len(made)]
        chunk["picture"], chunk["cells"] = pictures, np.stack([view.cells for view in made])
        for each, found in zip(MAPS, _maps(model, pictures), strict=True):
            chunk[each] = found
        if progress is not None:
            progress(start + len(made), len(views))
    rows.flush()
    return {}


@torch.inference_mode()
def _maps(model: HasBackbone, pictures: NDArray[np.uint8]) -> list[NDArray[Any]]:
    """The backbone's maps of pictures (n, S, S, 3): (n, H, W, C) each."""
    device = next(model.backbone.parameters()).device
    image = from_uint8(torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2))
    found = model.backbone(image.contiguous(memory_format=torch.channels_last))
    return [each.permute(0, 2, 3, 1).cpu().numpy() for each in found]
