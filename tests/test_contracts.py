"""What holds for every registered system, editors and matching models alike."""

from __future__ import annotations

import pytest
import torch
from small import SYSTEMS, VOCABULARY, batch_of, model_of, train, trainable

from tgim import checkpoint
from tgim.data.batch import Batch
from tgim.model import Config, Editing, Generating, Model
from tgim.text import Tokens

EDITORS = [name for name, system in SYSTEMS.items() if issubclass(system, Editing)]
PHASES = [(name, network) for name, system in SYSTEMS.items() for network in system.networks]
BLIND = {  # gradients that are zero but for rounding
    "encoders.image.saliency.bias",  # a softmax does not see a constant that is added everywhere
    "discriminator.compress.0.bias",  # nor does the batch normalisation after it, where no sign differs in the batch
}
every = pytest.mark.parametrize("name", SYSTEMS)
editors = pytest.mark.parametrize("name", EDITORS)


def batch_for(model: Model, count: int = 4) -> Batch:
    return batch_of(model.image_size, count)


def answer(model: Model, batch: Batch) -> list[torch.Tensor]:
    """What a model says of a batch when it is used."""
    with torch.no_grad():
        if isinstance(model, Editing):
            return [model.edit(batch.image, batch.text)]
        if isinstance(model, Generating):
            noise = torch.linspace(-1, 1, model.noise_size).expand(len(batch.labels), -1)  # the same for each row
            return [model.generate(batch.text, noise)]
        return [model.embed_images(batch.image), model.embed_captions(batch.text)]


@every
def test_a_system_says_what_it_is(name):
    system = SYSTEMS[name]
    assert system.name == name
    assert issubclass(system.Config, Config)
    assert system.networks
    assert {*system.networks, *system.averaged} <= {child for child, _ in model_of(name).named_children()}


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


@every
def test_every_parameter_learns_from_its_own_phase(name):
    model, touched = model_of(name), set()
    for network, terms in model.steps(batch_for(model)):
        parameters = trainable(getattr(model, network))
        sum(terms.values()).backward(inputs=list(parameters.values()))
        largest = max(p.grad.abs().max() for p in parameters.values())
        touched |= {f"{network}.{key}" for key, p in parameters.items() if p.grad.abs().max() > 1e-7 * largest}
    assert touched | BLIND >= trainable(model).keys() >= touched


@pytest.mark.parametrize(("name", "network"), PHASES)
def test_each_network_overfits_one_batch(name, network):
    model = model_of(name)
    losses = train(model, batch_for(model), steps=7, lr=0.01, only=network)
    assert losses[-1] < 0.99 * losses[0], losses


@every
def test_equal_seeds_give_equal_weights(name):
    first, second = model_of(name), model_of(name)
    before = {key: value.clone() for key, value in first.state_dict().items()}
    losses = [train(model, batch_for(model), steps=2) for model in (first, second)]
    assert losses[0] == losses[1]
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key
    assert any(not torch.equal(value, before[key]) for key, value in first.state_dict().items())


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


@every
def test_a_checkpoint_answers_as_its_model(name, tmp_path):
    model = model_of(name)
    batch = batch_for(model)
    train(model, batch, steps=1)  # running means too are to travel
    expected = answer(model.eval(), batch)
    path = checkpoint.save(tmp_path / "model.safetensors", model, vocabulary=VOCABULARY)
    loaded = checkpoint.load(path)
    assert (loaded.name, loaded.vocabulary.words) == (name, VOCABULARY.words)
    assert loaded.model.config == model.config
    other = model_of(name)
    other.load_state_dict(model.state_dict())
    for found in (answer(loaded.model, batch), answer(other.eval(), batch)):
        assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))
    changed = answer(model_of(name, stirred=False).eval(), batch)
    assert not all(torch.equal(x, y) for x, y in zip(changed, expected, strict=True))


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
