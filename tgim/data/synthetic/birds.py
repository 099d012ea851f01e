"""Synthetic birds: proportions, feathers, beak, eye and legs, and what they sit on.

All proportions come from one seeded generator, so a bird's geometry does not depend on its colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tgim.data.synthetic.canvas import SCENERY, Canvas, Field, Layers, Rgb, Rng, capsule, step, streaks
from tgim.data.synthetic.shapes import Point, Shade, ellipse, green, grooves, hairs, leaf_shape, placed, tilted, unit


@dataclass(frozen=True)
class _Bird:
    """Proportions of one bird in its own frame: it faces +u, v is up, its body is about one unit long."""

    posture: float  # elevation of the body axis in radians
    plump: float
    head: Point
    head_radius: float
    gaze: float  # direction of the beak
    beak: tuple[float, float, float]  # length, half thickness, droop
    tail: tuple[float, float, float, float]  # angle, length, half width, fall
    wing: tuple[float, float, float]  # angle, length, half width
    crest: float  # length; 0 for none
    legs: float
    slope: float  # of the branch
    perch: str  # "branch", "ground", "rock", "water" or "none"
    fill: float
    flip: float

    @classmethod
    def random(cls, rng: Rng, size: str, shape: str) -> _Bird:
        small = size == "small"
        perch = str(rng.choice(["branch", "ground", "rock", "water", "none"], p=[0.58, 0.14, 0.1, 0.1, 0.08]))
        posture = rng.uniform(-0.05, 0.3) if perch == "water" else rng.uniform(0.1, 0.95)
        radius = rng.uniform(0.26, 0.32) if small else rng.uniform(0.21, 0.27)
        d = unit(posture)
        reach, lift = rng.uniform(0.42, 0.56), rng.uniform(0.16, 0.30) + (0 if small else rng.uniform(0, 0.16))
        lift *= float(np.cos(posture)) ** 0.5
        long = shape == "long"
        beak = (rng.uniform(0.36, 0.75), rng.uniform(0.045, 0.07), rng.normal(0.02, 0.05)) if long else (
            rng.uniform(0.13, 0.24), rng.uniform(0.055, 0.11), rng.uniform(0, 0.03))  # fmt: skip
        return cls(
            posture=posture,
            plump=rng.uniform(0.36, 0.47) if small else rng.uniform(0.32, 0.42),
            head=(reach * d[0] * 1.05, reach * d[1] + lift + 0.08),
            head_radius=radius,
            gaze=rng.normal(0.0, 0.16) + 0.15 * posture,
            beak=beak,
            tail=(posture + np.pi + rng.normal(0.05, 0.16), rng.uniform(0.45, 1.0), rng.uniform(0.09, 0.17),
                  rng.uniform(0.14, 0.4)),
            wing=(posture + np.pi + rng.uniform(-0.02, 0.16), rng.uniform(0.86, 1.12), rng.uniform(0.17, 0.25)),
            crest=rng.uniform(0.25, 0.42) if rng.random() < 0.16 else 0.0,
            legs=rng.uniform(0.10, 0.22) if perch == "branch" else rng.uniform(0.16, 0.5),
            slope=rng.normal(0, 0.16) if perch == "branch" else 0.0,
            perch=perch,
            fill=rng.uniform(0.68, 1.06) + (0.15 if rng.random() < 0.2 else 0),
            flip=float(rng.choice([-1, 1])),
        )  # fmt: skip


def bird(canvas: Canvas, layers: Layers, *, pose: int, size: str, shape: str) -> str:
    """Lay a bird and its perch; returns the perch, which the backdrop should suit."""
    rng = np.random.default_rng([pose, 1])
    b = _Bird.random(rng, size, shape)
    light, soft = layers.light, layers.light.softness
    d, n = unit(b.posture), unit(b.posture + np.pi / 2)
    root = (-0.56 * d[0], -0.56 * d[1])
    tail_tip = tuple(r + b.tail[1] * e for r, e in zip(root, unit(b.tail[0]), strict=True))
    beak_tip = tuple(h + (b.head_radius + b.beak[0]) * e for h, e in zip(b.head, unit(b.gaze), strict=True))
    shoulder = (0.30 * d[0] + 0.10 * n[0], 0.30 * d[1] + 0.10 * n[1])
    wing_tip = tuple(p + b.wing[1] * e for p, e in zip(shoulder, unit(b.wing[0]), strict=True))
    floor = -b.plump * (1 + 0.1 * abs(d[1])) - b.legs
    points = [tail_tip, beak_tip, wing_tip, (b.head[0], b.head[1] + b.head_radius), (0.0, -b.plump), (-0.55, 0.0)]
    points += [] if b.perch in ("none", "water") else [(0.0, floor - 0.05)]
    low = (min(p[0] for p in points), min(p[1] for p in points))
    high = (max(p[0] for p in points), max(p[1] for p in points))
    frame = placed(canvas, rng, low, high, b.fill, b.flip)
    edge = frame.pixel * max(1.0, soft / canvas.pixel)
    u, v = frame.x, frame.y
    along, across = u * d[0] + v * d[1], u * n[0] + v * n[1]

    # Surfaces that several parts share: the rounded body and the fine feather strands over it.
    blobs = [
        (ellipse(frame, (0.17 * d[0], 0.17 * d[1]), b.posture, (0.46, b.plump)), 1.0),
        (ellipse(frame, (-0.26 * d[0], -0.26 * d[1]), b.posture, (0.44, 0.68 * b.plump)), 1.0),
        (
            ellipse(frame, (0.62 * b.head[0] + 0.08 * d[0], 0.62 * b.head[1] + 0.02), b.posture + 0.5, (0.30, 0.26)),
            1.0,
        ),
        (ellipse(frame, b.head, b.gaze, (1.06 * b.head_radius, 0.98 * b.head_radius)), 1.0),
    ]
    weights = [np.exp(np.clip(blob[0] / 0.05, -30, 30)) for blob, _ in blobs]
    total = sum(weights[1:], weights[0])
    inside = 0.05 * np.log(total)
    nu = (
        sum((w * blob[1] for w, (blob, _) in zip(weights[1:], blobs[1:], strict=True)), weights[0] * blobs[0][0][1])
        / total
    )
    nv = (
        sum((w * blob[2] for w, (blob, _) in zip(weights[1:], blobs[1:], strict=True)), weights[0] * blobs[0][0][2])
        / total
    )
    fine = float(np.clip(1.6 - 24 * frame.pixel, 0, 1))
    strands = streaks(along * 9 + 3 * across, across * 26, rng)
    fluff = streaks(along * 5, across * 9, rng)
    mottle, dapple, depth = canvas.clouds(rng, rng.uniform(1.5, 4)), rng.uniform(0.02, 0.13), rng.uniform(0.03, 0.13)
    barbs = hairs(frame, along + 0.4 * across * across, across, (30, 95), int(rng.integers(2**31)))
    feathers = 1 + (0.07 + depth) * fine * strands + (0.04 + 0.6 * depth) * fluff + dapple * mottle + 0.13 * barbs
    feathers = np.clip(feathers, 0.3, 1.7).astype(np.float32)
    inside = inside + (0.008 * strands + 0.010 * barbs) * fine + 0.004 * fluff
    body_shade = tilted(light, b.flip, nu, nv)

    _perch(layers, frame, canvas, b, floor, rng, edge, far=True)
    _tail(layers, frame, b, root, rng, edge)
    if b.perch in ("branch", "ground", "rock"):
        _legs(layers, frame, b, floor, rng, edge)
    _beak(layers, frame, b, edge)
    if b.crest:
        back_up = unit(b.gaze + np.pi * 0.72)
        at = (b.head[0] + 0.35 * b.head_radius * back_up[0], b.head[1] + 0.55 * b.head_radius * back_up[1])
        crest = leaf_shape(
            frame, at, b.gaze + np.pi * rng.uniform(0.66, 0.85), b.crest, 0.11, rise=0.3, fall=1.0, bend=-0.03
        )
        layers.add(
            "crown",
            step(crest.inside + 0.01 * strands, edge + 0.01),
            tilted(light, b.flip, 0.3 * u, crest.across * 0.5 + 0.3),
            texture=feathers,
        )
    _plumage(layers, b, frame, inside, strands + fluff, feathers, along, across, body_shade, edge, rng)
    _wing(layers, frame, b, shoulder, rng, edge, (nu, nv))
    _eye(layers, frame, b, edge)
    _perch(layers, frame, canvas, b, floor, rng, edge, far=False)
    return b.perch


def _plumage(
    layers: Layers, b: _Bird, frame: Canvas, inside: Field, ragged: Field, feathers: Field, along: Field, across: Field,
    shade: Shade, edge: float, rng: Rng,
) -> None:  # fmt: skip
    """Belly, breast, back and head as zones of one silhouette with ragged feathered borders."""
    ragged = 0.035 * ragged
    c, s = unit(b.gaze)
    pu, pv = (frame.x - b.head[0]) / b.head_radius, (frame.y - b.head[1]) / b.head_radius
    hu, hv = c * pu + s * pv, c * pv - s * pu
    rim = edge + 0.02
    solid = step(inside, rim)
    texture = feathers
    if rng.random() < 0.22:  # streaked or spotted below
        marks = streaks(along * rng.uniform(5, 9), across * rng.uniform(12, 20), rng)
        texture = feathers * (1 - 0.45 * step(marks - 0.35, 0.3) * step(0.05 - across, 0.15))
    breast = step(along - rng.uniform(-0.05, 0.12) + 0.25 * across + ragged, 0.06)
    back = step(across - rng.uniform(0.10, 0.17) - 0.26 * np.minimum(along, 0.2) + ragged, 0.07)
    ragged = ragged / b.head_radius
    head = step(1.12 - np.hypot(hu * 0.92, hv * 0.95) + ragged, 0.16)
    neck = step(1.0 - np.hypot((hu + 0.75) / 0.62, (hv + 0.55) / 0.95) + ragged, 0.18)
    behind = step(-hu - 0.48 - 0.2 * hv + ragged, 0.16)
    under = step(1.0 - np.hypot((hu - 0.25) / 0.85, (hv + 0.95) / 0.62) + ragged, 0.16)
    cap = step(hv - rng.uniform(0.18, 0.34) - 0.10 * hu + ragged, 0.12)
    zones = [("belly", solid), ("breast", breast), ("back", back), ("nape", neck), ("face", head)]
    zones += [("nape", head * behind), ("throat", under), ("crown", head * cap)]
    layers.zones(solid, zones, shade, texture)


def _tail(layers: Layers, frame: Canvas, b: _Bird, root: Point, rng: Rng, edge: float) -> None:
    angle, length, width, fall = b.tail
    c, s = unit(angle)
    start = (root[0] - 0.25 * c, root[1] - 0.25 * s)
    leaf = leaf_shape(
        frame, start, angle, length + 0.25, width, rise=rng.uniform(0.3, 0.9), fall=fall, bend=rng.normal(0, 0.015)
    )
    rate = 3 * frame.pixel / np.maximum(2 * leaf.half, 0.02)
    index = 2.5 * leaf.across + 0.2
    barbs = hairs(
        frame, leaf.along - 0.1 * np.abs(index % 1 - 0.5), leaf.across * 0.15, (60, 150), int(rng.integers(2**31))
    )
    texture = grooves(index, rate, 0.33) * (1 + 0.07 * streaks(leaf.along * 7, leaf.across * 9, rng) + 0.12 * barbs)
    c, s = unit(angle + np.pi / 2)
    lean = 0.75 * leaf.across
    shade = tilted(layers.light, b.flip, lean * c + 0.1, lean * s + 0.15)
    layers.add("tail", step(leaf.inside, edge + 0.006), shade, texture=texture.astype(np.float32))


def _wing(
    layers: Layers, frame: Canvas, b: _Bird, at: Point, rng: Rng, edge: float, normal: tuple[Field, Field]
) -> None:
    angle, length, width = b.wing
    c, s = unit(angle)
    start = (at[0] - 0.10 * c, at[1] - 0.10 * s)
    rise, fall = rng.uniform(0.40, 0.6), rng.uniform(0.65, 1.05)
    leaf = leaf_shape(frame, start, angle, length + 0.1, width, rise=rise, fall=fall, bend=rng.uniform(-0.02, 0.05))
    rate = 4 * frame.pixel / np.maximum(2 * leaf.half, 0.02)
    q = leaf.across
    fan = q * 3.5 + 2.2 * leaf.along
    pale = rng.uniform(0.06, 0.28)  # how light the feather edges are
    quills = grooves(fan, rate, 0.55) * (1 + pale * np.sin(2 * np.pi * fan))
    scales = grooves(leaf.along * 9 + 0.32 * np.cos(2 * np.pi * q * 2.2), 9 * frame.pixel, 0.35)
    barbs = hairs(frame, leaf.along * 1.2 - 0.15 * q, q * 0.2, (55, 160), int(rng.integers(2**31)))
    mix = step(leaf.along - 0.40 + 0.05 * np.cos(2 * np.pi * q * 2.2), 0.08)
    texture = (scales + mix * (quills - scales)) * (1 + 0.10 * streaks(leaf.along * 9, q * 9, rng) + 0.12 * barbs)
    lean = 0.55 * q
    shade = tilted(layers.light, b.flip, 0.45 * normal[0] - lean * s + 0.05, 0.45 * normal[1] + lean * c + 0.12)
    layers.dim(1 - 0.45 * step(leaf.inside + 0.035, 0.11))
    alpha = step(
        leaf.inside + 0.008 * np.sin(2 * np.pi * fan) * mix, edge + 0.008 + 0.07 * np.clip(0.4 - leaf.along, 0, 1)
    )
    wave = 0.10 * q * q + 0.012 * np.cos(2 * np.pi * q * 2.2)
    bars = np.maximum(
        *(step(rng.uniform(0.016, 0.034) - np.abs(leaf.along - where - wave), 0.03) for where in (0.27, 0.42))
    )
    layers.zones(
        alpha, [("wings", alpha), ("wingbars", bars * step(0.85 - np.abs(q), 0.2))], shade, texture.astype(np.float32)
    )


def _beak(layers: Layers, frame: Canvas, b: _Bird, edge: float) -> None:
    length, thick, droop = b.beak
    c, s = unit(b.gaze)
    start = (b.head[0] + 0.72 * b.head_radius * c, b.head[1] + 0.72 * b.head_radius * s)
    whole = length + 0.28 * b.head_radius
    px, py = frame.x - start[0], frame.y - start[1]
    along = (c * px + s * py) / whole
    inner = np.clip(along, 0, 1)
    half = thick * (1 - inner) ** 0.8 + 0.004
    across = c * py - s * px + droop * inner**2 * (1 + length)
    inside = np.where((along > 1) | (along < 0), -np.hypot(across, (along - inner) * whole), half - np.abs(across))
    q = np.clip(across / half, -1, 1)
    gape = 1 - 0.5 * np.exp(-np.square((across + 0.1 * thick) / (0.5 * frame.pixel + 0.010))) * step(0.9 - along, 0.2)
    shade = tilted(layers.light, b.flip, -0.7 * q * s + 0.15, 0.8 * q * c)
    gloss = 0.25 * np.exp(-np.square((q - 0.45) / 0.22))
    layers.add(
        "beak",
        step(inside.astype(np.float32), edge),
        shade,
        texture=gape.astype(np.float32),
        gloss=gloss.astype(np.float32),
    )


def _legs(layers: Layers, frame: Canvas, b: _Bird, floor: float, rng: Rng, edge: float) -> None:
    d = unit(b.posture)
    hip = (-0.06 * d[0], -0.06 * d[1] - 0.6 * b.plump)
    inside, lean = np.full_like(frame.x, -1), np.zeros_like(frame.x)
    for offset in (0.10, -0.06):
        place = 0.06 + offset + rng.normal(0, 0.015)
        foot = (place, floor + b.slope * place)
        knee = (place - 0.05, foot[1] + 0.55 * b.legs)
        for start, end, r0, r1 in (
            ((hip[0] + offset, hip[1]), knee, 0.035, 0.020),
            (knee, foot, 0.020, 0.017),
            (foot, (place + 0.10, foot[1] + 0.1 * b.slope - 0.012), 0.019, 0.010),
            (foot, (place - 0.06, foot[1] - 0.06 * b.slope - 0.012), 0.017, 0.010),
        ):
            rod, _, across = capsule(frame, start, end, r0, r1)
            lean = np.where(rod > inside, across, lean)
            inside = np.maximum(inside, rod)
    layers.add("feet", step(inside, edge), tilted(layers.light, b.flip, 0.7 * lean, 0 * lean))


def _eye(layers: Layers, frame: Canvas, b: _Bird, edge: float) -> None:
    c, s = unit(b.gaze)
    r = b.head_radius
    at = (b.head[0] + r * (0.36 * c - 0.16 * s), b.head[1] + r * (0.36 * s + 0.16 * c))
    radius = 0.19 * r
    px, py = frame.x - at[0], frame.y - at[1]
    distance = np.hypot(px, py)
    flat = tilted(layers.light, b.flip, 0.5 * px / radius, 0.5 * py / radius)
    layers.dim(1 - 0.45 * step(1.5 * radius - distance, 0.8 * radius))
    layers.add("rim", step(1.12 * radius - distance, edge), flat, colour=(0.08, 0.07, 0.06))
    layers.add("eyes", step(radius - distance, edge), flat)
    layers.add("rim", step(0.58 * radius - distance, edge), flat, colour=(0.03, 0.03, 0.03))
    spark = step(0.30 * radius - np.hypot(px + 0.30 * radius * b.flip, py - 0.36 * radius), edge)
    layers.add("rim", 0.9 * spark, flat, colour=(1.0, 1.0, 1.0))


_BARK: tuple[Rgb, ...] = (
    (0.36, 0.29, 0.23),
    (0.47, 0.42, 0.37),
    (0.28, 0.24, 0.21),
    (0.55, 0.47, 0.36),
    (0.40, 0.40, 0.34),
)


def _perch(
    layers: Layers, frame: Canvas, canvas: Canvas, b: _Bird, floor: float, rng: Rng, edge: float, *, far: bool
) -> None:
    light = layers.light
    zero = np.zeros_like(frame.x)
    if b.perch == "branch" and far:
        tone = _BARK[rng.integers(len(_BARK))]
        thick, taper, slope = rng.uniform(0.05, 0.15), rng.uniform(0.6, 1.0), b.slope
        top = floor - 0.5 * thick * (1 + taper) + 0.02  # its axis below the feet
        rods = [((-5.0, top - 5 * slope), (5.0, top + 5 * slope), thick, thick * taper)]
        for _ in range(int(rng.integers(0, 3))):
            at, angle = rng.uniform(-1.5, 1.5), rng.uniform(0.3, 2.8) * rng.choice([-1, 1])
            end = (at + 1.5 * np.cos(angle), top + at * slope + 1.5 * np.sin(angle))
            rods.insert(0, ((at, top + at * slope), end, 0.4 * thick, 0.1 * thick))
        for start, end, r0, r1 in rods:
            inside, along, across = capsule(frame, start, end, r0, r1)
            bark = (
                1 + 0.22 * streaks(along * 30, across * 2.5 + 7, rng) + 0.12 * streaks(frame.x * 11, frame.y * 15, rng)
            )
            lean = -across
            layers.add(
                SCENERY,
                step(inside + 0.006 * bark, edge + 0.01),
                tilted(light, b.flip, zero, 0.85 * lean),
                texture=bark.astype(np.float32),
                colour=tone,
            )
        for _ in range(int(rng.integers(0, 4)) if rng.random() < 0.5 else 0):
            at = rng.uniform(0.4, 1.8) * rng.choice([-1.0, 1.0])
            green(
                layers,
                frame,
                (at, top + at * slope),
                rng.uniform(0, 6.3),
                rng.uniform(0.25, 0.55),
                b.flip,
                rng,
                edge,
            )
    elif b.perch in ("ground", "rock") and far:
        if b.perch == "rock":
            inside, _, nv = ellipse(
                frame, (rng.normal(0.1, 0.06), floor - 0.41), rng.normal(0, 0.06), (rng.uniform(0.7, 1.4), 0.44)
            )
            tone = ((0.52, 0.50, 0.47), (0.42, 0.38, 0.34), (0.46, 0.47, 0.42))[rng.integers(3)]
        else:
            inside, nv = floor + 0.02 - frame.y + 0.04 * canvas.clouds(rng, 3), zero + 0.6
            tone = ((0.42, 0.47, 0.27), (0.55, 0.48, 0.38), (0.66, 0.60, 0.50), (0.38, 0.36, 0.31))[rng.integers(4)]
        fine = hairs(frame, frame.x, frame.y, (38, 42), int(rng.integers(2**31)))
        inside = inside + 0.03 * canvas.clouds(rng, 2.5)
        grit = (
            1
            + 0.22 * fine
            + 0.16 * canvas.clouds(rng, 14)
            + 0.14 * canvas.clouds(rng, 5)
            + 0.08 * canvas.clouds(rng, 28)
        )
        layers.add(
            SCENERY,
            step(inside, edge + (0.02 if b.perch == "rock" else 0.12)),
            tilted(light, b.flip, zero, 0.8 * nv),
            texture=np.clip(grit, 0.2, 2).astype(np.float32),
            colour=tone,
        )
        shadow = step(1 - np.hypot((frame.x - 0.05) / 0.6, (frame.y - floor) / 0.10), 0.9)
        layers.dim((1 - 0.5 * shadow).astype(np.float32))
    elif b.perch == "water" and not far:
        line = -0.45 * b.plump
        wave = 0.02 * np.sin(frame.x * 7 + rng.uniform(0, 6)) + 0.02 * canvas.clouds(rng, 4, stretch=0.35)
        ripple = 1 + 0.10 * canvas.clouds(rng, 9, stretch=0.25) + 0.10 * canvas.clouds(rng, 4, stretch=0.3)
        mirror = step(1 - np.hypot(frame.x / 0.75, (frame.y - line) / 0.5), 0.8)
        tone = ((0.30, 0.42, 0.48), (0.26, 0.36, 0.52), (0.30, 0.36, 0.28))[rng.integers(3)]
        texture = np.clip(ripple * (1 - 0.55 * mirror), 0.15, 2).astype(np.float32)
        layers.add(
            SCENERY,
            step(line + wave - frame.y, edge + 0.02),
            tilted(light, b.flip, zero, zero + 0.5),
            texture=texture,
            colour=tone,
        )
