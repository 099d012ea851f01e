"""Drawing with formulas: soft shapes, feather-like noise, blurred backdrops, and layers whose colour comes last.

Every shape is evaluated at the pixel centres in picture coordinates (the shorter side spans [-1, 1], y points down), so
a picture has no resolution of its own: two sizes of one scene differ by sampling alone. `Layers` keeps, for each pixel,
how much of each part is visible and how light falls on it; giving the parts other colours then changes only them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]  # one value per pixel, (H, W)
Rgb = tuple[float, float, float]  # sRGB in [0, 1]
Rng = np.random.Generator


def step(x: Field, width: float) -> Field:
    """Smooth 0 -> 1 over `width` around x = 0; the antialiased inside of a shape where x > 0."""
    t = np.clip(x / width + 0.5, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def linear(rgb: Rgb) -> Field:
    """Linear light of an sRGB colour (gamma 2, the inverse of the final square root)."""
    return np.square(np.asarray(rgb, np.float32))


@dataclass(frozen=True)
class Canvas:
    """Pixel centres: `x`, `y` (H, W) float32 with the shorter side spanning [-1, 1], `pixel` its width in these units."""

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


def capsule(canvas: Canvas, start: tuple[float, float], end: tuple[float, float], r0: float, r1: float) -> tuple[Field, ...]:
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
    """Where light comes from and what colour it has; all seeded, none of it depends on the part colours."""

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
        """How much sun, sky and ground light (each (H, W)) a surface with this normal gets."""
        lx, ly, lz = self.direction
        sun = np.clip(nx * lx + ny * ly + nz * lz + 0.15, 0, None) / 1.15
        return sun, np.asarray(0.75 - 0.25 * ny, np.float32), np.clip(0.35 + 0.65 * ny, 0, None)


@dataclass
class Layers:
    """Part layers from back to front over a backdrop; see `finish`."""

    canvas: Canvas
    light: Light
    names: list[str] = field(default_factory=list)
    fixed: list[Rgb | None] = field(default_factory=list)
    alphas: list[Field] = field(default_factory=list)
    shades: list[tuple[Field, Field, Field, Field | None]] = field(default_factory=list)

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
        self.names.append(name)
        self.fixed.append(colour)
        self.alphas.append(np.where(alpha < 0.004, np.float32(0), alpha).astype(np.float32))
        lit = shade if texture is None else (shade[0] * texture, shade[1] * texture, shade[2] * texture)
        self.shades.append((*lit, gloss))

    def dim(self, by: Field) -> None:
        """Throw a shadow on all layers laid so far: `by` (H, W) in [0, 1], 0 black."""
        self.shades = [(a * by, b * (0.5 + 0.5 * by), c, g) for a, b, c, g in self.shades]

    def finish(self, backdrop: Field, *, exposure: float, grain: Field) -> Exposed:
        """Work out what is visible. `backdrop` (H, W, 3) linear light; `grain` (H, W) is added to the final sRGB."""
        free = np.ones(self.canvas.shape, np.float32)
        visible: list[Field] = []
        for alpha in reversed(self.alphas):
            visible.append(free * alpha)
            free = free * (1 - alpha)
        visible.reverse()
        weights = np.stack([w * s for w, lit in zip(visible, self.shades, strict=True) for s in lit[:3]], -1)
        base = backdrop * free[..., None]
        for w, lit in zip(visible, self.shades, strict=True):
            if lit[3] is not None:
                base += (w * lit[3])[..., None] * self.light.sun
        return Exposed(self.names, self.fixed, visible, weights, base, self.light, exposure, grain)


@dataclass
class Exposed:
    """A drawing without its part colours: `paint` gives the picture for any colours at the cost of one product."""

    names: list[str]
    fixed: list[Rgb | None]
    visible: list[Field]  # of each layer, (H, W) in [0, 1]
    weights: Field  # (H, W, 3 * layers) sun, sky and ground light of each
    base: Field  # (H, W, 3) linear light that no part colour changes
    light: Light
    exposure: float
    grain: Field

    def paint(self, albedo: Mapping[str, Rgb]) -> NDArray[np.uint8]:
        """The picture (H, W, 3) with these sRGB part colours."""
        rows = []
        for name, fixed in zip(self.names, self.fixed, strict=True):
            colour = linear(albedo[name] if fixed is None else fixed)
            rows += [colour * self.light.sun, colour * self.light.sky, colour * self.light.ground]
        height, width, count = self.weights.shape
        light = self.weights.reshape(-1, count) @ np.stack(rows).astype(np.float32)
        light = (light.reshape(height, width, 3) + self.base) * np.float32(self.exposure)
        light = np.where(light > 0.8, 0.8 + 0.2 * np.tanh((light - 0.8) * 2.5), light)  # soft shoulder, no burnt patches
        encoded = np.sqrt(np.clip(light, 0, 1)) * 255 + self.grain[..., None]
        return (np.clip(encoded, 0, 255) + 0.5).astype(np.uint8)

    def masks(self) -> dict[str, Field]:
        """Visible share (H, W) in [0, 1] of every part that takes a scene colour."""
        found: dict[str, Field] = {}
        for name, fixed, visible in zip(self.names, self.fixed, self.visible, strict=True):
            if fixed is None:
                found[name] = found[name] + visible if name in found else visible
        return {name: np.clip(mask, 0, 1) for name, mask in found.items()}

    def subject(self, scenery: str) -> Field:
        """Share (H, W) in [0, 1] of all layers but those named `scenery`."""
        shown = [w for name, w in zip(self.names, self.visible, strict=True) if name != scenery]
        return np.clip(np.sum(shown, 0), 0, 1).astype(np.float32)


# Backdrops: far and near colours, and what else stands there.
_PALETTES: tuple[tuple[str, tuple[Rgb, ...]], ...] = (
    ("foliage", ((0.30, 0.42, 0.18), (0.48, 0.58, 0.28), (0.16, 0.24, 0.11), (0.66, 0.72, 0.42))),
    ("foliage", ((0.20, 0.30, 0.16), (0.33, 0.44, 0.25), (0.09, 0.13, 0.08), (0.50, 0.55, 0.33))),
    ("foliage", ((0.45, 0.50, 0.38), (0.58, 0.62, 0.47), (0.33, 0.36, 0.26), (0.75, 0.76, 0.62))),
    ("dark", ((0.07, 0.09, 0.07), (0.15, 0.18, 0.12), (0.03, 0.04, 0.03), (0.25, 0.28, 0.19))),
    ("sky", ((0.55, 0.70, 0.88), (0.70, 0.81, 0.93), (0.42, 0.58, 0.80), (0.88, 0.92, 0.96))),
    ("sky", ((0.80, 0.84, 0.87), (0.90, 0.91, 0.92), (0.70, 0.75, 0.80), (0.96, 0.96, 0.96))),
    ("water", ((0.32, 0.45, 0.52), (0.47, 0.58, 0.63), (0.20, 0.31, 0.38), (0.66, 0.75, 0.78))),
    ("water", ((0.25, 0.36, 0.55), (0.38, 0.50, 0.68), (0.15, 0.24, 0.42), (0.60, 0.70, 0.80))),
    ("brown", ((0.46, 0.38, 0.28), (0.60, 0.52, 0.40), (0.28, 0.22, 0.16), (0.76, 0.68, 0.55))),
    ("brown", ((0.50, 0.46, 0.42), (0.63, 0.60, 0.55), (0.34, 0.31, 0.28), (0.78, 0.75, 0.70))),
    ("autumn", ((0.55, 0.42, 0.20), (0.70, 0.52, 0.24), (0.34, 0.26, 0.13), (0.82, 0.66, 0.36))),
    ("gray", ((0.50, 0.52, 0.53), (0.62, 0.63, 0.63), (0.36, 0.38, 0.39), (0.76, 0.76, 0.75))),
)


def backdrop(canvas: Canvas, rng: Rng, *, kinds: tuple[str, ...] = ()) -> Field:
    """A blurred natural background (H, W, 3) in linear light; `kinds` narrows the choice of palettes."""
    fits = [item for item in _PALETTES if not kinds or item[0] in kinds]
    kind, palette = fits[rng.integers(len(fits))]
    jitter = rng.normal(0, 0.03, 3)
    colours = [linear(tuple(np.clip(np.add(c, jitter), 0.02, 0.98))) for c in palette]
    image = np.empty((*canvas.shape, 3), np.float32)
    image[:] = colours[0]
    calm = kind in ("sky", "dark", "gray")
    for i, frequency in enumerate((0.8, 1.7, 3.5)):
        noise = canvas.clouds(rng, frequency * rng.uniform(0.8, 1.3))
        amount = step(noise - rng.uniform(0.0, 0.9), 1.6) * ((0.35 if calm else 0.8) - 0.12 * i)
        image += amount[..., None] * (colours[1 + int(rng.integers(2))] - image)
    slope = rng.uniform(-0.5, 0.5) * canvas.x + rng.uniform(-0.6, 0.3) * canvas.y
    image *= np.clip(1 + 0.45 * slope, 0.3, 1.8)[..., None]
    if kind in ("foliage", "brown", "autumn", "water", "gray") and rng.random() < 0.6:  # grass, reeds, ripples, rock
        stretch = {"water": 0.3, "foliage": rng.choice([1.0, 5.0]), "autumn": rng.choice([1.0, 4.0])}.get(kind, 1.0)
        blades = canvas.clouds(rng, rng.uniform(5, 12) * max(1, stretch**0.3), stretch=float(stretch))
        image *= np.clip(1 + rng.uniform(0.1, 0.3) * blades, 0.2, 2.5)[..., None]
    if kind != "sky":
        for _ in range(int(rng.integers(0, 7))):  # light through leaves, out of focus
            cx, cy, radius = rng.uniform(-1.3, 1.3), rng.uniform(-1.1, 1.1), rng.uniform(0.05, 0.22)
            disc = step(radius - np.hypot(canvas.x - cx, canvas.y - cy), radius * rng.uniform(0.25, 1.2))
            image += (rng.uniform(0.15, 0.6) * disc)[..., None] * (colours[3] - image)
    for _ in range(int(rng.integers(0, 4))):  # far twigs and stems
        angle = rng.normal(np.pi / 2, 0.6) if kind == "foliage" else rng.uniform(0, np.pi)
        cx, cy = rng.uniform(-1.2, 1.2), rng.uniform(-1, 1)
        end = (cx + 1.6 * np.cos(angle), cy + 1.6 * np.sin(angle))
        inside, _, across = capsule(canvas, (cx - 1.6 * np.cos(angle), cy - 1.6 * np.sin(angle)), end, 0.02, rng.uniform(0.02, 0.07))
        tone = colours[int(rng.integers(1, 4))] * rng.uniform(0.4, 1.2)
        image += (rng.uniform(0.4, 0.9) * step(inside, rng.uniform(0.03, 0.12)))[..., None] * (tone - image)
    if rng.random() < 0.25:  # the ground begins somewhere
        below = step(canvas.y - rng.uniform(0.1, 0.8) - 0.1 * rng.normal() * canvas.x, rng.uniform(0.05, 0.5))
        tone = linear((0.40, 0.38, 0.28) if rng.random() < 0.6 else (0.36, 0.44, 0.24)) * rng.uniform(0.5, 1.4)
        image += (0.85 * below * (1 + 0.2 * canvas.clouds(rng, 6)))[..., None] * (tone - image)
    return np.clip(image, 0.002, 1.2)
