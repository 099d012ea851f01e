"""Build the editor that runs in the browser, a folder of static files, from docs/web and the embedded models.

python docs/browser.py --out build/web

Words, rules and numbers are those of the Python modules, written as one table. onnxruntime-web is fetched by npm. The
two large files, engine and model, are compressed here, and the page decompresses them: no host has to.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import math
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from tgim import Editor
from tgim.checkpoints.checkpoint import resolve
from tgim.checkpoints.graphs import graphs_of, read_graphs
from tgim.checkpoints.tensorfile import read_arrays
from tgim.data.synthetic.pairs import sample_picture
from tgim.errors import UserError

PAGE = Path(__file__).parent / "web"
STYLE = Path(__file__).parents[1] / "tgim" / "server" / "pages" / "page.css"  # of the page of `tgim serve`, too
OUT = Path(__file__).parents[1] / "build" / "web"
ENGINE = "onnxruntime-web@1.22.0"  # later ones are larger: 1.30's module is 3.7 MB compressed, this one's 2.9
ENGINE_FILES = {  # of npm, and of the page
    "ort.wasm.min.mjs": "ort.mjs",
    "ort-wasm-simd-threaded.mjs": "ort-module.mjs",
    "ort-wasm-simd-threaded.wasm": "engine.bin",
}
MODELS = ("birds", "flowers")
SHOWN = 12  # words that an error names where no word is known
COARSE = ("backbone.head.weight", "backbone.classes.weight")  # tell whether a subject shows, and nothing of where
MODULES = (  # whose constants the page takes
    "tgim.text.lexicon.colours", "tgim.text.lexicon.parts", "tgim.text.phrases", "tgim.text.rules",
    "tgim.text.instructions", "tgim.text.neighbours", "tgim.text.vocabulary", "tgim.images.matting",
    "tgim.models.parsing.part_maps", "tgim.models.editing.painting.words", "tgim.models.editing.painting.captions",
    "tgim.models.editing.painting.palette", "tgim.models.editing.painting.lab", "tgim.models.editing.painting.brush",
    "tgim.models.editing.painting.masks", "tgim.models.editing.painting.outline",
    "tgim.models.editing.painting.region", "tgim.models.editing.painting.already",
    "tgim.models.editing.painting.rules", "tgim.inference.editor",
)  # fmt: skip
PREFIX = {"tgim.models.editing.painting.rules": "painter"}  # two modules are called "rules"


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write, beside what it has (%(default)s)")
    parser.add_argument("--engine", type=Path, help="folder of onnxruntime-web's files, instead of npm's")
    asked = parser.parse_args()
    try:
        build(asked.out, asked.engine)
    except UserError as error:
        parser.error(str(error))
    for name, size in sizes(asked.out).items():
        print(f"{size:>12,}  {name}")


def build(out: Path, engine: Path | None = None) -> None:
    """Write the page into a folder.

    Args:
        out: the folder.
        engine: folder of onnxruntime-web's files; npm fetches them where it is None.

    Raises:
        UserError: npm is not installed, or cannot fetch the engine.
    """
    write_scripts(out)
    for name in MODELS:
        (out / f"{name}.bin").write_bytes(pressed(packed(name)))
        Image.fromarray(sample_picture(name, size=(480, 640))).save(out / f"{name}.jpg", quality=92)
    if engine is not None:
        return take_engine(engine, out)
    with tempfile.TemporaryDirectory() as folder:
        take_engine(fetched(Path(folder)), out)


def write_scripts(out: Path) -> None:
    """Write the page's own files and its tables, which is all that reading a caption takes."""
    shutil.copytree(PAGE, out, dirs_exist_ok=True)
    shutil.copyfile(STYLE, out / "page.css")
    text = json.dumps(tables(), ensure_ascii=True, separators=(",", ":"))
    (out / "tables.js").write_text(f"export default {text};\n", encoding="utf-8")


def fetched(folder: Path) -> Path:
    """Fetch onnxruntime-web into a folder; returns where its files lie. UserError where it cannot be had."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError("npm is not installed; install Node.js, or give the folder of onnxruntime-web by --engine")
    told = subprocess.run([npm, "pack", "--silent", ENGINE], cwd=folder, capture_output=True, text=True, timeout=600)
    archive = folder / (told.stdout.split() or ["missing"])[-1]
    if told.returncode or not archive.is_file():
        raise UserError(f"npm cannot fetch {ENGINE} ({' '.join(told.stderr.split())[-200:]}); give it by --engine")
    files = folder / "package" / "dist"
    files.mkdir(parents=True)
    with tarfile.open(archive) as opened:  # file by file: the first releases of Python 3.10 and 3.11 lack safe filters
        for member in opened:
            place, _, name = member.name.rpartition("/")
            if place == "package/dist" and (content := opened.extractfile(member)) is not None:
                (files / name).write_bytes(content.read())
    return files


def take_engine(folder: Path, out: Path) -> None:
    """Copy the engine's script, and its WebAssembly compressed; UserError where the folder lacks them."""
    for name, own in ENGINE_FILES.items():
        if not (folder / name).is_file():
            raise UserError(f"{folder} has no {name}; take the folder dist of {ENGINE}")
        content = (folder / name).read_bytes()
        (out / own).write_bytes(pressed(content) if own.endswith(".bin") else content)


def pressed(content: bytes) -> bytes:
    """Content by gzip, with no time of its making."""
    return gzip.compress(content, 9, mtime=0)


def packed(name: str) -> bytes:
    """A model for the page: a line of JSON, the graph, and the weights.

    Weights of 16 bits are stored by all their high bytes before all their low ones, which compresses better; `COARSE`
    ones by 8 bits and a scale for each output.
    """
    path = graphs_of(name)
    if path is None:
        raise UserError(f"{name} has no graph; take one of {', '.join(MODELS)}")
    found, tensors = read_graphs(path), read_arrays(resolve(name))
    graph = found.graphs["look"]
    told, small, scales, large = [], [], [], []
    for key, own in graph.weights.items():
        value = tensors[own]
        told.append({"name": key, "shape": list(value.shape), "coarse": own in COARSE})
        if own in COARSE:
            rows = value.reshape(len(value), -1)
            scale = np.abs(rows).max(1, keepdims=True) / 127
            small.append(np.rint(rows / scale).astype(np.int8).tobytes())
            scales.append(scale.astype("<f4").tobytes())
        else:
            half = value.astype("<f2")
            if not (half.astype(np.float32) == value).all():
                raise UserError(f"{own} of {name} has more than 16 bits; the page stores no more")
            large.append(half.tobytes())
    pairs = np.frombuffer(b"".join(large), np.uint8).reshape(-1, 2)
    facts = {key: found.facts[key] for key in ("image_size", "parts", "together")}
    words = Editor.from_pretrained(name).vocabulary.words
    first, rest = words[:SHOWN], sorted(words[SHOWN:])  # some come of sets, whose order changes from run to run
    facts |= {"graph": len(graph.model), "tensors": told, "words": [*first, *rest]}
    content = [graph.model, *scales, *small, pairs[:, 1].tobytes(), pairs[:, 0].tobytes()]
    return json.dumps(facts).encode() + b"\n" + b"".join(content)


def tables() -> dict[str, Any]:
    """The constants of `MODULES` by the last part of their names, and learned numbers of colour names."""
    found: dict[str, Any] = {}
    for name in MODULES:
        module = importlib.import_module(name)
        found[PREFIX.get(name, name.split(".")[-1])] = constants(module)
    names = importlib.resources.files("tgim.models.editing.painting").joinpath("colour_names.json")
    found["already"]["names"] = json.loads(names.read_text(encoding="utf-8"))
    return found


def constants(module: ModuleType) -> dict[str, Any]:
    """What a module defines in capitals and JSON can say; sets are sorted, functions are left out."""
    return {name: value for name, own in vars(module).items() if name.isupper() and (value := _plain(own)) is not None}


def _plain(value: Any) -> Any:
    """A value as JSON has it; None where it cannot."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, set | frozenset):
        value = sorted(value)
    if isinstance(value, list | tuple | type({}.keys())):
        return [each for each in map(_plain, value) if each is not None]
    if isinstance(value, dict):
        return {str(key): own for key, own in _rows(value) if own is not None}
    return None


def _rows(value: dict[Any, Any]) -> Iterator[tuple[Any, Any]]:
    for key, own in value.items():
        yield key, _plain(own)


def sizes(out: Path) -> dict[str, int]:
    """Bytes of each file of the page, as a host that compresses nothing sends them."""
    return {file.relative_to(out).as_posix(): file.stat().st_size for file in sorted(out.rglob("*")) if file.is_file()}


if __name__ == "__main__":
    main()
