"""Batches of a data set as a function of the step: choice of pictures and captions, and augmentation of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tgim.data.alterations import Alterations
from tgim.data.base import CaptionedImages, Split, Stream, random_source
from tgim.data.batch import Batch, SyntheticPairs
from tgim.data.cache import PixelCache, Progress
from tgim.data.config import DataConfig
from tgim.data.context import in_scenes
from tgim.data.differences import WORDING, Differences
from tgim.data.subject import NOTHING_KNOWN, SUBJECT, guess_subjects
from tgim.data.synthetic.pool import PoolSpec, SyntheticPool
from tgim.data.synthetic.triples import TriplePool
from tgim.errors import DataError
from tgim.text.phrases import FRAMES, variants
from tgim.text.vocabulary import PADDING, Tokens, Vocabulary


class Batches:
    """Batches of a data set: `batch(step)` depends on nothing but the arguments of the constructor and `step`.

    Step after step walks through the data set in a new order each epoch; a run is resumed by asking for the next step.

    Args:
        dataset: pictures and captions.
        config: size, augmentation, captions.
        batch_size: pictures in a batch.
        vocabulary: turns captions into ids.
        seed: of order, captions and augmentation.
        cache: where decoded pictures are kept; see `PixelCache.open`.
        progress: called with (done, total) while pictures are decoded for the first time.
        limit: show only the first so many pictures, and read their captions alone. For an estimate.

    Raises:
        DataError: not one picture can be read, or the cache cannot be written.
    """

    def __init__(
        self,
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
        if config.captions.pick == "none":
            raise DataError(
                "data.captions.pick is none, which only a part localiser can learn from; take random or first"
            )
        if batch_size < 1:
            raise DataError(f"batch_size must be at least 1, got {batch_size}")
        self.dataset, self.config, self.batch_size, self.seed = dataset, config, batch_size, seed
        if not len(dataset):
            raise DataError(f"{dataset.root} has no usable picture; run tgim data check on it to see why")
        shown = dataset if limit is None else replace(dataset, items=dataset.items[:limit])
        self.pixels = _pixels(shown, config, cache, progress)
        if not len(self.pixels.rows):
            raise DataError(f"{dataset.root}: none of {len(dataset)} pictures can be read; run tgim data check on it")
        self.subjects = guess_subjects(self.pixels, folder=cache, progress=progress) if config.subject else None
        self.shown = len(shown)
        class_ids = {label: i for i, label in enumerate(dataset.classes)}
        labels = [class_ids.get(item.label or "", -1 - row) for row, item in enumerate(dataset.items)]
        self.labels = np.asarray(labels, dtype=np.int64)
        captions, longest = [item.captions for item in shown.items], config.captions.max_tokens or vocabulary.longest
        self.captions = CaptionTable(captions, vocabulary, max_tokens=longest)
        self.cuts = PhraseTable(captions, vocabulary, max_tokens=longest) if config.captions.phrases else None
        self.synthetic = None
        if config.synthetic.pairs:
            self.synthetic = SyntheticTable(open_pool(config, cache, progress), vocabulary, config)
        self.alterations = Alterations(vocabulary) if config.captions.altered else None
        self.vocabulary = vocabulary
        self.differences = Differences(captions, rows=self.pixels.rows) if config.captions.changes else None
        self._orders: dict[int, NDArray[np.int64]] = {}

    @property
    def steps_per_epoch(self) -> float:
        """Batches in which each picture is seen once."""
        return len(self.pixels.rows) / self.batch_size

    def mapped(self, pictures: int, pairs: int) -> int:
        """Count the bytes that a run over so many pictures and synthetic pairs has in the end.

        They are those that it maps from the cache, and those of the captions of pictures that are not shown here.
        """
        kept = [(self.pixels.pixels, pictures), (self.subjects, pictures)]
        kept += [(self.synthetic.pool.pixels, pairs)] if self.synthetic is not None else []
        mapped = sum(array.nbytes // len(array) * count for array, count in kept if array is not None)
        tables = [self.captions.ids, *([self.cuts.table.ids] if self.cuts is not None else [])]
        return mapped + sum(table.nbytes * max(0, pictures - self.shown) // self.shown for table in tables)

    def rows(self, step: int) -> NDArray[np.int64]:
        """Choose the rows (B,) of the data set for batch `step`."""
        count = len(self.pixels.rows)
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        return np.concatenate(
            [self._order(epoch)[places[places // count == epoch] % count] for epoch in np.unique(places // count)]
        )

    def batch(self, step: int) -> Batch:
        """Make the batch of `step` (0, 1, ...), on the CPU: images (B, 3, S, S) in [-1, 1], captions, class ids."""
        rows, source = self.rows(step), random_source(self.seed, Stream.STEP, step)
        image = self.pixels.images(rows)
        if self.subjects is not None:
            image = torch.cat([image, as_channels(self.subjects[rows])], 1)
        image = self._shown(image, source, step)
        subject = torch.where(image[:, 4:] > 0.5, image[:, 3:4], -1.0) if self.subjects is not None else None
        text = self._captions(rows, source)
        synthetic = self._pairs(source)
        labels = torch.from_numpy(self.labels[rows])
        altered = None
        if self.alterations is not None:
            altered = Tokens(torch.from_numpy(self.alterations(text.ids.numpy(), source)), text.mask)
        image = image[:, :3].contiguous()
        result = Batch(image, text, labels, subject=subject, synthetic=synthetic, altered=altered)
        return result if self.differences is None else self._from_others(result, rows, step)

    def _shown(self, image: Tensor, source: np.random.Generator, step: int) -> Tensor:
        """Vary pictures (B, C, S + margin, S + margin) as the config says: (B, C, S, S)."""
        return varied(image, self.config, source, random_source(self.seed, Stream.SCENES, step))

    def _pairs(self, source: np.random.Generator) -> SyntheticPairs | None:
        """Sample the synthetic pairs of a batch, if there are any."""
        return self.synthetic.pairs(source) if self.synthetic is not None else None

    def _from_others(self, batch: Batch, rows: NDArray[np.int64], step: int) -> Batch:
        """Add source pictures and texts of which the batch's own pictures are the targets."""
        source = random_source(self.seed, Stream.SOURCES, step)
        sampled = [self.differences.sample(row, source) for row in rows.tolist()] if self.differences else []
        sources = np.array([each.source for each in sampled])
        same = torch.from_numpy(sources == rows)[:, None, None, None]
        image = torch.where(same, batch.image, augment(self.pixels.images(sources), self.config, source))
        return replace(batch, source=image, change=self.vocabulary.encode([each.text for each in sampled]))

    def _captions(self, rows: NDArray[np.int64], source: np.random.Generator) -> Tokens:
        first = self.config.captions.pick == "first"
        picks = self.captions.choose(rows, np.zeros(len(rows)) if first else source.random(len(rows)))
        ids, lengths = self.captions.take(picks)
        if self.cuts is not None:
            use, which = source.random(len(rows)) < self.config.captions.phrases, source.random(len(rows))
            ids, lengths = self.cuts.replace(ids, lengths, picks, use, which)
        return as_tokens(ids, lengths)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:
            self._orders = {e: order for e, order in self._orders.items() if e >= epoch - 1}
            self._orders[epoch] = random_source(self.seed, Stream.EPOCH, epoch).permutation(self.pixels.rows)
        return self._orders[epoch]


class CaptionTable:
    """Captions of all pictures as padded ids (C, T) and lengths (C,); picture i owns `starts[i] : starts[i + 1]`."""

    def __init__(self, captions: Sequence[Sequence[str]], vocabulary: Vocabulary, *, max_tokens: int) -> None:
        self.starts = np.concatenate([[0], np.cumsum([len(row) for row in captions])]).astype(np.int64)
        rows = [vocabulary.ids(caption)[:max_tokens] for row in captions for caption in row]
        self.lengths = np.asarray([len(row) for row in rows], dtype=np.int64)
        self.ids = np.full((len(rows), max(1, self.lengths.max(initial=1))), PADDING, dtype=np.int64)
        self.ids[np.arange(self.ids.shape[1]) < self.lengths[:, None]] = [i for row in rows for i in row]

    def choose(self, rows: NDArray[np.int64], where: NDArray[np.float64]) -> NDArray[np.int64]:
        """Choose for each picture the caption at the fraction `where` in [0, 1) of its captions."""
        start, count = self.starts[rows], self.starts[rows + 1] - self.starts[rows]
        return start + (where * count).astype(np.int64)

    def take(self, picks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids (B, T) and lengths (B,) of the captions `picks`."""
        return self.ids[picks], self.lengths[picks]


class PhraseTable:
    """Phrases of all captions, each bare and as a sentence; caption c owns `starts[c] : starts[c + 1]` of the table."""

    def __init__(self, captions: Sequence[Sequence[str]], vocabulary: Vocabulary, *, max_tokens: int) -> None:
        cut = [variants(caption) for row in captions for caption in row]
        self.table = CaptionTable(cut, vocabulary, max_tokens=max_tokens)

    def replace(
        self,
        ids: NDArray[np.int64],
        lengths: NDArray[np.int64],
        picks: NDArray[np.int64],
        use: NDArray[np.bool_],
        where: NDArray[np.float64],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Put a phrase of caption `picks[i]` in row i of `ids` wherever `use[i]` and the caption has one."""
        use = use & (self.table.starts[picks + 1] > self.table.starts[picks])
        if not use.any():
            return ids, lengths
        new, new_lengths = self.table.take(self.table.choose(picks[use], where[use]))
        width = max(ids.shape[1], new.shape[1])
        ids = np.pad(ids, ((0, 0), (0, width - ids.shape[1])), constant_values=PADDING)
        ids[use] = np.pad(new, ((0, 0), (0, width - new.shape[1])), constant_values=PADDING)
        lengths = lengths.copy()
        lengths[use] = new_lengths
        return ids, lengths


class SyntheticTable:
    """Synthetic pairs with encoded captions, to sample from."""

    def __init__(self, pool: SyntheticPool, vocabulary: Vocabulary, config: DataConfig) -> None:
        self.pool, self.count, self.flip = pool, config.synthetic.pairs, config.augment.flip
        captions = ([[text] for text in texts] for texts in (pool.captions, pool.target_captions))
        longest = config.captions.max_tokens or vocabulary.longest
        self.own, self.target = (CaptionTable(c, vocabulary, max_tokens=longest) for c in captions)

    def pairs(self, source: np.random.Generator) -> SyntheticPairs:
        """Sample as many pairs as the config asks for, half of them mirrored where pictures are."""
        rows = self.pool.pick(source, self.count)
        return self.take(rows, source.random(self.count) < 0.5 if self.flip else None)

    def take(self, rows: NDArray[np.int64], mirror: NDArray[np.bool_] | None = None) -> SyntheticPairs:
        """Give the pairs `rows` (N,), mirrored where `mirror` (N,) is true."""
        pixels = self.pool.pixels[rows]  # (N, S, S, 8)
        if mirror is not None:
            pixels[mirror] = pixels[mirror, :, ::-1]
        values = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        return SyntheticPairs(
            image=values[:, :3] / 127.5 - 1,
            text=as_tokens(*self.own.take(rows)),
            target_text=as_tokens(*self.target.take(rows)),
            target=values[:, 3:6] / 127.5 - 1,
            change=values[:, 6:7] / 255,
            subject=values[:, 7:8] / 255,
        )


def open_pool(
    config: DataConfig,
    cache: str | Path | None = None,
    progress: Progress | None = None,
    *,
    split: Split = "train",
    margin: int = 0,
) -> SyntheticPool:
    """Open the synthetic pairs of `config`; those added to batches are always of the pool's training part."""
    of, size = config.synthetic, config.image_size + margin
    spec = PoolSpec(kind=of.kind, count=of.pool, size=size, seed=of.seed, split=split)
    pool = TriplePool if of.task == "changes" else SyntheticPool
    return pool.open(spec, folder=cache, progress=progress)


def _pixels(
    dataset: CaptionedImages, config: DataConfig, cache: str | Path | None, progress: Progress | None
) -> PixelCache:
    if config.name == "synthetic":
        pool = open_pool(config, cache, progress, split=config.split, margin=config.augment.margin)
        return PixelCache(pool.pixels[..., :3])
    return PixelCache.open(dataset.items, size=config.stored_size, fit=config.fit, folder=cache, progress=progress)


def as_tokens(ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> Tokens:
    """Cut padded ids to the longest caption among them."""
    width = max(1, int(lengths.max(initial=1)))
    counts = torch.from_numpy(lengths)
    return Tokens(torch.from_numpy(np.ascontiguousarray(ids[:, :width])), torch.arange(width)[None] < counts[:, None])


def as_channels(labels: NDArray[np.uint8]) -> Tensor:
    """Subject labels (B, S, S) as channels (B, 2, S, S): 1 on the subject, 1 where anything is known."""
    known = torch.from_numpy(labels != NOTHING_KNOWN)
    return torch.stack([torch.from_numpy(labels == SUBJECT), known], 1).float()


def varied(image: Tensor, config: DataConfig, source: np.random.Generator, scenes: np.random.Generator) -> Tensor:
    """Augment pictures; a share `context` of them is shown whole, small and within a scene."""
    result = augment(image, config, source)
    rows = np.flatnonzero(scenes.random(len(image)) < config.augment.context)
    if len(rows):
        shown = in_scenes(image[rows], image.roll(1, 0)[rows], config.image_size, scenes)
        result[rows] = augment(shown, config.with_section("augment", margin=0, zoom=(1.0, 1.0)), scenes)
    return result


def augment(image: Tensor, config: DataConfig, source: np.random.Generator) -> Tensor:
    """Cut (B, C, S, S) out of pictures (B, C, S + margin, S + margin), each at its own place, angle, zoom and so on.

    One affine sampling for the whole batch, bilinear; outside the picture its border continues. A zoomed picture lies
    anywhere that it fits. Channels after the third move along; brightness and contrast leave them alone.
    """
    count, size, settings = len(image), config.image_size, config.augment
    shift = source.integers(0, settings.margin + 1, (count, 2)) * 2.0 / max(image.shape[-1], 1)
    mirror = np.where(source.random(count) < 0.5 if settings.flip else np.zeros(count, bool), -1.0, 1.0)
    angle = np.deg2rad(source.uniform(-settings.rotate, settings.rotate, count))
    zoom, aspect = (low * (high / low) ** source.random(count) for low, high in (settings.zoom, settings.aspect))
    colour, place = source.uniform(-1, 1, (2, count)), source.uniform(-1, 1, (count, 2))
    extent = size / image.shape[-1]  # of the cut-out, as a share of the picture
    # frame point p in [-1, 1]^2 -> picture point  R S p + t
    sx, sy = mirror * extent / (zoom * np.sqrt(aspect)), extent / zoom * np.sqrt(aspect)
    cos, sin = np.cos(angle), np.sin(angle)
    slack = np.abs(np.stack([np.abs(sx), sy], 1) / extent - 1) * extent
    centre = shift - settings.margin / max(image.shape[-1], 1) + place * slack
    affine = np.stack([cos * sx, -sin * sy, centre[:, 0], sin * sx, cos * sy, centre[:, 1]], 1).astype(np.float32)
    if not np.allclose(affine, (1, 0, 0, 0, 1, 0)):
        steps = (2 * torch.arange(size) + 1) / size - 1  # centres of the pixels
        a, b, x, c, d, y = torch.from_numpy(affine).T[..., None, None]  # (B, 1, 1) each
        across, down = steps[None, None, :], steps[None, :, None]
        grid = torch.stack([a * across + (b * down + x), c * across + (d * down + y)], -1)  # (B, S, S, 2)
        image = F.grid_sample(image, grid, padding_mode="border", align_corners=False)
    if settings.brightness or settings.contrast:
        gain, lift = torch.from_numpy(colour.astype(np.float32)).reshape(2, count, 1, 1, 1)
        colours, rest = image[:, :3], image[:, 3:]
        mean = colours.mean((1, 2, 3), keepdim=True)
        colours = ((colours - mean) * (1 + settings.contrast * gain) + mean + 2 * settings.brightness * lift).clamp(
            -1, 1
        )
        image = torch.cat([colours, rest], 1)
    return image


def vocabulary_of(
    dataset: CaptionedImages,
    config: DataConfig,
    *,
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> Vocabulary:
    """Build a vocabulary: frequent words of a data set's captions, then words of phrases and synthetic captions.

    The data set must be the training split: words of other splits must stay unknown.
    """
    words = list(Vocabulary.build(dataset.captions, min_count=config.captions.min_word_count).words)
    extra: list[str] = []
    if config.captions.phrases:
        extra += [FRAMES]
    if config.captions.changes:
        extra += [WORDING]
    if config.synthetic.pairs:
        pool = open_pool(config, cache, progress)
        extra += pool.captions + pool.target_captions
    known = set(words)
    return Vocabulary([*words, *(word for word in Vocabulary.build(extra).words if word not in known)])
