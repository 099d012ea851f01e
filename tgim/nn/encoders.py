"""Text encoders: word vectors in, a `TextCode` out.

Shapes: B batch, T tokens, W width of a word vector, E width of the text code.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from tgim.errors import CheckpointError
from tgim.text.vocabulary import PADDING, TextCode, Tokens

_Sequence = TypeVar("_Sequence", Tensor, PackedSequence)


def run_in_fp32(rnn: nn.RNNBase, inputs: _Sequence) -> tuple[_Sequence, Any]:
    """Run a recurrent network in 32 bits, under autocast too; returns its output and last state.

    oneDNN's bf16 LSTM refuses batches on some processors, and 16 bits add up their rounding from word to word.

    Args:
        rnn: `nn.GRU`, `nn.LSTM` or `nn.RNN`.
        inputs: (B, T, W), or the same packed.
    """
    with torch.autocast(next(rnn.parameters()).device.type, enabled=False):
        found: tuple[_Sequence, Any] = rnn(inputs.float())
    return found


class BiGru(nn.Module):
    """Two GRUs, one in each direction, *averaged*: vectors (B, T, W) to words (B, T, E) and their mean (B, E).

    Nam et al., TAGAN, §3.1. `inward` starts at each caption's own last word; what follows it has no influence.
    """

    def __init__(self, word_size: int, size: int) -> None:
        super().__init__()
        self.onward = nn.GRU(word_size, size, batch_first=True)
        self.inward = nn.GRU(word_size, size, batch_first=True)

    def forward(self, vectors: Tensor, mask: Tensor) -> TextCode:
        """Code of captions whose `mask` (B, T) is True on the real words, which come first."""
        mirror = reverse_order(mask)
        backward = take_words(run_in_fp32(self.inward, take_words(vectors, mirror))[0], mirror)
        words = 0.5 * (run_in_fp32(self.onward, vectors)[0] + backward) * mask[..., None]
        return TextCode(words, masked_mean(words, mask), mask)


class Gru(nn.Module):
    """GRU: vectors (B, T, W) to states (B, T, E); the sentence is the state after the last word (B, E)."""

    def __init__(self, word_size: int, size: int) -> None:
        super().__init__()
        self.onward = nn.GRU(word_size, size, batch_first=True)

    def forward(self, vectors: Tensor, mask: Tensor) -> TextCode:
        """Code of captions whose `mask` (B, T) is True on the real words, which come first."""
        words = run_in_fp32(self.onward, vectors)[0] * mask[..., None]
        last = (mask.sum(1) - 1).clamp(min=0)
        return TextCode(words, words[torch.arange(len(words), device=words.device), last], mask)


class BiLstm(nn.Module):
    """Bidirectional LSTM: vectors (B, T, W) to words (B, T, E) and the sentence (B, E), directions side by side.

    The text encoder of Xu et al., AttnGAN, CVPR 2018 (300-d vectors, E = 2 x 128): the sentence is the onward state
    after the last word beside the inward state after the first. Dropout on the word vectors, as in their release.
    """

    def __init__(self, word_size: int, size: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.rnn = nn.LSTM(word_size, size // 2, batch_first=True, bidirectional=True)

    def forward(self, vectors: Tensor, mask: Tensor) -> TextCode:
        """Code of captions whose `mask` (B, T) is True on the real words, which come first."""
        lengths = mask.sum(1)
        packed = pack_padded_sequence(
            self.dropout(vectors), lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False
        )
        out, (last, _) = run_in_fp32(self.rnn, packed)
        words, _ = pad_packed_sequence(out, batch_first=True, total_length=mask.shape[1])
        spoken = (lengths > 0)[:, None]
        return TextCode(words * mask[..., None], last.transpose(0, 1).flatten(1) * spoken, mask)


class CharCnnRnn(nn.Module):
    """Characters by convolutions, then a recurrent net: ids (B, T) to steps (B, 8, D) and a sentence (B, E).

    Reed et al., CVPR 2016: one-hot characters, three convolutions (kernel 4, ReLU) each with max pooling 3/3, 3/3 and
    3/2, which leave 8 steps of 201 characters; a recurrent net over the steps, its mean over time, a linear map.
    Captions are cut, or filled with empty columns, to `length`; an unknown character is an empty column, too.
    """

    def __init__(
        self,
        symbols: int,
        *,
        widths: tuple[int, int, int] = (384, 512, 256),
        size: int = 1024,
        length: int = 201,
        recurrent: str = "relu",
    ) -> None:
        """`symbols` is the number of ids, the two reserved ones included; `recurrent` is "relu" or "gru"."""
        super().__init__()
        self.symbols, self.length = symbols, length
        inputs = (symbols - 2, *widths)
        self.convolutions = nn.Sequential()
        for i, stride in enumerate((3, 3, 2)):
            convolution = nn.Conv1d(inputs[i], inputs[i + 1], 4)
            active = inputs[i] if i else 1  # of one-hot columns a single input is not zero
            nn.init.normal_(convolution.weight, std=math.sqrt(2 / (4 * active)))  # He et al. 2015
            self.convolutions.extend([convolution, nn.ReLU(), nn.MaxPool1d(3, stride)])
        last = widths[-1]
        self.rnn: nn.RNN | nn.GRU = (
            nn.GRU(last, last, batch_first=True)
            if recurrent == "gru"
            else nn.RNN(last, last, batch_first=True, nonlinearity="relu")
        )
        self.project = nn.Linear(last, size)

    def forward(self, tokens: Tokens) -> TextCode:
        """Code of captions; `words` are the steps, all of them real."""
        ids = tokens.ids.masked_fill(~tokens.mask, PADDING)[:, : self.length]
        ids = F.pad(ids, (0, self.length - ids.shape[1]), value=PADDING)
        columns = F.one_hot(ids, self.symbols)[..., 2:].mT  # B, symbols - 2, length
        steps = run_in_fp32(self.rnn, self.convolutions(columns.to(self.project.weight.dtype)).mT)[0]  # B, 8, D
        mask = torch.ones(steps.shape[:2], dtype=torch.bool, device=steps.device)
        return TextCode(steps, self.project(steps.mean(1)).float(), mask)


class MeanOfWords(nn.Module):
    """A linear map of the mean word vector: the order of the words is lost. Starts as the identity."""

    def __init__(self, word_size: int, size: int) -> None:
        super().__init__()
        self.project = nn.Linear(word_size, size)
        nn.init.eye_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, vectors: Tensor, mask: Tensor) -> TextCode:
        """Code of captions; `words` are the mapped vectors."""
        return TextCode(self.project(vectors), self.project(masked_mean(vectors, mask)).float(), mask)


class WordTable(nn.Module):
    """Word vectors by token id: learned with the network that holds it, or frozen when they were given."""

    def __init__(self, vocabulary_size: int, word_size: int, *, given: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary_size, word_size, padding_idx=0)
        self.embed.weight.requires_grad_(not given)

    def forward(self, tokens: Tokens) -> Tensor:
        """Vectors (B, T, W) of captions."""
        vectors: Tensor = self.embed(tokens.ids)
        return vectors

    @torch.no_grad()
    def fill(self, table: Tensor) -> None:
        """Take the vectors of `table` (V, W), one row an id."""
        if table.shape != self.embed.weight.shape:
            raise CheckpointError(
                f"word vectors are {tuple(table.shape)}, the model's table is {tuple(self.embed.weight.shape)}; "
                "use vectors of that width, or a model with that word_size"
            )
        self.embed.weight.copy_(table)


def masked_mean(words: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real words: (B, T, E) and (B, T) -> (B, E); zero for a caption of none.

    >>> masked_mean(torch.tensor([[[1.0], [3.0], [50.0]]]), torch.tensor([[True, True, False]]))
    tensor([[2.]])
    """
    return (words * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def reverse_order(mask: Tensor) -> Tensor:
    """Positions (B, T) that turn each caption round and leave its padding in place; its own inverse.

    >>> reverse_order(torch.tensor([[True, True, True, False]]))
    tensor([[2, 1, 0, 3]])
    """
    places = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
    return torch.where(mask, mask.sum(1, keepdim=True) - 1 - places, places)


def take_words(vectors: Tensor, places: Tensor) -> Tensor:
    """Reorder (B, T, E) along T by positions (B, T)."""
    return vectors.gather(1, places[..., None].expand_as(vectors))
