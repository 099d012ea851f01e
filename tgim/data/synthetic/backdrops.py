"""Blurred natural backgrounds for synthetic pictures: foliage, sky, water, earth, twigs and light out of focus."""

from __future__ import annotations

import numpy as np

from tgim.data.synthetic.canvas import Canvas, Field, Rgb, Rng, capsule, linear, step

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
        strength = rng.uniform(0.04, 0.12) if kind == "water" else rng.uniform(0.08, 0.26)
        image *= np.clip(1 + strength * blades, 0.2, 2.5)[..., None]
    if kind != "sky":
        for _ in range(int(rng.integers(0, 7))):  # light through leaves, out of focus
            cx, cy, radius = rng.uniform(-1.3, 1.3), rng.uniform(-1.1, 1.1), rng.uniform(0.05, 0.22)
            disc = step(radius - np.hypot(canvas.x - cx, canvas.y - cy), radius * rng.uniform(0.25, 1.2))
            image += (rng.uniform(0.15, 0.6) * disc)[..., None] * (colours[3] - image)
    for _ in range(int(rng.integers(0, 4))):  # far twigs and stems
        angle = rng.normal(np.pi / 2, 0.6) if kind == "foliage" else rng.uniform(0, np.pi)
        cx, cy = rng.uniform(-1.2, 1.2), rng.uniform(-1, 1)
        end = (cx + 4 * np.cos(angle), cy + 4 * np.sin(angle))
        inside, _, _across = capsule(
            canvas, (cx - 4 * np.cos(angle), cy - 4 * np.sin(angle)), end, 0.02, rng.uniform(0.02, 0.07)
        )
        tone = colours[int(rng.integers(1, 4))] * rng.uniform(0.4, 1.2)
        image += (rng.uniform(0.4, 0.9) * step(inside, rng.uniform(0.03, 0.12)))[..., None] * (tone - image)
    if rng.random() < 0.25:  # the ground begins somewhere
        below = step(canvas.y - rng.uniform(0.1, 0.8) - 0.1 * rng.normal() * canvas.x, rng.uniform(0.05, 0.5))
        tone = linear((0.40, 0.38, 0.28) if rng.random() < 0.6 else (0.36, 0.44, 0.24)) * rng.uniform(0.5, 1.4)
        image += (0.85 * below * (1 + 0.2 * canvas.clouds(rng, 6)))[..., None] * (tone - image)
    return np.clip(image, 0.002, 1.2)
