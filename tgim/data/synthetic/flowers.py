"""Synthetic flowers: rings of overlapping petals around a centre, stamens, stem and leaves."""

from __future__ import annotations

import numpy as np

from tgim.data.synthetic.canvas import Canvas, Field, Layers, Light, Rng, capsule, step, streaks
from tgim.data.synthetic.shapes import green, hairs, placed, tilted, unit


def flower(canvas: Canvas, layers: Layers, *, pose: int, size: str, shape: str) -> None:
    """Lay one open flower with its stem and leaves."""
    rng = np.random.default_rng([pose, 2])
    light, soft = layers.light, layers.light.softness
    form = str(rng.choice(["simple", "daisy", "dahlia", "cup"], p=[0.38, 0.27, 0.15, 0.20]))
    fill = rng.uniform(0.75, 1.08) if size == "large" else rng.uniform(0.5, 0.85)
    frame = placed(canvas, rng, (-1, -1), (1, 1), fill, float(rng.choice([-1, 1])))
    edge = frame.pixel * max(1.0, soft / canvas.pixel)
    bow = rng.normal(0, 0.5)
    stem, _, round_ = capsule(frame, (0, 0), (bow, -4.0), 0.055, 0.09)
    zero = np.zeros_like(frame.x)
    layers.add("leaves", step(stem, edge), tilted(light, 1.0, 0.8 * round_, zero))
    for _ in range(int(rng.integers(0, 5))):
        green(
            layers,
            frame,
            (rng.normal(0, 0.3), rng.uniform(-0.9, 0.1)),
            rng.uniform(0, 6.3),
            rng.uniform(0.7, 1.5),
            1.0,
            rng,
            edge,
            "leaves",
        )
    # The flower's own disk, seen at an angle.
    tilt, turn = rng.uniform(0.62, 1.0), rng.uniform(0, np.pi)
    c, s = unit(turn)
    pu = c * frame.x + s * frame.y
    pv = (c * frame.y - s * frame.x) / tilt
    x, y = c * pu - s * pv, s * pu + c * pv
    radius, theta = np.hypot(x, y), np.arctan2(y, x)
    rings = {"simple": 1, "daisy": 1 + int(rng.random() < 0.4), "dahlia": 3, "cup": 2}[form]
    count = {"simple": int(rng.integers(4, 9)), "daisy": int(rng.integers(11, 22)), "dahlia": int(rng.integers(8, 14)),
             "cup": int(rng.integers(3, 6))}[form]  # fmt: skip
    disk = {
        "simple": rng.uniform(0.10, 0.2),
        "daisy": rng.uniform(0.2, 0.36),
        "dahlia": rng.uniform(0.08, 0.18),
        "cup": rng.uniform(0.1, 0.2),
    }[form]
    layers.dim((1 - 0.45 * step(0.95 - np.hypot(x + 0.08 * light.direction[0], y + 0.1), 0.5)).astype(np.float32))
    start = rng.uniform(0, 2 * np.pi)
    for ring in range(rings):
        reach = 1.0 - 0.26 * ring if form != "cup" else 1.0 - 0.12 * ring
        _petals(
            layers,
            frame,
            radius / reach,
            theta - start - ring * np.pi / count,
            count,
            shape,
            form,
            rng,
            edge / reach,
            light,
        )
    bumps = streaks(theta * 40 / (2 * np.pi) + 60 * radius, radius * 38, rng) * np.clip(1.5 - 20 * frame.pixel, 0.2, 1)
    dome = np.clip(radius / disk, 0, 1)
    shade = tilted(light, 1.0, 0.8 * dome * np.cos(theta), 0.8 * dome * np.sin(theta))
    layers.dim((1 - 0.4 * step(1.35 * disk - radius, 0.5 * disk)).astype(np.float32))
    layers.add(
        "center",
        step(disk - radius + 0.012 * bumps, edge + 0.01),
        shade,
        texture=(1.02 + 0.28 * bumps - 0.22 * (dome < 0.45)).astype(np.float32),
    )
    _stamen(layers, radius, theta, disk, rng, edge, light)


def _petals(
    layers: Layers, frame: Canvas, radius: Field, theta: Field, count: int, shape: str, form: str, rng: Rng,
    edge: float, light: Light,
) -> None:  # fmt: skip
    """Lay a ring of petals; each overlaps a neighbour, so that no seams show."""
    sizes = rng.uniform(0.86, 1.0, count).astype(np.float32)
    tones = rng.uniform(0.86, 1.08, count).astype(np.float32)
    drift = rng.normal(0, 0.06, count).astype(np.float32)
    breadth = {
        "simple": rng.uniform(0.5, 0.78),
        "daisy": rng.uniform(0.62, 0.9),
        "dahlia": rng.uniform(0.7, 0.95),
        "cup": rng.uniform(0.75, 0.95),
    }[form]
    rise, fall = (
        (rng.uniform(0.55, 0.9), rng.uniform(0.28, 0.4))
        if shape == "round"
        else (rng.uniform(0.6, 1.0), rng.uniform(0.75, 1.1))
    )
    peak = rise / (rise + fall)
    scale = (
        breadth * np.pi / count * peak / (peak**rise * (1 - peak) ** fall)
    )  # half width at its widest, in units of reach
    place = theta / (2 * np.pi) * count
    low = np.floor(place)
    first = low.astype(np.int32) % count
    second = (first + 1) % count
    swap = (first % 2 == 0) & ((second % 2 == 1) | (second == 0))  # the even neighbour lies on top
    ruffle, veins, hollow = rng.uniform(0, 0.035), rng.uniform(0.03, 0.14), rng.uniform(-0.6, 0.7)
    bright = rng.uniform(0.55, 0.95)  # towards the centre
    tip_start, seed = rng.uniform(0.62, 0.85), int(rng.integers(2**31))
    for top in (False, True):
        pick = np.where(swap == top, first, second)
        number = pick.astype(np.float32)
        offset = (place - low) - np.where(swap == top, np.float32(0), np.float32(1)) + drift[pick]
        along = radius / sizes[pick]
        inner = np.clip(along, 0, 1)
        half = scale * inner**rise * (1 - inner) ** fall
        side = offset * (2 * np.pi / count)
        lateral = np.sin(np.clip(side, -1.5, 1.5)) * radius
        wobble = ruffle * np.sin(offset * 21 + 2.1 * number) * inner**2
        inside = np.where(along > 1, -np.hypot(along - 1, lateral), half - np.abs(lateral) + wobble)
        q = np.clip(lateral / np.maximum(half, 1e-3), -1, 1)
        grain = streaks(q * 7 + 13 * number, inner * 3.2, np.random.default_rng(seed))
        lines = hairs(frame, inner * 0.25, offset + 3 * number, (16, 55), seed)
        texture = tones[pick] * (1 + veins * grain + 0.10 * lines) * (bright + (1.06 - bright) * inner)
        texture = texture * (1 - 0.10 * np.exp(-np.square(q / 0.12)))
        direction = theta - side
        out = hollow * (inner - 0.55) + 0.10
        nx = out * np.cos(direction) - 0.5 * q * np.sin(direction)
        ny = out * np.sin(direction) + 0.5 * q * np.cos(direction)
        shade = tilted(light, 1.0, nx, ny)
        if top:
            layers.dim((1 - 0.38 * step(inside + 0.03, 0.10)).astype(np.float32))
        alpha = step(inside.astype(np.float32), edge + 0.006)
        tip = step(np.maximum(along - tip_start, np.abs(q) * inner - 0.72) + 0.05 * grain, 0.16)
        layers.zones(alpha, [("petals", tip), ("edges", tip)], shade, texture.astype(np.float32))


def _stamen(layers: Layers, radius: Field, theta: Field, disk: float, rng: Rng, edge: float, light: Light) -> None:
    """Thin filaments with an anther at each end, around the centre."""
    count, reach = int(rng.integers(6, 16)), disk * rng.uniform(1.2, 1.9)
    place = theta / (2 * np.pi) * count
    lengths = (reach * rng.uniform(0.75, 1.1, count)).astype(np.float32)
    mine = lengths[np.floor(place).astype(np.int32) % count]
    side = (place - np.floor(place) - 0.5) * (2 * np.pi / count) * radius
    thread = np.minimum(0.010 - np.abs(side), np.minimum(mine - radius, radius - 0.5 * disk))
    anther = 0.032 - np.hypot(side, (radius - mine) * 0.8)
    shade = tilted(light, 1.0, 0.4 * np.cos(theta), 0.4 * np.sin(theta))
    layers.add("stamen", step(np.maximum(thread, anther).astype(np.float32), edge), shade)
