"""Convolutions of training by fewer products are those of torch, and so are their gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from tgim.nn import quick
from tgim.nn.layers import Joint, conv_block, gated_up, tile, up
from tgim.nn.quick import parts_of_rows, phases, plain, quicken

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "up": (lambda: up(5, 6), (5, 7, 4)),
    "one place": (lambda: up(5, 6), (5, 1, 1)),
    "gated": (lambda: gated_up(4, 3), (4, 5, 5)),
    "with a bias": (
        lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(3, 4, 3, padding=1), nn.Tanh()),
        (3, 4, 5),
    ),
    "by rows": (lambda: nn.Sequential(*conv_block(6, 7)), (6, 12, 5)),
    "by rows, with a bias": (lambda: nn.Sequential(nn.Conv2d(6, 7, 3, padding=1)), (6, 8, 5)),
    "rows that do not divide": (lambda: nn.Sequential(*conv_block(6, 7)), (6, 10, 5)),
}


def gradients(network: nn.Module, x: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
    """The result, and its gradients at the inputs and the weights."""
    given = [each.clone().requires_grad_() for each in (x, *more)]
    made = network(*given)
    at = torch.randn(made.shape, generator=torch.Generator().manual_seed(3))
    return made, *torch.autograd.grad(made, [*given, *network.parameters()], at)


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("case", LAYERS)
def test_results_and_gradients_are_equal(case: str, last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "WIDE", 1)
    monkeypatch.setattr(quick, "PLACES", 1)
    make, shape = LAYERS[case]
    layout = torch.channels_last if last else torch.contiguous_format
    network = make().double().float().to(memory_format=layout)
    twin, x = copy.deepcopy(network), torch.randn(3, *shape).contiguous(memory_format=layout)
    quicken(twin)
    assert any("forward" in vars(module) for module in twin.modules())
    for found, wanted in zip(gradients(twin, x), gradients(network, x), strict=True):
        assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert network.state_dict().keys() == twin.state_dict().keys()


def test_a_quickened_model_can_be_copied_and_computes_with_its_own_weights() -> None:
    network = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(2, 3, 3, padding=1))
    quicken(network)
    twin = copy.deepcopy(network)
    nn.init.zeros_(twin[1].weight)
    nn.init.zeros_(twin[1].bias)
    assert not twin(torch.ones(1, 2, 3, 3)).any()


@pytest.mark.parametrize("options", [{"padding_mode": "reflect"}, {"groups": 2}, {"stride": 2}, {"dilation": 2}])
def test_other_convolutions_are_left_as_they_are(options: dict) -> None:
    assert not plain(nn.Conv2d(4, 4, 3, padding=1, **options), 3)


def test_sums_of_phases_are_taken_in_32_bits_under_autocast() -> None:
    weight = torch.randn(4, 3, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(phases(weight), phases(weight.clone()))
        assert phases(weight).dtype == torch.float32


def test_parts_of_rows_turn_round_what_joins_them() -> None:
    """<joined(m), g> = <m, parts(g)> for all m and g."""
    m, g = torch.randn(6, 2, 3, 2, 5).double(), torch.randn(2, 3, 8, 5).double()
    joined = quick.joined_rows([each.contiguous(memory_format=torch.channels_last) for each in m.clone()])
    assert_close((joined * g).sum(), (m * parts_of_rows(g)).sum())


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("side", [1, 2, 3, 4, 9])
def test_a_joint_convolution_in_parts_is_that_of_both_side_by_side(side: int, before: bool) -> None:
    joint = Joint(conv_block(7, 6, activation=nn.Identity()), nn.Conv2d(6, 4, 1), before=before)
    whole = nn.Sequential(*joint)
    x, vector = torch.randn(2, 4, side, side + 1), torch.randn(2, 3)

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = whole

        def forward(self, x: Tensor, vector: Tensor) -> Tensor:
            return self.inside(tile(x, vector, before=before))

    for found, wanted in zip(gradients(joint, x, vector), gradients(Whole(), x, vector), strict=True):
        assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert_close(joint(x, vector, joint.of_map(x)), joint(x, vector))


def test_a_wide_convolution_under_autocast_is_torchs() -> None:
    conv = nn.Conv2d(192, 192, 3, padding=1)
    x = torch.randn(16, 192, 16, 16)
    wanted = F.conv2d(x.bfloat16(), conv.weight.bfloat16(), conv.bias.bfloat16(), padding=1)
    quicken(conv)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert torch.equal(conv(x), wanted)
