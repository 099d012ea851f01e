"""Steering generators: directions in their noise that change one thing in the pictures, and figures of how well.

`units` and `boundaries` look into the layers: which unit fits which part, and which layer an attribute is made in.

::

    from tgim import Generator, steer

    generator = Generator.from_pretrained("attngan-birds")
    zoom = steer.operation(generator, "zoom")  # or steer.towards(generator, "a red bird")
    zoom.save("zoom.safetensors")
    steer.sheet(generator, zoom).save("zoom.png")  # rows of noises, columns of alphas
"""

from tgim.inference.steer.assessor import Assessor, open_assessor, towards
from tgim.inference.steer.direction import Direction, load_direction, steered
from tgim.inference.steer.figures import told
from tgim.inference.steer.learning import default_captions
from tgim.inference.steer.operations import OPERATIONS, operation
from tgim.inference.steer.sheet import noise_of, sheet

__all__ = [
    "OPERATIONS",
    "Assessor",
    "Direction",
    "default_captions",
    "load_direction",
    "noise_of",
    "open_assessor",
    "operation",
    "sheet",
    "steered",
    "told",
    "towards",
]
