"""Export of a model to ONNX: the graphs that lie beside embedded weights, and files for other programs.

Shapes are static, one picture or caption at a time; operators are of opset 17, files are of IR version 8, all data
inside them.
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

from tgim._version import __version__
from tgim.checkpoints import checkpoint
from tgim.checkpoints.checkpoint import Checkpoint
from tgim.checkpoints.graphs import Graph, Graphs, completed, graphs_of
from tgim.data.synthetic.pairs import sample_picture
from tgim.errors import SubjectError, UserError
from tgim.images.photo import as_array, from_uint8, to_uint8
from tgim.images.resample import Floats, resize
from tgim.inference.engines import Asked, Engine
from tgim.inference.onnx_engine import engine_of
from tgim.inference.onnx_matching import MATCHING, OnnxMatcher
from tgim.inference.ranking import Matcher
from tgim.inference.torch_engine import TorchEngine, TorchMatcher
from tgim.inference.traced import Traced, traced
from tgim.models.editing.slicing import GuideWeights
from tgim.system.files import write_file
from tgim.text.vocabulary import MAX_WORDS, Vocabulary, tokenize

OPSET, IR = 17, 8
SAYS = {"birds": "this bird is red with a blue head", "flowers": "this flower has purple petals"}  # what is compared
log = logging.getLogger(__name__)


def make_graphs(name_or_path: str | Path, found: Checkpoint | None = None) -> Graphs | None:
    """Make the graphs of a checkpoint; None of a model that cannot be exported.

    Args:
        name_or_path: embedded, or a file.
        found: the same, where it is loaded already.

    Raises:
        UserError: onnx is not installed.
        CheckpointError: as `tgim.checkpoints.checkpoint.load`.
    """
    found = found or checkpoint.load(name_or_path)
    own = _traced(found)
    if own is None:
        return None
    facts = {"tgim": __version__, "fingerprint": checkpoint.fingerprint(name_or_path), **own[0]}
    known = set(found.model.state_dict())
    return Graphs(facts, {name: _graph(network, known) for name, network in own[1].items()})


def _traced(found: Checkpoint) -> tuple[dict[str, Any], dict[str, Traced]] | None:
    with torch.no_grad():
        return traced(found.model.eval(), length=MAX_WORDS + len(tokenize(found.template.replace("{}", " "))))


def _graph(network: Traced, known: set[str]) -> Graph:
    """Trace a network, and leave out the weights that the checkpoint has under a name in `known`."""
    try:
        import onnx
    except ImportError:
        raise UserError('onnx is not installed; run pip install "tgim[export]"') from None
    written = io.BytesIO()
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of the exporter, which is to be replaced by one that splits names
        torch.onnx.export(
            network.network.eval(), tuple(network.inputs.values()), cast(Any, written),
            input_names=list(network.inputs), output_names=list(network.outputs), opset_version=OPSET, dynamo=False,
            do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE,  # else it would join weights
        )  # fmt: skip
    made = onnx.load_model_from_string(written.getvalue())
    weights = {each.name: each.name.removeprefix("model.") for each in made.graph.initializer}
    weights = {name: own for name, own in weights.items() if own in known}
    kept = [each for each in made.graph.initializer if each.name not in weights]
    del made.graph.initializer[:]
    made.graph.initializer.extend(kept)
    made.ir_version, made.producer_version, made.doc_string = IR, "", ""
    for node in made.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    return Graph(made.SerializeToString(), weights)


def export(name_or_path: str | Path, folder: Path) -> dict[str, Any]:
    """Write a model for programs that run ONNX, and `<name>.json`, which says how to use it.

    A model of one network is `<name>.onnx`, one of several `<name>-<network>.onnx` each.

    Args:
        name_or_path: embedded, or a file.
        folder: that is made where it is not there.

    Returns:
        What is written to the JSON file: networks with their inputs and outputs, what else the model's kind needs, and
        how far its edits, or scores, lie from torch's.

    Raises:
        UserError: a model that cannot be exported, or onnx is not installed.
        CheckpointError: as `tgim.checkpoints.checkpoint.load`.
    """
    found = checkpoint.load(name_or_path)
    own, graphs = _traced(found), make_graphs(name_or_path, found)
    if own is None or graphs is None:
        able = [name for name in checkpoint.list_embedded() if graphs_of(name) is not None]
        raise UserError(f"{name_or_path} ({found.name}) cannot be exported to ONNX; {', '.join(able)} can")
    tensors = {name: as_array(value) for name, value in found.model.state_dict().items()}
    header, stem = checkpoint.read_header(name_or_path), Path(str(name_or_path)).stem
    folder.mkdir(parents=True, exist_ok=True)
    networks = {}
    for name, graph in graphs.graphs.items():
        file = f"{stem}.onnx" if len(graphs.graphs) == 1 else f"{stem}-{name}.onnx"
        write_file(folder / file, completed(graph, tensors))
        networks[name] = {"file": file, **_told(own[1][name])}
    facts = {**graphs.facts, "opset": OPSET, "ir_version": IR, "networks": networks}
    if "length" in facts:
        facts |= {"template": header["template"], "words": header["vocabulary"]}
    if facts["kind"] == "tagrid":
        guide = GuideWeights.of(tensors, prefix="generator.guide.")
        facts["guide"] = {name: value.tolist() for name, value in guide._asdict().items()}
    if facts["kind"] in MATCHING:
        facts["log_scales"] = [tensors[f"members.{i}.log_scales"].tolist() for i in range(facts["members"])]
        facts["difference"] = difference_of_scores(OnnxMatcher(graphs, tensors, header), TorchMatcher(found))
    else:
        facts["difference"] = difference(engine_of(graphs, tensors, header), TorchEngine(found))
    write_file(folder / f"{stem}.json", json.dumps(facts, indent=1) + "\n")
    return facts


def _told(network: Traced) -> dict[str, Any]:
    """Inputs and outputs of a network for people."""
    given = {
        name: {"shape": list(value.shape), "type": str(value.dtype).removeprefix("torch.")}
        for name, value in network.inputs.items()
    }
    if "pictures" in given:
        given["pictures"] |= {"range": [-1, 1], "layout": "RGB"}
    return {"inputs": given, "outputs": dict(network.outputs)}


def difference(one: Engine, other: Engine, *, seeds: Sequence[int] = range(4)) -> dict[str, Any]:
    """Compare edits of synthetic pictures, those without a subject for the first aside, by two engines of one model.

    Returns:
        "largest", in levels of 255, "mean", "pictures", their number, and "of", what is compared.
    """
    kind, far = _kind(one.vocabulary), []
    for photo in _samples(kind, seeds):
        try:
            edited = one.edit_photo(photo, Asked(SAYS[kind]))
        except SubjectError:
            continue
        first, second = (to_uint8(each).astype(int) for each in (edited, other.edit_photo(photo, Asked(SAYS[kind]))))
        far.append(np.abs(first - second))
    worst, mean = max((int(each.max()) for each in far), default=0), sum(float(each.mean()) for each in far)
    return {"of": "levels of 255", "largest": worst, "mean": mean / max(1, len(far)), "pictures": len(far)}


def difference_of_scores(one: Matcher, other: Matcher, *, seeds: Sequence[int] = range(4)) -> dict[str, Any]:
    """Compare scores of synthetic pictures with two captions by two engines of one model, as `difference` does."""
    side, says = one.image_size, list(SAYS.values())
    pictures = np.stack([resize(photo, (side, side)) for photo in _samples(_kind(one.vocabulary), seeds)])
    first, second = (each.scores(each.see(pictures), each.read_captions(says)) for each in (one, other))
    far = np.abs(first - second)
    return {"of": "scores", "largest": float(far.max()), "mean": float(far.mean()), "pictures": len(pictures)}


def _kind(vocabulary: Vocabulary) -> str:
    return "flowers" if "petals" in vocabulary else "birds"


def _samples(kind: str, seeds: Sequence[int]) -> list[Floats]:
    """Synthetic photographs (3, 300, 400)."""
    drawn = [sample_picture(kind, seed=seed, size=(300, 400)) for seed in seeds]
    return [from_uint8(each.transpose(2, 0, 1)) for each in drawn]
