"""Colours that a file tells without an embedded profile, as a profile that any other file can embed.

PNG has chunks of its own (cICP, gAMA, cHRM; PNG specification, 3rd edition, section 11.3.2), AVIF and HEIF an `nclx`
box (ITU-T H.273), cameras write Adobe RGB into EXIF alone (DCF 2.0, option file). The profile is a matrix and one curve
(ICC.1:2001-04, display profile), its primaries adapted to D50 by the Bradford matrix.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

Curve = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]  # from a file's values to light, both in [0, 1]
Chromaticities = tuple[float, ...]  # x, y of white, red, green, blue
Chunks = tuple[tuple[bytes, bytes], ...]  # name and content of a PNG's chunks

COLOUR_CHUNKS = (b"cICP", b"sRGB", b"gAMA", b"cHRM")
D65 = (0.3127, 0.3290)
BT709 = (*D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
P3 = (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
ADOBE = (*D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
PRIMARIES = {  # H.273, table 2
    1: BT709,
    2: BT709,  # unspecified
    5: (*D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, *P3[2:]),
    12: P3,
}
# H.273, table 3; None is the curve of sRGB, in which browsers and systems show BT.709 (1, 6, 14, 15), too.
POWERS = {**dict.fromkeys((1, 2, 6, 13, 14, 15)), 4: 2.2, 5: 2.8, 8: 1.0}
D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
STEPS = 1024  # points of a curve that is no power
ADOBE_GAMMA = 563 / 256  # of the Adobe RGB (1998) encoding
COLOR_SPACE, INTEROPERABILITY, GAMMA, EXIF_IFD, WHITE_POINT, PRIMARY_POINTS = 0xA001, 0xA005, 0xA500, 0x8769, 318, 319
UNCALIBRATED = 0xFFFF


def told_by_chunks(chunks: Chunks) -> bytes | None:
    """The profile of what a PNG's colour chunks say; None for sRGB, for nothing, and for what a profile cannot say.

    cICP goes before sRGB, and sRGB before gAMA and cHRM.
    """
    found = dict(chunks)
    if len(code := found.get(b"cICP", b"")) == 4:
        return told_by_code(code[0], code[1])
    if b"sRGB" in found:
        return None
    gamma = struct.unpack(">I", found[b"gAMA"])[0] / 1e5 if len(found.get(b"gAMA", b"")) == 4 else None
    points = found.get(b"cHRM", b"")
    primaries = tuple(v / 1e5 for v in struct.unpack(">8I", points)) if len(points) == 32 else BT709
    return _profile(primaries, None if gamma is None else 1 / gamma if gamma > 0 else 0.0, name="PNG")


def told_by_code(primaries: int, transfer: int) -> bytes | None:
    """The profile of code points of H.273; None for sRGB and for those that it cannot say, such as PQ and HLG."""
    if transfer not in POWERS or primaries not in PRIMARIES:
        return None
    return _profile(PRIMARIES[primaries], POWERS[transfer], name="H.273")


def is_beyond(chunks: Chunks) -> bool:
    """Test whether the cICP chunk among `chunks` tells colours that no profile of `told_by_chunks` can say."""
    code = dict(chunks).get(b"cICP", b"")
    return len(code) == 4 and (code[0] not in PRIMARIES or code[1] not in POWERS)


def told_by_exif(exif: Image.Exif) -> bytes | None:
    """The profile of Adobe RGB, or of other primaries, where EXIF alone names them; None for sRGB and for nothing."""
    inner = EXIF_IFD in exif  # asked for, Pillow would add what is not there to the block
    tags, kind = (exif.get_ifd(EXIF_IFD), exif.get_ifd(INTEROPERABILITY).get(1, "")) if inner else ({}, "")
    space = tags.get(COLOR_SPACE)
    if space == 2 or (space in (None, UNCALIBRATED) and str(kind).startswith("R03")):
        return _profile(ADOBE, ADOBE_GAMMA, name="Compatible with Adobe RGB (1998)")
    points = (*exif.get(WHITE_POINT, ()), *exif.get(PRIMARY_POINTS, ()))
    if space in (None, UNCALIBRATED) and len(points) == 8 and not str(kind).startswith("R98"):
        return _profile(tuple(map(float, points)), float(tags.get(GAMMA, 2.2)), name="EXIF")
    return None


def _profile(primaries: Chromaticities, gamma: float | None, *, name: str) -> bytes | None:
    """An ICC profile of primaries and a power `gamma`, None for the curve of sRGB.

    None where the colours are those of sRGB, or impossible.
    """
    if np.allclose(primaries, BT709, atol=2e-3) and (gamma is None or abs(gamma - 2.2) < 0.02):
        return None
    if gamma is not None and not 0.2 <= gamma <= 5:
        return None
    matrix = _to_d50(np.array(primaries).reshape(4, 2))
    if matrix is None:
        return None
    if gamma is None:
        light = _srgb_light(np.linspace(0, 1, STEPS))
        curve = struct.pack(">4sII", b"curv", 0, STEPS) + np.rint(light * 65535).astype(">u2").tobytes()
    else:
        curve = struct.pack(">4sIIH", b"curv", 0, 1, round(gamma * 256))
    text = name.encode() + b"\0"
    tags = {
        b"desc": struct.pack(">4sII", b"desc", 0, len(text)) + text + bytes(78),  # no Unicode, no Macintosh name
        b"cprt": struct.pack(">4sI", b"text", 0) + b"No copyright\0",
        b"wtpt": _xyz(D50),
        b"rXYZ": _xyz(matrix[:, 0]),
        b"gXYZ": _xyz(matrix[:, 1]),
        b"bXYZ": _xyz(matrix[:, 2]),
    }
    body, places, start = b"", [], 128 + 4 + 12 * (len(tags) + 3)
    for key, value in [*tags.items(), (b"rTRC", curve)]:
        places.append(struct.pack(">4sII", key, start + len(body), len(value)))
        body += value + bytes(-len(value) % 4)
    shared = places[-1][4:]
    places += [b"gTRC" + shared, b"bTRC" + shared]
    table = struct.pack(">I", len(places)) + b"".join(places)
    head = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s", 2000, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _xyz(D50)[8:]
    return head.ljust(128, b"\0") + table + body


def _srgb_light(value: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Light of sRGB values (IEC 61966-2-1)."""
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _to_d50(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
    """XYZ of red, green and blue as columns, adapted to D50, of chromaticities (4, 2); None of impossible ones."""
    if not (np.isfinite(points).all() and (points[:, 1] > 1e-4).all()):
        return None
    xyz = np.stack([points[:, 0], points[:, 1], 1 - points.sum(1)]) / points[:, 1]  # 3, 4
    white, colours = xyz[:, 0], xyz[:, 1:]
    if abs(np.linalg.det(colours)) < 1e-6:
        return None
    cone = BRADFORD @ white
    if not (cone > 1e-3).all():
        return None
    adapt = np.linalg.solve(BRADFORD, np.diag(BRADFORD @ D50 / cone) @ BRADFORD)
    result: npt.NDArray[np.float64] = adapt @ (colours * np.linalg.solve(colours, white))
    return result if (np.abs(result) < 4).all() else None


def _xyz(value: npt.NDArray[np.float64]) -> bytes:
    """An XYZ number of a profile."""
    return struct.pack(">4sI3i", b"XYZ ", 0, *np.rint(value * 65536).astype(int).tolist())
