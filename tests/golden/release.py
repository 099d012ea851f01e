"""Names and shapes in the authors' checkpoints at any width, and weights that follow from the names.

Facts, held against the full lists of the releases by the tests marked `golden`.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor

Shapes = dict[str, list[int]]


def tagan(width: int = 64, word: int = 300, text: int = 512, condition: int = 128, edge: int = 4) -> dict[str, Shapes]:
    w = [width * m for m in (1, 2, 4, 8)]
    g: Shapes = {"encoder.0.weight": [w[0], 3, 3, 3], "encoder.0.bias": [w[0]]}
    for i in range(3):
        g |= block("encoder", 3 * i + 2, [w[i + 1], w[i], 4, 4])
        g |= block("decoder", 4 * i + 1, [w[2 - i], w[3 - i], 3, 3])
    g |= layer("decoder.12", [3, w[0], 3, 3]) | block("residual_blocks", 0, [w[3], w[3] + condition, 3, 3])
    for i in range(3, 7):
        g |= block(f"residual_blocks.{i}.encoder", 0, [w[3]] * 2 + [3, 3])
        g |= block(f"residual_blocks.{i}.encoder", 3, [w[3]] * 2 + [3, 3])
    g |= layer("mu.0", [condition, text]) | layer("log_sigma.0", [condition, text]) | grus(word, text)

    d: Shapes = layer("encoder_1.0", [w[0], 3, 4, 4])
    d |= block("encoder_1", 2, [w[1], w[0], 4, 4]) | block("encoder_1", 5, [w[2], w[1], 4, 4])
    d |= block("encoder_2", 0, [w[3], w[2], 4, 4]) | block("encoder_3", 0, [w[3], w[3], 4, 4])
    for i, n in enumerate((w[2], w[3], w[3])):
        d |= block(f"GAP_{i + 1}", 0, [n, n, 3, 3]) | layer(f"gen_filter.{i}", [n + 1, text])
    d |= layer("gen_weight.0", [3, text]) | layer("classifier", [1, w[3], edge, edge]) | grus(word, text)
    return {"generator": g, "discriminator": d}


def sisgan(width: int = 64, text: int = 300, condition: int = 128, edge: int = 4) -> dict[str, Shapes]:
    w = [width * m for m in (1, 2, 4, 8)]
    g: Shapes = layer("encoder.0", [w[1], 3, 3, 3])
    for i in range(2):
        g |= block("encoder", 3 * i + 2, [w[i + 2], w[i + 1], 4, 4])
        g |= block("decoder", 4 * i + 1, [w[2 - i], w[3 - i], 3, 3])
    g |= layer("decoder.8", [3, w[1], 3, 3]) | block("residual_blocks", 0, [w[3], w[3] + condition, 3, 3])
    for i in range(2, 6):
        g |= block(f"residual_blocks.{i}.encoder", 0, [w[3]] * 2 + [3, 3])
        g |= block(f"residual_blocks.{i}.encoder", 3, [w[3]] * 2 + [3, 3])
    g |= {"mu.0.weight": [condition, text], "log_sigma.0.weight": [condition, text]}

    d: Shapes = layer("encoder.0", [w[0], 3, 4, 4])
    for i in range(3):
        d |= block("encoder", 3 * i + 2, [w[i + 1], w[i], 4, 4])
    for i, (b, a, k) in enumerate([(w[1], w[3], 1), (w[1], w[1], 3), (w[3], w[1], 3)]):
        d |= block("residual_branch", 3 * i, [b, a, k, k])
    d |= block("classifier", 0, [w[3], w[3] + condition, 1, 1]) | layer("classifier.3", [1, w[3], edge, edge])
    return {"generator": g, "discriminator": d | layer("compression.0", [condition, text])}


def layer(name: str, shape: list[int]) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def block(name: str, first: int, shape: list[int]) -> Shapes:
    """A convolution without bias and its batch normalisation."""
    norm = {f"{name}.{first + 1}.{k}": shape[:1] for k in ("weight", "bias", "running_mean", "running_var")}
    return {f"{name}.{first}.weight": shape, **norm, f"{name}.{first + 1}.num_batches_tracked": []}


def grus(word: int, text: int) -> Shapes:
    kinds = {"weight_ih": [3 * text, word], "weight_hh": [3 * text, text], "bias_ih": [3 * text], "bias_hh": [3 * text]}
    return {f"txt_encoder_{way}.{kind}": shape for way in "fb" for kind, shape in kinds.items()}


def weights(shapes: Shapes) -> dict[str, Tensor]:
    """Weights by the rule of the golden data: normal numbers seeded by the checksum of each name."""
    found = {}
    for name, shape in shapes.items():
        v = np.asarray(np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape))
        layer_name, kind = name.rsplit(".", 1)
        if kind == "num_batches_tracked":
            found[name] = torch.zeros(shape, dtype=torch.long)
            continue
        if kind == "running_var":
            v = 1 + 0.5 * np.abs(v)
        elif kind == "running_mean":
            v = 0.1 * v
        elif kind == "weight" and f"{layer_name}.running_mean" in shapes:
            v = 1 + 0.1 * v
        else:
            v = 0.05 * v if len(shape) <= 1 else v / np.sqrt(np.prod(shape[1:]))
        found[name] = torch.tensor(v, dtype=torch.float32)
    return found
