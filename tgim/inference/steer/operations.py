"""Steerability: directions that brighten, shift, zoom or turn, learned without a label.

Jahanian, Chai and Isola, "On the 'steerability' of generative adversarial networks", ICLR 2020, section 3: an edit of
pictures by alpha steps is copied by a straight walk in the noise,

    w* = arg min_w  E_{z, alpha}  mask * |G(z + alpha w) - edit(G(z), alpha)|^2      (equation 1, the linear walk)

where the mask leaves out pixels that the edit takes from outside of the picture. `OPERATIONS` has the edits, and for
each the measure of what was really reached (section 4 of the paper compares it with alpha, too):

- brightness: the difference of mean luma;
- hue: the angle between the chromas of both pictures that fits all pixels best, by least squares;
- shift, zoom, rotation: registration. The picture is compared with edit(G(z), beta) at many beta, and the beta of
  highest correlation of luma inside the mask is taken. It sees the whole picture: a subject that grows on a background
  that stays counts for less than the eye sees. The paper's object detector would see the subject; the part localiser
  of `birds` does not do here (on 32 pictures of `attngan-birds` it is 6 and 11 % sure that there is a bird at all).

Differs from the paper: the plain squared error, no perceptual one; the walk begins at zero, and its rate falls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.errors import UserError, nearest
from tgim.inference.generator import Generator
from tgim.inference.steer.assessor import JUDGES, Assessor, open_assessor
from tgim.inference.steer.direction import Direction, identity
from tgim.inference.steer.figures import compared, plausible
from tgim.inference.steer.learning import Loss, Progress, conditions, learn, subjects

STEPS, ROWS, RATE = 200, 16, 0.05
LIGHT = 0.2  # of the range from -1 to 1, that a step brightens by
TURN = 30.0  # degrees that a step turns the hue by
SHIFT = 1 / 16  # of the side
ZOOM = 1.15  # times
ANGLE = 10.0  # degrees
FARTHEST, APART = 4.5, 0.25  # steps: of registration, the largest beta, and between two
YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])  # NTSC 1953
Edited = tuple[Tensor, Tensor]  # pictures (B, 3, S, S), and the mask (B, 1, S, S) of pixels that are defined


class Operation(NamedTuple):
    """An edit of pictures (B, 3, S, S) in [-1, 1] by alphas (B,) in steps."""

    step: str  # what one step does
    edit: Callable[[Tensor, Tensor], Edited]
    reached: Callable[[Tensor, Tensor], Tensor]  # pictures before and after -> steps (B,)


def brighten(image: Tensor, alpha: Tensor) -> Edited:
    """Add to all channels, within [-1, 1]."""
    return (image + LIGHT * alpha.view(-1, 1, 1, 1)).clamp(-1, 1), torch.ones_like(image[:, :1])


def turn_hue(image: Tensor, alpha: Tensor) -> Edited:
    """Turn the chroma (I, Q) of YIQ; luma stays."""
    to_yiq = YIQ.to(image)
    angle = math.radians(TURN) * alpha
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    turn = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], 1).view(-1, 3, 3)
    matrix = torch.linalg.inv(to_yiq) @ turn @ to_yiq
    return torch.einsum("bij,bjhw->bihw", matrix, image).clamp(-1, 1), torch.ones_like(image[:, :1])


def warp(image: Tensor, matrix: Tensor) -> Edited:
    """Sample pictures where `matrix` (B, 2, 3) takes the places of the result, both in [-1, 1], bilinear."""
    grid = F.affine_grid(matrix, list(image.shape), align_corners=False)
    limit = image.new_tensor([1 - 1 / image.shape[-1], 1 - 1 / image.shape[-2]]) + 1e-5  # centres of the outer pixels
    mask = (grid.abs() <= limit).all(-1)[:, None].to(image.dtype)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False), mask


def _matrix(alpha: Tensor, *numbers: Tensor | float) -> Tensor:
    return torch.stack([torch.as_tensor(n).to(alpha).expand_as(alpha) for n in numbers], 1).view(-1, 2, 3)


def shift_right(image: Tensor, alpha: Tensor) -> Edited:
    """Shift to the right."""
    return warp(image, _matrix(alpha, 1, 0, -2 * SHIFT * alpha, 0, 1, 0))


def shift_down(image: Tensor, alpha: Tensor) -> Edited:
    """Shift downwards."""
    return warp(image, _matrix(alpha, 1, 0, 0, 0, 1, -2 * SHIFT * alpha))


def zoom(image: Tensor, alpha: Tensor) -> Edited:
    """Enlarge around the centre."""
    scale = ZOOM**-alpha
    return warp(image, _matrix(alpha, scale, 0, 0, 0, scale, 0))


def rotate(image: Tensor, alpha: Tensor) -> Edited:
    """Rotate around the centre, counter-clockwise."""
    angle = math.radians(ANGLE) * alpha
    cos, sin = angle.cos(), angle.sin()
    return warp(image, _matrix(alpha, cos, -sin, 0, sin, cos, 0))


def luma(image: Tensor) -> Tensor:
    """Luma (B, 1, S, S) of pictures (B, 3, S, S)."""
    return torch.einsum("i,bihw->bhw", YIQ[0].to(image), image)[:, None]


def lighter_by(before: Tensor, after: Tensor) -> Tensor:
    """Steps of brightness."""
    return (luma(after) - luma(before)).mean((1, 2, 3)) / LIGHT


def turned_by(before: Tensor, after: Tensor) -> Tensor:
    """Steps of hue, from -6 to 6; 0 of pictures in gray."""
    (i, q), (own_i, own_q) = (torch.einsum("ij,bjhw->ibhw", YIQ[1:].to(x), x) for x in (after, before))
    across, along = (own_i * q - own_q * i).sum((1, 2)), (own_i * i + own_q * q).sum((1, 2))
    return torch.atan2(across, along).rad2deg() / TURN


def registered(edit: Callable[[Tensor, Tensor], Edited]) -> Callable[[Tensor, Tensor], Tensor]:
    """Measure of a geometric edit: of many beta the one whose edit of the own picture is most like the steered one."""

    def reached(before: Tensor, after: Tensor) -> Tensor:
        betas = torch.linspace(-FARTHEST, FARTHEST, 2 * round(FARTHEST / APART) + 1)
        own, wanted = luma(before), luma(after)
        likeness = []
        for beta in betas.tolist():
            edited, mask = edit(own, own.new_full((len(own),), beta))
            likeness.append(_correlation(edited, wanted, mask))
        return betas[torch.stack(likeness, 1).argmax(1).cpu()].to(before)

    return reached


def _correlation(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """Pearson's correlation (B,) of pictures (B, 1, S, S) inside a mask."""
    total = mask.sum((1, 2, 3), keepdim=True)
    x, y = (mask * (v - (mask * v).sum((1, 2, 3), keepdim=True) / total) for v in (x, y))
    return (x * y).sum((1, 2, 3)) / (x.square().sum((1, 2, 3)) * y.square().sum((1, 2, 3))).sqrt().clamp(min=1e-8)


OPERATIONS = {
    "brightness": Operation("a tenth of the range from black to white", brighten, lighter_by),
    "hue": Operation("30 degrees of the chroma's angle", turn_hue, turned_by),
    "shift-x": Operation("a sixteenth of the side, to the right", shift_right, registered(shift_right)),
    "shift-y": Operation("a sixteenth of the side, downwards", shift_down, registered(shift_down)),
    "zoom": Operation("1.15 times larger", zoom, registered(zoom)),
    "rotation": Operation("10 degrees counter-clockwise", rotate, registered(rotate)),
}


def operation(
    generator: Generator,
    name: str,
    *,
    texts: Sequence[str] | None = None,
    steps: int = STEPS,
    seed: int = 0,
    judge: str | Assessor | None = None,
    measure: bool = True,
    progress: Progress | None = None,
) -> Direction:
    """Learn the direction of an edit operation, and measure it.

    Args:
        generator: whose noise is walked in.
        name: of an operation, see `OPERATIONS`.
        texts: captions that it is learned and measured under, each row by one of them; `default_captions` unless given.
        steps: of descent.
        seed: of all that is sampled; equal calls give equal directions.
        judge: a matching model, in whose features the range of plausible pictures is measured; of `assessor.JUDGES`
            unless given.
        measure: False leaves the figures out.
        progress: told after each step of descent.

    Returns:
        The direction; its facts have ``figures`` (`figures.compared`) and ``plausible`` (`figures.plausible`).

    Raises:
        UserError: no such operation, or no step.
        TextError: a caption cannot be used.
    """
    if name not in OPERATIONS:
        raise UserError(f"no operation {name!r}{nearest(name, OPERATIONS)}; there are: {', '.join(OPERATIONS)}")
    chosen, model = OPERATIONS[name], generator.model
    measuring = (
        open_assessor(judge or JUDGES[subjects(generator)[0]], device=str(generator.device)) if measure else None
    )
    captions, condition = conditions(generator, texts)

    def goal(own: Tensor, alpha: Tensor) -> Loss:
        wanted, mask = chosen.edit(own, alpha)
        share = mask / (3 * mask.sum((1, 2, 3), keepdim=True) * len(own))
        return lambda pictures: (share * (pictures - wanted).square()).sum()

    vector, losses = learn(model, condition, goal, steps=steps, batch=ROWS, rate=RATE, seed=seed, progress=progress)
    facts: dict[str, Any] = {
        "captions": list(captions),
        "steps": steps,
        "seed": seed,
        "step": chosen.step,
        "loss": losses[-1],
    }
    found = Direction(vector, "operation", name, identity(model), facts)

    def reached(own: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda pictures: chosen.reached(own, pictures)

    if measuring is not None:
        facts["figures"] = {"pixels": compared(model, condition, found, reached, seed=seed)}
        inside = plausible(model, condition, found, measuring.embed, seed=seed)
        facts["plausible"] = {**inside, "by": measuring.label}
    return found
