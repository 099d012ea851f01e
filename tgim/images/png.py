"""PNG files past the limits of Pillow: long texts and profiles, and the lower half of 16-bit colours."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from tgim.errors import ImageError

TEXTS = (b"tEXt", b"zTXt", b"iTXt")
LONGEST = 2**19  # bytes of a text, or of all of them: half of what Pillow bears of one; longer ones are of no use here
LARGEST_PROFILE = 2**24  # bytes
RAW = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}  # how Pillow takes the upper bytes of pixels, and the lower ones


class Chunk(NamedTuple):
    """A chunk of a PNG file."""

    name: bytes
    start: int  # of its length field
    length: int  # of its data

    @property
    def end(self) -> int:
        """The place after its checksum."""
        return self.start + 12 + self.length


def chunks(file: BinaryIO) -> Iterator[Chunk]:
    """Yield the chunks of a PNG file up to its end, or to where it is broken."""
    place = 8
    while True:
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return
        chunk = Chunk(head[4:], place, int.from_bytes(head[:4], "big"))
        yield chunk
        if chunk.name == b"IEND":
            return
        place = chunk.end


def lean(file: BinaryIO) -> tuple[BinaryIO, bytes | None]:
    """Leave out long texts, which Pillow refuses together with the picture.

    Returns:
        The file, or a copy of it without them, and its colour profile if Pillow would refuse that, too.
    """
    left_out: list[Chunk] = []
    texts, profile = 0, None
    for chunk in chunks(file):
        if chunk.name not in (*TEXTS, b"iCCP"):
            continue
        if chunk.name == b"iCCP":
            found = _inflated(file, chunk, LARGEST_PROFILE)
            if len(found) <= LONGEST:
                continue
            profile = found if len(found) <= LARGEST_PROFILE else None
        else:
            texts += chunk.length if chunk.name == b"tEXt" else len(_inflated(file, chunk, LONGEST))
            if texts <= LONGEST:
                continue
        left_out.append(chunk)
    file.seek(0)
    if not left_out:
        return file, None
    kept, place = io.BytesIO(), 0
    for chunk in left_out:
        kept.write(file.read(chunk.start - place))
        file.seek(chunk.end)
        place = chunk.end
    kept.write(file.read())
    kept.seek(0)
    return kept, profile


def _inflated(file: BinaryIO, chunk: Chunk, most: int) -> bytes:
    """The text or profile of a chunk, no more than `most` + 1 bytes of it."""
    file.seek(chunk.start + 8)
    data = file.read(min(chunk.length, 2 * most))
    rest = data.partition(b"\0")[2]
    if chunk.name == b"iTXt":
        if rest[:1] != b"\1":
            return rest[: most + 1]
        rest = rest[1:].split(b"\0", 2)[-1]
    try:
        return zlib.decompressobj().decompress(rest[1:], most + 1)
    except zlib.error:
        return b""


def deep_pixels(file: BinaryIO, image: Image.Image) -> npt.NDArray[np.uint16] | None:
    """Colours (H, W, C) of a PNG file of 16 bits that Pillow cuts to 8: grey and alpha, RGB, or RGBA; None for others.

    Args:
        file: the file.
        image: what Pillow opened of it; not loaded.
    """
    raw = _raw_mode(image)
    if raw == "LA;16B":  # four bytes, which pass as four colours
        four = np.asarray(_decoded(file, "RGBA", "RGBA")).astype(np.uint16)
        four[..., ::2] <<= 8
        four[..., ::2] |= four[..., 1::2]
        return four[..., ::2]
    if raw not in RAW:
        return None
    mode = raw.partition(";")[0]
    upper = np.asarray(_decoded(file, mode, raw)).astype(np.uint16)
    upper <<= 8
    upper |= np.asarray(_decoded(file, mode, RAW[raw]))
    return upper


def grey_step(image: Image.Image) -> int:
    """Distance of two greys of a PNG file of 2 or 4 bits, which Pillow brings to 8; it is not loaded."""
    return {"L;2": 85, "L;4": 17}.get(_raw_mode(image), 1)


def _raw_mode(image: Image.Image) -> str:
    """Pillow's name of how the pixels of a PNG file lie, before it is loaded; else empty."""
    tiles: Any = getattr(image, "tile", ())
    if image.format != "PNG" or len(tiles) != 1:
        return ""
    raw = tiles[0][3]
    return str(raw[0] if isinstance(raw, tuple) else raw)


def _decoded(file: BinaryIO, mode: str, raw: str) -> Image.Image:
    file.seek(0)
    image: Any = Image.open(file, formats=("PNG",))
    if image.mode != mode:
        raise ImageError(f"is a PNG file of mode {image.mode}, which is not known; save it with 8 bits a channel")
    decoder, extent, offset, _ = image.tile[0]
    image.tile = [(decoder, extent, offset, raw)]
    image.load()
    return image  # type: ignore[no-any-return]
