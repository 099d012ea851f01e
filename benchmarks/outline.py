"""Outlines against the truth: cut-out birds, whose transparency is known, on backgrounds.

    python benchmarks/outline.py --cutouts /usr/share/tuxpaint/stamps/animals/birds --backgrounds photos/flowers

Cut-outs are PNG files with transparency (those above are of Debian's package tuxpaint-stamps-default); each is put on a
plain ramp with noise, on a blurred photograph and on a sharp one. Prints for each kind of background: `error`, the mean
absolute error of the mask over the bird's area; `fringe`, the mean of the mask from 1.5 to 14 pixels outside the bird;
`holes`, what is missing more than 3 pixels inside. Nothing of the pictures is kept.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.ndimage import distance_transform_edt

from tgim.images.resample import Floats
from tgim.inference.onnx_engine import open_engine
from tgim.models.editing.painting.region import Region
from tgim.models.parsing.part_maps import PartFinder, find_parts

SIZE, LONGER = 420, 300  # pixels of a picture, and of a cut-out's longer side
NEAR, DEEP = (1.5, 14.0), 3.0  # pixels outside, and inside
KINDS = ("plain", "blurred", "sharp")


def background(kind: str, photos: list[Path], seed: int) -> NDArray[np.float64]:
    """A background (SIZE, SIZE, 3) in [0, 255]."""
    random = np.random.default_rng(seed)
    if kind == "plain":
        top = random.uniform(60, 200, 3)
        ramp = np.linspace(0, 1, SIZE)[:, None, None] * random.uniform(-30, 30, 3)
        return top + ramp + random.normal(0, 2.5, (SIZE, SIZE, 1))
    with Image.open(photos[seed % len(photos)]) as file:
        side = min(file.size)
        photo = file.convert("RGB").crop((0, 0, side, side)).resize((SIZE, SIZE))
    return np.asarray(photo.filter(ImageFilter.GaussianBlur(22)) if kind == "blurred" else photo, np.float64)


def composed(cutout: Path, ground: NDArray[np.float64]) -> tuple[Floats, NDArray[np.float64]]:
    """Put a cut-out on a background: (3, SIZE, SIZE) in [-1, 1], and the bird's share (SIZE, SIZE) of each pixel."""
    with Image.open(cutout) as file:
        scale = LONGER / max(file.size)
        bird = file.convert("RGBA").resize(
            (round(file.width * scale), round(file.height * scale)), Image.Resampling.LANCZOS
        )
    layer = Image.new("RGBA", (SIZE, SIZE))
    layer.paste(bird, ((SIZE - bird.width) // 2, (SIZE - bird.height) // 2))
    values = np.asarray(layer, np.float64)
    alpha = values[..., 3:] / 255
    picture = np.rint(values[..., :3] * alpha + ground * (1 - alpha)).clip(0, 255)
    return (picture.transpose(2, 0, 1) / 127.5 - 1).astype(np.float32), alpha[..., 0]


def errors(finder: PartFinder, photo: Floats, alpha: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """Error, fringe and holes of the subject's mask; None where no subject is found."""
    found = find_parts(finder, photo)
    if found is None:
        return None
    region, mask = Region.about(found, photo), np.zeros(alpha.shape, np.float32)
    mask[region.rows, region.columns] = region.enlarged(region.subject[None])[0]
    outside, inside = distance_transform_edt(alpha < 0.02), distance_transform_edt(alpha > 0.98)
    near = (outside > NEAR[0]) & (outside < NEAR[1])
    return (
        float(np.abs(mask - alpha).mean() / alpha.mean()),
        float(mask[near].mean()),
        float(1 - mask[inside > DEEP].mean()),
    )


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option(
    "--cutouts", type=click.Path(path_type=Path, exists=True), required=True, help="PNG files with transparency."
)
@click.option(
    "--backgrounds", type=click.Path(path_type=Path, exists=True), required=True, help="Folder of photographs."
)
@click.option("--model", default="birds", show_default=True, help="An editor that finds parts.")
def main(cutouts: Path, backgrounds: Path, model: str) -> None:
    """Print a line for each kind of background."""
    finder = open_engine(model).finder
    photos = sorted(file for file in backgrounds.iterdir() if file.suffix.lower() in {".jpg", ".jpeg", ".png"})
    files = sorted(cutouts.glob("*.png"))
    for kind in KINDS:
        each = [errors(finder, *composed(file, background(kind, photos, i))) for i, file in enumerate(files)]
        known = np.array([one for one in each if one is not None])
        names = zip(("error", "fringe", "holes"), known.mean(0), np.median(known, axis=0), strict=True)
        told = "; ".join(f"{name} {mean:.4f}, median {median:.4f}" for name, mean, median in names)
        print(f"{kind}: found {len(known)} of {len(files)}; {told}")


if __name__ == "__main__":
    main()
