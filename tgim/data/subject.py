"""A guess at where the subject of each training picture is, made once by GrabCut; no annotation is needed.

GrabCut (Rother, Kolmogorov and Blake, SIGGRAPH 2004; OpenCV's implementation) starts from what is true of most pictures
of one subject: the centre is the subject, the corners and the border far from the centre are not. Single guesses are
often too small or take in a branch; a network that is trained on thousands of them averages this out. A guess that
covers next to nothing or nearly everything is dropped: nothing is known about that picture.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tgim.data.cache import PixelCache, Progress, cache_folder, kept_array, new_array
from tgim.errors import DataError

BACKGROUND, SUBJECT, NOTHING_KNOWN = 0, 1, 2
VERSION = 1  # raise it when the same picture would get another guess
ITERATIONS = 2  # of GrabCut
PLAUSIBLE = (0.12, 0.80)  # share of the picture that a subject takes


def guess_subject(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Label every pixel of an RGB picture (S, S, 3) as `BACKGROUND` or `SUBJECT`, or all of it as `NOTHING_KNOWN`.

    Deterministic: OpenCV's random numbers are seeded for each picture.
    """
    try:
        import cv2
    except ImportError:
        raise DataError('data.subject needs OpenCV; run pip install "tgim[train]", or set data.subject=false') from None

    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width]
    radius = ((2 * y + 1) / height - 1) ** 2 + ((2 * x + 1) / width - 1) ** 2  # 1 on the inscribed ellipse
    border = np.minimum(np.minimum(y, height - 1 - y), np.minimum(x, width - 1 - x)) < max(1, height // 25)
    labels = np.where(radius < 0.6, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[(radius > 1.45) | (border & (radius > 1))] = cv2.GC_BGD
    labels[radius < 0.08] = cv2.GC_FGD
    nothing = np.full((height, width), NOTHING_KNOWN, np.uint8)
    cv2.setRNGSeed(0)
    try:
        models = np.zeros((1, 65)), np.zeros((1, 65))
        bgr = np.ascontiguousarray(picture[..., ::-1])
        cv2.grabCut(bgr, labels, None, *models, ITERATIONS, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    except cv2.error:  # a picture of one colour, say
        return nothing
    subject = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return subject.astype(np.uint8) if PLAUSIBLE[0] < subject.mean() < PLAUSIBLE[1] else nothing


def guess_subjects(
    pixels: PixelCache, *, folder: str | Path | None = None, progress: Progress | None = None
) -> NDArray[np.uint8]:
    """Labels (N, S, S) uint8 of all pictures of a cache, guessed once and kept beside it (about 10 ms a picture).

    Raises:
        DataError: OpenCV is missing, or the folder cannot be written.
    """
    folder = cache_folder(folder)
    digest = hashlib.blake2b(np.ascontiguousarray(pixels.pixels).data, digest_size=10).hexdigest()
    name = f"subject-{VERSION}-{pixels.size}-{digest}"

    def fill(path: Path) -> dict[str, Any]:
        shape = pixels.pixels.shape[:3]
        labels = new_array(path, dtype=np.uint8, shape=shape)
        for row, picture in enumerate(pixels.pixels):
            labels[row] = guess_subject(picture)
            if progress is not None:
                progress(row + 1, shape[0])
        labels.flush()
        return {}

    return kept_array(folder, name, fill)[0]
