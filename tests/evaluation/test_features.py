"""Frozen networks from local files: Inception-v3 and LPIPS's backbone with random stand-in weights, matching models."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from support import small
from tgim import metrics
from tgim.checkpoints import checkpoint
from tgim.errors import CheckpointError, UserError
from tgim.evaluation import features
from tgim.images.photo import from_uint8, to_uint8

PICTURES = torch.rand(2, 3, 40, 52, generator=torch.Generator().manual_seed(0)) * 2 - 1


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """Random weights of the right names and shapes, not Inception's: 1008 classes (.pth) and 1000 (.safetensors)."""
    from torchvision.models.inception import Inception3

    torch.manual_seed(0)
    network = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("conv.weight"):
                parameter.mul_(6**0.5)  # so that the signal survives the depth
            elif name.endswith("fc.weight"):
                parameter.mul_(20)  # so that the probabilities differ
    state = network.state_dict()
    folder = tmp_path_factory.mktemp("inception")
    torch.save(state, folder / "random-1008.pth")
    surplus = {"AuxLogits.fc.weight": torch.zeros(2, 2)}  # the release's auxiliary head is not used
    fewer = {name: state[name][:1000].clone() for name in ("fc.weight", "fc.bias")}
    save_file({**state, **fewer, **surplus}, folder / "random-1000.safetensors")
    return folder


@pytest.fixture(scope="module")
def fid(stand_ins):
    return features.inception(stand_ins / "random-1008.pth")


@pytest.fixture(scope="module")
def torchvision(stand_ins):
    return features.inception(stand_ins / "random-1000.safetensors")


@pytest.mark.slow
def test_the_fid_weights_run_as_in_torch_fidelity(fid, stand_ins):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path = stand_ins / "random-1008.pth"
    reference = FeatureExtractorInceptionV3("x", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path))
    expected, logits = reference(to_uint8(PICTURES))
    found = fid.features(PICTURES)
    assert fid.dimension == 2048
    assert found.shape == (2, 2048)
    assert expected.std() > 1e-3  # the stand-in answers to its input
    assert_close(found, expected)
    assert_close(fid.probabilities(found), logits.softmax(1))
    assert fid.label == f"inception-fid/random-1008.pth:{digest(path)}"


@pytest.mark.slow
def test_torchvisions_weights_run_as_in_torchvision(torchvision, stand_ins):
    from safetensors.torch import load_file
    from torchvision.models.inception import Inception3

    path = stand_ins / "random-1000.safetensors"
    reference = Inception3(aux_logits=False, transform_input=True, init_weights=False).eval()
    reference.load_state_dict({k: v for k, v in load_file(path).items() if "Aux" not in k})
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    unit = to_uint8(PICTURES).float() / 255
    large = F.interpolate(unit, (299, 299), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = reference((large - mean) / deviation)  # as its published preprocessing says
    found = torchvision.features(PICTURES)
    assert found.shape == (2, 2048)
    assert_close(torchvision.probabilities(found), expected.softmax(1), rtol=1e-3, atol=1e-6)
    assert torchvision.label == f"inception-torchvision/random-1000.safetensors:{digest(path)}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fid", "torchvision"])
def test_what_an_extractor_takes_is_checked(name, request):
    extractor = request.getfixturevalue(name)
    assert extractor.features(PICTURES[:0]).shape == (0, 2048)
    with pytest.raises(UserError, match=r"pictures is torch.uint8"):
        extractor.features(to_uint8(PICTURES))
    with pytest.raises(UserError, match=r"expected \(N, 2048\)"):
        extractor.probabilities(torch.zeros(2, 3))


@pytest.mark.slow
def test_weights_that_are_not_there_or_not_inceptions_say_which_to_get(tmp_path):
    def refused(path, said):
        with pytest.raises(UserError, match=said) as caught:
            features.inception(path)
        assert "\n" not in str(caught.value)
        assert "weights-inception-2015-12-05-6726825d.pth" in str(caught.value)

    refused(tmp_path / "none.pth", "none.pth is not there")
    (tmp_path / "text.pth").write_text("<html>not found</html>")
    refused(tmp_path / "text.pth", "text.pth cannot be read")
    torch.save([1, 2], tmp_path / "list.pth")
    refused(tmp_path / "list.pth", "list.pth holds no state dict")
    torch.save({"fc.weight": torch.zeros(10, 4)}, tmp_path / "other.pth")
    refused(tmp_path / "other.pth", "no Inception-v3 with 1008 or 1000 classes")
    for classes in (1008, 1000):
        first = {"Conv2d_1a_3x3.conv.weight": torch.zeros(32, 3, 3, 3), "fc.weight": torch.zeros(classes, 2048)}
        torch.save(first | {"fc.bias": torch.zeros(classes)}, tmp_path / "part.pth")
        refused(tmp_path / "part.pth", "does not fit Inception-v3")


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('a pickle was executed')",)


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    torch.save({"fc.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(UserError, match=r"trap.pth cannot be read"):
        features.inception(tmp_path / "trap.pth")


# Matching models


@pytest.fixture(scope="module")
def matcher(tmp_path_factory):
    model = small.model_of("dual_encoder").eval()
    path = tmp_path_factory.mktemp("matching") / "judge-toy.safetensors"
    return model, checkpoint.save(path, model, vocabulary=small.VOCABULARY)


@pytest.mark.slow
def test_a_matching_models_features_are_its_embeddings_under_its_own_name(matcher):
    model, path = matcher
    extractor = features.from_matching(path)
    pictures = torch.rand(20, 3, 32, 32) * 2 - 1  # more than one batch
    with torch.no_grad():
        expected = model.embed_images(from_uint8(to_uint8(pictures)))
    found = extractor.features(pictures)
    assert extractor.label == f"judge-toy:{checkpoint.fingerprint(path)}"
    assert extractor.dimension == expected.shape[1]
    assert_close(found, expected)
    assert extractor.features(PICTURES).shape == (2, extractor.dimension)  # of another size
    assert extractor.probabilities(found) is None
    assert extractor.features(pictures[:0]).shape == (0, extractor.dimension)


def test_class_captions_give_labelled_probabilities(matcher):
    model, path = matcher
    classes = [small.CAPTIONS[:2], small.CAPTIONS[2:3], small.CAPTIONS[3:]]
    extractor = features.from_matching(path, class_captions=classes, scale=7.0)
    found = extractor.features(PICTURES)
    with torch.no_grad():
        means = torch.stack([model.embed_captions(small.VOCABULARY.encode(c)).mean(0) for c in classes])
    assert_close(extractor.probabilities(found), (7 * found @ means.T).softmax(1))
    assert extractor.label == f"judge-toy:{checkpoint.fingerprint(path)}+3 caption classes"
    with pytest.raises(UserError, match="1 classes, expected 2 or more"):
        features.from_matching(path, class_captions=classes[:1])


def test_a_matching_model_that_is_none_is_refused(tagrid_file, tmp_path):
    with pytest.raises(UserError, match=r"is an editor \(tagrid\), expected a matching model"):
        features.from_matching(tagrid_file)
    with pytest.raises(CheckpointError, match="is not there"):
        features.from_matching(tmp_path / "none.safetensors")


# LPIPS


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    """AlexNet's feature layers with random stand-in weights, and the file of its state dict."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()),
        *(nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 256, 3, padding=1)),
        *(nn.ReLU(), nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    )
    path = tmp_path_factory.mktemp("lpips") / "random-alexnet.pth"
    torch.save({f"features.{name}": value for name, value in layers.state_dict().items()}, path)
    return layers, path


@pytest.mark.slow
def test_lpips_is_its_formula_over_the_given_backbone(alexnet, monkeypatch):
    import lpips as package

    layers, path = alexnet
    monkeypatch.setenv("TGIM_LPIPS_BACKBONE", str(path))
    network = metrics.lpips_network()
    x, y = torch.rand(2, 3, 3, 40, 48) * 2 - 1
    heads = torch.load(Path(package.__file__).parent / "weights/v0.1/alex.pth", map_location="cpu", weights_only=True)
    shift, scale = torch.tensor([[-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]])[..., None, None]
    a, b, expected = (x - shift) / scale, (y - shift) / scale, torch.zeros(3)
    taps = {1: 0, 4: 1, 7: 2, 9: 3, 11: 4}  # after these layers -> which head
    with torch.no_grad():
        for i, layer in enumerate(layers):
            a, b = layer(a), layer(b)
            if i in taps:
                gap = (F.normalize(a, dim=1) - F.normalize(b, dim=1)).square()
                expected += (gap * heads[f"lin{taps[i]}.model.1.weight"]).sum(1).mean((1, 2))
    value = metrics.lpips(x, y, network=network)
    assert value.min() > 0
    assert_close(value, expected, rtol=1e-4, atol=1e-7)
    assert_close(metrics.lpips(y, x, network=network), value)
    assert_close(metrics.lpips(x, x, network=network), torch.zeros(3))
    assert metrics.lpips(x[:0], x[:0], network=network).shape == (0,)


@pytest.mark.slow
def test_a_missing_backbone_says_which_file_to_get(alexnet, tmp_path, monkeypatch):
    monkeypatch.delenv("TGIM_LPIPS_BACKBONE", raising=False)
    with pytest.raises(UserError, match=r"alexnet-owt-7be5be79.pth and give its path, or set TGIM_LPIPS_BACKBONE"):
        metrics.lpips_network()
    with pytest.raises(UserError, match=r"none.pth is not there.*vgg16.*vgg16-397923af.pth"):
        metrics.lpips_network(tmp_path / "none.pth", backbone="vgg")
    with pytest.raises(UserError, match="backbone is 'squeeze'"):
        metrics.lpips_network(alexnet[1], backbone="squeeze")


@pytest.mark.slow
def test_another_networks_backbone_is_refused(tmp_path):
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "vgg.pth")
    with pytest.raises(UserError, match=r"shape \(64, 3, 3, 3\) for features.0.weight, expected \(64, 3, 11, 11\)"):
        metrics.lpips_network(tmp_path / "vgg.pth")
