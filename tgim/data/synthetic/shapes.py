"""Shapes shared by synthetic birds and flowers: ellipses, leaves, grooves of feathers, placing in the frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tgim.data.synthetic.canvas import SCENERY, Canvas, Field, Layers, Light, Rng, step, streaks

Point = tuple[float, float]
Shade = tuple[Field, Field, Field]


def unit(angle: float) -> Point:
    """(cos, sin) as plain floats, which leave float32 arrays float32."""
    return float(np.cos(angle)), float(np.sin(angle))


def ellipse(frame: Canvas, at: Point, angle: float, radii: Point) -> tuple[Field, Field, Field]:
    """Approximate distance inside an ellipse, and the normalised offset from its centre (frame axes)."""
    c, s = unit(angle)
    px, py = frame.x - at[0], frame.y - at[1]
    qx, qy = (c * px + s * py) / radii[0], (c * py - s * px) / radii[1]
    k = np.sqrt(qx * qx + qy * qy) + np.float32(1e-6)
    slope = np.sqrt((qx / radii[0]) ** 2 + (qy / radii[1]) ** 2) + np.float32(1e-6)
    return k * (1 - k) / slope, c * qx - s * qy, s * qx + c * qy


@dataclass
class Leaf:
    """A leaf-like shape: distance inside, place along its axis, and across it in [-1, 1] (left of the axis > 0)."""

    inside: Field
    along: Field
    across: Field
    half: Field


def leaf_shape(
    frame: Canvas, at: Point, angle: float, length: float, width: float, *, rise: float, fall: float, bend: float
) -> Leaf:
    """Half width ~ s^rise (1 - s)^fall, scaled to `width` at its widest; the axis bows sideways by `bend`."""
    c, s = unit(angle)
    px, py = frame.x - at[0], frame.y - at[1]
    along = (c * px + s * py) / length
    inner = np.clip(along, 0, 1)
    peak = rise / (rise + fall)
    scale = width / (peak**rise * (1 - peak) ** fall)
    half = (scale * inner**rise * (1 - inner) ** fall).astype(np.float32)
    across = c * py - s * px - bend * 4 * inner * (1 - inner)
    beyond = np.maximum(-along, along - 1) * length
    inside = np.where(beyond > 0, -np.hypot(across, beyond), half - np.abs(across))
    return Leaf(inside.astype(np.float32), along, np.clip(across / np.maximum(half, 1e-3), -1, 1), half)


def grooves(index: Field, rate: Field | float, depth: float) -> Field:
    """Texture with a dark line at each whole `index`; fades where lines come closer than two pixels (`rate`/pixel)."""
    line = (0.5 + 0.5 * np.cos(2 * np.pi * index)) ** 3
    return np.asarray(1 - depth * line * np.clip(1.4 - 2.5 * rate, 0, 1), np.float32)


def hairs(frame: Canvas, along: Field, across: Field, per_unit: Point, seed: int) -> Field | float:
    """The finest strands, `per_unit` of them along and across; 0 where the picture is too small to show them."""
    fade = min(max(1.8 - 1.5 * per_unit[1] * frame.pixel, 0.0), 1.0)
    if not fade:
        return 0.0
    bend = 2 * streaks(along * 6, across * 6, np.random.default_rng([seed, 1]))
    return fade * streaks(along * per_unit[0] + bend, across * per_unit[1] + bend, np.random.default_rng([seed, 2]))


def tilted(light: Light, flip: float, nu: Field, nv: Field) -> Shade:
    """Shade of a surface whose normal leans by (nu, nv), at most 1 long, in the figure's frame (v up)."""
    length = np.sqrt(nu * nu + nv * nv)
    squeeze = np.where(length > 0.97, 0.97 / np.maximum(length, 1e-6), np.float32(1))
    nu, nv = nu * squeeze, nv * squeeze
    return light.shade(flip * nu, -nv, np.sqrt(1 - nu * nu - nv * nv))


def placed(canvas: Canvas, rng: Rng, low: Point, high: Point, fill: float, flip: float) -> Canvas:
    """The figure's own frame (v up), such that its box [low, high] fills the share `fill` of the picture."""
    height, width = canvas.shape
    span_x, span_y = width * canvas.pixel, height * canvas.pixel
    wide, tall = high[0] - low[0], high[1] - low[1]
    squeeze = (wide / tall * span_y / span_x) ** (0.6 * rng.random() ** 2)  # > 1: narrower than it is
    scale = fill * min(span_x / (wide / np.sqrt(squeeze)), span_y / (tall * np.sqrt(squeeze)))
    sx, sy = scale / np.sqrt(squeeze), scale * np.sqrt(squeeze)
    free_x, free_y = max(span_x - sx * wide, 0.08), max(span_y - sy * tall, 0.08)
    cx, cy = rng.uniform(-0.42, 0.42) * free_x, rng.uniform(-0.42, 0.42) * free_y
    u = (canvas.x - cx) / (flip * sx) + (low[0] + high[0]) / 2
    v = -(canvas.y - cy) / sy + (low[1] + high[1]) / 2
    return Canvas(u.astype(np.float32), v.astype(np.float32), canvas.pixel / float(scale))


def green(
    layers: Layers,
    frame: Canvas,
    at: Point,
    angle: float,
    length: float,
    flip: float,
    rng: Rng,
    edge: float,
    name: str = SCENERY,
) -> None:
    """A leaf of a plant, as scenery or as the part `name`."""
    leaf = leaf_shape(
        frame,
        at,
        angle,
        length,
        length * rng.uniform(0.16, 0.28),
        rise=0.7,
        fall=rng.uniform(0.7, 1.0),
        bend=rng.normal(0, 0.08) * length,
    )
    tone = ((0.30, 0.44, 0.18), (0.42, 0.52, 0.24), (0.24, 0.36, 0.18), (0.55, 0.56, 0.24))[rng.integers(4)]
    rib = grooves(leaf.along * 7 + np.abs(leaf.across) * -1.6, 10 * frame.pixel, 0.14) * (
        1 + 0.18 * np.exp(-np.square(leaf.across / 0.1))
    )
    c, s = unit(angle)
    lean = 0.5 * np.abs(leaf.across) * np.sign(leaf.across) + 0.2
    shade = tilted(layers.light, flip, -lean * s, lean * c + 0.2)
    layers.add(
        name, step(leaf.inside, edge), shade, texture=rib.astype(np.float32), colour=tone if name == SCENERY else None
    )
