"""Interpolation between two captions, two photographs or two noises, the figures of the field.

- Two captions, on one photograph (SISGAN) or on one noise (GAN-INT-CLS, StackGAN): their codes are interpolated
  linearly, with all that the model makes of a caption; where two captions differ in length and the model keeps a plain
  mask of its words, all words of both count on the way.
- Two photographs, one caption: what the model keeps of a picture is interpolated; of generators that is the noise of
  the pictures (a style encoder's, or found by search), of SISGAN and TAGAN the maps of their encoders. Of models that
  take pictures as they are (TAGrid), the photographs themselves are blended and each blend is edited. Edits are never
  blended here.
- Two noises, one caption: along the great circle, as samples of a Gaussian in many dimensions lie near a sphere
  (White, "Sampling generative networks", 2016).

`Frames.how` says which of these was done.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from tgim.data.cache import Progress
from tgim.errors import UserError
from tgim.images.decode import SUFFIXES, to_srgb
from tgim.images.encode import QUALITY
from tgim.images.photo import Photo, Source, check_target, open_image, open_to_edit, save_image, to_uint8, write_bytes
from tgim.inference.editor import Editor
from tgim.inference.generator import BATCH, Generator
from tgim.inference.inversion import Inverter
from tgim.models.base import Codes, sample_noise
from tgim.nn.carry import carry_change
from tgim.nn.resize import resize

SIDE = 384  # pixels, the longest side of a photograph in frames
GAP = 2  # pixels between the pictures of a strip
FRAME = 0.15  # seconds
MOVING = {"GIF", "WEBP"}  # formats that hold several pictures


class Frames(NamedTuple):
    """Pictures on the way from one end to the other, both among them."""

    pictures: Tensor  # (N, 3, H, W) in [-1, 1], on the CPU
    how: str  # what was interpolated


@torch.no_grad()
def between_captions(
    maker: Editor | Generator,
    first: str,
    second: str,
    *,
    image: Source | None = None,
    steps: int = 8,
    seed: int = 0,
    side: int = SIDE,
    progress: Progress | None = None,
) -> Frames:
    """Interpolate two captions, on one photograph (`maker` an `Editor`) or on one noise (a `Generator`).

    Args:
        maker: editor or generator.
        first: caption or phrase of the first picture.
        second: of the last.
        image: the photograph, for an editor.
        steps: pictures, the two ends among them.
        seed: of a generator's noise.
        side: longest side in pixels that the photograph is reduced to; generators have their own size.
        progress: called with (done, total), of pictures that are made one after the other.

    Raises:
        UserError: fewer than 2 steps; an editor without a photograph, or a generator with one.
        TextError: a caption cannot be used.
        ImageError: the photograph cannot be read.
    """
    at = _places(steps)
    if isinstance(maker, Generator):
        if image is not None:
            raise UserError("a Generator takes no photograph; open the model as an Editor")
        maker.check(n=1, seed=seed, vary="noise")
        noise = sample_noise(maker.model, 1, seed=seed)[0].expand(steps, -1)
        codes = lerp(maker.condition([first, second]), at)
        return Frames(_generate(maker, codes, noise, progress), "the codes of the captions, on one noise")
    if image is None:
        raise UserError("two captions are interpolated on a photograph; give one, or a generator")
    photo = _reduced(opened(image), side).to(maker.device)
    tokens = maker.vocabulary.encode([maker.caption(text) for text in (first, second)]).to(maker.device)
    model, own = maker.model, maker.model.image_size
    small = resize(photo, (own, own))
    if (inverter := _inverter(maker)) is not None:
        codes = inverter.generator.condition(tokens)
        noise = inverter.invert(small, tuple(code[:1] for code in codes)).noise.expand(steps, -1)
        pictures = _generate(inverter, lerp(codes, at), noise, progress)
        return Frames(pictures, "the codes of the captions, on the photograph's noise")
    if (ends := model.condition(tokens)) is not None:
        codes = lerp(ends, at)
        frames = [model.edit_photo_from(photo, _row(codes, i)).cpu() for i in _telling(range(steps), progress)]
        return Frames(torch.cat(frames), "the codes of the captions")
    edits = model.edit(small.expand(2, -1, -1, -1), tokens).float()
    between = lerp((edits,), at)[0]
    frames = [carry_change(photo, small, edited[None]) for edited in _telling(between, progress)]
    return Frames(torch.cat(frames).cpu(), f"the two edits, as {model.name} has no codes of captions to interpolate")


@torch.no_grad()
def between_pictures(
    editor: Editor,
    first: Source,
    second: Source,
    text: str,
    *,
    steps: int = 8,
    side: int = SIDE,
    progress: Progress | None = None,
) -> Frames:
    """Interpolate two photographs, both edited by one caption; of each the central square is taken.

    Args:
        editor: edits, or inverts and generates.
        first: photograph of the first picture.
        second: of the last.
        text: caption or phrase.
        steps: pictures, the two ends among them.
        side: of the pictures in pixels where photographs are blended; other models give their own size.
        progress: called with (done, total).

    Raises:
        UserError: fewer than 2 steps.
        TextError: the caption cannot be used.
        ImageError: a photograph cannot be read.
    """
    at, model, own = _places(steps), editor.model, editor.model.image_size
    squares = [square(opened(source)).to(editor.device) for source in (first, second)]
    small = torch.cat([resize(square, (own, own)) for square in squares])
    caption = editor.caption(text)
    tokens = editor.vocabulary.encode([caption] * 2).to(editor.device)
    if (inverter := _inverter(editor)) is not None:
        condition = inverter.generator.condition(tokens)
        noise = inverter.invert(small, condition).noise
        pictures = _generate(inverter, lerp(condition, at), slerp(noise[0], noise[1], at), progress)
        return Frames(pictures, "the noise of the photographs, on the great circle")
    encoded, codes = model.encode(small), model.condition(tokens)
    if encoded is not None and codes is not None:
        between, caption_code = lerp(encoded, at), _row(codes, 0)
        frames = [
            model.edit_from(_row(between, i), caption_code).float().clamp(-1, 1)
            for i in _telling(range(steps), progress)
        ]
        return Frames(torch.cat(frames).cpu(), "what the model sees of the photographs")
    ends = torch.cat([resize(square, (side, side)) for square in squares])
    frames = [editor.edit_batch(blend[None], [caption]) for blend in _telling(lerp((ends,), at)[0], progress)]
    return Frames(torch.cat(frames), "the photographs, each blend then edited")


@torch.no_grad()
def between_noises(
    generator: Generator, text: str, *, steps: int = 8, seed: int = 0, progress: Progress | None = None
) -> Frames:
    """Interpolate two noises under one caption, along the great circle.

    Args:
        generator: of the pictures.
        text: caption or phrase.
        steps: pictures, the two ends among them: the first two of `Generator.generate` with this seed.
        seed: of the two noises.
        progress: called with (done, total).

    Raises:
        UserError: fewer than 2 steps, or a seed out of range.
        TextError: the caption cannot be used.
    """
    at = _places(steps)
    generator.check(n=2, seed=seed, vary="noise")
    first, second = sample_noise(generator.model, 2, seed=seed)[0]
    codes = tuple(code.expand(steps, *code.shape[1:]) for code in generator.condition([text]))
    return Frames(_generate(generator, codes, slerp(first, second, at), progress), "the noise, on the great circle")


def lerp(codes: Codes, at: Tensor) -> Codes:
    """Codes (2, ...) of two ends to codes (N, ...) at places `at` (N,) from 0 to 1, linearly.

    Of masks, both ends count in between; of whole numbers, the nearer end.

    >>> lerp((torch.tensor([[0.0], [8.0]]), torch.tensor([[True], [False]])), torch.tensor([0.0, 0.25, 1.0]))
    (tensor([[0.],
            [2.],
            [8.]]), tensor([[ True],
            [ True],
            [False]]))
    """

    def along(code: Tensor) -> Tensor:
        place = at.to(code.device).view(-1, *[1] * (code.ndim - 1))
        start, end = code[:1], code[1:2]
        if code.is_floating_point():
            return torch.lerp(start, end, place.to(code.dtype))
        between = start | end if code.dtype == torch.bool else torch.where(place < 0.5, start, end)
        return torch.where(place <= 0, start, torch.where(place >= 1, end, between))

    return tuple(along(code) for code in codes)


def slerp(start: Tensor, end: Tensor, at: Tensor) -> Tensor:
    """Vectors (N, Z) at places `at` (N,) from 0 to 1 on the great circle from `start` (Z,) to `end` (Z,).

    Opposite or parallel vectors, and zero, are interpolated linearly.

    >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.5, 1.0]))
    tensor([[1.0000, 0.0000],
            [0.7071, 0.7071],
            [0.0000, 1.0000]])
    """
    angle = F.cosine_similarity(start, end, dim=0).clamp(-1, 1).arccos()
    if angle.sin() < 1e-3 or 0 in (start.norm(), end.norm()):
        return lerp((torch.stack([start, end]),), at)[0]
    place = at.to(start)[:, None]
    return ((1 - place) * angle).sin() / angle.sin() * start + (place * angle).sin() / angle.sin() * end


def strip(pictures: Tensor) -> Image.Image:
    """Pictures (N, 3, H, W) in [-1, 1] side by side, on white."""
    count, _, height, width = pictures.shape
    sheet = Image.new("RGB", (count * (width + GAP) - GAP, height), "white")
    for i, picture in enumerate(pictures):
        sheet.paste(Photo(picture).to_pil(), (i * (width + GAP), 0))
    return sheet


def save_frames(pictures: Tensor, path: str | os.PathLike[str], *, quality: int | None = None) -> Path:
    """Write pictures (N, 3, H, W) in [-1, 1], whole or not at all: moving for .gif and .webp, else as a `strip`.

    Moving pictures go round without end. Equal calls write equal files.

    Raises:
        ImageError: unknown suffix, missing folder, a target that cannot be written, too large for the format.
    """
    target, kind = check_target(path)
    if kind not in MOVING:
        return save_image(open_image(strip(pictures)), path, quality=quality)
    first, *rest = (Image.fromarray(x.permute(1, 2, 0).contiguous().numpy()) for x in to_uint8(pictures))
    buffer = io.BytesIO()
    options: dict[str, Any] = {"quality": quality or QUALITY} if kind == "WEBP" else {}
    first.save(buffer, kind, save_all=True, append_images=rest, duration=round(1000 * FRAME), loop=0, **options)
    write_bytes(target, buffer.getvalue())
    return Path(path)


def is_moving(path: str | os.PathLike[str]) -> bool:
    """Test by the suffix whether `save_frames` would write moving pictures to `path`."""
    return SUFFIXES.get(Path(path).suffix.lower()) in MOVING


def _places(steps: int) -> Tensor:
    if steps < 2:
        raise UserError(f"steps is {steps}, expected 2 or more: the two ends are among them")
    return torch.linspace(0, 1, steps)


def _inverter(editor: Editor) -> Inverter | None:
    """Make the inverter of a generator or a style encoder that edits; None for other editors."""
    return Inverter.of(editor.model)


def _telling(rows: Any, progress: Progress | None) -> Iterator[Any]:
    """Give rows one after the other, and tell how many are done."""
    for done, row in enumerate(rows, 1):
        yield row
        if progress is not None:
            progress(done, len(rows))


def _generate(maker: Generator | Inverter, codes: Codes, noise: Tensor, progress: Progress | None) -> Tensor:
    """Generate pictures (N, 3, S, S) from codes (N, ...) and noise (N, Z), a few at a time, on the CPU."""
    model = maker.model if isinstance(maker, Generator) else maker.generator
    noise = noise.to(codes[0].device)
    batches = [slice(start, start + BATCH) for start in range(0, len(noise), BATCH)]
    parts = [
        model.generate_from(tuple(code[rows] for code in codes), noise[rows]) for rows in _telling(batches, progress)
    ]
    return torch.cat(parts).float().clamp(-1, 1).cpu()


def _row(codes: Codes, i: int) -> Codes:
    return tuple(code[i : i + 1] for code in codes)


def opened(source: Source) -> Photo:
    """Open a photograph in sRGB: what is made of it has no profile.

    Raises:
        ImageError: it cannot be read.
    """
    photo = open_to_edit(source)
    rgb = to_srgb(photo.to_pil().convert("RGB"), photo.icc) if photo.icc else None
    return photo if rgb is None else open_image(rgb)


def _reduced(photo: Photo, side: int) -> Tensor:
    """The photograph's pixels (1, 3, H, W), its longer side at most `side`."""
    scale = min(1.0, side / max(photo.height, photo.width))
    return resize(photo.tensor[None], (max(1, round(scale * photo.height)), max(1, round(scale * photo.width))))


def square(photo: Photo) -> Tensor:
    """Cut out the square in the middle of the photograph, (1, 3, h, h)."""
    side = min(photo.height, photo.width)
    top, left = (photo.height - side) // 2, (photo.width - side) // 2
    return photo.tensor[None, :, top : top + side, left : left + side]
