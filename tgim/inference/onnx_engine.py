"""The engine of embedded models that have a graph (`tgim.checkpoints.graphs`): onnxruntime, without torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tgim.checkpoints.checkpoint import read_header, resolve
from tgim.checkpoints.graphs import completed, graph_of, read_graph
from tgim.checkpoints.tensorfile import read_arrays
from tgim.errors import UserError
from tgim.images.resample import Floats
from tgim.inference.engines import PaintingEngine
from tgim.system.runtime import THREADS, usable_cores


def has_graph(name: str | Path) -> bool:
    """Tell whether a model can be run here without torch."""
    return graph_of(name) is not None and find_spec("onnxruntime") is not None


def open_engine(name: str | Path) -> PaintingEngine:
    """Open an embedded model.

    Raises:
        UserError: it has no graph, or onnxruntime is not installed.
        CheckpointError: its files are broken.
    """
    path = graph_of(name)
    if path is None:
        raise UserError(f"{name} has no graph for onnxruntime; take --engine torch")
    graph = read_graph(path)
    finder = OnnxFinder(completed(graph, read_arrays(resolve(name))), graph.facts)
    return PaintingEngine(finder, card=read_header(name)["card"], source=str(name))


class OnnxFinder:
    """A part localiser, one picture at a time; see `tgim.models.parsing.part_maps.PartFinder`.

    Args:
        model: in ONNX, with its weights.
        facts: "parts", "together", "image_size".
    """

    def __init__(self, model: bytes, facts: Mapping[str, Any]) -> None:
        self.parts = tuple(facts["parts"])
        self.together, self.image_size = bool(facts["together"]), int(facts["image_size"])
        self._session = session(model)

    def look_at(self, pictures: Floats) -> tuple[Floats, Floats]:
        """Probabilities (B, P, s, s) of parts in pictures (B, 3, S, S) in [-1, 1], and (B,) that a subject shows."""
        found = [self._session.run(None, {"pictures": np.ascontiguousarray(each[None])}) for each in pictures]
        return np.concatenate([maps for maps, _ in found]), np.concatenate([present for _, present in found])


def session(model: bytes) -> Any:
    """An onnxruntime session of a model, on the cores that this process may use."""
    try:
        import onnxruntime
    except ImportError:
        raise UserError("onnxruntime is not installed; run pip install onnxruntime, or take --engine torch") from None
    onnxruntime.disable_telemetry_events()  # of Windows; elsewhere `tgim.system.runtime` has
    options = onnxruntime.SessionOptions()
    own = os.environ.get(THREADS, "")
    options.intra_op_num_threads = min(usable_cores(), int(own)) if own.isdigit() and int(own) else usable_cores()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait sleep
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
