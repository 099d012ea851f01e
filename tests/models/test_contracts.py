"""What holds for every registered system, editors and matching models alike."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from support.small import CASES, NEEDS_BF16, SYSTEMS, VOCABULARY, batch_of, model_of, settings_of, train, trainable
from tgim.checkpoints import checkpoint
from tgim.data.batch import Batch
from tgim.models.base import Composing, Config, Editing, Generating, Localising, Matching, Model
from tgim.text.vocabulary import Tokens
from tgim.training import recipe
from tgim.training import run as training

PHASES = [(name, network) for name, system in CASES.items() for network in system.networks]
BLIND = {  # gradients that are zero but for rounding
    "encoders.image.saliency.bias",  # a softmax does not see a constant that is added everywhere
    "discriminator.compress.0.bias",  # nor does the batch normalisation after it, where no sign differs in the batch
}
TRAINED_FIRST = {  # key, system
    "style_encoder": ("generator", "gan_int_cls"),
    "in_domain": ("generator", "gan_int_cls"),
    "stackgan2": ("stage1", "stackgan1"),
}


def over(kind: type[Model]) -> pytest.MarkDecorator:
    """A test of each registered system of a kind, and of its variants, which are left out of the fast tier."""
    names = [name for name, system in CASES.items() if issubclass(system, kind)]
    return pytest.mark.parametrize(
        "name", [pytest.param(n, marks=() if n in SYSTEMS else pytest.mark.slow) for n in names]
    )


every, editors, generators, matchers = over(Model), over(Editing), over(Generating), over(Matching)


def batch_for(model: Model, count: int = 4) -> Batch:
    return batch_of(model.image_size, count)


def answer(model: Model, batch: Batch) -> list[torch.Tensor]:
    """What a model says of a batch when it is used."""
    with torch.no_grad():
        if isinstance(model, Editing):
            return [model.edit(batch.image, batch.text)]
        if isinstance(model, Localising):
            return list(model.look(batch.image))
        if isinstance(model, Generating):
            noise = torch.linspace(-1, 1, model.noise_size).expand(len(batch.labels), -1)  # the same for each row
            return [model.generate(batch.text, noise)]
        return [model.embed_images(batch.image), model.embed_captions(batch.text)]


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_says_what_it_is(name):
    system = SYSTEMS[name]
    assert system.name == name
    assert issubclass(system.Config, Config)
    assert system.networks
    assert {*system.networks, *system.averaged} <= {child for child, _ in model_of(name).named_children()}


@pytest.mark.slow
@every
def test_steps_yield_their_networks_and_finite_scalar_terms(name):
    model = model_of(name, stirred=False)
    seen = []
    for network, terms in model.steps(batch_for(model)):
        seen.append(network)
        assert terms
        for term, value in terms.items():
            assert value.shape == (), term
            assert value.isfinite(), term
    assert sorted(set(seen)) == sorted(model.networks)


@pytest.mark.slow
@every
def test_every_parameter_learns_from_its_own_phase(name):
    model, touched = model_of(name), set()
    for network, terms in model.steps(batch_for(model)):
        parameters = trainable(getattr(model, network))
        sum(terms.values()).backward(inputs=list(parameters.values()))
        largest = max(p.grad.abs().max() for p in parameters.values())
        touched |= {f"{network}.{key}" for key, p in parameters.items() if p.grad.abs().max() > 1e-7 * largest}
    assert touched | BLIND >= trainable(model).keys() >= touched


@pytest.mark.slow
@pytest.mark.parametrize(("name", "network"), PHASES)
def test_each_network_overfits_one_batch(name, network):
    model = model_of(name)
    losses = train(model, batch_for(model), steps=7, lr=0.01, only=network)
    assert losses[-1] < 0.99 * losses[0], losses


@pytest.mark.slow
@every
def test_equal_seeds_give_equal_weights(name):
    first, second = model_of(name), model_of(name)
    before = {key: value.clone() for key, value in first.state_dict().items()}
    losses = [train(model, batch_for(model), steps=2) for model in (first, second)]
    assert losses[0] == losses[1]
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key
    assert any(not torch.equal(value, before[key]) for key, value in first.state_dict().items())


@pytest.mark.slow
@every
def test_what_is_frozen_stays(name):
    model = model_of(name)
    may_change = {key for net in model.networks for key in trainable(model) if key.startswith(f"{net}.")}
    frozen = {key: p for key, p in model.named_parameters() if key not in may_change}
    for key, buffer in model.named_buffers():
        if key.split(".")[0] not in model.networks and buffer.is_floating_point():
            frozen[key] = buffer
    before = {key: value.clone() for key, value in frozen.items()}
    train(model, batch_for(model), steps=2, lr=0.01)
    for key, value in frozen.items():
        assert torch.equal(value, before[key]), key


@pytest.mark.slow
@every
def test_a_checkpoint_answers_as_its_model(name, tmp_path):
    model = model_of(name)
    batch = batch_for(model)
    train(model, batch, steps=1)  # running means too are to travel
    expected = answer(model.eval(), batch)
    path = checkpoint.save(tmp_path / "model.safetensors", model, vocabulary=VOCABULARY)
    loaded = checkpoint.load(path)
    assert (loaded.name, loaded.vocabulary.words) == (model.name, VOCABULARY.words)
    assert loaded.model.config == model.config
    other = model_of(name)
    other.load_state_dict(model.state_dict())
    for found in (answer(loaded.model, batch), answer(other.eval(), batch)):
        assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))
    changed = answer(model_of(name, stirred=False).eval(), batch)
    assert not all(torch.equal(x, y) for x, y in zip(changed, expected, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, system in CASES.items() if not issubclass(system, Composing)])
def test_two_steps_of_the_loop_on_drawn_pictures_make_a_checkpoint(name, tmp_path):
    model = {**settings_of(name), "name": CASES[name].name}
    if name in TRAINED_FIRST:
        key, other = TRAINED_FIRST[name]
        part = checkpoint.save(tmp_path / f"{other}.safetensors", model_of(other).eval(), vocabulary=VOCABULARY)
        model[key] = str(part)
    values = {
        "model": model,
        "data": {"name": "synthetic", "drawn_pool": 8},
        "train": {"steps": 2, "batch_size": 2, "device": "cpu"},
    }
    found = checkpoint.load(training.fit(recipe.parse(values), out=tmp_path / "run", progress=False))
    assert (found.name, found.history["steps"]) == (CASES[name].name, 2)
    batch = batch_for(found.model)
    text = found.vocabulary.encode(["a red bird", "a blue bird", "a yellow bird", "a white bird"])
    assert all(x.isfinite().all() for x in answer(found.model, Batch(batch.image, text, batch.labels)))


@pytest.mark.slow
@every
@pytest.mark.parametrize("count", [1, 2, 3])
def test_small_batches_work(name, count):
    room = {"image_size": 64} if name == "tagan" else {}  # a lone picture of 1x1 places cannot be normalised
    model = model_of(name, **room)
    for network, terms in model.steps(batch_for(model, count)):
        total = sum(terms.values())
        total.backward()
        assert total.isfinite(), terms
        assert all(p.grad is None or p.grad.isfinite().all() for p in getattr(model, network).parameters())


@pytest.mark.slow
@every
def test_convolutions_of_one_channel_stay_in_32_bits(name):
    grouped = [m for m in model_of(name).modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    with torch.autocast("cpu", torch.bfloat16):
        assert all(m(torch.randn(1, m.in_channels, 8, 8)).dtype == torch.float32 for m in grouped)


@pytest.mark.slow
@NEEDS_BF16
@every
def test_bf16_autocast_gives_the_losses_of_fp32_nearly(name):
    found = []
    for enabled in (False, True):
        model = model_of(name)
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            for _, terms in model.steps(batch_for(model)):
                total = sum(term.float() for term in terms.values())
                total.backward()
                found.append(total.item())
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    half = len(found) // 2
    assert found[half:] == pytest.approx(found[:half], rel=0.1)


@pytest.mark.slow
@every
@torch.no_grad()
def test_an_answer_does_not_depend_on_the_batch_around_it(name):
    model = model_of(name).eval()
    batch = batch_for(model)
    together = answer(model, batch)
    for i, length in enumerate(batch.text.lengths.tolist()):
        text = Tokens(batch.text.ids[i : i + 1, :length], batch.text.mask[i : i + 1, :length])  # without its padding
        alone = answer(model, Batch(batch.image[i : i + 1], text, batch.labels[i : i + 1]))
        for x, y in zip(alone, together, strict=True):
            torch.testing.assert_close(x, y[i : i + 1], atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@editors
@torch.no_grad()
def test_an_edit_keeps_shape_and_range_and_heeds_picture_and_caption(name):
    model = model_of(name).eval()
    batch = batch_for(model)
    kept = batch.image.clone()
    edited = model.edit(batch.image, batch.text)
    assert edited.shape == batch.image.shape
    assert edited.dtype == torch.float32
    assert edited.abs().max() <= 1
    assert torch.equal(batch.image, kept)
    assert not torch.equal(model.edit(batch.image, batch.text.roll()), edited)
    assert not torch.equal(model.edit(batch.image.roll(1, 0), batch.text), edited)


@pytest.mark.slow
@editors
@torch.no_grad()
def test_equal_calls_give_equal_edits_and_leave_the_random_numbers_alone(name):
    model = model_of(name).eval()
    batch = batch_for(model)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    plain, one = (model.edit(batch.image, batch.text, seed=seed) for seed in (None, 1))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(model.edit(batch.image, batch.text), plain)
    assert torch.equal(model.edit(batch.image, batch.text, seed=1), one)
    draws = not torch.equal(one, plain)  # a model without noise may not care for the seed
    assert torch.equal(model.edit(batch.image, batch.text, seed=2), one) is not draws


@generators
@torch.no_grad()
def test_a_picture_keeps_shape_and_range_and_heeds_caption_noise_and_variation(name):
    model = model_of(name).eval()
    text, side = batch_for(model).text, model.image_size
    source = torch.Generator().manual_seed(0)
    noise, other = (torch.randn(len(text.ids), model.noise_size, generator=source) for _ in range(2))
    state = torch.get_rng_state()
    drawn = model.generate(text, noise)
    assert drawn.shape == (len(text.ids), 3, side, side)
    assert drawn.dtype == torch.float32
    assert drawn.abs().max() <= 1
    assert torch.equal(model.generate_from(model.condition(text), noise), drawn)
    assert all(len(code) == len(text.ids) for code in model.condition(text))
    found = [model.generate(text, other)]
    if model.reads:
        found.append(model.generate(text.roll(), noise))
    else:
        assert torch.equal(model.generate(text.roll(), noise), drawn)
    if model.variation_size:
        varied = torch.randn(len(text.ids), model.variation_size, generator=source)
        found += [model.generate(text, noise, variation=varied), model.generate(text, noise, variation=-varied)]
    for i, first in enumerate(found):
        assert not any(torch.equal(first, second) for second in (drawn, *found[:i]))
    assert torch.equal(torch.get_rng_state(), state)


@matchers
@torch.no_grad()
def test_scores_are_of_every_pair_and_heed_picture_and_caption(name):
    model = model_of(name).eval()
    batch = batch_for(model)
    images, captions = model.embed_images(batch.image), model.embed_captions(batch.text)
    assert images.shape == captions.shape == (len(batch.labels), images.shape[1])
    few = Tokens(batch.text.ids[:3], batch.text.mask[:3])
    scores = model.scores(model.read_images(batch.image), model.read_captions(few))
    assert scores.shape == (len(batch.labels), 3)
    assert scores.isfinite().all()
    assert scores.std(0).min() > 0
    assert scores.std(1).min() > 0
