"""TAGAN against the authors' release, against itself, and against its formulas written out."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch.testing import assert_close

sys.path.insert(0, str(Path(__file__).parent / "golden"))
import make
import release

from tgim.convert import build, discriminator_names, generator_names, load_part
from tgim.data.batch import Batch
from tgim.models.tagan import TAGAN, TAGANConfig
from tgim.text import TextCode, Tokens, pad


def tiny(**options) -> TAGAN:
    torch.manual_seed(0)
    sizes = {"image_size": 32, "width": 4, "word_size": 6, "text_size": 8, "condition_size": 5}
    return TAGAN(TAGANConfig(**{**sizes, **options}), vocabulary_size=12)


def batch_of(size: int = 32) -> Batch:
    source = torch.Generator().manual_seed(1)
    image = torch.rand(4, 3, size, size, generator=source) * 2 - 1
    return Batch(image=image, text=make.small_batch().text, labels=torch.arange(4))


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.detach() - expected).abs().max() / expected.abs().max())


# The release


@pytest.fixture(scope="module")
def released():
    """The golden data: what was recorded, what it says of losses, the captions as tokens, and a model maker."""
    folder = Path(os.environ["TGIM_GOLDEN"])
    recorded = load_file(folder / "tagan.safetensors")
    said = json.loads((folder / "tagan.json").read_text())
    vectors, lengths = recorded["text"].transpose(0, 1), recorded["text_len"].long()
    ids, table = [], [torch.zeros(300)] * 2
    for caption, length in zip(vectors, lengths.tolist(), strict=True):
        ids.append(range(len(table), len(table) + length))
        table += list(caption[:length])
    weights = {part: release.weights(said[part]) for part in ("generator", "discriminator")}

    def model() -> TAGAN:
        built = build("tagan", {"word_vectors": "given.vec", "noise": 0.0}, len(table))
        load_part(built, generator_names(built), weights["generator"], path="golden", what="tagan generator")
        load_part(
            built, discriminator_names(built), weights["discriminator"], path="golden", what="tagan discriminator"
        )
        built.fill_words(torch.stack(table))
        return built

    return recorded, said, pad(ids), model


@pytest.mark.golden
@pytest.mark.parametrize("mode", ["eval", "train"])
@torch.no_grad()
def test_outputs_are_those_of_the_release(released, mode):
    recorded, _, text, make_model = released
    model, image = make_model().train(mode == "train"), recorded["image"]
    edited, condition = model.generator(image, model.generator.read(text))
    seen, code = model.discriminator.see(image), model.discriminator.read(text)
    found = {
        "generator.image": edited,
        "generator.mu": condition.mean,
        "generator.log_sigma": condition.log_var / 2,
        "discriminator.unconditional_logit": seen.logit,
        "discriminator.positive_probability": model.discriminator.match(seen, code).exp(),
        "discriminator.negative_probability": model.discriminator.match(seen, code.roll()).exp(),
    }
    for name, value in found.items():
        assert relative(value, recorded[f"{mode}.{name}"]) < 1e-4, name


@pytest.mark.golden
def test_a_training_step_is_that_of_the_release(released):
    recorded, said, text, make_model = released
    model, expected, losses, norms = make_model().train(), said["losses"], {}, {}
    for network, terms in model.steps(Batch(image=recorded["image"], text=text, labels=torch.arange(4))):
        model.zero_grad()
        sum(terms.values()).backward()
        losses |= {f"{network}.{name}": value.item() for name, value in terms.items()}
        grads = [p.grad for p in getattr(model, network).parameters() if p.grad is not None]
        norms[network] = torch.stack([g.double().square().sum() for g in grads]).sum().sqrt().item()
    losses["discriminator.match"] += losses.pop("discriminator.mismatch")  # recorded as their mean, without its weight
    assert losses == pytest.approx(
        {
            "discriminator.real": expected["d.real"],
            "discriminator.match": 10 * expected["d.conditional"],
            "discriminator.fake": expected["d.fake"],
            "generator.fake": expected["g.fake"],
            "generator.match": 10 * expected["g.conditional"],
            "generator.reconstruction": 0.2 * expected["g.reconstruction"],
            "generator.kl_wrong": 0.5 * expected["g.kl_mismatched"],
            "generator.kl_own": 0.5 * expected["g.kl_matched"],
        },
        rel=1e-4,
    )
    assert norms["discriminator"] == pytest.approx(expected["d.grad_norm"], rel=1e-3)
    assert norms["generator"] == pytest.approx(expected["g.grad_norm"], rel=1e-3)


@pytest.mark.golden
@pytest.mark.parametrize("system", ["tagan", "sisgan"])
def test_names_and_shapes_are_those_of_the_release(system):
    said = json.loads((Path(os.environ["TGIM_GOLDEN"]) / f"{system}.json").read_text())
    assert {part: said[part] for part in ("generator", "discriminator")} == getattr(release, system)()


@pytest.mark.parametrize("system", ["tagan", "sisgan"])
def test_nothing_has_changed_since_agreement_with_the_release(system):
    expected = load_file(make.FOLDER / f"{system}_small.safetensors")
    found = make.record(system)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert relative(found[name], value) < (1e-3 if name.startswith("norm") else 1e-4), name


# The formulas


def test_match_is_the_product_of_the_words_classifiers():
    """D(x, t) = prod_i (sum_j beta_ij sigmoid(W_ij . v_j + b_ij)) ^ alpha_i, loop by loop."""
    net = tiny().eval().discriminator
    batch = batch_of()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(3)  # away from the flat start
        seen, code = net.see(batch.image), net.read(batch.text)
        log_probability = net.match(seen, code)
        for b, length in enumerate(batch.text.lengths.tolist()):
            words = code.words[b, :length]
            mean = words.mean(0)
            alpha = torch.stack([mean @ w for w in words]).softmax(0)
            product = torch.tensor(1.0)
            for i, word in enumerate(words):
                beta = (net.scale_weight.weight @ word + net.scale_weight.bias).softmax(0)
                local = torch.tensor(0.0)
                for j, make_filter in enumerate(net.word_filter):
                    out = make_filter.weight @ word + make_filter.bias
                    local = local + beta[j] * torch.sigmoid(out[:-1] @ seen.scales[j][b] + out[-1])
                product = product * local ** alpha[i]
            assert_close(log_probability[b].exp(), product, rtol=1e-4, atol=1e-6)


def test_the_condition_reaches_the_picture_beside_a_skip():
    """Decoder of (e + residual(e, c)): with a silent residual the caption says nothing."""
    model = tiny().eval()
    batch = batch_of()
    torch.nn.init.zeros_(model.generator.residual[-1].body[4].weight)
    code = model.generator.read(batch.text)
    loud = model.generator(batch.image, TextCode(code.words, code.sentence + 5, code.mask))[0]
    assert not torch.equal(loud, model.generator(batch.image, code)[0])
    model.generator.residual = torch.nn.Module()
    model.generator.residual.forward = lambda x: torch.zeros_like(x[:, :32])
    assert_close(model.generator(batch.image, code)[0], model.generator.decoder(model.generator.encoder(batch.image)))


# Training


@pytest.mark.parametrize("given", [False, True])
def test_every_parameter_learns_from_its_own_phase_alone(given):
    model, touched = tiny(word_vectors="given.vec" if given else None).train(), set()
    order = []
    for network, terms in model.steps(batch_of()):
        order.append(network)
        model.zero_grad(set_to_none=True)
        sum(terms.values()).backward()
        moved = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        assert {name.split(".")[0] for name in moved} == {network}
        touched |= moved
    assert order == ["discriminator", "generator"]
    assert touched == {name for name, p in model.named_parameters() if p.requires_grad}
    assert given == (not any("table" in name for name in touched))


def test_equal_seeds_give_equal_losses():
    def run() -> list[float]:
        model = tiny().train()
        torch.manual_seed(5)
        return [v.item() for _, terms in model.steps(batch_of()) for v in terms.values()]

    assert run() == run()


def test_training_lowers_the_discriminators_loss():
    model = tiny().train()
    optimizer = torch.optim.Adam(model.discriminator.parameters(), 5e-3)
    totals = []
    for _ in range(20):
        network, terms = next(model.steps(batch_of()))
        assert network == "discriminator"
        total = sum(terms.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.7 * totals[0]


def test_bf16_autocast_gives_the_losses_of_fp32_nearly():
    found = []
    for enabled in (False, True):
        model = tiny(noise=0).train()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            for _, terms in model.steps(batch_of()):
                total = sum(terms.values())
                assert total.dtype == torch.float32
                total.backward()
                found.append(total.item())
    assert found[2:] == pytest.approx(found[:2], rel=0.03)


# Editing


@pytest.mark.parametrize(("size", "width"), [(32, 3), (64, 4), (96, 2), (160, 2)])
def test_any_size_and_width(size, width):
    model = tiny(image_size=size, width=width).train()
    for _, terms in model.steps(batch_of(size)):
        assert sum(terms.values()).isfinite()
    assert model.edit(batch_of(size).image, batch_of(size).text).shape == (4, 3, size, size)


@torch.no_grad()
def test_an_edit_is_its_own_whatever_else_is_in_the_batch():
    model, batch = tiny().eval(), batch_of()
    together = model.edit(batch.image, batch.text)
    assert together.abs().max() <= 1
    for i, length in enumerate(batch.text.lengths.tolist()):
        row = slice(i, i + 1)
        alone = model.edit(batch.image[row], Tokens(batch.text.ids[row, :length], batch.text.mask[row, :length]))
        assert_close(alone, together[row])


@torch.no_grad()
def test_without_a_seed_an_edit_is_the_mean_and_with_one_a_draw():
    model, batch = tiny().eval(), batch_of()
    plain, again, one, one_again, two = (model.edit(batch.image, batch.text, seed=s) for s in (None, None, 1, 1, 2))
    assert torch.equal(plain, again)
    assert torch.equal(one, one_again)
    assert not torch.equal(one, two)
    assert not torch.equal(one, plain)


def test_state_dict_round_trip():
    model, other = tiny().eval(), tiny(noise=0.5).eval()
    for p in other.parameters():
        p.data.add_(1)
    other.load_state_dict(model.state_dict())
    batch = batch_of()
    assert torch.equal(model.edit(batch.image, batch.text), other.edit(batch.image, batch.text))


def test_word_vectors_of_a_file_are_the_vocabulary_and_frozen_in_both_networks(tmp_path):
    path = tmp_path / "w.vec"
    path.write_text("bird 1 2\nred 3 4\n", encoding="utf-8")
    config = TAGANConfig(image_size=32, width=2, word_size=2, text_size=4, word_vectors=str(path))
    vocabulary = TAGAN.vocabulary_for(config)
    model = TAGAN(config, vocabulary_size=len(vocabulary))
    model.load_parts()
    for network in (model.generator, model.discriminator):
        assert_close(network.read.table.embed.weight, torch.tensor([[0.0, 0], [0, 0], [1, 2], [3, 4]]))


@pytest.mark.parametrize("options", [{"image_size": 100}, {"image_size": 0}, {"width": 0}, {"lambda1": 3}])
def test_impossible_sizes_are_refused(options):
    with pytest.raises(ValidationError):
        TAGANConfig(**options)
