"""Matching by words and regions of embedded models that have graphs: onnxruntime, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tgim.checkpoints.checkpoint import read_header
from tgim.checkpoints.graphs import Graphs, completed
from tgim.images.resample import Floats
from tgim.inference.embeddings import made_by
from tgim.inference.onnx_engine import Arrays, Network, padded, read_parts
from tgim.text.vocabulary import Vocabulary

MATCHING = ("late_interaction", "frozen_interaction")  # kinds of models that match


class ReadCaptions(NamedTuple):
    """N captions as M members read them."""

    sentences: Floats  # (M, N, D), unit length
    words: Floats  # (M, W, K), unit length; of all captions, padding aside
    weights: Floats  # (M, W, N), of each word in its caption; 0 in others, the sum over W 1


def open_matcher(name: str | Path) -> OnnxMatcher:
    """Open an embedded matching model; errors as of `tgim.inference.onnx_engine.open_engine`."""
    graphs, tensors = read_parts(name, MATCHING)
    return OnnxMatcher(graphs, tensors, read_header(name))


class OnnxMatcher:
    """A matching model of words and regions, averaged over its members; see `tgim.inference.ranking.Matcher`.

    Args:
        graphs: "picture" and "caption" (`tgim.inference.traced`).
        tensors: of the checkpoint.
        header: of the checkpoint.
    """

    def __init__(self, graphs: Graphs, tensors: Mapping[str, Arrays], header: Mapping[str, Any]) -> None:
        self.name, self.template = str(header["name"]), str(header["template"])
        self.vocabulary = Vocabulary(header["vocabulary"])
        self.image_size, self._length = int(graphs.facts["image_size"]), int(graphs.facts["length"])
        self._picture, self._caption = (Network(completed(graphs.graphs[name], tensors)) for name in graphs.graphs)
        count = int(graphs.facts["members"])
        scales = np.exp(np.stack([tensors[f"members.{i}.log_scales"] for i in range(count)])).clip(max=100)
        self._shares = scales / scales.sum(1, keepdims=True)  # (M, 2), of sentences and of words

    def read_captions(self, captions: Sequence[str]) -> ReadCaptions:
        """Read captions, as the vocabulary takes them."""
        sentences, words, weights = [], [], []
        for number, caption in enumerate(captions):
            ids = padded(self.vocabulary, caption, self._length)
            sentence, each, weight = self._caption({"ids": ids})
            count = int((ids != 0).sum())
            own = np.zeros((*weight.shape[:1], count, len(captions)), np.float32)
            own[:, :, number] = weight[:, :count]
            sentences.append(sentence)
            words.append(each[:, :count])
            weights.append(own)
        return ReadCaptions(np.stack(sentences, 1), np.concatenate(words, 1), np.concatenate(weights, 1))

    @property
    def made_by(self) -> str:
        """The engine that computes, as far as the bits of a result depend on it."""
        import onnxruntime

        return made_by("onnxruntime", onnxruntime.__version__, "cpu")

    def see(self, pictures: Floats) -> Floats:
        """Look at pictures (B, 3, S, S) in [-1, 1]: the members' embeddings, then their regions, (B, L)."""
        seen = [self._picture({"pictures": each[None]}) for each in pictures]
        return np.stack([np.concatenate([whole.ravel(), regions.ravel()]) for whole, regions in seen])

    def scores(self, seen: Floats, captions: ReadCaptions) -> Floats:
        """Scores (B, N) of pictures that were seen, (B, L), with captions: the members' mean, -1 to 1."""
        members, _, width = captions.sentences.shape
        whole = seen[:, : members * width].reshape(len(seen), members, width)
        regions = seen[:, members * width :].reshape(len(seen), members, captions.words.shape[-1], -1)
        return np.stack([self._row(*each, captions) for each in zip(whole, regions, strict=True)])

    def _row(self, whole: Floats, regions: Floats, captions: ReadCaptions) -> Floats:
        """Scores (N,) of a picture: its embeddings (M, D) and regions (M, K, R)."""
        alike = (captions.sentences @ whole[:, :, None])[..., 0]  # M, N
        best = (captions.words @ regions).max(-1)  # M, W
        found = (best[:, None] @ captions.weights)[:, 0]  # M, N
        row: Floats = (self._shares[:, :1] * alike + self._shares[:, 1:] * found).mean(0)
        return row.astype(np.float32)
