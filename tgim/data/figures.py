"""The birds and flowers themselves: geometry, feather and petal texture, and what they sit on.

Every function lays parts on `Layers`, back to front. All proportions come from one seeded generator, so a scene's
geometry does not depend on its colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tgim.data.drawing import Canvas, Field, Layers, Light, Rgb, Rng, capsule, step, streaks

SCENERY = "scenery"  # layers that are neither backdrop nor subject: branches, water, ground
Point = tuple[float, float]
Shade = tuple[Field, Field, Field]


def _unit(angle: float) -> Point:
    return float(np.cos(angle)), float(np.sin(angle))


def _ellipse(
    frame: Canvas, at: Point, angle: float, radii: Point
) -> tuple[Field, Field, Field]:
    """Approximate distance inside an ellipse, and the normalised offset from its centre (frame axes)."""
    c, s = _unit(angle)
    px, py = frame.x - at[0], frame.y - at[1]
    qx, qy = (c * px + s * py) / radii[0], (c * py - s * px) / radii[1]
    k = np.sqrt(qx * qx + qy * qy) + np.float32(1e-6)
    slope = np.sqrt((qx / radii[0]) ** 2 + (qy / radii[1]) ** 2) + np.float32(1e-6)
    return k * (1 - k) / slope, c * qx - s * qy, s * qx + c * qy


@dataclass
class _Leaf:
    """A leaf-like shape: distance inside, place along its axis, and across it in [-1, 1] (left of the axis > 0)."""

    inside: Field
    along: Field
    across: Field
    half: Field


def _leaf(frame: Canvas, at: Point, angle: float, length: float, width: float, *, rise: float, fall: float, bend: float) -> _Leaf:
    """Half width ~ s^rise (1 - s)^fall, scaled to `width` at its widest; the axis bows sideways by `bend`."""
    c, s = _unit(angle)
    px, py = frame.x - at[0], frame.y - at[1]
    along = (c * px + s * py) / length
    inner = np.clip(along, 0, 1)
    peak = rise / (rise + fall)
    scale = width / (peak**rise * (1 - peak) ** fall)
    half = (scale * inner**rise * (1 - inner) ** fall).astype(np.float32)
    across = c * py - s * px - bend * 4 * inner * (1 - inner)
    beyond = np.maximum(-along, along - 1) * length
    inside = np.where(beyond > 0, -np.hypot(np.clip(np.abs(across) - half, 0, None), beyond), half - np.abs(across))
    return _Leaf(inside.astype(np.float32), along, np.clip(across / np.maximum(half, 1e-3), -1, 1), half)


def _grooves(index: Field, rate: Field | float, depth: float) -> Field:
    """Texture with a dark line at each whole `index`; fades where lines come closer than two pixels (`rate`/pixel)."""
    line = (0.5 + 0.5 * np.cos(2 * np.pi * index)) ** 3
    return np.asarray(1 - depth * line * np.clip(1.4 - 2.5 * rate, 0, 1), np.float32)


def _tilted(light: Light, flip: float, nu: Field, nv: Field) -> Shade:
    """Shade of a surface whose normal leans by (nu, nv), at most 1 long, in the figure's frame (v up)."""
    length = np.sqrt(nu * nu + nv * nv)
    squeeze = np.where(length > 0.97, 0.97 / np.maximum(length, 1e-6), np.float32(1))
    nu, nv = nu * squeeze, nv * squeeze
    return light.shade(flip * nu, -nv, np.sqrt(1 - nu * nu - nv * nv))


def _placed(canvas: Canvas, rng: Rng, low: Point, high: Point, fill: float, flip: float) -> Canvas:
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
    perch: str  # "branch", "ground", "rock", "water" or "air"
    fill: float
    flip: float

    @classmethod
    def random(cls, rng: Rng, size: str, shape: str) -> _Bird:
        small = size == "small"
        perch = str(rng.choice(["branch", "ground", "rock", "water", "air"], p=[0.58, 0.14, 0.1, 0.1, 0.08]))
        posture = rng.uniform(0.1, 0.95) if perch in ("branch", "rock", "ground") else rng.uniform(-0.05, 0.3)
        radius = rng.uniform(0.26, 0.32) if small else rng.uniform(0.21, 0.27)
        d = _unit(posture)
        reach, lift = rng.uniform(0.42, 0.56), rng.uniform(0.16, 0.30) + (0 if small else rng.uniform(0, 0.16))
        lift *= np.cos(posture) ** 0.5
        long = shape == "long"
        beak = (rng.uniform(0.36, 0.75), rng.uniform(0.045, 0.07), rng.normal(0.02, 0.05)) if long else (
            rng.uniform(0.13, 0.24), rng.uniform(0.055, 0.11), rng.uniform(0, 0.03))  # fmt: skip
        air = perch == "air"
        return cls(
            posture=posture,
            plump=rng.uniform(0.36, 0.47) if small else rng.uniform(0.32, 0.42),
            head=(reach * d[0] * 1.05, reach * d[1] + lift + 0.08),
            head_radius=radius,
            gaze=rng.normal(0.0, 0.16) + 0.15 * posture,
            beak=beak,
            tail=(posture + np.pi + rng.normal(0.05, 0.16), rng.uniform(0.45, 1.0), rng.uniform(0.09, 0.17), rng.uniform(0.08, 0.3)),
            wing=(posture + np.pi - rng.uniform(0.6, 1.5), rng.uniform(1.0, 1.4), rng.uniform(0.26, 0.36)) if air else (
                posture + np.pi + rng.uniform(-0.02, 0.16), rng.uniform(0.86, 1.12), rng.uniform(0.17, 0.25)),
            crest=rng.uniform(0.25, 0.42) if rng.random() < 0.16 else 0.0,
            legs=rng.uniform(0.10, 0.22) if perch == "branch" else rng.uniform(0.16, 0.5),
            perch=perch,
            fill=rng.uniform(0.68, 1.0) + (0.15 if rng.random() < 0.15 else 0) if not small else rng.uniform(0.6, 0.96),
            flip=float(rng.choice([-1, 1])),
        )  # fmt: skip


def bird(canvas: Canvas, layers: Layers, *, pose: int, size: str, shape: str) -> str:
    """Lay a bird and its perch; returns the perch, which the backdrop should suit."""
    rng = np.random.default_rng([pose, 1])
    b = _Bird.random(rng, size, shape)
    light, soft = layers.light, layers.light.softness
    d, n = _unit(b.posture), _unit(b.posture + np.pi / 2)
    root = (-0.56 * d[0], -0.56 * d[1])
    tail_tip = tuple(r + b.tail[1] * e for r, e in zip(root, _unit(b.tail[0]), strict=True))
    beak_tip = tuple(h + (b.head_radius + b.beak[0]) * e for h, e in zip(b.head, _unit(b.gaze), strict=True))
    shoulder = (0.30 * d[0] + 0.10 * n[0], 0.30 * d[1] + 0.10 * n[1])
    wing_tip = tuple(p + b.wing[1] * e for p, e in zip(shoulder, _unit(b.wing[0]), strict=True))
    floor = -b.plump * (1 + 0.1 * abs(np.sin(b.posture))) - b.legs
    points = [tail_tip, beak_tip, wing_tip, (b.head[0], b.head[1] + b.head_radius), (0.0, -b.plump), (-0.55, 0.0)]
    points += [] if b.perch in ("air", "water") else [(0.0, floor - 0.05)]
    low = (min(p[0] for p in points), min(p[1] for p in points))
    high = (max(p[0] for p in points), max(p[1] for p in points))
    frame = _placed(canvas, rng, low, high, b.fill, b.flip)
    edge = frame.pixel * max(1.0, soft / canvas.pixel)
    u, v = frame.x, frame.y
    along, across = u * d[0] + v * d[1], u * n[0] + v * n[1]

    # Surfaces that several parts share: the rounded body and the fine feather strands over it.
    blobs = [
        (_ellipse(frame, (0.17 * d[0], 0.17 * d[1]), b.posture, (0.46, b.plump)), 1.0),
        (_ellipse(frame, (-0.26 * d[0], -0.26 * d[1]), b.posture, (0.44, 0.68 * b.plump)), 1.0),
        (_ellipse(frame, (0.62 * b.head[0] + 0.08 * d[0], 0.62 * b.head[1] + 0.02), b.posture + 0.5, (0.30, 0.26)), 1.0),
        (_ellipse(frame, b.head, b.gaze, (1.06 * b.head_radius, 0.98 * b.head_radius)), 1.0),
    ]
    weights = [np.exp(np.clip(blob[0] / 0.05, -30, 30)) for blob, _ in blobs]
    total = sum(weights[1:], weights[0])
    inside = 0.05 * np.log(total)
    nu = sum((w * blob[1] for w, (blob, _) in zip(weights[1:], blobs[1:], strict=True)), weights[0] * blobs[0][0][1]) / total
    nv = sum((w * blob[2] for w, (blob, _) in zip(weights[1:], blobs[1:], strict=True)), weights[0] * blobs[0][0][2]) / total
    fine = float(np.clip(1.6 - 24 * frame.pixel, 0, 1))
    strands = streaks(along * 9 + 3 * across, across * 26, rng)
    fluff = streaks(along * 5, across * 9, rng)
    feathers = 1 + 0.10 * fine * strands + 0.09 * fluff
    inside = inside + 0.010 * strands * fine + 0.008 * fluff
    body_shade = _tilted(light, b.flip, nu, nv)

    _perch(layers, frame, canvas, b, floor, rng, edge, far=True)
    _tail(layers, frame, b, root, rng, edge)
    if b.perch == "air":
        _wing(layers, frame, b, (shoulder[0] + 0.12, shoulder[1]), rng, edge, (0 * nu, 0 * nv), far=True)
    if b.perch in ("branch", "ground", "rock"):
        _legs(layers, frame, b, floor, rng, edge)
    _beak(layers, frame, b, edge)
    if b.crest:
        back_up = _unit(b.gaze + np.pi * 0.72)
        at = (b.head[0] + 0.35 * b.head_radius * back_up[0], b.head[1] + 0.55 * b.head_radius * back_up[1])
        crest = _leaf(frame, at, b.gaze + np.pi * rng.uniform(0.66, 0.85), b.crest, 0.11, rise=0.3, fall=1.0, bend=-0.03)
        layers.add("crown", step(crest.inside + 0.01 * strands, edge + 0.01), _tilted(light, b.flip, 0.3 * u, crest.across * 0.5 + 0.3), texture=feathers)
    _plumage(layers, b, frame, inside, strands + fluff, feathers, along, across, body_shade, edge, rng)
    _wing(layers, frame, b, shoulder, rng, edge, (nu, nv), far=False)
    _eye(layers, frame, b, edge)
    _perch(layers, frame, canvas, b, floor, rng, edge, far=False)
    return b.perch


def _plumage(
    layers: Layers, b: _Bird, frame: Canvas, inside: Field, ragged: Field, feathers: Field, along: Field, across: Field,
    shade: Shade, edge: float, rng: Rng,
) -> None:  # fmt: skip
    """Belly, breast, back and head as zones of one silhouette with ragged feathered borders."""
    ragged = 0.035 * ragged
    c, s = _unit(b.gaze)
    pu, pv = (frame.x - b.head[0]) / b.head_radius, (frame.y - b.head[1]) / b.head_radius
    hu, hv = c * pu + s * pv, c * pv - s * pu
    rim = edge + 0.02
    solid = step(inside, rim)
    texture = feathers
    if rng.random() < 0.22:  # streaked or spotted below
        marks = streaks(along * rng.uniform(5, 9), across * rng.uniform(12, 20), rng)
        texture = feathers * (1 - 0.45 * step(marks - 0.35, 0.3) * step(0.05 - across, 0.15))
    layers.add("belly", solid, shade, texture=texture)
    edge_breast = along - rng.uniform(-0.05, 0.12) + 0.25 * across + ragged
    layers.add("breast", solid * step(edge_breast, 0.06), shade, texture=texture)
    edge_back = across - rng.uniform(0.10, 0.17) - 0.12 * along + ragged
    layers.add("back", solid * step(edge_back, 0.07), shade, texture=feathers)
    ragged = ragged / b.head_radius
    head = step(1.12 - np.hypot(hu * 0.92, hv * 0.95) + ragged, 0.16)
    neck = step(1.0 - np.hypot((hu + 0.75) / 0.62, (hv + 0.55) / 0.95) + ragged, 0.18)
    layers.add("nape", solid * neck, shade, texture=feathers)
    layers.add("face", solid * head, shade, texture=feathers)
    behind = step(-hu - 0.48 - 0.2 * hv + ragged, 0.16)
    layers.add("nape", solid * head * behind, shade, texture=feathers)
    under = step(1.0 - np.hypot((hu - 0.25) / 0.85, (hv + 0.95) / 0.62) + ragged, 0.16)
    layers.add("throat", solid * under, shade, texture=feathers)
    cap = step(hv - rng.uniform(0.18, 0.34) - 0.10 * hu + ragged, 0.12)
    layers.add("crown", solid * head * cap, shade, texture=feathers)


def _tail(layers: Layers, frame: Canvas, b: _Bird, root: Point, rng: Rng, edge: float) -> None:
    angle, length, width, fall = b.tail
    start = (root[0] - 0.25 * np.cos(angle), root[1] - 0.25 * np.sin(angle))
    leaf = _leaf(frame, start, angle, length + 0.25, width, rise=rng.uniform(0.3, 0.9), fall=fall, bend=rng.normal(0, 0.015))
    rate = 3 * frame.pixel / np.maximum(2 * leaf.half, 0.02)
    index = 2.5 * leaf.across + 0.2
    texture = _grooves(index, rate, 0.45) * (1 + 0.07 * streaks(leaf.along * 7, leaf.across * 9, rng))
    c, s = _unit(angle + np.pi / 2)
    lean = 0.75 * leaf.across
    shade = _tilted(layers.light, b.flip, lean * c + 0.1, lean * s + 0.15)
    layers.add("tail", step(leaf.inside, edge + 0.006), shade, texture=texture.astype(np.float32))


def _wing(layers: Layers, frame: Canvas, b: _Bird, at: Point, rng: Rng, edge: float, normal: Point, *, far: bool) -> None:  # type: ignore[type-arg]
    angle, length, width = b.wing
    angle -= 0.25 if far else 0.0
    folded = b.perch != "air"
    c, s = _unit(angle)
    start = (at[0] - 0.10 * c, at[1] - 0.10 * s)
    rise, fall = (rng.uniform(0.45, 0.6), rng.uniform(0.75, 1.05)) if folded else (0.4, 0.55)
    leaf = _leaf(frame, start, angle, length + 0.1, width, rise=rise, fall=fall, bend=rng.uniform(-0.02, 0.05))
    rate = 4 * frame.pixel / np.maximum(2 * leaf.half, 0.02)
    q = leaf.across
    fan = q * 3.5 + 2.2 * leaf.along * (1 if folded else 0.3)
    quills = _grooves(fan, rate, 0.5) * (1 + 0.10 * np.sin(2 * np.pi * fan))
    scales = _grooves(leaf.along * 9 + 0.32 * np.cos(2 * np.pi * q * 2.2), 9 * frame.pixel, 0.35)
    mix = step(leaf.along - 0.40 + 0.05 * np.cos(2 * np.pi * q * 2.2), 0.08)
    texture = (scales + mix * (quills - scales)) * (1 + 0.10 * streaks(leaf.along * 9, q * 9, rng))
    lean = 0.55 * q
    shade = _tilted(layers.light, b.flip, 0.45 * normal[0] - lean * s + 0.05, 0.45 * normal[1] + lean * c + 0.12)
    if not far:
        layers.dim(1 - 0.45 * step(leaf.inside + 0.035, 0.11))
    alpha = step(leaf.inside + 0.008 * np.sin(2 * np.pi * fan) * mix, edge + 0.008)
    layers.add("wings", alpha, shade, texture=texture.astype(np.float32) * np.float32(0.75 if far else 1))
    wave = 0.035 * np.cos(2 * np.pi * q * 2.2)
    bars = np.maximum(*(step(0.030 - np.abs(leaf.along - where + wave), 0.03) for where in (0.26, 0.40)))
    layers.add("wingbars", alpha * bars * step(0.85 - np.abs(q), 0.2), shade, texture=texture.astype(np.float32))


def _beak(layers: Layers, frame: Canvas, b: _Bird, edge: float) -> None:
    length, thick, droop = b.beak
    c, s = _unit(b.gaze)
    start = (b.head[0] + 0.72 * b.head_radius * c, b.head[1] + 0.72 * b.head_radius * s)
    whole = length + 0.28 * b.head_radius
    px, py = frame.x - start[0], frame.y - start[1]
    along = (c * px + s * py) / whole
    inner = np.clip(along, 0, 1)
    half = thick * (1 - inner) ** 0.8 + 0.004
    across = c * py - s * px + droop * inner**2 * (1 + length)
    inside = np.where(along > 1, (1 - along) * whole, np.where(along < 0, along * whole, half - np.abs(across)))
    q = np.clip(across / half, -1, 1)
    gape = 1 - 0.5 * np.exp(-np.square((across + 0.1 * thick) / (0.5 * frame.pixel + 0.010))) * step(0.9 - along, 0.2)
    shade = _tilted(layers.light, b.flip, -0.7 * q * s + 0.15, 0.8 * q * c)
    gloss = 0.25 * np.exp(-np.square((q - 0.45) / 0.22))
    layers.add("beak", step(inside.astype(np.float32), edge), shade, texture=gape.astype(np.float32), gloss=gloss.astype(np.float32))


def _legs(layers: Layers, frame: Canvas, b: _Bird, floor: float, rng: Rng, edge: float) -> None:
    d = _unit(b.posture)
    hip = (-0.06 * d[0], -0.06 * d[1] - 0.6 * b.plump)
    for offset in (0.10, -0.06):
        foot = (0.06 + offset + rng.normal(0, 0.015), floor)
        knee = (foot[0] - 0.05, floor + 0.55 * b.legs)
        for start, end, r0, r1 in (
            ((hip[0] + offset, hip[1]), knee, 0.035, 0.020), (knee, foot, 0.020, 0.017),
            (foot, (foot[0] + 0.10, floor - 0.012), 0.019, 0.010), (foot, (foot[0] - 0.06, floor - 0.012), 0.017, 0.010),
        ):  # fmt: skip
            inside, _, across = capsule(frame, start, end, r0, r1)
            layers.add("feet", step(inside, edge), _tilted(layers.light, b.flip, 0.7 * across, 0 * across), texture=None)


def _eye(layers: Layers, frame: Canvas, b: _Bird, edge: float) -> None:
    c, s = _unit(b.gaze)
    r = b.head_radius
    at = (b.head[0] + r * (0.36 * c - 0.16 * s), b.head[1] + r * (0.36 * s + 0.16 * c))
    radius = 0.19 * r
    px, py = frame.x - at[0], frame.y - at[1]
    distance = np.hypot(px, py)
    flat = _tilted(layers.light, b.flip, 0.5 * px / radius, 0.5 * py / radius)
    layers.dim(1 - 0.45 * step(1.5 * radius - distance, 0.8 * radius))
    layers.add("rim", step(1.12 * radius - distance, edge), flat, colour=(0.08, 0.07, 0.06))
    layers.add("eyes", step(radius - distance, edge), flat)
    layers.add("rim", step(0.58 * radius - distance, edge), flat, colour=(0.03, 0.03, 0.03))
    spark = step(0.30 * radius - np.hypot(px + 0.30 * radius * b.flip, py - 0.36 * radius), edge)
    layers.add("rim", 0.9 * spark, flat, colour=(1.0, 1.0, 1.0))


_BARK: tuple[Rgb, ...] = ((0.36, 0.29, 0.23), (0.47, 0.42, 0.37), (0.28, 0.24, 0.21), (0.55, 0.47, 0.36), (0.40, 0.40, 0.34))


def _perch(layers: Layers, frame: Canvas, canvas: Canvas, b: _Bird, floor: float, rng: Rng, edge: float, *, far: bool) -> None:
    light = layers.light
    zero = np.zeros_like(frame.x)
    if b.perch == "branch" and far:
        tone = _BARK[rng.integers(len(_BARK))]
        thick, slope = rng.uniform(0.05, 0.15), rng.normal(0, 0.16)
        rods = [((-5.0, floor - thick - 5 * slope), (5.0, floor - thick + 5 * slope), thick, thick * rng.uniform(0.6, 1))]
        for _ in range(int(rng.integers(0, 3))):
            at, angle = rng.uniform(-1.5, 1.5), rng.uniform(0.3, 2.8) * rng.choice([-1, 1])
            end = (at + 1.5 * np.cos(angle), floor - thick + at * slope + 1.5 * np.sin(angle))
            rods.insert(0, ((at, floor - thick + at * slope), end, 0.4 * thick, 0.1 * thick))
        for start, end, r0, r1 in rods:
            inside, along, across = capsule(frame, start, end, r0, r1)
            bark = 1 + 0.22 * streaks(along * 30, across * 2.5 + 7, rng) + 0.12 * streaks(frame.x * 11, frame.y * 15, rng)
            lean = -across
            layers.add(SCENERY, step(inside + 0.006 * bark, edge + 0.01), _tilted(light, b.flip, zero, 0.85 * lean), texture=bark.astype(np.float32), colour=tone)
        for _ in range(int(rng.integers(0, 4)) if rng.random() < 0.5 else 0):
            at = rng.uniform(-1.6, 1.6)
            _green(layers, frame, (at, floor - thick + at * slope), rng.uniform(0, 6.3), rng.uniform(0.25, 0.55), b.flip, rng, edge)
    elif b.perch in ("ground", "rock") and far:
        if b.perch == "rock":
            inside, _, nv = _ellipse(frame, (rng.normal(0.05, 0.15), floor - 0.42), rng.normal(0, 0.1), (rng.uniform(0.5, 1.3), 0.44))
            tone = ((0.52, 0.50, 0.47), (0.42, 0.38, 0.34), (0.46, 0.47, 0.42))[rng.integers(3)]
        else:
            inside, nv = floor + 0.02 - frame.y + 0.04 * canvas.clouds(rng, 3), zero + 0.6
            tone = ((0.42, 0.47, 0.27), (0.55, 0.48, 0.38), (0.66, 0.60, 0.50), (0.38, 0.36, 0.31))[rng.integers(4)]
        grit = 1 + 0.16 * canvas.clouds(rng, 14) + 0.14 * canvas.clouds(rng, 5) + 0.08 * canvas.clouds(rng, 28)
        layers.add(SCENERY, step(inside, edge + (0.02 if b.perch == "rock" else 0.12)), _tilted(light, b.flip, zero, 0.8 * nv), texture=np.clip(grit, 0.2, 2).astype(np.float32), colour=tone)
        shadow = step(1 - np.hypot((frame.x - 0.05) / 0.6, (frame.y - floor) / 0.10), 0.9)
        layers.dim((1 - 0.5 * shadow).astype(np.float32))
    elif b.perch == "water" and not far:
        line = -0.45 * b.plump
        wave = 0.02 * np.sin(frame.x * 7 + rng.uniform(0, 6)) + 0.02 * canvas.clouds(rng, 4, stretch=0.35)
        ripple = 1 + 0.22 * canvas.clouds(rng, 9, stretch=0.25) + 0.12 * canvas.clouds(rng, 4, stretch=0.3)
        mirror = step(1 - np.hypot(frame.x / 0.75, (frame.y - line) / 0.5), 0.8)
        tone = ((0.30, 0.42, 0.48), (0.26, 0.36, 0.52), (0.30, 0.36, 0.28))[rng.integers(3)]
        texture = np.clip(ripple * (1 - 0.55 * mirror), 0.15, 2).astype(np.float32)
        layers.add(SCENERY, step(line + wave - frame.y, edge + 0.02), _tilted(light, b.flip, zero, zero + 0.5), texture=texture, colour=tone)


def _green(layers: Layers, frame: Canvas, at: Point, angle: float, length: float, flip: float, rng: Rng, edge: float, name: str = SCENERY) -> None:
    """A leaf of a plant, as scenery or as the part `name`."""
    leaf = _leaf(frame, at, angle, length, length * rng.uniform(0.16, 0.28), rise=0.7, fall=rng.uniform(0.7, 1.0), bend=rng.normal(0, 0.08) * length)
    tone = ((0.30, 0.44, 0.18), (0.42, 0.52, 0.24), (0.24, 0.36, 0.18), (0.55, 0.56, 0.24))[rng.integers(4)]
    rib = _grooves(leaf.along * 7 + np.abs(leaf.across) * -1.6, 10 * frame.pixel, 0.14) * (1 + 0.18 * np.exp(-np.square(leaf.across / 0.1)))
    c, s = _unit(angle)
    lean = 0.5 * np.abs(leaf.across) * np.sign(leaf.across) + 0.2
    shade = _tilted(layers.light, flip, -lean * s, lean * c + 0.2)
    layers.add(name, step(leaf.inside, edge), shade, texture=rib.astype(np.float32), colour=tone if name == SCENERY else None)


def flower(canvas: Canvas, layers: Layers, *, pose: int, size: str, shape: str) -> None:
    """Lay one open flower with its stem and leaves."""
    rng = np.random.default_rng([pose, 2])
    light, soft = layers.light, layers.light.softness
    form = str(rng.choice(["simple", "daisy", "dahlia", "cup"], p=[0.38, 0.27, 0.15, 0.20]))
    fill = rng.uniform(0.75, 1.08) if size == "large" else rng.uniform(0.5, 0.85)
    frame = _placed(canvas, rng, (-1, -1), (1, 1), fill, float(rng.choice([-1, 1])))
    edge = frame.pixel * max(1.0, soft / canvas.pixel)
    bow = rng.normal(0, 0.5)
    stem, _, round_ = capsule(frame, (0, 0), (bow, -4.0), 0.055, 0.09)
    zero = np.zeros_like(frame.x)
    layers.add("leaves", step(stem, edge), _tilted(light, 1.0, 0.8 * round_, zero))
    for _ in range(int(rng.integers(0, 5))):
        _green(layers, frame, (rng.normal(0, 0.3), rng.uniform(-0.9, 0.1)), rng.uniform(0, 6.3), rng.uniform(0.7, 1.5), 1.0, rng, edge, "leaves")
    # The flower's own disk, seen at an angle.
    tilt, turn = rng.uniform(0.62, 1.0), rng.uniform(0, np.pi)
    c, s = _unit(turn)
    pu = c * frame.x + s * frame.y
    pv = (c * frame.y - s * frame.x) / tilt
    x, y = c * pu - s * pv, s * pu + c * pv
    radius, theta = np.hypot(x, y), np.arctan2(y, x)
    rings = {"simple": 1, "daisy": 1 + int(rng.random() < 0.4), "dahlia": 3, "cup": 2}[form]
    count = {"simple": int(rng.integers(4, 9)), "daisy": int(rng.integers(11, 22)), "dahlia": int(rng.integers(8, 14)),
             "cup": int(rng.integers(3, 6))}[form]  # fmt: skip
    disk = {"simple": rng.uniform(0.10, 0.2), "daisy": rng.uniform(0.2, 0.36), "dahlia": rng.uniform(0.08, 0.18), "cup": rng.uniform(0.1, 0.2)}[form]
    layers.dim((1 - 0.45 * step(0.95 - np.hypot(x + 0.08 * light.direction[0], y + 0.1), 0.5)).astype(np.float32))
    start = rng.uniform(0, 2 * np.pi)
    for ring in range(rings):
        reach = 1.0 - 0.26 * ring if form != "cup" else 1.0 - 0.12 * ring
        _petals(layers, radius / reach, theta - start - ring * np.pi / count, count, shape, form, rng, edge / reach, light, disk)
    bumps = streaks(theta * 40 / (2 * np.pi) + 60 * radius, radius * 38, rng) * np.clip(1.5 - 20 * frame.pixel, 0.2, 1)
    dome = np.clip(radius / disk, 0, 1)
    shade = _tilted(light, 1.0, 0.8 * dome * np.cos(theta), 0.8 * dome * np.sin(theta))
    layers.dim((1 - 0.4 * step(1.35 * disk - radius, 0.5 * disk)).astype(np.float32))
    layers.add("center", step(disk - radius + 0.012 * bumps, edge + 0.01), shade, texture=(1.02 + 0.28 * bumps - 0.22 * (dome < 0.45)).astype(np.float32))
    _stamen(layers, radius, theta, disk, rng, edge, light)


def _petals(
    layers: Layers, radius: Field, theta: Field, count: int, shape: str, form: str, rng: Rng, edge: float, light: Light, disk: float
) -> None:  # fmt: skip
    """One ring of petals; each lies over its neighbour on one side or both, so no seams show."""
    sizes = rng.uniform(0.86, 1.0, count).astype(np.float32)
    tones = rng.uniform(0.86, 1.08, count).astype(np.float32)
    drift = rng.normal(0, 0.06, count).astype(np.float32)
    breadth = {"simple": rng.uniform(0.5, 0.78), "daisy": rng.uniform(0.5, 0.7), "dahlia": rng.uniform(0.55, 0.75), "cup": rng.uniform(0.75, 0.95)}[form]
    rise, fall = (rng.uniform(0.55, 0.9), rng.uniform(0.28, 0.4)) if shape == "round" else (rng.uniform(0.6, 1.0), rng.uniform(0.75, 1.1))
    peak = rise / (rise + fall)
    scale = breadth * np.pi / count * peak / (peak**rise * (1 - peak) ** fall)  # half width at its widest, in units of reach
    place = theta / (2 * np.pi) * count
    low = np.floor(place)
    first = low.astype(np.int32) % count
    second = (first + 1) % count
    swap = (first % 2 == 0) & ((second % 2 == 1) | (second == 0))  # the even neighbour lies on top
    ruffle, veins, hollow = rng.uniform(0, 0.035), rng.uniform(0.03, 0.14), rng.uniform(-0.6, 0.7)
    tip_start, seed = rng.uniform(0.62, 0.85), rng.integers(2**31)
    for top in (False, True):
        pick = np.where(swap == top, first, second)
        offset = (place - low) - np.where(swap == top, 0, 1) + drift[pick]
        along = radius / sizes[pick]
        inner = np.clip(along, 0, 1)
        half = scale * inner**rise * (1 - inner) ** fall
        side = offset * (2 * np.pi / count)
        lateral = np.sin(np.clip(side, -1.5, 1.5)) * radius
        wobble = ruffle * np.sin(offset * 21 + 2.1 * pick) * inner**2
        inside = np.where(along > 1, (1 - along), half - np.abs(lateral) + wobble)
        q = np.clip(lateral / np.maximum(half, 1e-3), -1, 1)
        grain = streaks(q * 7 + 13 * pick, inner * 3.2, np.random.default_rng(seed))
        texture = tones[pick] * (1 + veins * grain) * (1 - 0.10 * np.exp(-np.square(q / 0.12))) * (0.80 + 0.22 * inner)
        direction = theta - side
        out = hollow * (inner - 0.55) + 0.10
        nx = out * np.cos(direction) - 0.5 * q * np.sin(direction)
        ny = out * np.sin(direction) + 0.5 * q * np.cos(direction)
        shade = _tilted(light, 1.0, nx, ny)
        if top:
            layers.dim((1 - 0.38 * step(inside + 0.03, 0.10)).astype(np.float32))
        alpha = step(inside.astype(np.float32), edge + 0.006)
        layers.add("petals", alpha, shade, texture=texture.astype(np.float32))
        tip = step(np.maximum(along - tip_start, np.abs(q) * inner - 0.72) + 0.05 * grain, 0.16)
        layers.add("edges", alpha * tip, shade, texture=texture.astype(np.float32))


def _stamen(layers: Layers, radius: Field, theta: Field, disk: float, rng: Rng, edge: float, light: Light) -> None:
    """Thin filaments with an anther at each end, around the centre."""
    count, reach = int(rng.integers(6, 16)), disk * rng.uniform(1.2, 1.9)
    place = theta / (2 * np.pi) * count
    lengths = (reach * rng.uniform(0.75, 1.1, count)).astype(np.float32)
    mine = lengths[np.floor(place).astype(np.int32) % count]
    side = (place - np.floor(place) - 0.5) * (2 * np.pi / count) * radius
    thread = np.minimum(0.010 - np.abs(side), np.minimum(mine - radius, radius - 0.5 * disk))
    anther = 0.032 - np.hypot(side, (radius - mine) * 0.8)
    shade = _tilted(light, 1.0, 0.4 * np.cos(theta), 0.4 * np.sin(theta))
    layers.add("stamen", step(np.maximum(thread, anther).astype(np.float32), edge), shade)
