"""Export of a model to ONNX: the graph that lies beside embedded weights, and files for other programs.

Shapes are static, one picture at a time; operators are of opset 17, the file is of IR version 8, all data inside it.
"""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from tgim._version import __version__
from tgim.checkpoints import checkpoint
from tgim.checkpoints.graphs import Graph, completed
from tgim.data.synthetic.pairs import sample_picture
from tgim.errors import UserError
from tgim.images.photo import as_array, from_uint8, to_uint8
from tgim.inference.engines import Asked, PaintingEngine
from tgim.inference.onnx_engine import OnnxFinder
from tgim.models.base import Localising
from tgim.models.parsing.part_maps import PartFinder
from tgim.system.files import write_file

OPSET, IR = 17, 8
SAYS = {"birds": "this bird is red with a blue head", "flowers": "this flower has purple petals"}  # what is compared
log = logging.getLogger(__name__)


class _Look(nn.Module):
    """A localiser's `look` as a network."""

    def __init__(self, model: Localising) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """`look` at pictures."""
        return self.model.look(pictures)


def make_graph(name_or_path: str | Path) -> Graph:
    """Make the graph of a part localiser.

    Raises:
        UserError: another kind of model, or onnx is not installed.
        CheckpointError: as `tgim.checkpoints.checkpoint.load`.
    """
    model = checkpoint.load(name_or_path).model
    if not isinstance(model, Localising):
        able = [name for name in checkpoint.list_embedded() if checkpoint.read_header(name)["role"] == "parsing"]
        raise UserError(f"{name_or_path} ({model.name}) cannot be exported to ONNX; {', '.join(able)} can")
    try:
        import onnx
    except ImportError:
        raise UserError('onnx is not installed; run pip install "tgim[export]"') from None
    side, written = model.image_size, io.BytesIO()
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of the exporter, which is to be replaced by one that splits names
        torch.onnx.export(
            _Look(model.eval()).eval(), (torch.zeros(1, 3, side, side),), cast(Any, written), input_names=["pictures"],
            output_names=["maps", "present"], opset_version=OPSET, dynamo=False, do_constant_folding=False,
        )  # fmt: skip
    made = onnx.load_model_from_string(written.getvalue())
    known = model.state_dict()
    weights = {each.name: each.name.removeprefix("model.") for each in made.graph.initializer}
    weights = {name: own for name, own in weights.items() if own in known}
    kept = [each for each in made.graph.initializer if each.name not in weights]
    del made.graph.initializer[:]
    made.graph.initializer.extend(kept)
    made.ir_version, made.producer_version, made.doc_string = IR, "", ""
    for node in made.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    facts = {
        "tgim": __version__, "fingerprint": checkpoint.fingerprint(name_or_path), "parts": list(model.parts),
        "together": model.together, "image_size": side, "weights": weights,
    }  # fmt: skip
    return Graph(facts, made.SerializeToString())


def export(name_or_path: str | Path, folder: Path) -> dict[str, Any]:
    """Write a part localiser for programs that run ONNX: `<name>.onnx`, and `<name>.json`, which says how to use it.

    Args:
        name_or_path: embedded, or a file.
        folder: that is made where it is not there.

    Returns:
        What is written to the JSON file: inputs, outputs, parts, and how far an edit with it lies from torch's.

    Raises:
        UserError: as `make_graph`.
    """
    graph = make_graph(name_or_path)
    own = checkpoint.load(name_or_path).model
    model = completed(graph, {name: as_array(value) for name, value in own.state_dict().items()})
    facts = {key: graph.facts[key] for key in ("tgim", "fingerprint", "parts", "together", "image_size")}
    side = facts["image_size"]
    facts |= {
        "opset": OPSET, "ir_version": IR,
        "input": {"name": "pictures", "shape": [1, 3, side, side], "range": [-1, 1], "layout": "RGB"},
        "outputs": {"maps": "probability of each part, their sum 1", "present": "probability that a subject shows"},
        "difference": difference(OnnxFinder(model, facts), own),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    stem = Path(str(name_or_path)).stem
    write_file(folder / f"{stem}.onnx", model)
    write_file(folder / f"{stem}.json", json.dumps(facts, indent=1) + "\n")
    return facts


def difference(one: PartFinder, other: PartFinder, *, seeds: Sequence[int] = range(4)) -> dict[str, float]:
    """Compare edits of synthetic pictures by two part finders, one of which is run by onnxruntime.

    Returns:
        "largest", in levels of 255, "mean", and "pictures", their number.
    """
    kind, far = "flowers" if "petals" in one.parts else "birds", []
    for seed in seeds:
        photo = from_uint8(sample_picture(kind, seed=seed, size=(300, 400)).transpose(2, 0, 1))
        edits = [PaintingEngine(finder, card={}).edit_photo(photo, Asked(SAYS[kind])) for finder in (one, other)]
        first, second = (to_uint8(each).astype(int) for each in edits)
        far.append(np.abs(first - second))
    worst, mean = max(int(each.max()) for each in far), float(np.mean([each.mean() for each in far]))
    return {"largest": worst, "mean": mean, "pictures": len(far)}
