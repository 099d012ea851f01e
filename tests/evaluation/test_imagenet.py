"""ImageNet's features that come with tgim: whose weights they are, and what distances in them must not do."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from tgim.checkpoints.state_dict import read_state_dict
from tgim.data.synthetic.pairs import sample_picture
from tgim.errors import CheckpointError
from tgim.evaluation import perceptual, realism
from tgim.evaluation.features import LITE, Frozen, imagenet
from tgim.metrics import fid, kid
from tgim.models import efficientnet
from tgim.reporting.results import metric_label

PICTURES = torch.rand(24, 3, 20, 20, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.slow
def test_the_embedded_weights_are_the_releases_in_16_bits():
    try:
        file = efficientnet.weights_file("lite0")
    except CheckpointError:
        pytest.skip("the weights package is not installed")  # it comes with the extras train and dev, not with tgim
    expected = efficientnet.folded(read_state_dict(file, expected="the release"), "lite0")
    net = efficientnet.embedded()
    found = net.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value.half().float()) for name, value in expected.items())
    before = efficientnet.weights_hash(net)
    assert before == imagenet().label.split(":")[1]
    net.load_state_dict(expected)
    assert efficientnet.weights_hash(net) == before  # 16 bits are hashed, wherever they come from
    with torch.no_grad():
        net.stem.bias[0] += 1
    assert efficientnet.weights_hash(net) != before


@pytest.mark.slow
def test_features_are_those_that_the_classifier_reads_at_224_pixels():
    net, found = efficientnet.embedded(), imagenet()
    large = F.interpolate(PICTURES[:2], (224, 224), mode="bilinear", antialias=True)
    levels = ((large.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
    features = found.features(levels)
    assert features.shape == (2, found.dimension) == (2, 1280)
    with torch.no_grad():
        assert_close(net.classes(features), net.classify(net(levels)[-1]), rtol=1e-3, atol=1e-3)
    assert found.probabilities(features) is None  # an inception score is of Inception
    assert found.label.startswith("efficientnet-lite0-224:")


@pytest.mark.slow
def test_worse_pictures_are_farther_from_photographs_in_these_features():
    pixels = np.stack([sample_picture(seed=seed, size=(64, 64)) for seed in range(32)])
    pictures = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    extractor, ours = imagenet(), pictures[:16]
    real = extractor.features(pictures[16:])
    noise = torch.randn(ours.shape, generator=torch.Generator().manual_seed(0))
    blurred = [ours, *(F.avg_pool2d(ours, side, 1, side // 2, count_include_pad=False) for side in (5, 15))]
    noisy = [ours, *((ours + share * noise).clamp(-1, 1) for share in (0.2, 0.6))]
    for growing in (blurred, noisy):
        features = [extractor.features(each) for each in growing]
        for distance in (fid, lambda a, b: kid(a, b, subsets=1)):
            values = [distance(real, each) for each in features]
            assert values == sorted(values)
            assert values[0] < 0.7 * values[-1]


class Bench:
    """Pictures whose edits are made on the spot, kept nowhere."""

    pictures, target, seed = PICTURES, ["a red bird"] * len(PICTURES), 0

    def seen(self, what):
        return lambda done, total: None

    def edits(self, contender, captions, strength=1.0):
        return contender.edit(self.pictures)

    def kept(self, contender, make, kind, *depends):
        return make()


@pytest.fixture
def toy_stages(monkeypatch):
    asked = []

    def apart(x, y, progress=None):
        asked.append(len(x))
        return (x - y).abs().mean((1, 2, 3))

    monkeypatch.setattr(perceptual, "stages", lambda: SimpleNamespace(label="toy", apart=apart))


def test_perceptual_distance_is_a_mean_over_pictures_and_nothing_for_who_does_nothing(toy_stages):
    (still,) = perceptual.measure(Bench(), SimpleNamespace(edit=lambda pictures: pictures))
    assert still.figures(seed=0) == (0, 0, 0)
    (half,) = perceptual.measure(Bench(), SimpleNamespace(edit=lambda pictures: pictures / 2))
    assert half.metric == perceptual.METRIC
    assert half.figures(seed=0)[0] == pytest.approx(float(PICTURES.abs().mean()) / 2, rel=1e-4)
    assert not half.higher_is_better
    ((name, least),) = perceptual.references(Bench())
    assert name in perceptual.PERCEPTUAL.reference_names
    assert least.figures(seed=0)[0] > 0
    assert perceptual.PERCEPTUAL.extractor_label(Bench()) == "toy"


def test_equal_pictures_are_not_looked_at(monkeypatch):
    from tgim.evaluation import features

    seen = []
    monkeypatch.setattr(features, "stage_distance", lambda x, y, **_: seen.append(len(x)) or torch.ones(len(x)))
    changed = PICTURES.clone()
    changed[3, 0, 5, 5] += 0.1
    assert features.Stages().apart(PICTURES, changed).nonzero().flatten().tolist() == [3]
    assert seen == [1]


def test_only_inceptions_frechet_distance_is_called_fid():
    def metrics_of(label):
        half = realism.Halves(
            Frozen(label, 2, lambda x: x), 1.0, np.arange(8), np.arange(8), torch.randn(8, 2), torch.randn(9, 2)
        )
        return {m.metric: m.options for m in realism.distances(half, half.real, seed=0)}

    own = metrics_of(f"{LITE}-224:0123")
    assert list(own) == ["frechet", "kid"]
    assert own["frechet"] == {"against": 9, "features": 2}
    assert list(metrics_of("inception-fid/w.pth:0123")) == ["fid", "kid"]
    assert metric_label("fid", extractor="inception-fid/w.pth:0123") == "FID"
    assert "FID" not in metric_label("frechet", extractor=f"{LITE}-224:0123")
    assert "FID" not in metric_label("fid", extractor="judge-birds:0123")
