"""Engines of embedded models that have graphs (`tgim.checkpoints.graphs`): onnxruntime, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tgim.checkpoints.checkpoint import read_header, resolve
from tgim.checkpoints.graphs import Graphs, completed, graphs_of, read_facts, read_graphs
from tgim.checkpoints.tensorfile import read_arrays
from tgim.errors import SubjectError, TextError, UserError
from tgim.images.boxes import Box
from tgim.images.matting import FEATHER, soft_box
from tgim.images.resample import Floats, resize
from tgim.inference.engines import Asked, Engine, PaintingEngine
from tgim.models.editing.painting.rules import subject_of
from tgim.models.editing.part_curves.described import describe_found
from tgim.models.editing.part_curves.painted import NOT_FOUND, paint_curves, remarks_on
from tgim.models.editing.slicing import GuideWeights, recoloured, weakened
from tgim.models.parsing.part_maps import find_parts
from tgim.system import threads
from tgim.text.vocabulary import PADDING, Vocabulary

EDITING = ("part_localiser", "tagrid", "part_curves")  # kinds of models that edit
MAPS = ("stride4", "stride8", "stride16", "stride32")  # outputs: the backbone's maps
Arrays = npt.NDArray[Any]


def has_graph(name: str | Path, kinds: Sequence[str] | None = None) -> bool:
    """Tell whether a model, one of these kinds where some are given, can be run here without torch."""
    path = graphs_of(name)
    if path is None or find_spec("onnxruntime") is None:
        return False
    return kinds is None or read_facts(path)["kind"] in kinds


def open_engine(name: str | Path) -> Engine:
    """Open an embedded model as an engine of edits.

    Raises:
        UserError: it has no graph of one that edits, or onnxruntime is not installed.
        CheckpointError: its files are broken.
    """
    graphs, tensors = read_parts(name, EDITING)
    return engine_of(graphs, tensors, read_header(name), source=str(name))


def read_parts(name: str | Path, kinds: Sequence[str]) -> tuple[Graphs, dict[str, Arrays]]:
    """Read graphs and tensors of an embedded model of one of these kinds; errors as of `open_engine`."""
    path = graphs_of(name)
    if path is None or read_facts(path)["kind"] not in kinds:
        raise UserError(f"{name} has no graph for onnxruntime; take --engine torch")
    return read_graphs(path), read_arrays(resolve(name))


def engine_of(graphs: Graphs, tensors: Mapping[str, Arrays], header: Mapping[str, Any], *, source: str = "") -> Engine:
    """The engine of a model by its graphs, its tensors and the header of its checkpoint."""
    if graphs.facts["kind"] == "tagrid":
        return GridEngine(graphs, tensors, header, source=source)
    if graphs.facts["kind"] == "part_curves":
        return CurveEngine(graphs, tensors, header, source=source)
    return PaintingEngine(OnnxFinder(graphs, tensors), card=header["card"], source=source)


class Network:
    """A graph that is run.

    Args:
        model: in ONNX, with its weights.
    """

    def __init__(self, model: bytes) -> None:
        self._session = session(model)
        self._outputs = [each.name for each in self._session.get_outputs()]
        self._inputs = {each.name for each in self._session.get_inputs()}  # those that are used at all
        self._options = run_options()

    def __call__(self, inputs: Mapping[str, Arrays], outputs: Sequence[str] = ()) -> list[Arrays]:
        """Outputs for inputs; without their names all. What those that are not asked for need is not computed."""
        given = {name: np.ascontiguousarray(value) for name, value in inputs.items() if name in self._inputs}
        found: list[Arrays] = self._session.run(list(outputs) or self._outputs, given, self._options)
        return found


class OnnxFinder:
    """A part localiser, one picture at a time; see `tgim.models.parsing.part_maps.PartFinder`.

    Args:
        graphs: one that looks; "parts", "together", "image_size" among their facts.
        tensors: of the checkpoint.
    """

    def __init__(self, graphs: Graphs, tensors: Mapping[str, Arrays]) -> None:
        facts = graphs.facts
        self.parts = tuple(facts["parts"])
        self.together, self.image_size = bool(facts["together"]), int(facts["image_size"])
        self._look = Network(completed(graphs.graphs["look"], tensors))

    def look_at(self, pictures: Floats) -> tuple[Floats, Floats]:
        """Probabilities (B, P, s, s) of parts in pictures (B, 3, S, S) in [-1, 1], and (B,) that a subject shows."""

        def look(picture: Floats) -> list[Arrays]:
            return self._look({"pictures": picture[None]}, ("maps", "present"))

        found = threads.shared(look, pictures)
        return np.concatenate([maps for maps, _ in found]), np.concatenate([present for _, present in found])

    def see(self, picture: Floats) -> list[Floats]:
        """The backbone's maps (C, h, w) of a picture (3, S, S), where the graph gives them."""
        return [each[0] for each in self._look({"pictures": picture[None]}, MAPS)]


class GridEngine:
    """`tagrid`: networks predict a bilateral grid from a small picture, which is sliced at the photograph's pixels.

    Args:
        graphs: "look" and "plan" (`tgim.inference.traced`).
        tensors: of the checkpoint.
        header: of the checkpoint.
        source: its name.
    """

    name, device, takes_turns, finder = "tagrid", "cpu", False, None

    def __init__(
        self, graphs: Graphs, tensors: Mapping[str, Arrays], header: Mapping[str, Any], *, source: str = ""
    ) -> None:
        self.card, self.template, self.source = header["card"], str(header["template"]), source
        self.vocabulary = Vocabulary(header["vocabulary"])
        self.image_size, self._length = int(graphs.facts["image_size"]), int(graphs.facts["length"])
        self._look, self._plan = (Network(completed(graphs.graphs[name], tensors)) for name in ("look", "plan"))
        self._guide = GuideWeights.of(tensors, prefix="generator.guide.")

    def remarks(self, caption: str) -> tuple[str, ...]:
        """None: the model takes all words that it knows."""
        return ()

    def subject(self, pictures: Floats) -> Floats:
        """Probabilities (B, S, S) of the subject in pictures (B, 3, S, S)."""
        return np.concatenate([self._look({"pictures": each[None]}, ("subject",))[0] for each in pictures])

    def edit_photo(self, photo: Floats, asked: Asked) -> Floats:
        """Edit a photograph (3, H, W)."""
        small = resize(photo, (self.image_size, self.image_size))
        subject, *seen = self._look({"pictures": small[None]})
        read = {
            **dict(zip(("half", "quarter", "whole", "regions"), seen, strict=True)),
            "ids": padded(self.vocabulary, asked.caption, self._length),
        }
        grid = self._grid(read, 1.0)
        if asked.strength < 1:
            weak = self._grid(read, asked.strength)
            grid = weakened(small, grid, weak, subject[0], self._guide, asked.strength)
        return recoloured(small if asked.raw else photo, grid, subject[0], self._guide)

    def _grid(self, read: Mapping[str, Arrays], strength: float) -> Floats:
        """Grid (12, bins, G, G) of an edit that the network is asked to make so strong."""
        (grid,) = self._plan({**read, "strength": np.full(1, strength, np.float32)})
        return grid

    def edit_box(self, photo: Floats, asked: Asked, box: Box) -> Floats:
        """Edit a region of a photograph, with a soft edge inside it; the rest stays bit-identical."""
        x, y, w, h = box
        region = photo[:, y : y + h, x : x + w]
        edited = self.edit_photo(region, asked)
        if asked.raw:
            return edited
        edge = soft_box(photo.shape[-2], photo.shape[-1], box, feather=FEATHER * min(h, w))[y : y + h, x : x + w]
        result = photo.copy()
        result[:, y : y + h, x : x + w] = np.where(edge > 0, region + edge * (edited - region), region)
        return result


class CurveEngine(PaintingEngine):
    """`part_curves`: a network answers for each part of a photograph, and the painter's brush applies the answers.

    Args:
        graphs: "look" and "answer" (`tgim.inference.traced`).
        tensors: of the checkpoint.
        header: of the checkpoint.
        source: its name.
    """

    name = "part_curves"

    def __init__(
        self, graphs: Graphs, tensors: Mapping[str, Arrays], header: Mapping[str, Any], *, source: str = ""
    ) -> None:
        self._finder: OnnxFinder = OnnxFinder(graphs, tensors)
        self.card, self.template, self.source, self.device = header["card"], str(header["template"]), source, "cpu"
        self.vocabulary, self._length = Vocabulary(header["vocabulary"]), int(graphs.facts["length"])
        self._answer = Network(completed(graphs.graphs["answer"], tensors))

    def remarks(self, caption: str) -> tuple[str, ...]:
        """List what of a caption is not painted; TextError where it names no colour of a part."""
        return remarks_on(caption, self._finder.parts)

    def _painted(self, photo: Floats, asked: Asked, box: Box | None) -> Floats:
        if asked.strength == 0:
            return photo if asked.spare else photo.copy()
        finder = self._finder
        found = find_parts(finder, photo, box=box)
        if found is None:
            raise SubjectError(NOT_FOUND.format(subject_of(finder)))
        parts = describe_found(photo, found, size=finder.image_size, see=finder.see)
        ids = padded(self.vocabulary, asked.caption, self._length)
        gate, curves = self._answer({"features": parts.features[None], "hidden": parts.hidden[None], "ids": ids})
        return paint_curves(finder, photo, found, gate, curves, strength=asked.strength, box=box, spare=asked.spare)


def padded(vocabulary: Vocabulary, caption: str, length: int) -> Arrays:
    """Ids (1, T) of a caption, filled with padding to `length`; TextError where it is longer."""
    ids = vocabulary.ids(caption)
    if len(ids) > length:
        raise TextError(f"text has {len(ids)} words, at most {length} are used; shorten it to one sentence")
    return np.array([ids + [PADDING] * (length - len(ids))], np.int64)


def session(model: bytes) -> Any:
    """An onnxruntime session of a model, on the cores that this process may use."""
    try:
        import onnxruntime
    except ImportError:
        raise UserError("onnxruntime is not installed; run pip install onnxruntime, or take --engine torch") from None
    onnxruntime.disable_telemetry_events()  # of Windows; elsewhere `tgim.system.runtime` has
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads.count()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait sleep
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_options() -> Any:
    """Options of a run that computes what is asked for alone."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.only_execute_path_to_fetches = True
    return options
