"""Laws of VSE, DAMSM and SJE, and of the backbones that they see with (torchvision's with random stand-in weights)."""

from __future__ import annotations

import copy

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch.testing import assert_close

from support.small import CAPTIONS, VOCABULARY, batch_of, model_of, train
from tgim.checkpoints import checkpoint, registry
from tgim.data.batch import Batch
from tgim.errors import CheckpointError
from tgim.models.matching.backbone import PRETRAINED, PictureConfig, TorchvisionNet, make_backbone
from tgim.models.matching.sje import SJE, SJEConfig
from tgim.nn.losses import word_scores
from tgim.text.vocabulary import Alphabet, Tokens, Vocabulary, pad

TRIO = ("vse", "damsm", "sje")
three = pytest.mark.parametrize("name", TRIO)


def scores_of(model, batch) -> torch.Tensor:
    return model.embed_images(batch.image) @ model.embed_captions(batch.text).T


def small_sje(**options) -> SJE:
    """An SJE that reads characters."""
    torch.manual_seed(0)
    sizes = {"image_size": 32, "width": 8, "blocks": 1, "text_widths": (8, 12, 16), "embedding_size": 16}
    return SJE(SJEConfig(**{**sizes, **options}), vocabulary_size=len(Alphabet()))


def spelled(batch: Batch) -> Batch:
    """The batch with its captions as characters."""
    return Batch(batch.image, Alphabet().encode([CAPTIONS[i] for i in range(len(batch.image))]), batch.labels)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vse", "damsm"])
def test_training_brings_captions_to_their_pictures(name):
    options = {"dropout": 0.0} if name == "damsm" else {}
    model, batch = model_of(name, stirred=False, **options), batch_of()
    train(model, batch, steps=30, lr=5e-3)
    scores = scores_of(model, batch)
    assert (scores.argmax(0) == torch.arange(4)).all()
    assert (scores.argmax(1) == torch.arange(4)).all()


@pytest.mark.slow
@pytest.mark.parametrize("recurrent", ["relu", "gru"])
def test_characters_too_are_brought_to_their_pictures(recurrent):
    model, batch = small_sje(recurrent=recurrent), spelled(batch_of())
    train(model, batch, steps=20, lr=5e-3)
    assert (scores_of(model, batch).argmax(0) == torch.arange(4)).all()


@pytest.mark.parametrize("name", ["vse", "damsm"])
def test_scores_that_are_cosines_have_unit_embeddings(name):
    model, batch = model_of(name), batch_of()
    assert_close(model.embed_images(batch.image).norm(dim=1), torch.ones(4))
    assert_close(model.embed_captions(batch.text).norm(dim=1), torch.ones(4))


def test_vse_leaves_its_own_class_out_of_the_negatives_unless_told():
    batch = batch_of()
    alike = Batch(batch.image, batch.text, torch.zeros(4, dtype=torch.long))
    _, terms = next(model_of("vse").steps(alike))
    assert terms["ranking"].item() == 0
    _, terms = next(model_of("vse", same_class_negatives=True).steps(alike))
    assert terms["ranking"].item() > 0


def test_hardest_negatives_are_some_of_all():
    all_of_them, hardest = (
        next(model_of("vse", negatives=which).steps(batch_of()))[1]["ranking"].item() for which in ("all", "hardest")
    )
    assert 0 < hardest < all_of_them


@torch.no_grad()
def test_damsm_matches_by_words_and_sentence():
    model, batch = model_of("damsm").eval(), batch_of()
    found = model.match(batch.image, batch.text)
    picture, caption = model.encode_image(batch.image), model.encode_text(batch.text)
    assert picture.regions.shape == (4, 16, 16)  # D, 4x4 places
    words = word_scores(picture.regions, caption.words, caption.mask)
    assert_close(found, words + scores_of(model, batch))
    assert_close(found, model.scores(model.read_images(batch.image), model.read_captions(batch.text)))
    assert model.match(batch.image[:3], batch.text).shape == (3, 4)


@torch.no_grad()
def test_a_match_does_not_depend_on_padding():
    model, batch = model_of("damsm").eval(), batch_of()
    together = model.match(batch.image, batch.text)
    for i, length in enumerate(batch.text.lengths.tolist()):
        alone = Tokens(batch.text.ids[i : i + 1, :length], batch.text.mask[i : i + 1, :length])
        assert_close(model.match(batch.image, alone)[:, 0], together[:, i], atol=1e-5, rtol=1e-5)


@three
def test_a_caption_of_no_word_does_no_harm(name):
    model, batch = model_of(name), batch_of()
    text = pad([[], [2, 3], [4], [5, 6, 7]])
    _, terms = next(model.steps(Batch(batch.image, text, batch.labels)))
    sum(terms.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert sum(terms.values()).item() < 1e3


@pytest.mark.slow
def test_an_alphabet_comes_back_from_a_checkpoint(tmp_path):
    model, batch = small_sje().eval(), spelled(batch_of())
    path = checkpoint.save(tmp_path / "sje.safetensors", model, vocabulary=SJE.vocabulary_for(model.config))
    loaded = checkpoint.load(path)
    assert isinstance(loaded.vocabulary, Alphabet)
    tokens = loaded.vocabulary.encode(CAPTIONS)
    assert torch.equal(tokens.ids, batch.text.ids)
    with torch.no_grad():
        assert torch.equal(loaded.model.embed_captions(tokens), model.embed_captions(batch.text))
    words = checkpoint.save(tmp_path / "vse.safetensors", model_of("vse"), vocabulary=VOCABULARY)
    assert type(checkpoint.load(words).vocabulary) is Vocabulary


@torch.no_grad()
def test_characters_after_the_last_that_is_read_have_no_influence():
    model = small_sje().eval()
    long = "a bird with a red head " * 12
    first, second, third = model.embed_captions(Alphabet().encode([long, long[:201] + "z" * 30, "b" + long[1:]]))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


@pytest.fixture(scope="module")
def stand_in() -> TorchvisionNet:
    """A frozen resnet18 of random stand-in weights."""
    torch.manual_seed(0)
    return TorchvisionNet("resnet18", frozen=True)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side"), [("resnet18", 6), ("vgg16_bn", 6), ("inception_v3", 4)])
@torch.no_grad()
def test_torchvision_backbones_give_the_map_and_the_whole_that_they_promise(name, side):
    net, plan = TorchvisionNet(name, frozen=True), PRETRAINED[name]  # random stand-in weights
    net.plan = plan._replace(side=96)  # for speed
    regions, whole = net(torch.rand(1, 3, 32, 32) * 2 - 1)
    assert regions.shape == (1, plan.region_size, side, side)
    assert whole.shape == (1, plan.whole_size)


@pytest.mark.slow
@torch.no_grad()
def test_a_backbone_sees_what_its_classifier_sees(tmp_path, stand_in):
    from torchvision.models import resnet18

    torch.manual_seed(0)
    whole = resnet18(weights=None).eval()  # random stand-in weights
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    save_file({key: value for key, value in whole.state_dict().items() if "fc" not in key}, tmp_path / "w.safetensors")
    image = torch.rand(1, 3, 224, 224) * 2 - 1
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normal = ((image + 1) / 2 - mean[:, None, None]) / deviation[:, None, None]
    for file in ("weights.pth", "w.safetensors"):
        net = copy.deepcopy(stand_in)
        net.load(tmp_path / file)
        assert_close(whole.fc(net(image).whole), whole(normal), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_a_frozen_backbone_stays_and_the_rest_learns(tmp_path, stand_in):
    given = stand_in.net.state_dict()
    torch.save(given, tmp_path / "weights.pth")
    model = model_of("vse", stirred=False, backbone="resnet18", backbone_weights=str(tmp_path / "weights.pth"))
    model.load_parts()
    model.encoders.backbone.plan = PRETRAINED["resnet18"]._replace(side=64)  # for speed
    before = model.encoders.picture.weight.clone()
    train(model, batch_of(count=2), steps=1)
    for key, value in model.encoders.backbone.net.state_dict().items():
        assert torch.equal(value, given[key]), key  # running statistics as well
    assert not torch.equal(model.encoders.picture.weight, before)
    assert not any(module.training for module in model.encoders.backbone.net.modules())


def broken(kind: str, path, state: dict[str, torch.Tensor]) -> None:
    if kind == "shape":
        state["conv1.weight"] = torch.zeros(1)
    if kind == "key":
        del state["layer4.1.conv2.weight"]
    torch.save([1] if kind == "list" else state, path)
    if kind == "text":
        path.write_text("no weights")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("gone", "not there"),
        ("text", "cannot be read"),
        ("list", "no state dict"),
        ("shape", r"conv1.weight has shape \(1,\), not \(64, 3, 7, 7\)"),
        ("key", "layer4.1.conv2.weight is missing"),
    ],
)
def test_weights_that_do_not_fit_are_said_to_be_so(tmp_path, kind, message, stand_in):
    path = tmp_path / "weights.pth"
    if kind != "gone":
        broken(kind, path, dict(stand_in.net.state_dict()))
    with pytest.raises(CheckpointError, match=message) as caught:
        stand_in.load(path)
    assert "resnet18-f37072fd.pth" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet18"}, "resnet18-f37072fd.pth"),
        ({"backbone_weights": "w.pth"}, "leave it out"),
        ({"backbone": "alexnet"}, "backbone"),
        ({"image_size": 36}, "image_size"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    for name in TRIO:
        with pytest.raises(ValidationError, match=message):
            registry.find_model(name).Config(**options)


@pytest.mark.slow
def test_a_backbone_without_weights_may_be_trained():
    net = make_backbone(PictureConfig(backbone="resnet18", backbone_frozen=False))
    assert all(p.requires_grad for p in net.parameters())
    assert net.net.training
