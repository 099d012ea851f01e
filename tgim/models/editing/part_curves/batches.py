"""Batches for `part_curves`: pictures whose parts are described once, and texts that say what to make of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tgim.data.alterations import Alterations
from tgim.data.base import CaptionedImages, Item, Stream, random_source
from tgim.data.batch import Batch, DescribedPictures, PartLessons
from tgim.data.cache import Progress, cache_folder, crop_region, kept_array, new_array, readable, state_of
from tgim.data.config import DataConfig
from tgim.data.loader import CaptionTable, PhraseTable, as_tokens, open_pool
from tgim.data.views import read_picture
from tgim.errors import DataError
from tgim.images.photo import as_array, from_uint8, to_uint8
from tgim.images.resample import Floats
from tgim.models.editing.painting.rules import subject_of
from tgim.models.editing.painting.words import Colour
from tgim.models.editing.part_curves.described import STATISTICS, TONES, VIEW, describe
from tgim.models.editing.part_curves.head import feature_count
from tgim.models.editing.part_curves.lessons import Phrases, colours_of, curve_of, curves_of, names_of
from tgim.models.editing.part_curves.pieces import seen
from tgim.models.parsing.localiser import PartLocaliser
from tgim.models.parsing.part_maps import framed
from tgim.nn.resize import resize
from tgim.text.lexicon.colours import HUELESS
from tgim.text.lexicon.colours import PLAIN as NAMED
from tgim.text.phrases import variants
from tgim.text.vocabulary import Tokens, Vocabulary

ROOM = (1.05, 1.6)  # side of a frame over the picture's longer side
OFF = 0.08  # of that: how far the picture lies off its middle
SEED = 0  # of frames, and of the choice of pictures: whatever a run's own, they are described once
VERSION = 1  # of what is kept: raise it when the same pictures would give other descriptions
ALREADY = 0.3  # share of a part's pixels that have a colour from which on it may be there already
OWN, ALTERED, OTHERS = 1, 1, 2  # lessons of each picture: its own caption, that altered, other pictures' ...
BARELY, APART = 0.06, 25.0  # share of a part's pixels, and lightness: what is farther off a colour does not have it
PHRASES_OF_OWN = 0.4  # of the own captions, phrases are cut from so many
SYNTHETIC_POOL = 1500  # synthetic pictures at the most
Lesson = tuple[str, Tensor, Mapping[int, tuple[Colour, ...]], float]  # text, gates, colours, weight of their tones


class EditBatches:
    """Batches of described pictures: `batch(step)` depends on the constructor's arguments and `step` alone.

    Takes what `tgim.data.loader.Batches` takes, after the localiser that describes them and the side of pictures.

    Args:
        localiser: finds and describes the parts.
        size: S, pixels a side of the pictures given out.
        pictures: of the data set at the most, the same for all seeds.
        taught: photographs of a batch that lessons are of, and all its synthetic pictures.
        phrases: lessons of each of them that are phrases of the painter's.
        caption_weight: of the painter's tones for a caption, of which 1 are those for a phrase.
    """

    def __init__(
        self,
        localiser: PartLocaliser,
        dataset: CaptionedImages,
        config: DataConfig,
        *,
        size: int,
        pictures: int,
        taught: int,
        phrases: int,
        caption_weight: float,
        batch_size: int,
        vocabulary: Vocabulary,
        seed: int = 0,
        cache: str | Path | None = None,
        progress: Progress | None = None,
        limit: int | None = None,
    ) -> None:
        items: Sequence[Item] = dataset.items if limit is None else dataset.items[:limit]
        if len(items) > pictures and config.name != "synthetic":
            chosen = random_source(SEED, Stream.FRAMES).permutation(len(items))[:pictures]
            items = [items[i] for i in sorted(chosen.tolist())]
        if config.name != "synthetic":
            whole = readable(sorted(item.path for item in items), folder=cache, progress=progress)
            items = [item for item in items if item.path in whole]
        if not items:
            raise DataError(f"{dataset.root} has no usable picture; run tgim data check on it to see why")
        self.parts, self.batch_size, self.seed = localiser.parts, batch_size, seed
        self.taught, self.phrases, self.caption_weight = taught, phrases, caption_weight
        self.vocabulary, self.config, self.total = vocabulary, config, min(pictures, len(dataset))
        folder = cache_folder(cache)
        maker = _Maker(localiser, items, size)
        if config.name == "synthetic":
            rendered = open_pool(config, cache, progress, split=config.split, margin=config.augment.margin)
            maker = _PoolMaker(localiser, rendered.pixels[: len(items)], size)
        name = f"described-{size}-{maker.key()}"
        self.rows, _ = kept_array(folder, name, lambda path: maker.make(path, progress))
        self.photographs = len(items)
        class_ids = {label: i for i, label in enumerate(dataset.classes)}
        self.labels = np.array([class_ids.get(item.label or "", -1 - row) for row, item in enumerate(items)])
        captions: list[Sequence[str]] = [item.captions for item in items]
        self.targets: list[str] = []
        self.synthetic = 0
        if config.synthetic.pairs:
            pool = open_pool(config, cache, progress)
            count = min(SYNTHETIC_POOL, len(pool.captions))
            made = _PoolMaker(localiser, pool.pixels[:count], size)
            kept, _ = kept_array(
                folder, f"described-synthetic-{size}-{made.key()}", lambda path: made.make(path, progress)
            )
            self.pool, self.synthetic = kept, count
            self.targets = pool.target_captions[:count]
            captions += [[text] for text in pool.captions[:count]]
        self.captions = captions
        longest = config.captions.max_tokens or vocabulary.longest
        self.table = CaptionTable(captions, vocabulary, max_tokens=longest)
        self.cuts = PhraseTable(captions, vocabulary, max_tokens=longest) if config.captions.phrases else None
        self.alter, self.write = Alterations(vocabulary), Phrases(self.parts, subject_of(localiser))
        self.longest = longest
        self._orders: dict[int, NDArray[np.int64]] = {}

    @property
    def steps_per_epoch(self) -> float:
        """Batches in which each photograph is seen once."""
        return self.photographs / self.batch_size

    def mapped(self, pictures: int, pairs: int) -> int:
        """Bytes of the cache that a run has mapped in the end."""
        return int(self.rows.dtype.itemsize) * (self.total + self.synthetic)

    def batch(self, step: int) -> Batch:
        """The batch of `step` (0, 1, ...), on the CPU; synthetic pictures come after photographs."""
        source = random_source(self.seed, Stream.LESSONS, step)
        rows = self._photographs(step)
        found = self.rows[rows]
        if self.synthetic:
            more = source.integers(0, self.synthetic, self.config.synthetic.pairs)
            found = np.concatenate([found, self.pool[more]])
            rows = np.concatenate([rows, self.photographs + more])
        image = from_uint8(torch.from_numpy(np.ascontiguousarray(found["picture"])).permute(0, 3, 1, 2))
        index, share = (torch.from_numpy(np.ascontiguousarray(found[name])) for name in ("index", "share"))
        if self.config.augment.flip:
            mirror = torch.from_numpy(source.random(len(rows)) < 0.5)[:, None, None, None]
            image, index, share = (torch.where(mirror, x.flip(-1), x) for x in (image, index, share))
        picks = self.table.choose(rows, source.random(len(rows)))
        text = self._cut(picks, source)
        altered = Tokens(torch.from_numpy(self.alter(text.ids.numpy(), source)), text.mask)
        features, tones = (torch.from_numpy(found[name].astype(np.float32)) for name in ("features", "tones"))
        labels = torch.from_numpy(
            np.concatenate([self.labels[rows[rows < self.photographs]], -1 - rows[rows >= self.photographs]])
        )
        asked = torch.stack([self._named(ids) for ids in text.ids])
        hidden = features[:, :, VIEW] < 0.5
        hidden[:, 0] = False
        real = torch.from_numpy(rows < self.photographs)
        described = DescribedPictures(features, tones, index.long(), share.float() / 255, asked, hidden, real)
        lessons = self._lessons(rows, found, source)
        return Batch(image.contiguous(), text, labels, altered=altered, parts=described, lessons=lessons)

    def _photographs(self, step: int) -> NDArray[np.int64]:
        count = self.photographs
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        return np.concatenate(
            [self._order(epoch)[places[places // count == epoch] % count] for epoch in np.unique(places // count)]
        )

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:
            self._orders = {e: order for e, order in self._orders.items() if e >= epoch - 1}
            self._orders[epoch] = random_source(self.seed, Stream.EPOCH, epoch).permutation(self.photographs)
        return self._orders[epoch]

    def _cut(self, picks: NDArray[np.int64], source: np.random.Generator) -> Tokens:
        ids, lengths = self.table.take(picks)
        if self.cuts is not None:
            use, which = source.random(len(picks)) < self.config.captions.phrases, source.random(len(picks))
            ids, lengths = self.cuts.replace(ids, lengths, picks, use, which)
        return as_tokens(ids, lengths)

    def _said(self, ids: Any) -> str:
        return " ".join(self.vocabulary.words[int(i) - 2] for i in ids if i > 1)

    def _named(self, ids: Tensor) -> Tensor:
        """Mark the parts (P,) to which a caption gives a colour."""
        return named(colours_of(self._said(ids), self.parts), len(self.parts))

    def _lessons(self, rows: NDArray[np.int64], found: Any, source: np.random.Generator) -> PartLessons:
        """Texts for each picture, and what they ask of its parts."""
        texts, gates, curves, weights = [], [], [], []
        shares = found["features"][:, :, -len(NAMED) :].astype(np.float32)
        taught = np.flatnonzero((np.arange(len(rows)) < self.taught) | (rows >= self.photographs))
        for place, row in zip(taught.tolist(), rows[taught].tolist(), strict=True):
            own = self.captions[row][int(source.integers(len(self.captions[row])))]
            before = colours_of(own, self.parts)
            cut = variants(own) if source.random() < PHRASES_OF_OWN else ()
            true = cut[int(source.integers(len(cut)))] if cut else own
            mine: list[Lesson] = [(true, torch.zeros(len(self.parts)), {}, 0.0)]
            ids = np.array([self.vocabulary.ids(own)[: self.longest]])
            changed = self._said(self.alter(ids, source)[0])
            after = colours_of(changed, self.parts)
            new = {part: colours for part, colours in after.items() if before.get(part) != colours}
            mine.append((changed, named(new, len(self.parts)), new, self.caption_weight))
            if row >= self.photographs:
                target = self.targets[row - self.photographs]
                after = colours_of(target, self.parts)
                new = {part: colours for part, colours in after.items() if before.get(part) != colours}
                mine.append((target, named(new, len(self.parts)), new, 1.0))
            while len(mine) < OWN + ALTERED + OTHERS:
                other = int(source.integers(len(self.captions)))
                caption = self.captions[other][int(source.integers(len(self.captions[other])))]
                asked = colours_of(caption, self.parts)
                gate = named(asked, len(self.parts))
                for part, colours in asked.items():
                    if not lacks(found["features"][place, part], colours):
                        gate[part] = -1
                mine.append((caption, gate, asked, self.caption_weight))
            for _ in range(self.phrases):
                phrase = self.write(source)
                asked = colours_of(phrase, self.parts)
                gate = named(asked, len(self.parts))
                for part, colours in asked.items():
                    if shares[place, part][names_of(colours)].sum() > ALREADY:
                        gate[part] = -1
                mine.append((phrase, gate, asked, 1.0))
            for text, gate, asked, weight in mine[: OWN + ALTERED + OTHERS + self.phrases]:
                texts.append(text)
                gates.append(gate)
                curves.append(curves_of(asked, len(self.parts)))
                weights.append(weight * named(asked, len(self.parts)))
        count, tokens = len(taught), self.vocabulary.encode(texts)
        return PartLessons(
            torch.from_numpy(taught),
            tokens.ids.view(count, -1, tokens.ids.shape[1]),
            tokens.mask.view(count, -1, tokens.ids.shape[1]),
            torch.stack(gates).view(count, -1, len(self.parts)),
            torch.stack(curves).view(count, -1, len(self.parts), 9),
            torch.stack(weights).view(count, -1, len(self.parts)),
        )


def lacks(features: NDArray[Any], colours: Sequence[Colour]) -> bool:
    """Tell whether a part of some features (F,) is far from having any of some colours, as captions use them."""
    share = features[-len(NAMED) :].astype(np.float32)
    if share[names_of(colours)].sum() > BARELY:
        return False
    if not {colour.name for colour in colours} & set(HUELESS):
        return True
    usual = 50 + 50 * float(features[-STATISTICS + 1])
    return all(abs(float(curve_of((colour,))[1]) - usual) > APART for colour in colours)


def named(colours: Any, parts: int) -> Tensor:
    """Mark (P,) the parts of a mapping with 1."""
    found = torch.zeros(parts)
    found[list(colours)] = 1
    return found


class _Maker:
    """Maker of the described pictures of a data set."""

    def __init__(self, localiser: PartLocaliser, items: Sequence[Item], size: int) -> None:
        self.localiser, self.items, self.size = localiser, items, size

    def key(self) -> str:
        """Hash all that the descriptions depend on."""
        digest = hashlib.sha256(json.dumps([VERSION, self.size, SEED, ROOM, OFF]).encode())
        for item in self.items:
            digest.update(repr((item.path.absolute().as_posix(), *state_of(item.path), item.box)).encode())
        return _with_weights(digest, self.localiser)

    def __len__(self) -> int:
        return len(self.items)

    def picture(self, row: int) -> Tensor:
        """A frame (1, 3, S, S) about the picture, S the localiser's side."""
        item, source = self.items[row], random_source(SEED, Stream.FRAMES, row)
        pixels = read_picture(item.path)
        if item.box is not None:
            left, top, right, bottom = (round(v) for v in crop_region(item.box, (pixels.shape[1], pixels.shape[0])))
            pixels = pixels[top:bottom, left:right]
        height, width = pixels.shape[:2]
        low, high = ROOM
        side = max(height, width) * (low + (high - low) * source.random())
        x, y = ((each - side) / 2 + source.uniform(-OFF, OFF) * side for each in (width, height))
        photo: Floats = from_uint8(pixels.transpose(2, 0, 1))
        frame = round(x), round(y), round(side), round(side)
        return torch.from_numpy(framed(photo, frame, self.localiser.image_size))[None]

    def make(self, path: Path, progress: Progress | None) -> dict[str, Any]:
        """Describe all pictures and write them."""
        parts, size = len(self.localiser.parts), self.size
        features = feature_count(self.localiser.config.backbone)
        kind = np.dtype([
            ("picture", np.uint8, (size, size, 3)), ("index", np.uint8, (2, size, size)),
            ("share", np.uint8, (2, size, size)), ("features", np.float16, (parts, features)),
            ("tones", np.float32, (parts, TONES)),
        ])  # fmt: skip
        rows = new_array(path, dtype=kind, shape=(len(self),))
        for row in range(len(self)):
            picture = self.picture(row)
            maps, own = seen(self.localiser, as_array(picture[0]))
            parts_seen = describe(as_array(picture[0]), own, maps)
            small = resize(torch.from_numpy(parts_seen.shares)[None, 1:], (size, size))[0].clamp(0, 1)
            share, index = small.topk(2, 0) if len(small) > 1 else (small.repeat(2, 1, 1), torch.zeros(2, size, size))
            if len(small) == 1:
                share = share * torch.tensor([1.0, 0.0])[:, None, None]
            rows[row]["picture"] = to_uint8(resize(picture, (size, size)))[0].permute(1, 2, 0).numpy()
            rows[row]["index"], rows[row]["share"] = index.numpy() + 1, (share * 255).round().numpy()
            rows[row]["features"], rows[row]["tones"] = parts_seen.features, parts_seen.tones
            if progress is not None:
                progress(row + 1, len(self))
        rows.flush()
        return {}


class _PoolMaker(_Maker):
    """Maker of described synthetic pictures."""

    def __init__(self, localiser: PartLocaliser, pixels: NDArray[np.uint8], size: int) -> None:
        self.localiser, self.pixels, self.size = localiser, pixels, size

    def key(self) -> str:
        digest = hashlib.sha256(json.dumps([VERSION, self.size, len(self.pixels)]).encode())
        digest.update(np.ascontiguousarray(self.pixels[:8]).tobytes())
        return _with_weights(digest, self.localiser)

    def __len__(self) -> int:
        return len(self.pixels)

    def picture(self, row: int) -> Tensor:
        side = self.localiser.image_size
        photo = from_uint8(torch.from_numpy(np.ascontiguousarray(self.pixels[row, ..., :3])).permute(2, 0, 1))[None]
        return resize(photo, (side, side))


def _with_weights(digest: Any, localiser: PartLocaliser) -> str:
    for name, value in localiser.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return str(digest.hexdigest()[:20])
