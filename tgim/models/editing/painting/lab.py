"""CIE Lab (D65) of pictures, and how much chroma sRGB has at each lightness and hue.

Lightness L runs from 0 to 100; a is green to red, b blue to yellow; chroma is hypot(a, b), hue atan2(b, a).
Formulas: IEC 61966-2-1 (sRGB) and CIE 15 (Lab). Arrays have the three channels first. Tensors are taken, too, and
give tensors, through which gradients flow.
"""

from __future__ import annotations

import math
import sys
from functools import cache
from typing import Any, TypeVar

import numpy as np

from tgim.images.resample import Floats
from tgim.system import threads

Values = TypeVar("Values", bound=Any)  # an array, or a tensor
_WHITE = ((0.95047,), (1.0,), (1.08883,))  # of D65
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
) / np.array(_WHITE)
_TO_RGB = np.linalg.inv(_TO_XYZ)
_LINEAR_END = 6 / 29  # of Lab's cube root
LIGHTS, HUES = 129, 361  # places of the gamut's table
_SAFE = 0.985  # of the chroma that the gamut allows: the table is read between its places


def namespace(x: Any) -> Any:
    """The module whose functions take `x`: numpy of an array, torch of a tensor."""
    return np if isinstance(x, np.ndarray) else sys.modules["torch"]


def to_lab(rgb: Values) -> Values:
    """Lab (3, ...) of sRGB (3, ...) in [-1, 1].

    >>> to_lab(np.ones((3, 1), np.float32)).round()[:, 0].tolist()
    [100.0, 0.0, 0.0]
    """
    xp = namespace(rgb)
    x = (rgb + 1) / 2
    linear = xp.where(x > 0.04045, ((x + 0.055) / 1.055).clip(min=0) ** 2.4, x / 12.92)
    xyz = _mixed(_TO_XYZ, linear)
    f = xp.where(xyz > _LINEAR_END**3, xyz.clip(min=1e-9) ** (1 / 3), xyz / (3 * _LINEAR_END**2) + 4 / 29)
    return xp.stack([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def to_rgb(lab: Values) -> Values:
    """sRGB (3, ...) of Lab (3, ...); in [-1, 1] only for colours that sRGB has (`limited`)."""
    xp = namespace(lab)
    fy = (lab[0] + 16) / 116
    f = xp.stack([fy + lab[1] / 500, fy, fy - lab[2] / 200])
    xyz = xp.where(f > _LINEAR_END, f**3, 3 * _LINEAR_END**2 * (f - 4 / 29))
    linear = _mixed(_TO_RGB, xyz)
    x = xp.where(linear > 0.0031308, 1.055 * linear.clip(min=1e-9) ** (1 / 2.4) - 0.055, 12.92 * linear)
    return 2 * x - 1


def _mixed(matrix: Any, x: Values) -> Values:
    """A matrix (3, 3) times channels (3, ...)."""
    if not isinstance(x, np.ndarray):
        return (x.new_tensor(matrix) @ x.reshape(3, -1)).reshape(x.shape)
    flat, own = x.reshape(3, -1), matrix.astype(x.dtype)
    mixed: Any = np.empty(flat.shape, x.dtype)
    for part in threads.strips(flat.shape[1]):
        mixed[:, part] = own @ flat[:, part]
    return mixed.reshape(x.shape)


def limited(lab: Values) -> Values:
    """The colours (3, ...) with no more chroma than sRGB has at their lightness and hue, both of which stay."""
    xp = namespace(lab)
    light = lab[0].clip(0, 100)
    chroma = xp.hypot(lab[1], lab[2]).clip(min=1e-6)
    share = (most_chroma(light, xp.arctan2(lab[2], lab[1])) / chroma).clip(max=1)
    return xp.stack([light, lab[1] * share, lab[2] * share])


def most_chroma(light: Values, hue: Values) -> Values:
    """The chroma that sRGB has at a lightness (0 to 100) and hue (radians), of any one shape."""
    y, x = light * ((LIGHTS - 1) / 100), (hue / (2 * math.pi) % 1) * (HUES - 1)
    if isinstance(light, np.ndarray):
        flat: Any = _gamut().ravel()
        row, column = y.astype(np.int64).clip(0, LIGHTS - 2), x.astype(np.int64).clip(0, HUES - 2)
    else:
        flat = light.new_tensor(_gamut()).flatten()
        row, column = y.long().clip(0, LIGHTS - 2), x.long().clip(0, HUES - 2)
    y, x, place = y - row, x - column, row * HUES + column
    above = flat[place] + x * (flat[place + 1] - flat[place])
    below = flat[place + HUES] + x * (flat[place + HUES + 1] - flat[place + HUES])
    return _SAFE * (above + y * (below - above))


@cache
def _gamut() -> Floats:
    """The greatest chroma (LIGHTS, HUES) that is inside sRGB, by bisection."""
    places = np.linspace(0, 100, LIGHTS, dtype=np.float32), np.linspace(0, 2 * math.pi, HUES, dtype=np.float32)
    light, hue = np.meshgrid(*places, indexing="ij")
    low, high = np.zeros_like(light), np.full_like(light, 140.0)
    for _ in range(14):
        middle = (low + high) / 2
        rgb = to_rgb(np.stack([light, middle * np.cos(hue), middle * np.sin(hue)]))
        inside = (np.abs(rgb) <= 1).all(0)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low
