"""Picture files of every kind, and such files changed at random."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageCms

from support.pictures import encoded, noise
from support.tiffs import described, float_predicted, lzw, packed, png, raw_tiff, tiff

KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")


def samples() -> dict[str, bytes]:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    exif.get_ifd(0x8825).update({1: "N", 2: (51.0, 30.0, 0.0)})
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    files = {kind: encoded(noise(), kind) for kind in KINDS}
    files |= {f"{kind} with all": encoded(noise(), kind, exif=exif.tobytes(), icc_profile=icc) for kind in KINDS[:4]}
    files["JPEG progressive"] = encoded(noise(), "JPEG", progressive=True)
    files["JPEG CMYK"] = encoded(noise("CMYK"), "JPEG")
    files["PNG palette"] = encoded(noise("P"), "PNG", transparency=bytes(range(256)))
    files["PNG 16"] = encoded(Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40)), "PNG")
    files["PNG alpha"] = encoded(noise("RGBA"), "PNG")
    files["WEBP alpha"] = encoded(noise("RGBA"), "WEBP", lossless=True)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        files[f"TIFF {compression}"] = encoded(noise(), "TIFF", compression=compression)
    files["TIFF fax"] = encoded(noise("1"), "TIFF", compression="group4")
    files["TIFF float"] = encoded(noise("F"), "TIFF")
    files["BMP palette"] = encoded(noise("P"), "BMP")
    files |= tiffs_of_layouts()
    deep = np.random.default_rng(2).integers(0, 65536, (30, 40, 4)).astype(np.uint16)
    files["PNG 16 RGB"], files["PNG 16 grey and alpha"] = png(deep[..., :3], 2, 16), png(deep[..., :2], 4, 16)
    files["PNG long text"] = png(deep[..., :1], 0, 16, zTXt=b"Comment\0\0" + zlib.compress(bytes(2_000_000)))
    Image.init()
    if "AVIF" in Image.SAVE:
        files["AVIF"] = encoded(noise(), "AVIF")
    files["GIF animated"] = encoded(noise(), "GIF", save_all=True, append_images=[noise("L")])
    return files


def tiffs_of_layouts() -> dict[str, bytes]:
    """TIFF files whose samples are not read by Pillow."""
    deep = np.random.default_rng(1).integers(0, 65536, (30, 40, 3)).astype(np.uint16)
    planes, light = np.ascontiguousarray(deep.transpose(2, 0, 1)), (deep / 65535).astype(np.float32)
    shape, small = deep.shape, deep.astype("<u2").tobytes()
    return {
        "TIFF 16": tiff(deep, photometric="rgb", rowsperstrip=7),
        "TIFF 16 planar": tiff(planes, photometric="rgb", planarconfig="separate"),
        "TIFF 16 tiles": tiff(deep, photometric="rgb", tile=(16, 16), compression="zlib", predictor=True),
        "TIFF white is zero": tiff(deep[..., 0], photometric="miniswhite", byteorder=">"),
        "TIFF big": tiff(deep, photometric="rgb", bigtiff=True),
        "TIFF float colours": tiff(light, photometric="rgb"),
        "TIFF float predicted": raw_tiff(
            float_predicted(light), described(shape, 32, 2, t259=8, t317=3, t339=[3, 3, 3])
        ),
        "TIFF 16 lzw": raw_tiff(lzw(small), described(shape, 16, 2, t259=5)),
        "TIFF 12": raw_tiff(packed(deep >> 4, 12), described(shape, 12, 2)),
        "TIFF 16 alpha": tiff(np.dstack([deep, deep[..., 0]]), photometric="rgb", extrasamples=["assocalpha"]),
        "TIFF 16 inks": tiff(np.dstack([deep, deep[..., 0]]), photometric="separated"),
    }


SAMPLES = samples()
SUFFIX = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tif", "BMP": "bmp", "GIF": "gif", "AVIF": "avif"}


def mutants(kind: str, count: int) -> Iterator[bytes]:
    """Yield a sample changed in a few bytes, every other time of its header, and now and then with a piece cut out."""
    data, rng = SAMPLES[kind], random.Random(kind)
    for turn in range(count):
        broken = bytearray(data)
        reach = len(data) if turn % 2 else min(len(data), 200)
        for _ in range(rng.choice((1, 2, 5, 20))):
            broken[rng.randrange(reach)] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        if turn % 5 == 0:
            cut = rng.randrange(len(data))
            del broken[cut : cut + rng.randrange(1, 9)]
        if turn % 11 == 0:
            del broken[rng.randrange(len(broken)) :]
        yield bytes(broken)
