"""TAGAN against the authors' release, against itself, and against its formulas written out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch.testing import assert_close

from golden import make, release
from support.small import batch_of, model_of
from tgim.conversion.editors import discriminator_names, generator_names
from tgim.conversion.files import load_part
from tgim.data.batch import Batch
from tgim.models.editing.tagan import TAGAN, TAGANConfig
from tgim.text.vocabulary import pad


def tiny(**options) -> TAGAN:
    return model_of("tagan", stirred=False, **options)


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
        config = TAGANConfig(word_vectors="given.vec", noise=0.0)
        built = TAGAN(config, vocabulary_size=len(table))
        load_part(built, generator_names(config), weights["generator"], path="golden", what="tagan generator")
        load_part(
            built, discriminator_names(config), weights["discriminator"], path="golden", what="tagan discriminator"
        )
        built.fill_words(torch.stack(table))
        return built

    return recorded, said, pad(ids), model


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize("mode", ["eval", "train"])
@torch.no_grad()
def test_outputs_are_those_of_the_release(released, mode):
    recorded, _, text, make_model = released
    model, image = make_model().train(mode == "train"), recorded["image"]
    edited, condition = model.generator(image, model.sentence(text))
    features, code = model.discriminator.encode(image), model.discriminator.read(text)
    found = {
        "generator.image": edited,
        "generator.mu": condition.mean,
        "generator.log_sigma": condition.log_var / 2,
        "discriminator.unconditional_logit": features.logit,
        "discriminator.positive_probability": model.discriminator.match(features, code).exp(),
        "discriminator.negative_probability": model.discriminator.match(features, code.roll()).exp(),
    }
    for name, value in found.items():
        assert relative(value, recorded[f"{mode}.{name}"]) < 1e-4, name


@pytest.mark.slow
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


@pytest.mark.slow
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
        features, code = net.encode(batch.image), net.read(batch.text)
        log_probability = net.match(features, code)
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
                    local = local + beta[j] * torch.sigmoid(out[:-1] @ features.scales[j][b] + out[-1])
                product = product * local ** alpha[i]
            assert_close(log_probability[b].exp(), product, rtol=1e-4, atol=1e-6)


def test_the_condition_reaches_the_picture_beside_a_skip():
    """Decoder of (e + residual(e, c)): with a silent residual the caption says nothing."""
    model = tiny().eval()
    batch = batch_of()
    torch.nn.init.zeros_(model.generator.residual[-1].body[4].weight)
    sentence = model.sentence(batch.text)
    loud = model.generator(batch.image, sentence + 5)[0]
    assert not torch.equal(loud, model.generator(batch.image, sentence)[0])
    model.generator.residual = torch.nn.Module()
    model.generator.residual.forward = lambda x, _: torch.zeros_like(x[:, :32])
    features = model.generator.encoder(batch.image)
    assert_close(model.generator(batch.image, sentence)[0], model.generator.decoder(features))


@pytest.mark.parametrize("options", [{"image_size": 100}, {"image_size": 0}, {"width": 0}, {"lambda1": 3}])
def test_impossible_sizes_are_refused(options):
    with pytest.raises(ValidationError):
        TAGANConfig(**options)


@pytest.mark.parametrize(("halvings", "side"), [(3, 8), (2, 16)])
def test_the_sentence_joins_at_the_map_that_halvings_leave(halvings, side):
    model = TAGAN(TAGANConfig(image_size=64, width=4, halvings=halvings, word_size=8, text_size=8), vocabulary_size=9)
    features = model.generator.encoder(torch.zeros(2, 3, 64, 64))
    assert features.shape == (2, 4 * 2**halvings, side, side)
    tokens = pad([[2, 3], [4]])
    assert model.eval().edit(torch.zeros(2, 3, 64, 64), tokens).shape == (2, 3, 64, 64)
