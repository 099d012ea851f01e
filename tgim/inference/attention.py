"""Attention of a generator: for each word of a caption, its map laid over the generated picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from tgim.images.photo import from_uint8, to_uint8
from tgim.images.sheet import contact_sheet
from tgim.nn.resize import resize

DARK = 0.15  # brightness that is left where a word is not attended to at all


def lay_over(image: Tensor, weights: Tensor) -> Tensor:
    """Darken pictures (N, 3, H, W) in [-1, 1] by maps of weights (N, h, w), not negative; the same shape.

    Maps are enlarged smoothly and divided by their own maximum: where a word's attention is highest, the picture is as
    it was. One that is even everywhere leaves the whole picture so.

    >>> lay_over(torch.ones(1, 3, 2, 2), torch.tensor([[[1.0, 0.0], [0.5, 1.0]]]))[0, 0]
    tensor([[ 1.0000, -0.7000],
            [ 0.1500,  1.0000]])
    """
    if image.ndim != 4 or weights.ndim != 3 or len(image) != len(weights):
        shapes = f"{tuple(image.shape)} and {tuple(weights.shape)}"
        raise ValueError(f"pictures and maps are {shapes}, expected (N, 3, H, W) and (N, h, w)")
    fine = F.interpolate(weights[:, None].float(), image.shape[-2:], mode="bilinear", align_corners=False)
    light = DARK + (1 - DARK) * fine / fine.amax((2, 3), keepdim=True).clamp(min=1e-12)
    return (image.float() + 1) * light - 1


def attention_sheet(
    images: Tensor,
    maps: Tensor | Sequence[Tensor],
    words: Sequence[Sequence[str]],
    *,
    most: int | None = None,
    cell: int = 128,
) -> Image.Image:
    """Make a contact sheet: a row a picture, then each word of its caption with the word's map.

    Args:
        images: (B, 3, S, S) in [-1, 1].
        maps: (B, T, h, w), one of what `AttnGAN.attention_maps` gives of the same captions; or B of them, each with a
            T of its own.
        words: of each caption, in order; at most T are shown, as the model read no more.
        most: show only so many words of each caption, those with the highest peaks, in their order.
        cell: side of a cell in pixels.

    Raises:
        ValueError: another number of maps or captions than of pictures, or a caption without words.
    """
    if not len(images) == len(maps) == len(words):
        raise ValueError(f"{len(images)} pictures, {len(maps)} maps and {len(words)} captions; one of each is needed")
    if not all(words):
        raise ValueError("a caption has no words, so there is nothing that was attended to; leave its picture out")
    rows: list[list[Tensor]] = []
    for image, weights, caption in zip(images.detach().cpu(), maps, words, strict=True):
        own = weights.detach().cpu()  # T, h, w
        shown = list(range(min(len(caption), len(own))))
        if most is not None:
            shown = sorted(sorted(shown, key=lambda i: -float(own[i].max()))[:most])
        small = resize(image[None].float(), (cell, cell))
        laid = lay_over(small.expand(len(shown), -1, -1, -1), own[shown])
        rows.append([small[0], *(_named(cell_, caption[i]) for cell_, i in zip(laid, shown, strict=True))])
    return contact_sheet(rows, row_labels=[" ".join(caption) for caption in words], cell=cell)


def _named(picture: Tensor, word: str) -> Tensor:
    """A picture (3, H, W) with a word on a dark strip at its top."""
    image = Image.fromarray(to_uint8(picture).permute(1, 2, 0).contiguous().numpy())
    size = max(9, image.height // 9)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, image.width, size + 3), fill="black")
    draw.text((2, 0), word, fill="white", font=ImageFont.load_default(size))
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return from_uint8(pixels.view(image.height, image.width, 3).permute(2, 0, 1))
