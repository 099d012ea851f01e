"""The in-domain encoder: its losses by hand, what it leaves alone, and that it learns to make pictures again."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from support.small import VOCABULARY, batch_of, model_of, train, trainable
from support.toy_generator import ToyGenerator, ToyGeneratorConfig
from tgim.checkpoints import checkpoint
from tgim.data.batch import Batch
from tgim.inference.inversion import Inverter, MapFeatures
from tgim.models.editing.in_domain import Critic, InDomainConfig, InDomainEncoder, shell
from tgim.nn.losses import gradient_penalty, stage_distance

SIDE = 16
PLAIN = {"pretrained": False, "taps": (0, 1), "width": 4, "discriminator_width": 4}


def toy(**options: object) -> InDomainEncoder:
    """An encoder of the toy generator, untrained."""
    torch.manual_seed(0)
    config = InDomainConfig(system="toy_generator", sizes={"image_size": SIDE}, **{**PLAIN, **options})
    return InDomainEncoder(config, vocabulary_size=len(VOCABULARY)).train()


class Sum(torch.nn.Module):
    """A critic of which the value and the slope are known: a times the sum of the pixels."""

    def __init__(self, a: float) -> None:
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor(a))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.a * image.sum((1, 2, 3))


def pictures(*values: float) -> torch.Tensor:
    """Flat pictures of 3 x 1 x 1 values."""
    return torch.tensor(values)[:, None, None, None].expand(-1, 3, 1, 1).clone()


def test_the_terms_of_the_discriminator_by_hand():
    model = toy(adversary="mean", penalty_weight=10.0)
    model.discriminator = Sum(2.0)
    terms = model.discriminator_terms(pictures(1.0, 2.0), pictures(-1.0, 0.0))
    assert terms["real"].item() == -9.0  # the mean of 6 and 12, negative: photographs are to be high
    assert terms["fake"].item() == -3.0  # the mean of -6 and 0: made pictures low
    assert terms["penalty"].item() == pytest.approx(10 / 2 * 3 * 2.0**2)
    sum(terms.values()).backward()
    assert model.discriminator.a.grad.item() == pytest.approx(-4.5 - 1.5 + 5 * 3 * 4)


def test_the_adversarial_term_is_the_only_one_that_asks_for_a_high_score():
    model = toy(adversary="mean", adversarial_weight=0.5)
    model.discriminator, seen = Sum(2.0), torch.zeros(1, 3, SIDE, SIDE)
    made = torch.full((1, 3, SIDE, SIDE), 0.1, requires_grad=True)
    terms = model.encoder_terms(seen, made, torch.ones(1, 6))
    assert terms["pixels"].item() == pytest.approx(0.01)
    assert terms["adversarial"].item() == pytest.approx(-0.5 * 2 * 0.1 * 3 * SIDE**2)
    assert terms["shell"].item() == 0
    assert terms["features"].item() > 0
    (slope,) = torch.autograd.grad(terms["adversarial"], [made], retain_graph=True)
    assert (slope < 0).all()  # descending raises the score
    (slope,) = torch.autograd.grad(terms["pixels"], [made])
    assert (slope > 0).all()  # and darkens the picture, which is lighter than the photograph
    assert model.discriminator.a.grad is None


def test_the_release_s_adversary_is_the_softplus_of_the_paper_s():
    model = toy(adversary="logistic", adversarial_weight=1.0)
    model.discriminator = Sum(0.5)
    terms = model.discriminator_terms(pictures(2.0), pictures(-2.0))
    assert terms["real"].item() == pytest.approx(float(torch.nn.functional.softplus(torch.tensor(-3.0))))
    assert terms["fake"].item() == pytest.approx(float(torch.nn.functional.softplus(torch.tensor(-3.0))))


def test_weights_scale_their_terms_and_zero_leaves_the_adversary_out():
    model, batch = toy(), batch_of(SIDE)
    codes = torch.full((4, 6), 2.0)
    made = batch.image.roll(1, 0)
    names = {"pixels": "pixel_weight", "features": "perceptual_weight", "shell": "shell_weight"}
    plain = model.encoder_terms(batch.image, made, codes)
    for term, key in names.items():
        model.config = toy().config.model_copy(update={key: 7 * getattr(toy().config, key)})
        assert_close(model.encoder_terms(batch.image, made, codes)[term], 7 * plain[term])
    model.config = toy(adversarial_weight=0).config
    assert set(model.encoder_terms(batch.image, made, codes)) == set(names)
    assert all(float(value) == 0 for value in model.encoder_terms(batch.image, batch.image, codes / 2).values())


def test_the_penalty_is_the_slope_of_each_picture_alone():
    torch.manual_seed(0)
    critic, image = Critic(4, SIDE), torch.randn(3, 3, SIDE, SIDE, requires_grad=True)
    alone = [gradient_penalty(critic(one), one) for one in image.detach().split(1) if one.requires_grad_() is one]
    assert_close(gradient_penalty(critic(image), image), torch.stack(alone).mean())


def test_normal_noise_is_near_the_shell_and_shrunk_or_grown_noise_is_not():
    codes = torch.randn(200, 64, generator=torch.Generator().manual_seed(0))
    near, *far = (float(shell(scale * codes)) for scale in (1.0, 0.5, 2.0))
    assert near < 0.05  # 2 / Z on average
    assert min(far) > 10 * near


def test_feature_distances_heed_directions_place_by_place():
    x = torch.randn(2, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    assert_close(stage_distance([x], [3 * x]), torch.zeros(2), atol=1e-6, rtol=0)
    assert_close(stage_distance([x], [-x]), torch.full((2,), 4.0))
    half = x.clone()
    half[:, :, :, 0] *= -1  # a third of the places
    assert_close(stage_distance([x, x], [half, x]), torch.full((2,), 2 / 3))


@pytest.mark.slow
def test_generator_and_features_stay_and_captions_are_the_pictures_own(monkeypatch):
    model, batch = model_of("in_domain"), batch_of()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    asked, generate = [], model.generator.generate_from

    def spy(condition, noise):
        asked.append(condition)
        return generate(condition, noise)

    monkeypatch.setattr(model.generator, "generate_from", spy)
    train(model, batch, steps=2, lr=0.01)
    for part in asked[0]:
        assert any(torch.equal(part, own) for own in model.generator.condition(batch.text))
    moved = {key.split(".")[0] for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {"discriminator", "encoder"}
    assert {key.split(".")[0] for key in trainable(model)} == {"discriminator", "encoder"}
    assert not any(module.training for module in model.generator.modules())


@pytest.mark.slow
def test_pictures_that_the_generator_made_are_made_again():
    model = toy(adversarial_weight=0.01)
    text = batch_of(count=4).text[torch.arange(32) % 4]
    noise = torch.randn(32, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        batch = Batch(model.generator.generate(text, noise), text, torch.arange(32))

    def error() -> float:
        with torch.no_grad():
            again = model.generator.generate(text, model.eval().encoder(batch.image))
        model.train()
        return float((again - batch.image).square().mean())

    before = error()
    train(model, batch, steps=40, lr=5e-3)
    assert error() < 0.5 * before


@pytest.mark.slow
def test_the_search_compares_by_the_encoder_s_own_features_and_stays_near_it():
    model, batch = toy().eval(), batch_of(SIDE)
    inverter = Inverter.of(model, steps=5)
    assert isinstance(inverter.features, MapFeatures)
    assert inverter.features.network is model.perception
    assert Inverter.of(model).most_steps == 0
    condition = model.generator.condition(batch.text)
    apart = []
    for weight in (0.0, 50.0):
        search = Inverter.of(model, steps=40)
        search.domain_weight = weight
        found = search.invert(batch.image, condition)
        with torch.no_grad():
            apart.append(float((found.noise - model.encoder(found.pictures)).square().mean()))
    assert apart[1] < apart[0]


def test_taps_are_rising_stages():
    for taps in ((), (2, 1), (0, 7)):
        with pytest.raises(ValueError, match="taps must be rising stages of 0 to 6"):
            InDomainConfig(system="toy_generator", taps=taps)


@pytest.mark.slow
def test_another_generator_is_named_by_its_checkpoint(tmp_path):
    torch.manual_seed(1)
    source = ToyGenerator(ToyGeneratorConfig(image_size=SIDE), vocabulary_size=len(VOCABULARY)).eval()
    stage1 = model_of("stackgan1").eval()
    for name, generator in {"toy": source, "stackgan1": stage1}.items():
        file = checkpoint.save(tmp_path / f"{name}.safetensors", generator, vocabulary=VOCABULARY)
        model = InDomainEncoder(InDomainConfig(generator=str(file), **PLAIN), vocabulary_size=len(VOCABULARY))
        model.load_parts()
        batch = batch_of(model.image_size)
        train(model.train(), batch, steps=1)
        with torch.no_grad():
            again = model.eval().edit(batch.image, batch.text)
            assert_close(again, generator.generate(batch.text, model.encoder(batch.image)))
