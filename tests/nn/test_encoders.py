"""Text encoders: padding has no influence; word vectors are read as they stand in the files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tgim.errors import CheckpointError
from tgim.nn.encoders import BiGru, BiLstm, CharCnnRnn, Gru, MeanOfWords, WordTable, reverse_order, take_words
from tgim.text.vocabulary import Alphabet, pad
from tgim.text.word_vectors import read_word_vectors

LENGTHS = (5, 3, 1)


def captions() -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.arange(5)[None] < torch.tensor(LENGTHS)[:, None]
    return torch.randn(3, 5, 4), mask


@pytest.mark.parametrize("encoder", [BiGru, BiLstm, Gru])
@pytest.mark.parametrize("lengths", [(5, 3, 1), (5, 5, 5)])  # of one length: a bf16 LSTM of oneDNN may refuse those
def test_recurrent_networks_compute_in_32_bits_under_autocast(encoder, lengths):
    encode, vectors = encoder(4, 4), torch.randn(3, 5, 4)
    mask = torch.arange(5)[None] < torch.tensor(lengths)[:, None]
    with torch.autocast("cpu", torch.bfloat16):
        low = encode(vectors.bfloat16().float(), mask)
    full = encode(vectors.bfloat16().float(), mask)
    assert torch.equal(low.words, full.words)
    assert torch.equal(low.sentence, full.sentence)


@pytest.mark.parametrize("encoder", [BiGru, BiLstm, Gru, MeanOfWords])
def test_padding_has_no_influence(encoder):
    encode = encoder(4, 4)
    vectors, mask = captions()
    noisy = torch.where(mask[..., None], vectors, torch.full_like(vectors, 1e3))
    batch = encode(noisy, mask)
    for i, length in enumerate(LENGTHS):
        alone = encode(vectors[i : i + 1, :length], mask[i : i + 1, :length])
        assert_close(batch.sentence[i], alone.sentence[0])
        assert_close(batch.words[i, :length], alone.words[0])


def test_bigru_is_the_mean_of_two_gru_cells_run_by_hand():
    encode = BiGru(4, 6)
    vectors, mask = captions()
    code = encode(vectors, mask)
    cells = []
    for gru in (encode.onward, encode.inward):
        cell = nn.GRUCell(4, 6)
        cell.load_state_dict({name.removesuffix("_l0"): value for name, value in gru.state_dict().items()})
        cells.append(cell)
    for i, length in enumerate(LENGTHS):
        states = torch.zeros(2, length, 6)
        for way, order in enumerate((range(length), reversed(range(length)))):
            hidden = torch.zeros(1, 6)
            for t in order:
                hidden = cells[way](vectors[i : i + 1, t], hidden)
                states[way, t] = hidden[0]
        assert_close(code.words[i, :length], states.mean(0))
        assert_close(code.sentence[i], states.mean(0).mean(0))
    assert not code.words[~mask].any()


def test_gru_sentence_is_the_state_after_the_last_word():
    encode = Gru(4, 6)
    vectors, mask = captions()
    packed = nn.utils.rnn.pack_padded_sequence(vectors, torch.tensor(LENGTHS), batch_first=True)
    assert_close(encode(vectors, mask).sentence, encode.onward(packed)[1][0])


def test_bilstm_is_two_lstm_cells_run_by_hand():
    encode = BiLstm(4, 6)
    vectors, mask = captions()
    code = encode(vectors, mask)
    for way, suffix in enumerate(("", "_reverse")):
        cell = nn.LSTMCell(4, 3)
        cell.load_state_dict({key: encode.rnn.state_dict()[f"{key}_l0{suffix}"] for key in cell.state_dict()})
        half = slice(3 * way, 3 * way + 3)
        for i, length in enumerate(LENGTHS):
            state = (torch.zeros(1, 3), torch.zeros(1, 3))
            for t in reversed(range(length)) if way else range(length):
                state = cell(vectors[i : i + 1, t], state)
                assert_close(code.words[i, t, half], state[0][0])
            assert_close(code.sentence[i, half], state[0][0])
    assert not code.words[~mask].any()


def test_bilstm_of_the_papers_sizes_has_the_releases_weights():
    shapes = {key: list(value.shape) for key, value in BiLstm(300, 256, dropout=0.5).state_dict().items()}
    for suffix in ("l0", "l0_reverse"):
        assert shapes[f"rnn.weight_ih_{suffix}"] == [512, 300]
        assert shapes[f"rnn.weight_hh_{suffix}"] == [512, 128]
        assert shapes[f"rnn.bias_ih_{suffix}"] == shapes[f"rnn.bias_hh_{suffix}"] == [512]
    assert len(shapes) == 8


def test_bilstm_drops_parts_of_word_vectors_in_training_only():
    encode = BiLstm(4, 6, dropout=0.5)
    assert not torch.equal(encode(*captions()).words, encode(*captions()).words)
    vectors, mask = captions()
    encode.eval()
    assert torch.equal(encode(vectors, mask).words, encode(vectors, mask).words)


@pytest.mark.parametrize(("length", "steps"), [(201, 8), (66, 1)])
def test_characters_become_the_papers_number_of_steps(length, steps):
    code = CharCnnRnn(72, widths=(3, 4, 5), size=7, length=length)(Alphabet().encode(["a red bird", "x"]))
    assert (code.words.shape, code.sentence.shape) == ((2, steps, 5), (2, 7))
    assert code.mask.all()


@torch.no_grad()
@pytest.mark.parametrize("recurrent", ["relu", "gru"])
def test_characters_are_one_hot_columns_and_the_sentence_the_mean_over_time(recurrent):
    encode = CharCnnRnn(72, widths=(3, 4, 5), size=7, recurrent=recurrent)
    caption = "a-b\u00fc!"  # the u-umlaut is no character of the alphabet: an empty column
    columns = torch.zeros(1, 70, 201)
    for place, plane in ((0, 0), (1, 59), (2, 1), (4, 40)):
        columns[0, plane, place] = 1
    x = columns
    for convolution, stride in zip((encode.convolutions[i] for i in (0, 3, 6)), (3, 3, 2), strict=True):
        x = torch.nn.functional.max_pool1d(torch.relu(convolution(x)), 3, stride)
    hidden, states = torch.zeros(1, 5), []
    cell = nn.GRUCell(5, 5) if recurrent == "gru" else nn.RNNCell(5, 5, nonlinearity="relu")
    cell.load_state_dict({key.removesuffix("_l0"): value for key, value in encode.rnn.state_dict().items()})
    for t in range(8):
        hidden = cell(x[..., t], hidden)
        states.append(hidden)
    code = encode(Alphabet().encode([caption]))
    assert_close(code.words[0], torch.cat(states))
    assert_close(code.sentence, encode.project(torch.stack(states).mean(0)))


@torch.no_grad()
def test_a_spelled_caption_is_its_own_whatever_its_neighbours():
    encode = CharCnnRnn(72, widths=(3, 4, 5), size=7)
    spelled = ["a red bird", "x", "a bird with a very long tail " * 9]
    together = encode(Alphabet().encode(spelled)).sentence
    for i, caption in enumerate(spelled):
        assert_close(encode(Alphabet().encode([caption])).sentence[0], together[i])


def test_reversing_twice_is_nothing():
    vectors, mask = captions()
    order = reverse_order(mask)
    assert torch.equal(take_words(take_words(vectors, order), order), vectors)


def test_given_word_vectors_are_frozen_and_learned_ones_are_not():
    assert not WordTable(4, 3, given=True).embed.weight.requires_grad
    assert WordTable(4, 3, given=False).embed.weight.requires_grad
    with pytest.raises(CheckpointError, match=r"\(4, 2\).*\(4, 3\)"):
        WordTable(4, 3, given=True).fill(torch.zeros(4, 2))


def test_vec_file(tmp_path):
    path = tmp_path / "words.vec"
    path.write_text("6 2\nbird 1 2\nBird 9 9\nred 3 4 \n, 5 5\nbird 7 7\nblue 0.5 -1e-2\n", encoding="utf-8")
    vocabulary, table = read_word_vectors(path)
    assert vocabulary.words == ("bird", "red", "blue")
    assert_close(table, torch.tensor([[0, 0], [0, 0], [1, 2], [3, 4], [0.5, -0.01]]))
    assert_close(table[pad([vocabulary.ids("a red bird")]).ids[0]], torch.tensor([[0.0, 0], [3, 4], [1, 2]]))
    (tmp_path / "keep.txt").write_text("blue\nred\n", encoding="utf-8")
    assert read_word_vectors(path, words=tmp_path / "keep.txt").vocabulary.words == ("red", "blue")
    assert read_word_vectors(path, limit=1).vocabulary.words == ("bird",)


def test_npy_file(tmp_path):
    path = tmp_path / "table.npy"
    np.save(path, np.eye(3, 2))
    (tmp_path / "table.txt").write_text("red\nThe\nbird\n", encoding="utf-8")
    vocabulary, table = read_word_vectors(path)
    assert vocabulary.words == ("red", "bird")
    assert_close(table, torch.tensor([[0.0, 0], [0, 0], [1, 0], [0, 0]]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.vec", b"bird 1 2\nred 1\n", "line 2: 1 numbers, expected 2"),
        ("w.vec", b"bird one two\n", "not a word and numbers"),
        ("w.vec", b"", "no lower-case word"),
        ("w.vec", b"\x00\xff\xfe\n", "numbers"),
        ("w.bin", b"", ".vec"),
        ("w.npy", b"no array", "cannot be read"),
        ("gone.vec", None, "No such file"),
        ("gone.npy", None, "No such file"),
    ],
)
def test_broken_word_vectors_are_said_to_be_so(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_word_vectors(path)
    assert "\n" not in str(caught.value)


def test_a_table_must_have_a_row_a_word(tmp_path):
    np.save(tmp_path / "t.npy", np.eye(3))
    (tmp_path / "t.txt").write_text("red\nbird\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"\(3, 3\) for 2 words"):
        read_word_vectors(tmp_path / "t.npy")
