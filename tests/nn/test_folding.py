"""A folded network is equal to the one it was made of, and leaves it alone."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from support.small import CAPTIONS, CASES, NEEDS_BF16, VOCABULARY, model_of, noise_for
from tgim.models.base import Generating, Model
from tgim.models.editing.repainting import Repainting
from tgim.nn import kernels
from tgim.nn.encoders import BiGru, BiLstm, CharCnnRnn, Gru
from tgim.nn.folding import Folding, Remembering, fold
from tgim.nn.kernels import Conv
from tgim.nn.layers import Joint, bottleneck, conv_block, down, gated_up, start_map, up
from tgim.nn.quick import phases
from tgim.text.vocabulary import Tokens

MAKERS = [case for case, system in CASES.items() if issubclass(system, Generating | Repainting)]
LAYERS = {
    "down": (lambda: down(5, 6), (5, 8, 12)),
    "up": (lambda: up(5, 6), (5, 7, 4)),
    "one place": (lambda: up(5, 6), (5, 1, 1)),
    "gated": (lambda: gated_up(4, 3), (4, 5, 5)),
    "bottleneck": (lambda: bottleneck(8, activation=nn.ReLU(inplace=True)), (8, 6, 6)),
    "by rows": (lambda: conv_block(96, 96), (96, 12, 5)),
    "rows that do not divide": (lambda: conv_block(96, 96), (96, 10, 5)),
    "first map": (lambda: start_map(7, 3, gated=True), (7,)),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(4, 5, 4, 2, 1), nn.BatchNorm2d(5)), (4, 3, 3)),
    "normalised spectrum": (lambda: nn.Sequential(spectral_norm(nn.Conv2d(4, 5, 3, padding=1))), (4, 6, 6)),
    "normalised weight": (lambda: nn.Sequential(weight_norm(nn.Conv2d(4, 5, 3)), nn.BatchNorm2d(5)), (4, 6, 6)),
    "other padding": (lambda: nn.Sequential(nn.Conv2d(4, 5, 3, padding=1, padding_mode="reflect")), (4, 6, 6)),
    "bilinear": (lambda: nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), *conv_block(4, 5)), (4, 6, 6)),
    "no statistics": (
        lambda: nn.Sequential(nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5, track_running_stats=False)),
        (4, 6, 6),
    ),
}


def stirred(network: nn.Module) -> nn.Module:
    """The network in evaluation mode, with running statistics and affine weights far from those it starts with."""
    source = torch.Generator().manual_seed(7)

    def between(tensor: Tensor | None, low: float, high: float) -> None:
        if tensor is not None:
            tensor.data.copy_(torch.rand(tensor.shape, generator=source) * (high - low) + low)

    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            between(module.running_mean, -0.5, 0.5)
            between(module.running_var, 0.05, 2.0)
            between(module.weight, -1.0, 3.0)
            between(module.bias, -0.5, 0.5)
    return network.eval()


def pictures_by(model: Model, *, count: int = 3) -> Tensor:
    tokens = VOCABULARY.encode(CAPTIONS)[:count]
    if isinstance(model, Repainting):
        side = model.image_size
        image = torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(1))[:count] * 2 - 1
        return model.edit(image, tokens)
    assert isinstance(model, Generating)
    size = model.variation_size
    variation = torch.randn(3, size, generator=torch.Generator().manual_seed(4))[:count] if size else None
    return model.generate(tokens, noise_for(model, 3)[:count], variation=variation)


def made_of(network: nn.Module) -> list[nn.Module]:
    """Layers that were called."""
    made = [layer for module in network.modules() if isinstance(module, Folding) for layer in module.made]
    return [*made, *(deeper for layer in made for deeper in made_of(layer))]


@pytest.mark.parametrize("case", MAKERS)
@torch.no_grad()
def test_a_folded_system_makes_equal_pictures(case: str) -> None:
    model = stirred(model_of(case))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wanted, folded = pictures_by(model), fold(model)
    assert wanted.std() > 1e-3
    for count in (3, 1):
        found = pictures_by(folded, count=count)
        assert (found - wanted[:count]).abs().max() < 1e-4 * min(1.0, 10 * float(wanted.std()))
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert made_of(folded)
    assert not any(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.Upsample) for layer in made_of(folded))


@pytest.mark.parametrize("arranged", [True, False])
@pytest.mark.parametrize("case", LAYERS)
@torch.no_grad()
def test_folded_layers_are_equal(case: str, arranged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    if not arranged:
        monkeypatch.setattr(kernels, "arranges", lambda: False)
    make, shape = LAYERS[case]
    network = stirred(make())
    folded = fold(network)
    for count in (2, 5):  # filters were arranged for another number
        x = torch.randn(count, *shape)
        torch.testing.assert_close(folded(x.clone()), network(x.clone()), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("side", [1, 2, 3, 4, 9])
@torch.no_grad()
def test_a_vector_beside_every_place_counts_at_edges_too(side: int, before: bool) -> None:
    torch.manual_seed(0)
    network = stirred(Joint(conv_block(7, 6), conv_block(6, 4), before=before))
    x, vector = torch.randn(2, 4, side, side + 1), torch.randn(2, 3)
    torch.testing.assert_close(fold(network)(x, vector), network(x, vector), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_four_phases_are_the_convolution_of_the_enlarged_map() -> None:
    weight, x = torch.randn(3, 2, 3, 3, dtype=torch.float64), torch.randn(1, 2, 5, 4, dtype=torch.float64)
    enlarged = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, padding=1)
    torch.testing.assert_close(F.conv_transpose2d(x, phases(weight), stride=2, padding=1), enlarged)


@torch.no_grad()
def test_rows_by_sums_are_a_convolution() -> None:
    weight, bias = torch.randn(3, 2, 3, 3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    x = torch.randn(2, 2, 16, 5)
    found = Conv(lambda: (weight, bias), dtype=torch.float32).by_rows(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, F.conv2d(x, weight.float(), bias.float(), padding=1), atol=1e-5, rtol=1e-5)


@NEEDS_BF16
@torch.no_grad()
def test_bf16_is_near() -> None:
    network = stirred(nn.Sequential(up(32, 32), conv_block(32, 16)))
    x = torch.randn(2, 32, 8, 8)
    found, wanted = fold(network, dtype=torch.bfloat16)(x), network(x)
    assert found.dtype == torch.bfloat16
    assert 0 < (found.float() - wanted).abs().max() < 0.03 * wanted.abs().max()


def test_a_network_that_trains_is_not_folded() -> None:
    with pytest.raises(ValueError, match="training"):
        fold(nn.Sequential(nn.Conv2d(1, 1, 1)))


def test_what_is_not_called_is_not_folded() -> None:
    model = stirred(model_of("tagan"))
    folded = fold(model)
    with torch.no_grad():
        pictures_by(folded)
    assert not any(isinstance(module, Folding) and module.made for module in folded.discriminator.modules())
    assert {id(p) for p in folded.parameters()} == {id(p) for p in model.parameters()}  # no weight twice


@pytest.mark.parametrize("kind", [BiGru, Gru, BiLstm])
@torch.no_grad()
def test_captions_are_read_once(kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    encoder = kind(4, 6).eval()
    vectors, mask = torch.randn(3, 5, 4), torch.arange(5) < torch.tensor([5, 2, 4])[:, None]
    wanted, read = encoder(vectors, mask), []
    run = encoder.forward
    monkeypatch.setattr(encoder, "forward", lambda *given: (read.append(len(given[0])), run(*given))[1])
    keeping = Remembering(encoder, size=2)
    rows = torch.tensor([1, 0, 1, 1])
    for _ in range(2):
        for found, right in zip(keeping(vectors[rows], mask[rows]), wanted, strict=True):
            torch.testing.assert_close(found, right[rows])
    assert read == [2]
    keeping(vectors[2:], mask[2:])  # the third takes the place of the one that was longest unused
    keeping(vectors[:2], mask[:2])
    assert read[:2] == [2, 1]
    assert len(keeping.codes) == 2


@torch.no_grad()
def test_characters_are_remembered_by_all_that_is_given() -> None:
    encoder = CharCnnRnn(9, widths=(4, 4, 4), size=6).eval()
    keeping = Remembering(encoder)
    ids = torch.randint(2, 9, (2, 40))
    for mask in (torch.ones(2, 40, dtype=torch.bool), torch.arange(40).expand(2, 40) < 20):
        tokens = Tokens(ids, mask)
        torch.testing.assert_close(keeping(tokens).sentence, encoder(tokens).sentence)


@torch.no_grad()
def test_several_threads_may_use_one_folded_model() -> None:
    model = stirred(model_of("tagan"))
    wanted, folded, found = pictures_by(model), fold(model), []

    def work() -> None:
        with torch.no_grad():
            found.extend(pictures_by(folded) for _ in range(3))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 12
    assert all((each - wanted).abs().max() < 1e-4 for each in found)


@torch.no_grad()
@pytest.mark.skipif(not kernels.arranges(), reason="this torch cannot arrange filters for oneDNN")
@pytest.mark.parametrize("transposed", [False, True])
def test_filters_are_arranged_once_by_whichever_thread_comes_first(transposed: bool, monkeypatch) -> None:
    x, weight = torch.randn(1, 4, 8, 8), torch.randn(4, 4, 3, 3).double()
    kernel = kernels.Kernel(weight, None, transposed=transposed, dtype=torch.float32)
    wanted = (F.conv_transpose2d if transposed else F.conv2d)(x, weight.float(), padding=1)
    name = "_reorder_convolution_transpose_weight" if transposed else "_reorder_convolution_weight"
    arrange, arranged, found = getattr(torch.ops.mkldnn, name), [], []

    def slowly(*given: object) -> Tensor:
        arranged.append(given)
        time.sleep(0.2)  # so that all threads have come by then
        made: Tensor = arrange(*given)
        return made

    def work() -> None:
        with torch.no_grad():
            found.append(kernel(x.contiguous(memory_format=torch.channels_last)))

    monkeypatch.setattr(torch.ops.mkldnn, name, slowly)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(arranged) == 1
    assert len(found) == 4
    assert all((each - wanted).abs().max() < 1e-4 for each in found)
