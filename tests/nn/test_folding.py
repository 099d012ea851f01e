"""A folded network is equal to the one it was made of, and leaves it alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from support.small import CASES, CAPTIONS, VOCABULARY, model_of, noise_for
from tgim.models.base import Generating, Model
from tgim.models.editing.repainting import Repainting
from tgim.nn.encoders import Gru
from tgim.nn.folding import Conv, Folding, JointConv, Remembering, fold, folded_layers, phases
from tgim.nn.layers import Joint, bottleneck, conv_block, down, gated_up, start_map, up
from tgim.nn.resize import resize

MAKERS = [case for case, system in CASES.items() if issubclass(system, Generating | Repainting)]
CLOSE = {"atol": 1e-4, "rtol": 0.0}


def stirred(network: nn.Module) -> nn.Module:
    """A network in evaluation mode, with running statistics and affine weights far from those it starts with."""
    source = torch.Generator().manual_seed(7)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.5, 0.5), (module.running_var, 0.3, 2.0), (module.weight.data, -1.0, 1.5),
                (module.bias.data, -0.5, 0.5),
            ):  # fmt: skip
                assert tensor is not None
                tensor.copy_(torch.rand(tensor.shape, generator=source) * (high - low) + low)
    return network.eval()


def pictures_by(model: Model, *, count: int = 3) -> Tensor:
    tokens = VOCABULARY.encode([CAPTIONS[i] for i in range(count)])
    if isinstance(model, Repainting):
        side = model.image_size
        image = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
        return model.edit(image, tokens, seed=3)
    assert isinstance(model, Generating)
    size = model.variation_size
    variation = torch.randn(count, size, generator=torch.Generator().manual_seed(4)) if size else None
    return model.generate(tokens, noise_for(model, count), variation=variation)


@pytest.mark.parametrize("case", MAKERS)
@torch.inference_mode()
def test_a_folded_system_makes_equal_pictures(case: str) -> None:
    model = stirred(model_of(case))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wanted = pictures_by(model)
    folded = fold(model)
    assert wanted.std() > 0.01
    torch.testing.assert_close(pictures_by(folded), wanted, **CLOSE)
    assert not torch.equal(pictures_by(folded, count=1), torch.zeros_like(wanted[:1]))
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d) for module in made_of(folded))


def made_of(network: nn.Module) -> list[nn.Module]:
    """Layers that were called."""
    made = [layer for module in network.modules() if isinstance(module, Folding) for layer in module.made]
    return [*made, *(deeper for layer in made for deeper in made_of(layer))]
