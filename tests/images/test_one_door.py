"""One reader for all: every way into the library sees the same upright pixels of a file, and refuses the same files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.datasets import make
from support.mutants import SAMPLES, mutants
from support.pictures import encoded, picture, rgb
from support.tiffs import png
from tgim.data import check
from tgim.data import folder as own_folder
from tgim.data.cache import PixelCache, decode
from tgim.data.points import size_of
from tgim.data.views import read_picture
from tgim.errors import ImageError
from tgim.images.decode import upright_size
from tgim.images.photo import open_image
from tgim.inference.scoring import read_square


def on_white(path: Path) -> np.ndarray:
    """The picture as editing sees it, put on white."""
    photo = open_image(path).to_pil().convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo).convert("RGB"))


@pytest.mark.parametrize("kind", SAMPLES)
def test_all_readers_see_the_same_pixels(kind: str, tmp_path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(SAMPLES[kind])
    whole = on_white(path)
    assert upright_size(str(path)) == size_of(path) == whole.shape[1::-1]
    assert np.abs(read_picture(path).astype(int) - whole).max() <= 1
    small = Image.fromarray(whole).resize((16, 16), Image.Resampling.BICUBIC, reducing_gap=3.0)
    assert np.abs(decode(path, size=16).astype(int) - np.asarray(small)).max() <= 1
    assert np.array_equal(read_square(path, size=16), decode(path, size=16))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_readers_turn_pictures_upright(orientation: int, tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    path.write_bytes(encoded(Image.fromarray(picture(120, 200)), "JPEG", exif=exif))
    whole = on_white(path)
    size = (120, 200) if orientation > 4 else (200, 120)
    assert upright_size(str(path)) == whole.shape[1::-1] == size
    assert read_picture(path).shape == whole.shape
    for found in (decode(path, size=8), read_square(path, size=8), decode(path, size=8, box=(-500, -500, 1000, 1000))):
        small = Image.fromarray(whole).resize((8, 8), Image.Resampling.BICUBIC)
        assert np.abs(found.astype(int) - np.asarray(small)).max() <= 12


def test_broken_exif_of_a_data_set_is_no_fault(tmp_path) -> None:
    root = make(tmp_path, "folder")
    block = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x87\x69\0\x05\0\0\0\x01\0\0\xff\xff" + bytes(4)
    for path in sorted((root / "images").iterdir())[:2]:
        path.write_bytes(encoded(Image.fromarray(picture()), "JPEG", exif=block))
    assert not check(root).problems
    assert not PixelCache.open(own_folder.load(root, split="all").items, size=8, folder=tmp_path / "c").problems


def broken_set(root: Path, kinds: list[str]) -> Path:
    """A data set some of whose pictures are damaged, and one is a pipe."""
    make(root, "folder")
    paths = sorted((root / "images").iterdir())
    for path, kind in zip(paths, kinds, strict=False):
        path.write_bytes(next(mutants(kind, 3)))
    paths[-1].write_bytes(b"")
    paths[-2].write_bytes(SAMPLES["TIFF 16 planar"][:-100])
    return root


@pytest.mark.parametrize("start", range(0, len(SAMPLES), 6))
def test_check_tells_what_training_leaves_out(start: int, tmp_path) -> None:
    root = broken_set(tmp_path, list(SAMPLES)[start : start + 6])
    told = {p.path: p.message for p in check(root).problems if p.kind == "unreadable picture"}
    items = own_folder.load(root, split="all").items
    cache = PixelCache.open(items, size=8, folder=tmp_path / "c")
    left_out = {Path(p.path).relative_to(root).as_posix(): p.message for p in cache.problems}
    assert told == left_out
    assert len(told) >= 2
    assert not any(str(root) in message or "\n" in message for message in told.values())


def test_pipes_devices_and_folders_are_refused_at_once(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    ways = (open_image, lambda path: decode(path, size=8), lambda path: upright_size(str(path)))
    for path in (tmp_path / "pipe.jpg", tmp_path / "folder.jpg", Path("/dev/zero"), tmp_path / "none.jpg"):
        for way in ways:
            with pytest.raises(ImageError, match=r"pipe|folder|is not there"):
                way(path)


@pytest.mark.parametrize("chunk", ["tEXt", "zTXt", "iTXt", "iCCP"])
@pytest.mark.parametrize("last", [False, True])
def test_long_chunks_do_not_cost_a_png(chunk: str, last: bool) -> None:
    import zlib

    long = os.urandom(1) * 3_000_000
    body = {
        "tEXt": b"Comment\0" + long,
        "zTXt": b"Comment\0\0" + zlib.compress(long),
        "iTXt": b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(long),
        "iCCP": b"profile\0\0" + zlib.compress(long),
    }[chunk]
    data = png(picture(), 2, 8, **{chunk: body})
    if last:  # behind the pixels
        plain = png(picture(), 2, 8)
        added = data[33 : 33 + 12 + len(body)]
        data = plain[:-12] + added + plain[-12:]
    assert np.array_equal(rgb(open_image(data)), picture())


def test_a_long_profile_is_kept(tmp_path) -> None:
    from support.pictures import SRGB
    from tgim.images.photo import save_image

    long = SRGB + bytes(2_000_000)
    long = len(long).to_bytes(4, "big") + long[4:]
    first = open_image(encoded(Image.fromarray(picture()), "JPEG", icc_profile=long, quality=95))
    assert first.icc == long
    again = open_image(save_image(first, tmp_path / "out.png"))
    assert again.icc == long
    assert np.array_equal(rgb(again), rgb(first))
