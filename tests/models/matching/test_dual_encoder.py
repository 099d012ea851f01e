"""Laws of the dual encoder: unit vectors, attention, captions that do not see their padding, same-class pairs."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close

from support.small import batch_of, model_of, train
from tgim.models.matching.dual_encoder import DualEncoder, DualEncoderConfig
from tgim.nn.losses import contrastive
from tgim.text.vocabulary import UNKNOWN, Tokens, pad

CAPTIONS = [[2, 3, 4, 5, 6], [7], [3, 8, 2], [4, 4]]
texts = pytest.mark.parametrize("text", ["bigru", "convolution"])


def by_hand(logits: list[list[float]], labels: list[int]) -> float:
    """Mean over the rows of -log of the share of the diagonal among it and the captions of other classes."""
    loss = 0.0
    for i, row in enumerate(logits):
        kept = [value for j, value in enumerate(row) if j == i or labels[j] != labels[i]]
        loss -= row[i] - math.log(sum(math.exp(value) for value in kept))
    return loss / len(logits)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [0, 0, 1, 2], [5, 1, 5, 1], [3, 3, 3, 3]])
def test_contrastive_leaves_equal_labels_out_of_the_negatives(labels):
    torch.manual_seed(0)
    logits = 3 * torch.randn(4, 4)
    row, column = contrastive(logits, torch.tensor(labels))
    assert row.item() == pytest.approx(by_hand(logits.tolist(), labels), abs=1e-5)
    assert column.item() == pytest.approx(by_hand(logits.T.tolist(), labels), abs=1e-5)


def test_a_same_class_pair_gets_no_gradient_and_a_negative_is_pushed_away():
    logits = torch.zeros(3, 3, requires_grad=True)
    sum(contrastive(logits, torch.tensor([0, 0, 1]))).backward()
    assert logits.grad[0, 1] == logits.grad[1, 0] == 0
    assert (logits.grad.diagonal() < 0).all()
    assert logits.grad[0, 2] > 0
    assert logits.grad[2, 1] > 0


@pytest.mark.parametrize("text", ["bigru", "convolution"])
@torch.no_grad()
def test_padding_does_not_change_a_captions_code(text):
    model = model_of("dual_encoder", text=text).eval()
    together = model.encode_text(pad(CAPTIONS))
    assert torch.equal(together.mask, pad(CAPTIONS).mask)
    assert not together.words[~together.mask].any()
    for i, ids in enumerate(CAPTIONS):
        alone = model.encode_text(pad([ids]))
        assert_close(alone.sentence[0], together.sentence[i], atol=1e-6, rtol=1e-5)
        assert_close(alone.words[0], together.words[i, : len(ids)], atol=1e-6, rtol=1e-5)


@texts
@torch.no_grad()
def test_what_stands_in_the_padding_is_not_read(text):
    model = model_of("dual_encoder", text=text).eval()
    tokens = pad(CAPTIONS)
    other = Tokens(tokens.ids.masked_fill(~tokens.mask, 9), tokens.mask)
    assert_close(model.encode_text(other), model.encode_text(tokens))


@texts
@torch.no_grad()
def test_words_know_their_neighbours_on_both_sides(text):
    model = model_of("dual_encoder", text=text).eval()
    words = model.encode_text(pad([[2, 3, 4], [2, 3, 5], [6, 3, 4]])).words[:, 1]
    assert not torch.allclose(words[0], words[1], atol=1e-4)  # another word after it
    assert not torch.allclose(words[0], words[2], atol=1e-4)  # another word before it


@texts
@pytest.mark.parametrize("pooling", ["attention", "mean"])
def test_codes_are_unit_vectors_of_the_sizes_that_are_told(text, pooling):
    model, batch = model_of("dual_encoder", text=text, pooling=pooling), batch_of()
    code, words = model.encode_image(batch.image), model.encode_text(batch.text)
    assert (code.fine.shape, code.coarse.shape) == ((4, 16, 8, 8), (4, 32, 4, 4))
    assert code.attention.shape == (4, 1, 4, 4)
    assert (code.embedding.shape, words.sentence.shape) == ((4, 16), (4, 16))
    assert words.words.shape == (*batch.text.ids.shape, 16)
    assert_close(code.embedding.norm(dim=1), torch.ones(4))
    assert_close(words.sentence.norm(dim=1), torch.ones(4))
    assert (code.attention > 0).all()
    assert_close(code.attention.sum((1, 2, 3)), torch.ones(4))
    assert (pooling == "mean") is torch.allclose(code.attention, torch.full_like(code.attention, 1 / 16), atol=1e-6)


@pytest.mark.slow
@texts
@torch.no_grad()
def test_words_are_dropped_in_training_only_and_only_real_ones(text):
    model = model_of("dual_encoder", text=text, word_dropout=0.5)
    seen = []
    model.encoders.text.embed.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    tokens = pad([[2, 3, 4, 5] * 8, [6]])
    for _ in range(20):
        model.encode_text(tokens)
    ids = torch.stack(seen)
    dropped = (ids != tokens.ids).float()
    assert not dropped[:, ~tokens.mask].any()
    assert (ids[dropped > 0] == UNKNOWN).all()
    assert dropped[:, tokens.mask].mean().item() == pytest.approx(0.5, abs=0.1)
    seen.clear()
    model.eval().encode_text(tokens)
    assert torch.equal(seen[0], tokens.ids)


@texts
def test_the_vector_of_padding_is_never_learned(text):
    model = model_of("dual_encoder", stirred=False, text=text)
    train(model, batch_of(), steps=2, lr=0.01)
    assert not model.encoders.text.embed.weight[0].any()


@pytest.mark.slow
@texts
def test_training_brings_captions_to_their_pictures(text):
    model, batch = model_of("dual_encoder", stirred=False, text=text, word_dropout=0), batch_of()
    train(model, batch, steps=15, lr=5e-3)
    scores = model.encode_image(batch.image).embedding @ model.encode_text(batch.text).sentence.T
    assert (scores.argmax(0) == torch.arange(4)).all()
    assert (scores.argmax(1) == torch.arange(4)).all()


def test_the_temperature_is_learned_within_its_bound():
    model, batch = model_of("dual_encoder", stirred=False, word_dropout=0), batch_of()
    assert model.encoders.log_scale.exp().item() == pytest.approx(10)
    with torch.no_grad():
        model.encoders.log_scale.fill_(50.0)
        _, terms = next(model.steps(batch))
        model.encoders.log_scale.fill_(math.log(100))
        _, bound = next(model.steps(batch))
    assert_close(terms, bound)


def test_the_smallest_batch_costs_nothing():
    _, terms = next(model_of("dual_encoder").steps(batch_of(count=1)))
    assert sum(terms.values()).item() == 0


@pytest.mark.parametrize(
    "options", [{"image_size": 36}, {"image_size": 24}, {"text": "lstm"}, {"pooling": "max"}, {"widht": 8}]
)
def test_impossible_settings_are_refused(options):
    with pytest.raises(ValidationError, match=next(iter(options))):
        DualEncoderConfig(**options)


def test_any_multiple_of_eight_is_a_size():
    config = DualEncoderConfig(image_size=40, width=8, blocks=1, word_size=8, embedding_size=8)
    model = DualEncoder(config, vocabulary_size=10).eval()
    assert model.image_size == 40
    assert model.encode_image(torch.zeros(1, 3, 40, 40)).coarse.shape == (1, 32, 5, 5)
