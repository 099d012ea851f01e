"""Graphs of embedded models, in ONNX, without their weights: what runs a checkpoint without torch.

A file `<name>.graph` lies beside `<name>.safetensors`. Its first line is JSON, the rest an ONNX model whose weights are
missing: they are those of the checkpoint, by name. A graph belongs to one checkpoint, whose fingerprint it has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from tgim.checkpoints.checkpoint import list_embedded, resolve
from tgim.errors import CheckpointError

SUFFIX = ".graph"
FLOAT = 1  # of ONNX's types


class Graph(NamedTuple):
    """A graph and what is to be known of it."""

    facts: dict[str, Any]  # "weights": name in the graph -> name in the checkpoint; what the graph's kind needs
    model: bytes  # an ONNX model without these weights


def graph_of(name: str | Path) -> Path | None:
    """The graph of an embedded checkpoint; None of one without a graph, and of files."""
    if not isinstance(name, str) or name not in list_embedded():
        return None
    path = resolve(name).with_suffix(SUFFIX)
    return path if path.is_file() else None


def read_graph(path: Path) -> Graph:
    """Read a graph; CheckpointError when it is broken."""
    try:
        line, _, model = path.read_bytes().partition(b"\n")
        facts = json.loads(line)
        if not model or not isinstance(facts["weights"], dict):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError):
        raise CheckpointError(f"{path} cannot be read; install tgim again") from None
    return Graph(facts, model)


def write_graph(graph: Graph) -> bytes:
    """The bytes of a graph's file."""
    return json.dumps(graph.facts).encode() + b"\n" + graph.model


def completed(graph: Graph, tensors: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """The ONNX model of a graph with its weights.

    Two encodings of a message, one after the other, are by Protocol Buffers' rules the encoding of both merged, whose
    lists are joined: the weights follow as a second part of the graph.

    Raises:
        CheckpointError: the checkpoint lacks one of them.
    """
    parts = []
    for name, own in graph.facts["weights"].items():
        if own not in tensors:
            raise CheckpointError(f"the graph takes weights {own!r}, which the checkpoint lacks; install tgim again")
        parts.append(_field(5, _tensor(name, tensors[own])))  # GraphProto.initializer
    return graph.model + _field(7, b"".join(parts))  # ModelProto.graph


def _tensor(name: str, value: npt.NDArray[Any]) -> bytes:
    """A TensorProto of 32-bit numbers."""
    shape = b"".join(_number(1, length) for length in value.shape)
    return shape + _number(2, FLOAT) + _field(8, name.encode()) + _field(9, value.astype("<f4").tobytes())


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    return bytes(_sevens(value))


def _sevens(value: int) -> Iterator[int]:
    while value > 127:
        yield value & 127 | 128
        value >>= 7
    yield value
