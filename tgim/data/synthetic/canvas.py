"""Renderer by formulas: soft shapes, feather-like noise, and layers whose colour comes last.

Every shape is evaluated at the pixel centres in picture coordinates (the shorter side spans [-1, 1], y points down), so
a picture has no resolution of its own: two sizes of one scene differ by sampling alone. `Layers` keeps, for each pixel,
how much of each part is visible and how light falls on it; giving the parts other colours then changes only them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]  # one value per pixel, (H, W), float32
Rgb = tuple[float, float, float]  # sRGB in [0, 1]
Rng = np.random.Generator
SCENERY = "scenery"  # the name of layers that are neither backdrop nor subject: branches, water, ground


def step(x: Field, width: float) -> Field:
    """Smooth step 0 -> 1 over `width` around x = 0: the antialiased inside of a shape where x > 0."""
    t = np.clip(x / width + 0.5, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def linear(rgb: Rgb) -> Field:
    """Linear light of an sRGB colour (gamma 2, the inverse of the final square root)."""
    return np.square(np.asarray(rgb, np.float32))


@dataclass(frozen=True)
class Canvas:
    """Pixel centres: `x`, `y` (H, W) float32 with the shorter side spanning [-1, 1], `pixel` the width of one."""

    x: Field
    y: Field
    pixel: float

    @classmethod
    def of(cls, height: int, width: int) -> Canvas:
        pixel = 2 / min(height, width)
        ys = ((np.arange(height) + 0.5) - height / 2) * pixel
        xs = ((np.arange(width) + 0.5) - width / 2) * pixel
        x, y = np.meshgrid(xs.astype(np.float32), ys.astype(np.float32))
        return cls(x, y, pixel)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.x.shape[0], self.x.shape[1]

    def clouds(self, rng: Rng, frequency: float, *, stretch: float = 1.0) -> Field:
        """Smooth noise of about unit variance, `frequency` cells per unit; `stretch` > 1 makes upright streaks.

        Detail finer than two pixels fades out instead of aliasing.
        """
        fy, fx = frequency / stretch, frequency
        reach = 3.0  # picture coordinates covered each way: aspect ratios up to 3
        table = rng.standard_normal((int(2 * reach * fy) + 5, int(2 * reach * fx) + 5), np.float32)
        down = _spline((self.y[:, 0] + reach) * fy, table.shape[0])
        across = _spline((self.x[0] + reach) * fx, table.shape[1])
        fade = np.float32(2.1 * min(max(2 - 2 * frequency * self.pixel, 0), 1))
        return np.asarray(fade * (down @ table @ across.T), np.float32)


def _spline(at: Field, cells: int) -> Field:
    """Cubic B-spline weights (positions, cells) of positions on a row of `cells` knots."""
    distance = np.abs(np.clip(at, 0, cells - 4)[:, None] + 1 - np.arange(cells, dtype=np.float32))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.asarray(np.where(distance < 1, near, far), np.float32)


def streaks(u: Field, v: Field, rng: Rng) -> Field:
    """Value noise in [-1, 1] at warped coordinates, one cell per unit; stretch the coordinates to get strands."""
    table = rng.uniform(-1, 1, 4096).astype(np.float32)
    iu, iv = np.floor(u), np.floor(v)
    fu, fv = u - iu, v - iv
    fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
    index = iu.astype(np.int32) + 61 * iv.astype(np.int32)
    a, b = table[index & 4095], table[(index + 1) & 4095]
    c, d = table[(index + 61) & 4095], table[(index + 62) & 4095]
    top = a + fu * (b - a)
    return np.asarray(top + fv * (c + fu * (d - c) - top), np.float32)


def capsule(
    canvas: Canvas, start: tuple[float, float], end: tuple[float, float], r0: float, r1: float
) -> tuple[Field, ...]:
    """Distance inside (> 0) a rod tapering from radius r0 to r1, its place along [0, 1], its place across [-1, 1]."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = float(np.hypot(dx, dy)) or 1e-6
    px, py = canvas.x - start[0], canvas.y - start[1]
    along = np.clip((px * dx + py * dy) / length**2, 0, 1)
    across = (px * dy - py * dx) / length
    radius = r0 + (r1 - r0) * along
    distance = np.hypot(px - along * dx, py - along * dy)
    return radius - distance, along, np.clip(across / radius, -1, 1)


@dataclass
class Light:
    """Direction and colours of the light; all seeded, independent of the part colours."""

    direction: tuple[float, float, float]  # unit vector towards the sun, y down, z towards the viewer
    sun: Field  # (3,) linear
    sky: Field  # (3,) linear
    ground: Field  # (3,) linear, bounced from below
    softness: float  # width of edges in picture units, beyond the pixel

    @classmethod
    def random(cls, rng: Rng) -> Light:
        azimuth, up, towards = rng.uniform(-0.8, 0.8), rng.uniform(0.5, 1.0), rng.uniform(0.5, 1.0)
        vector = np.array([azimuth, -up, towards]) / np.linalg.norm([azimuth, up, towards])
        warm, overcast = rng.uniform(-0.03, 0.10), rng.random() ** 1.5
        sun = np.array([1 + warm, 1, 1 - 1.3 * warm]) * (1.15 - 0.6 * overcast)
        sky = np.array([0.96, 1.0, 1.06]) * (0.32 + 0.35 * overcast)
        ground = np.array([1.04, 1.02, 0.86]) * rng.uniform(0.10, 0.22)
        soft = 0.004 + 0.022 * rng.random() ** 3
        f32 = np.float32
        return cls((float(vector[0]), float(vector[1]), float(vector[2])), sun.astype(f32), sky.astype(f32),
                   ground.astype(f32), soft)  # fmt: skip

    def shade(self, nx: Field, ny: Field, nz: Field) -> tuple[Field, Field, Field]:
        """Shade a surface by its normal (H, W): shares (H, W) of sun, sky and ground light."""
        lx, ly, lz = self.direction
        sun = np.clip(nx * lx + ny * ly + nz * lz + 0.15, 0, None) / 1.15
        return sun, np.asarray(0.75 - 0.25 * ny, np.float32), np.clip(0.35 + 0.65 * ny, 0, None)


@dataclass
class _Layer:
    name: str
    alpha: Field
    shade: tuple[Field, Field, Field]  # sun, sky and ground light
    texture: Field | None
    gloss: Field | None
    colour: Rgb | None
    shadow: Field | None = None  # thrown on this layer and all behind it


@dataclass
class Layers:
    """Part layers from back to front over a backdrop; see `finish`."""

    canvas: Canvas
    light: Light
    stack: list[_Layer] = field(default_factory=list)

    def add(
        self,
        name: str,
        alpha: Field,
        shade: tuple[Field, Field, Field],
        *,
        texture: Field | None = None,
        gloss: Field | None = None,
        colour: Rgb | None = None,
    ) -> None:
        """Lay a part over all before it. Without `colour` it takes the colour of the scene's part `name`."""
        alpha = np.where(alpha < 0.004, np.float32(0), alpha)
        self.stack.append(_Layer(name, alpha, shade, texture, gloss, colour))

    def zones(
        self, alpha: Field, zones: Sequence[tuple[str, Field]], shade: tuple[Field, Field, Field], texture: Field
    ) -> None:
        """Lay one shape `alpha` divided into zones, each over those before it; the first fills what others leave.

        Unlike layers of their own, zones let nothing of each other show at the rim of the shape.
        """
        free, taken = np.ones_like(alpha), np.zeros_like(alpha)
        shown = []
        for name, zone in reversed(zones):
            share = free * zone if name != zones[0][0] or zone is not zones[0][1] else free
            free = free - share
            whole = alpha * share
            shown.append((name, whole / np.maximum(1 - taken, 1e-4)))
            taken = taken + whole
        for name, over in reversed(shown):
            self.add(name, np.clip(over, 0, 1), shade, texture=texture)

    def dim(self, by: Field) -> None:
        """Throw a shadow on all layers laid so far: `by` (H, W) in [0, 1], 0 black."""
        last = self.stack[-1]
        last.shadow = by if last.shadow is None else last.shadow * by

    def finish(self, backdrop: Field, *, exposure: float, grain: Field) -> Exposed:
        """Composite the layers over `backdrop` (H, W, 3), linear light; `grain` (H, W) is added to the final sRGB."""
        free: Field = np.ones(self.canvas.shape, np.float32)
        shadow: Field | None = None
        visible: Field
        parts: dict[str, Field] = {}
        lit: dict[str, list[Field]] = {}
        subject = np.zeros_like(free)
        base = np.zeros((*self.canvas.shape, 3), np.float32)
        for layer in reversed(self.stack):
            if layer.shadow is not None:
                shadow = layer.shadow if shadow is None else shadow * layer.shadow
            if not layer.alpha.any():
                continue
            visible = free * layer.alpha
            free = free * (1 - layer.alpha)
            weight = visible if layer.texture is None else visible * layer.texture
            full, half = (weight, weight) if shadow is None else (weight * shadow, weight * (0.5 + 0.5 * shadow))
            light = [full * layer.shade[0], half * layer.shade[1], half * layer.shade[2]]
            if layer.gloss is not None:
                base += (visible * layer.gloss)[..., None] * self.light.sun
            if layer.name != SCENERY:
                subject += visible
            if layer.colour is not None:
                tone = linear(layer.colour)
                rows = np.stack([tone * self.light.sun, tone * self.light.sky, tone * self.light.ground])
                base += (rows.T @ np.stack(light).reshape(3, -1)).T.reshape(base.shape)
            elif layer.name in parts:
                parts[layer.name] = parts[layer.name] + visible
                lit[layer.name] = [old + new for old, new in zip(lit[layer.name], light, strict=True)]
            else:
                parts[layer.name], lit[layer.name] = visible, light
        base += backdrop * free[..., None]
        parts = {name: np.clip(mask, 0, 1) for name, mask in parts.items()}
        weights = (
            np.stack([f for name in parts for f in lit[name]]) if parts else np.zeros((0, *free.shape), np.float32)
        )
        return Exposed(parts, weights, np.clip(subject, 0, 1), base, self.light, exposure, grain)


@dataclass
class Exposed:
    """A rendered scene without its part colours: `paint` gives the picture for any colours by one matrix product."""

    parts: dict[str, Field]  # visible share (H, W) in [0, 1] of every part that takes a scene colour
    weights: Field  # (3 * parts, H, W) sun, sky and ground light that each part sends to the eye if it is white
    subject: Field  # (H, W) in [0, 1]
    base: Field  # (H, W, 3) linear light that no part colour changes
    light: Light
    exposure: float
    grain: Field  # (H, W)

    def paint(self, albedo: Mapping[str, Rgb]) -> NDArray[np.uint8]:
        """Render the picture (H, W, 3) with these sRGB part colours."""
        light = self.base
        if self.parts:
            tones = [linear(albedo[name]) for name in self.parts]
            rows = [tone * beam for tone in tones for beam in (self.light.sun, self.light.sky, self.light.ground)]
            light = (np.stack(rows).T @ self.weights.reshape(len(rows), -1)).T.reshape(light.shape) + light
        light = light * np.float32(self.exposure)
        over = np.clip(light - 0.8, 0, None)
        light = np.minimum(light, 0.8) + over / (1 + 5 * over)  # soft shoulder, no burnt patches
        encoded = np.sqrt(np.clip(light, 0, 1)) * 255 + self.grain[..., None]
        return np.asarray(np.clip(encoded, 0, 255) + 0.5).astype(np.uint8)
