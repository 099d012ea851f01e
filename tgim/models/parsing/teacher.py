"""A trained part localiser as the source of guesses for the training of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from tgim.checkpoints import checkpoint
from tgim.data.points import Points
from tgim.data.views import Guessed
from tgim.errors import CheckpointError
from tgim.images.photo import from_uint8
from tgim.images.resample import Floats
from tgim.models.base import Localising
from tgim.models.parsing.part_maps import framed

GRID = 80  # cells a side of a guess
ROOMS = (1.2,)  # sides of the squares that it looks at, over the longer side of the box


@dataclass(frozen=True)
class Teacher:
    """Guesses of where the parts of a picture's subject are: means over looks at several scales and mirror images."""

    model: Localising
    fingerprint: str

    @classmethod
    def load(cls, name_or_path: str, parts: tuple[str, ...]) -> Teacher:
        """The localiser of a checkpoint; CheckpointError when it does not know the very same parts."""
        found = checkpoint.load(name_or_path)
        if not isinstance(found.model, Localising) or found.model.parts != parts:
            raise CheckpointError(f"model.teacher {name_or_path} does not know the same parts as the model that learns")
        return cls(found.model, checkpoint.fingerprint(name_or_path))

    @torch.inference_mode()
    def __call__(self, picture: NDArray[np.uint8], points: Points | None) -> Guessed:
        """Probabilities of background and every part, over a square about the subject's box."""
        height, width = picture.shape[:2]
        left, top, w, h = (points.box if points is not None else None) or (0.0, 0.0, 1.0, 1.0)
        x, y, longer = (left + w / 2) * width, (top + h / 2) * height, max(w * width, h * height)
        photo: Floats = from_uint8(picture.transpose(2, 0, 1))
        widest = max(ROOMS) * longer
        at = (2 * torch.arange(GRID) + 1) / GRID - 1  # centres of the cells, -1 to 1 over the widest square
        total, weight = torch.zeros(len(self.model.parts), GRID, GRID), torch.zeros(GRID, GRID)
        for room in ROOMS:
            side = max(8, round(room * longer))
            frame = round(x - side / 2), round(y - side / 2), side, side
            small = torch.from_numpy(framed(photo, frame, self.model.image_size))[None]
            maps, _ = self.model.look(torch.cat([small, small.flip(-1)]).contiguous(memory_format=torch.channels_last))
            mean = (maps[:1] + maps[1:].flip(-1)) / 2
            scaled = at * widest / side
            grid = torch.stack(torch.meshgrid(scaled, scaled, indexing="xy"), -1)[None]
            covered = (grid[0].abs().amax(-1) <= 1).float()
            total += covered * F.grid_sample(mean, grid, padding_mode="border", align_corners=False)[0]
            weight += covered
        mean = (total / weight).permute(1, 2, 0).contiguous()
        return Guessed(mean.numpy(), (x - widest / 2, y - widest / 2, widest, widest))
