"""Synthetic birds and flowers: for any caption the true edited picture is known, and where it may change.

>>> rng = np.random.default_rng(0)
>>> scene = random_scene("bird", rng)
>>> red = apply_caption(scene, "red head and breast")
>>> red.colour("crown"), red.colour("breast"), red.colour("belly") == scene.colour("belly")
('red', 'red', True)
>>> render(red, 64).image.shape
(64, 64, 3)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tgim.data.synthetic.backdrops import backdrop
from tgim.data.synthetic.birds import bird
from tgim.data.synthetic.canvas import Canvas, Exposed, Field, Layers, Light, Rgb
from tgim.data.synthetic.captions import apply_caption, caption_of, edit_scene, read_caption, swap_scene
from tgim.data.synthetic.flowers import flower
from tgim.data.synthetic.scenes import COLOURS, Rng, Scene, random_scene, shade
from tgim.errors import DataError, nearest
from tgim.text.lexicon.synthetic import PARTS, UNDER

__all__ = [
    "COLOURS",
    "PARTS",
    "UNDER",
    "Pair",
    "PairArrays",
    "Rendering",
    "Scene",
    "albedos",
    "apply_caption",
    "caption_of",
    "edit_scene",
    "expose",
    "random_pair",
    "random_scene",
    "read_caption",
    "render",
    "render_pair",
    "render_pairs",
    "sample_picture",
    "sample_rendering",
    "shade",
    "swap_scene",
    "visible_parts",
]  # fmt: skip

KINDS = {"birds": "bird", "flowers": "flower"}
# Plumages as nature has them, for `sample_picture`.
_SAMPLES = (
    "a blue bird with an orange throat and breast and a white belly and a black beak and black eyes and gray feet",
    "a bright yellow bird with black wings and crown and white wingbars and an orange beak and tan feet and black eyes",
    "a red bird with a black face and throat and an orange beak and black eyes and brown feet",
    "a brown bird with an orange breast and throat and a white belly and a yellow beak and black eyes and tan feet",
    "a green bird with a red throat and a light gray breast and belly and a black beak and feet and eyes",
    "a gray bird with a white belly and throat and a black crown and black beak and eyes and feet",
)
_FIRST = 37  # chosen by eye: the first sample shows the whole bird in a calm place
_SUITS = {
    "water": ("water",),
    "none": ("foliage", "dark", "sky", "autumn", "gray"),
    "branch": (),
    "rock": (),
    "ground": (),
}


class Rendering(NamedTuple):
    """A rendered scene and the masks of its parts."""

    image: NDArray[np.uint8]  # (H, W, 3) sRGB
    subject: Field  # (H, W) in [0, 1], the share of each pixel that is bird or flower
    parts: dict[str, Field]  # (H, W) in [0, 1], the visible share of each part


@dataclass(frozen=True)
class Pair:
    """A scene, and the scene that a target caption makes of it."""

    source: Scene
    caption: str  # true of `source`
    target: Scene
    target_caption: str  # true of `target`


class PairArrays(NamedTuple):
    """Pixels and captions of n rendered pairs.

    The masks are quantised upwards, so that outside `change` > 0 both pictures are equal byte for byte.
    """

    image: NDArray[np.uint8]  # (n, S, S, 3) sRGB
    target: NDArray[np.uint8]  # (n, S, S, 3) sRGB, the true edited picture
    change: NDArray[np.uint8]  # (n, S, S) 255 where all of the pixel may change
    subject: NDArray[np.uint8]  # (n, S, S) 255 where all of the pixel is subject
    captions: list[str]
    target_captions: list[str]


def render(scene: Scene, size: int | tuple[int, int]) -> Rendering:
    """Render a scene at `size` pixels (square) or (height, width). Equal arguments give equal bytes.

    Raises:
        DataError: a side under 8 pixels.
    """
    exposed = expose(scene, size)
    return Rendering(exposed.paint(albedos(scene)), exposed.subject, visible_parts(exposed, scene))


def render_pair(pair: Pair, size: int | tuple[int, int]) -> tuple[Rendering, NDArray[np.uint8], Field]:
    """Render a pair: the source, the true edited picture (H, W, 3) and the mask (H, W) in [0, 1] of what differs."""
    exposed = expose(pair.source, size)
    before, after = albedos(pair.source), albedos(pair.target)
    change = np.zeros(exposed.grain.shape, np.float32)
    for part, mask in exposed.parts.items():
        if before[part] != after[part]:
            change += mask
    source = Rendering(exposed.paint(before), exposed.subject, visible_parts(exposed, pair.source))
    return source, exposed.paint(after), np.clip(change, 0, 1)


def random_pair(kind: str, rng: Rng) -> Pair:
    """Sample a scene of `kind` ("bird" or "flower") and a target caption for it."""
    source = random_scene(kind, rng)
    target_caption, target = edit_scene(source, rng)
    return Pair(source, caption_of(source, rng), target, target_caption)


def render_pairs(kind: str, rng: Rng, n: int, size: int) -> PairArrays:
    """Render `n` random pairs of "birds" or "flowers" at `size` pixels square; all randomness comes from `rng`.

    Raises:
        DataError: another kind.
    """
    if kind not in KINDS:
        raise DataError(f"kind {kind!r} cannot be rendered; take 'birds' or 'flowers'{nearest(kind, KINDS)}")
    image, target = (np.empty((n, size, size, 3), np.uint8) for _ in range(2))
    change, subject = (np.empty((n, size, size), np.uint8) for _ in range(2))
    pairs = [random_pair(KINDS[kind], rng) for _ in range(n)]
    for i, pair in enumerate(pairs):
        source, target[i], differs = render_pair(pair, size)
        image[i] = source.image
        change[i] = np.ceil(255 * differs)
        subject[i] = np.ceil(255 * source.subject)
    return PairArrays(image, target, change, subject, [p.caption for p in pairs], [p.target_caption for p in pairs])


def sample_picture(
    kind: str = "birds", *, seed: int = 0, size: int | tuple[int, int] = (675, 900)
) -> NDArray[np.uint8]:
    """Render a sample picture (H, W, 3), free to ship because it is no photograph; `seed` chooses which.

    Raises:
        DataError: another kind than "birds" or "flowers".
    """
    return sample_rendering(kind, seed=seed, size=size).image


def sample_rendering(kind: str, *, seed: int, size: int | tuple[int, int]) -> Rendering:
    """Render a sample picture and the masks of its parts; arguments and errors as `sample_picture`."""
    if kind not in KINDS:
        raise DataError(f"kind {kind!r} cannot be rendered; take 'birds' or 'flowers'{nearest(kind, KINDS)}")
    scene = random_scene(KINDS[kind], np.random.default_rng([seed + _FIRST, 7]))
    if kind == "birds":
        scene = apply_caption(scene, _SAMPLES[seed % len(_SAMPLES)])
    return render(scene, size)


def albedos(scene: Scene) -> dict[str, Rgb]:
    """List the sRGB colours in [0, 1] of all parts; an absent pattern has the colour of the part in its place."""
    return {part: scene.albedo(part if colour else UNDER[part]) for part, colour in scene.colours}


def visible_parts(exposed: Exposed, scene: Scene) -> dict[str, Field]:
    """Visible share (H, W) in [0, 1] of each part; an absent pattern counts as the part in its place."""
    masks = dict(exposed.parts)
    for pattern, under in UNDER.items():
        if pattern in masks and not scene.colour(pattern):
            masks[under] = np.clip(masks.pop(pattern) + masks.get(under, np.float32(0)), 0, 1)
    return masks


def expose(scene: Scene, size: int | tuple[int, int], *, scale: float = 1.0) -> Exposed:
    """Render a scene up to its part colours: `Exposed.paint` with the `albedos` of any repainting gives the picture.

    `scale` enlarges the subject, and what it sits on, about the centre of the picture.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 8:
        raise DataError(f"size {size} is too small to render; take at least 8 pixels a side")
    canvas = Canvas.of(height, width)
    closer = canvas if scale == 1 else Canvas(canvas.x / scale, canvas.y / scale, canvas.pixel)
    light = Light.random(np.random.default_rng([scene.light, 3]))
    layers = Layers(canvas, light)
    rng = np.random.default_rng([scene.light, 4])
    if scene.kind == "bird":
        perch = bird(closer, layers, pose=scene.pose, size=scene.size, shape=scene.shape)
        behind = backdrop(canvas, np.random.default_rng([scene.backdrop, 5]), kinds=_SUITS[perch])
    else:
        flower(closer, layers, pose=scene.pose, size=scene.size, shape=scene.shape)
        behind = backdrop(
            canvas, np.random.default_rng([scene.backdrop, 6]), kinds=("foliage", "dark", "brown", "gray")
        )
    exposure, noise = rng.uniform(0.85, 1.12), rng.uniform(0.4, 3.0)
    grain = noise * rng.standard_normal(canvas.shape, np.float32)
    return layers.finish(behind, exposure=exposure, grain=grain)
