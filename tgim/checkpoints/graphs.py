"""Graphs of embedded models, in ONNX, without their weights: what runs a checkpoint without torch.

A file `<name>.graph` lies beside `<name>.safetensors`. Its first line is JSON; ONNX models follow, one after the other,
whose weights are missing: they are those of the checkpoint, by name. The file belongs to one checkpoint, whose
fingerprint it has.
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
    """A network of a checkpoint."""

    model: bytes  # ONNX, without the weights below
    weights: dict[str, str]  # name in the graph -> name in the checkpoint


class Graphs(NamedTuple):
    """The graphs of one checkpoint, and what is to be known of it."""

    facts: dict[str, Any]  # "kind", name of the system; "fingerprint"; and what a model of this kind needs
    graphs: dict[str, Graph]  # by what they are for, as `tgim.inference.traced` names them


def graphs_of(name: str | Path) -> Path | None:
    """The file of an embedded checkpoint's graphs; None of one without graphs, and of other files."""
    if not isinstance(name, str) or name not in list_embedded():
        return None
    path = resolve(name).with_suffix(SUFFIX)
    return path if path.is_file() else None


def read_facts(path: Path) -> dict[str, Any]:
    """Read the first line of a file of graphs; CheckpointError when it is broken."""
    try:
        with path.open("rb") as file:
            facts = json.loads(file.readline())
        if not isinstance(facts["kind"], str) or not isinstance(facts["graphs"], dict):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError):
        raise CheckpointError(f"{path} cannot be read; install tgim again") from None
    return dict(facts)


def read_graphs(path: Path) -> Graphs:
    """Read a file of graphs; CheckpointError when it is broken."""
    facts = read_facts(path)
    content = path.read_bytes().partition(b"\n")[2]
    graphs = {}
    try:
        for name, told in facts.pop("graphs").items():
            graphs[name] = Graph(content[: told["bytes"]], dict(told["weights"]))
            content = content[told["bytes"] :]
        if content or not graphs:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{path} cannot be read; install tgim again") from None
    return Graphs(facts, graphs)


def written(graphs: Graphs) -> bytes:
    """The bytes of a file of graphs."""
    told = {name: {"bytes": len(each.model), "weights": each.weights} for name, each in graphs.graphs.items()}
    return b"\n".join([json.dumps({**graphs.facts, "graphs": told}).encode(), b""]) + b"".join(
        each.model for each in graphs.graphs.values()
    )


def completed(graph: Graph, tensors: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """The ONNX model of a graph with its weights.

    Two encodings of a message, one after the other, are by Protocol Buffers' rules the encoding of both merged, whose
    lists are joined: the weights follow as a second part of the graph.

    Raises:
        CheckpointError: the checkpoint lacks one of them.
    """
    parts = []
    for name, own in graph.weights.items():
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
