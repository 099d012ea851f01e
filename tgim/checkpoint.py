"""One safetensors file that loads alone: weights, config, vocabulary, template, preprocessing, provenance.

All that is not a tensor is one JSON object under the key "tgim" of the safetensors metadata. Nothing on the loading
path unpickles, and headers are read without torch, so that listing and describing checkpoints is quick.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tgim._version import __version__
from tgim.errors import CheckpointError, TextError, nearest

if TYPE_CHECKING:
    from torch import Tensor

    from tgim.model import Model
    from tgim.text import Vocabulary

FORMAT = 1  # raise it when an older tgim could no longer read what is written
KEY = "tgim"  # of the metadata; a single key, because safetensors writes several in random order
SUFFIX = ".safetensors"
MAX_HEADER = 100_000_000  # bytes, the limit of the safetensors format itself
ROLES = {"editor": "editor", "matcher": "matching model", "composer": "composing model"}
REGISTRIES = {
    "editor": ("tgim.models", "MODELS"),
    "matcher": ("tgim.matching", "MATCHERS"),
    "composer": ("tgim.composing", "COMPOSERS"),
}
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}  # bytes
_NAMED: ContextVar[Mapping[str, Path] | None] = ContextVar("_NAMED", default=None)  # see `naming`
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "tgim_version": str,
    "kind": str,
    "name": str,
    "config": dict,
    "vocabulary": list,
    "template": str,
    "preprocessing": dict,
    "data": dict,
    "card": dict,
    "history": (dict, list),
}


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds, ready for use; `model` is in evaluation mode."""

    model: Model
    vocabulary: Vocabulary
    template: str  # completes a bare phrase to a caption, "{}" stands for the phrase
    card: dict[str, Any] = field(default_factory=dict)  # title, licence, figures, limits
    history: dict[str, Any] | list[Any] = field(default_factory=dict)  # how it was trained
    data: dict[str, Any] = field(default_factory=dict)  # data set, split and licence
    preprocessing: dict[str, Any] = field(default_factory=dict)  # image_size in pixels, range of values
    kind: str = "editor"  # or "matcher", "composer"
    name: str = ""  # key in MODELS, MATCHERS or COMPOSERS
    version: str = __version__  # of the tgim that wrote it


def find_model(name: str, *, kind: str | None = None) -> tuple[str, type[Model]]:
    """The kind (a key of `REGISTRIES`) and the class of a model by its name.

    Raises:
        KeyError: no such name; its argument lists the known ones.
    """
    known: list[str] = []
    for each, (module, attribute) in REGISTRIES.items():
        registry: Mapping[str, type[Model]] = getattr(importlib.import_module(module), attribute)
        if kind in (None, each):
            if name in registry:
                return each, registry[name]
            known += registry
    raise KeyError(known)


def role(model_class: type[Model]) -> str:
    """What models of a class do, in a word or two: "editor", "generator", "matching model" or "composing model"."""
    from tgim.model import Composing, Generating, Matching

    if issubclass(model_class, Generating):
        return "generator"
    if issubclass(model_class, Composing):
        return ROLES["composer"]
    return "matching model" if issubclass(model_class, Matching) else "editor"


# Writing


def save(
    path: str | Path,
    model: Model,
    *,
    vocabulary: Vocabulary,
    template: str = "{}",
    card: Mapping[str, Any] | None = None,
    history: Mapping[str, Any] | list[Any] | None = None,
    data: Mapping[str, Any] | None = None,
    half: bool = False,
) -> Path:
    """Write `model` and all that using it needs. Equal arguments give equal bytes.

    Args:
        path: of the file; it appears by renaming, so a reader never sees half of it.
        model: its state dict is written; integer buffers stay as they are.
        vocabulary: turns captions into the ids that the model was trained with.
        template: completes a bare phrase to a caption; holds "{}" once.
        card: what people should know of it (JSON values): title, licence, figures, limits.
        history: how it was trained (JSON values).
        data: what it was trained on (JSON values): name, split, licence.
        half: store floating-point weights in 16 bits, where they fit; they are loaded as 32 bits again.

    Raises:
        CheckpointError: the template has not one "{}", weights are not finite, or the file cannot be written.
    """
    import torch

    if template.count("{}") != 1:
        raise CheckpointError(
            f"template {template!r} must hold '{{}}' once, where the phrase goes; e.g. 'this is a {{}}'"
        )
    kind, _ = find_model(model.name)
    tensors = {}
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{name} of the model is not finite; nothing was written, train with a lower rate")
        small = value.to(torch.float16) if half and value.is_floating_point() else value
        tensors[name] = small if small is value or bool(torch.isfinite(small).all()) else value
    header = {
        "format": FORMAT,
        "tgim_version": __version__,
        "kind": kind,
        "role": role(type(model)),
        "name": model.name,
        "config": model.config.model_dump(mode="json"),
        "vocabulary": list(vocabulary.words),
        "template": template,
        "preprocessing": {"image_size": model.image_size, "range": [-1, 1]},
        "data": dict(data or {}),
        "card": dict(card or {}),
        "history": history if history is not None else {},
    }
    return write(path, tensors, {KEY: header})


def write(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Path:
    """Write tensors and one JSON object in `metadata` to `path`, by renaming a finished file.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    from safetensors.torch import save_file

    path = Path(path)
    own = {
        name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()
    }  # no shared memory
    strings = {key: json.dumps(value, sort_keys=True, separators=(",", ":")) for key, value in metadata.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _replacing(path) as temporary:
            save_file(own, str(temporary), metadata=strings)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror or error}") from None
    return path


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name at the end, or vanishes after an error."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


# Reading


def load(path: str | Path, *, device: str = "cpu") -> Checkpoint:
    """Load a checkpoint file, or the embedded one of that name.

    Args:
        path: of a file, or the name of embedded weights (no slash, no suffix), see `list_embedded`.
        device: where the model goes, "cpu" or "cuda".

    Raises:
        CheckpointError: no such file or name; truncated, foreign or written by a newer tgim; weights that do not fit.
    """
    import torch
    from pydantic import ValidationError

    from tgim.text import Vocabulary

    path = resolve(path)
    header = read_header(path)
    try:
        _, model_class = find_model(header["name"], kind=header["kind"])
    except KeyError as error:
        hint = nearest(header["name"], error.args[0])
        raise CheckpointError(f"{path} holds a model {header['name']!r}, which this tgim does not know{hint}") from None
    try:
        config = model_class.Config(**header["config"])
        vocabulary = Vocabulary(header["vocabulary"])
        with torch.random.fork_rng(devices=[]):  # building draws weights that are overwritten
            model = model_class(config, vocabulary_size=len(vocabulary))
    except (ValidationError, TextError) as error:
        detail = re.sub(r"\s+", " ", str(error))
        raise CheckpointError(f"{path} has a config that does not fit {header['name']!r}: {detail}") from None
    fill(model, read_tensors(path), path=path)
    return Checkpoint(
        model=model.to(torch.device(device)).eval(),
        vocabulary=vocabulary,
        version=header["tgim_version"],
        **{key: header[key] for key in ("template", "card", "history", "data", "preprocessing", "kind", "name")},
    )


def fill(model: Model, tensors: Mapping[str, Tensor], *, path: str | Path) -> None:
    """Copy `tensors` into the state dict of `model`, in the model's own types; `path` is named by the errors.

    Raises:
        CheckpointError: tensors are missing, surplus or of another shape.
    """
    import torch

    own = model.state_dict()
    missing, surplus = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    for names, fault in ((missing, "lacks"), (surplus, "has surplus")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise CheckpointError(
                f"{path} {fault} {names[0]}{more}; it does not fit a {model.name!r} of its own config"
            )
    for name, value in own.items():
        if value.shape != tensors[name].shape:
            shapes = f"{tuple(tensors[name].shape)}, expected {tuple(value.shape)}"
            raise CheckpointError(f"{path}: {name} has shape {shapes}; the file does not fit its own config")
        with torch.no_grad():
            value.copy_(tensors[name])


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, on the CPU; CheckpointError when it is broken."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None


def read_header(path: str | Path) -> dict[str, Any]:
    """All that a checkpoint says of itself, without loading tensors or importing torch.

    Returns:
        "format", "tgim_version", "kind", "role" (see `role`), "name", "config", "vocabulary" (words), "template",
        "preprocessing", "data", "card", "history", and "tensors": name -> {"dtype", "shape"}.

    Raises:
        CheckpointError: as `load`, except for what only the tensors show.
    """
    path = resolve(path)
    tensors, metadata = read_metadata(path)
    if KEY not in metadata:
        raise CheckpointError(f"{path} is a safetensors file, but not one of tgim; see tgim convert for other releases")
    try:
        header = json.loads(metadata[KEY])
        version = int(header["format"])
        written_by = str(header["tgim_version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CheckpointError(f"{path} has a broken tgim header; get the file again") from None
    if version > FORMAT:
        raise CheckpointError(
            f"{path} was written by tgim {written_by} (format {version}); tgim {__version__} reads up to format "
            f"{FORMAT}, upgrade tgim"
        )
    for key, kind in _FIELDS.items():
        if not isinstance(header.get(key), kind):
            raise CheckpointError(f"{path} has a tgim header without a proper {key!r}; get the file again")
    if header["kind"] not in REGISTRIES or not all(isinstance(word, str) for word in header["vocabulary"]):
        raise CheckpointError(f"{path} has a tgim header of unknown kind or vocabulary; get the file again")
    header.setdefault("role", ROLES[header["kind"]])  # files of before it was written
    return {**header, "tensors": tensors}


def fingerprint(path: str | Path) -> str:
    """16 hex digits that say what a checkpoint, by name or path, computes: its weights, config and words, not its card.

    Raises:
        CheckpointError: as `read_header`.
    """
    path = resolve(path)
    header = read_header(path)
    told = {key: header[key] for key in ("kind", "name", "config", "vocabulary", "template", "tensors")}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()[:16]


def read_metadata(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Names, types and shapes of the tensors of a safetensors file, and its metadata; no tensor is read.

    Raises:
        CheckpointError: missing, empty, truncated, of another format, or inconsistent in itself.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if start[:2] == b"PK" or start[:2] in (b"\x80\x02", b"\x80\x04"):
                raise CheckpointError(
                    f"{path} is a pickled PyTorch file, which is not loaded; convert it: tgim convert"
                )
            if size < 8 or length > MAX_HEADER or length < 2:
                what = "empty" if size == 0 else "not a safetensors file"
                raise CheckpointError(f"{path} is {what}; expected a checkpoint written by tgim train")
            if 8 + length > size:
                raise CheckpointError(f"{path} is truncated or not a safetensors file; get the file again")
            text = file.read(length)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is not there; give the path of a checkpoint or an embedded name") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    try:
        header = json.loads(text)
        metadata = {str(key): str(value) for key, value in header.pop("__metadata__", {}).items()}
        tensors, end = {}, 0
        for name, entry in header.items():
            first, last = entry["data_offsets"]
            shape = [int(n) for n in entry["shape"]]
            if last - first != math.prod(shape) * SIZES[entry["dtype"]] or min([first, *shape]) < 0:
                raise ValueError(name)
            tensors[name] = {"dtype": str(entry["dtype"]), "shape": shape}
            end = max(end, last)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(
            f"{path} is not a safetensors file; expected a checkpoint written by tgim train"
        ) from None
    if 8 + length + end != size:
        raise CheckpointError(f"{path} has {size} bytes, expected {8 + length + end}; it is truncated, get it again")
    return tensors, metadata


# Embedded weights


def list_embedded() -> list[str]:
    """Names of the checkpoints that come with tgim; imports no torch."""
    folder = _weights()
    return sorted(p.name.removesuffix(SUFFIX) for p in folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []


@contextmanager
def naming(files: Mapping[str, Path]) -> Iterator[None]:
    """Within, the names in `files` stand for these files wherever a checkpoint is named.

    A run of several stages calls the models of its earlier stages so: what it writes then holds no path.
    """
    token = _NAMED.set(files)
    try:
        yield
    finally:
        _NAMED.reset(token)


def resolve(path: str | Path) -> Path:
    """The file that a path, or the name of embedded weights, stands for; CheckpointError when there is none."""
    path = (_NAMED.get() or {}).get(str(path), path)
    text = os.path.expanduser(os.fspath(path))
    if isinstance(path, str) and not re.search(r"[/\\.]", text) and not Path(text).is_file():
        names = list_embedded()
        if text not in names:
            known = ", ".join(names) or "none"
            raise CheckpointError(
                f"no embedded weights {text!r}{nearest(text, names)} (there are: {known}); a file is given by its path"
            )
        return _weights() / f"{text}{SUFFIX}"
    if Path(text).is_dir():
        raise CheckpointError(f"{text} is a folder; give the file in it, such as {Path(text) / 'model.safetensors'}")
    if not Path(text).exists():
        raise CheckpointError(
            f"{text} is not there; give the path of a checkpoint, or one of: {', '.join(list_embedded())}"
        )
    return Path(text)


def _weights() -> Path:
    import importlib.resources

    return Path(str(importlib.resources.files("tgim"))) / "weights"
