"""One safetensors file that loads alone: weights, config, vocabulary, template, preprocessing, provenance.

All that is not a tensor is one JSON object under the key "tgim" of the safetensors metadata. Nothing on the loading
path unpickles, and headers are read without torch, so that listing and describing checkpoints is quick.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tgim._version import __version__
from tgim.checkpoints.registry import KINDS, AnyModel, Role, built_in, find_model, reference, role_of
from tgim.checkpoints.tensorfile import SUFFIX, read_metadata, read_tensors, write
from tgim.errors import CheckpointError, PluginError, nearest

if TYPE_CHECKING:
    from torch import Tensor

    from tgim.text.vocabulary import Vocabulary

__all__ = [  # the parts below, and those of `registry` and `tensorfile` that go by its name
    "FORMAT",
    "KEY",
    "SUFFIX",
    "Checkpoint",
    "fill",
    "find_model",
    "fingerprint",
    "list_embedded",
    "load",
    "naming",
    "read_header",
    "read_metadata",
    "read_tensors",
    "resolve",
    "save",
    "write",
]
FORMAT = 1  # raise it when an older tgim could no longer read what is written
KEY = "tgim"  # of the metadata; a single key, because safetensors writes several in random order
SPARE, SPARE_SIZE = 1000, 10_000_000  # tensors and numbers that a model may have beside four times those of its file
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
    """Content of a checkpoint file, ready for use; `model` is in evaluation mode."""

    model: AnyModel
    vocabulary: Vocabulary
    template: str  # completes a bare phrase to a caption, "{}" stands for the phrase
    card: dict[str, Any] = field(default_factory=dict)  # title, licence, figures, limits
    history: dict[str, Any] | list[Any] = field(default_factory=dict)  # how it was trained
    data: dict[str, Any] = field(default_factory=dict)  # data set, split and licence
    preprocessing: dict[str, Any] = field(default_factory=dict)  # image_size in pixels, range of values
    role: Role = "editor"  # what the model does
    name: str = ""  # of its system
    version: str = __version__  # of the tgim that wrote it


# Writing


def save(
    path: str | Path,
    model: AnyModel,
    *,
    vocabulary: Vocabulary,
    template: str = "{}",
    card: Mapping[str, Any] | None = None,
    history: Mapping[str, Any] | list[Any] | None = None,
    data: Mapping[str, Any] | None = None,
    half: bool = False,
) -> Path:
    """Write a checkpoint of `model` that loads alone. Equal arguments give equal bytes.

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
    place = reference(type(model))
    tensors = {}
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{name} of the model is not finite; nothing was written, train with a lower rate")
        small = value.to(torch.float16) if half and value.is_floating_point() else value
        tensors[name] = small if small is value or bool(torch.isfinite(small).all()) else value
    header = {
        "format": FORMAT,
        "tgim_version": __version__,
        "kind": KINDS[model.role],
        "role": model.role,
        "name": model.name,
        **({"address": place} if place != model.name else {}),
        "config": model.config.model_dump(mode="json"),
        "vocabulary": list(vocabulary.words),
        "template": template,
        "preprocessing": {"image_size": model.image_size, "range": [-1, 1]},
        "data": dict(data or {}),
        "card": dict(card or {}),
        "history": history if history is not None else {},
    }
    return write(path, tensors, {KEY: header})


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

    from tgim.text.vocabulary import Vocabulary

    path = resolve(path)
    header = read_header(path)
    model_class = _class_of(header, path)
    try:
        config = model_class.Config(**header["config"])
        vocabulary = Vocabulary(header["vocabulary"])
    except (ValueError, TypeError) as error:  # pydantic's and ours are ValueErrors
        detail = re.sub(r"\s+", " ", str(error))[:500]
        raise CheckpointError(f"{path} has a config that does not fit {header['name']!r}: {detail}") from None
    try:
        with torch.random.fork_rng(devices=[]), _no_larger(header["tensors"], path):  # samples what is overwritten
            model = model_class(config, vocabulary_size=len(vocabulary))
    except CheckpointError:
        raise
    except Exception as error:  # a config that a class takes, and cannot build
        detail = re.sub(r"\s+", " ", f"{type(error).__name__}: {error}")[:500]
        raise CheckpointError(f"{path} has a config by which no {header['name']!r} can be built ({detail})") from error
    fill(model, read_tensors(path), path=path)
    return Checkpoint(
        model=model.to(torch.device(device)).eval(),
        vocabulary=vocabulary,
        version=header["tgim_version"],
        **{key: header[key] for key in ("template", "card", "history", "data", "preprocessing", "role", "name")},
    )


@contextmanager
def _no_larger(tensors: Mapping[str, Mapping[str, Any]], path: Path) -> Iterator[None]:
    """Stop the building of a model of far more parameters than the file has, before memory is spent on them.

    Raises:
        CheckpointError: it is far larger.
    """
    from torch.nn.modules.module import register_module_parameter_registration_hook

    count, size = SPARE + 4 * len(tensors), SPARE_SIZE + 4 * sum(math.prod(each["shape"]) for each in tensors.values())

    def look(module: Any, name: str, parameter: Any) -> None:
        nonlocal count, size
        count, size = count - 1, size - (0 if parameter is None else parameter.numel())
        if min(count, size) < 0:
            raise CheckpointError(f"{path} has a config of a far larger model than its tensors; get the file again")

    hook = register_module_parameter_registration_hook(look)
    try:
        yield
    finally:
        hook.remove()


def _class_of(header: Mapping[str, Any], path: Path) -> type[AnyModel]:
    """The class of the model in a checkpoint."""
    name, known = header["name"], list(built_in())
    try:
        found = find_model(header["address"])
        if (found.name, KINDS[found.role]) == (name, header["kind"]):
            return found
    except KeyError as error:
        (known,) = error.args
    except PluginError as error:
        raise CheckpointError(f"{path} holds a model {name!r}: {error}") from None
    raise CheckpointError(f"{path} holds a model {name!r}, which this tgim does not know{nearest(name, known)}")


def fill(model: AnyModel, tensors: Mapping[str, Tensor], *, path: str | Path) -> None:
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


def read_header(path: str | Path) -> dict[str, Any]:
    """Read the header of a checkpoint, without loading tensors or importing torch.

    Returns:
        "format", "tgim_version", "kind" (as older versions of tgim have it, see `KINDS`), "role" (a `Role`), "name",
        "address" (what `find_model` takes: the name or, of a system from outside tgim, package.module:Class), "config",
        "vocabulary" (words), "template", "preprocessing", "data", "card", "history", and "tensors": name ->
        {"dtype", "shape"}.

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
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        raise CheckpointError(f"{path} has a broken tgim header; get the file again") from None
    if version > FORMAT:
        raise CheckpointError(
            f"{path} was written by tgim {written_by} (format {version}); tgim {__version__} reads up to format "
            f"{FORMAT}, upgrade tgim"
        )
    for key, kind in _FIELDS.items():
        if not isinstance(header.get(key), kind):
            raise CheckpointError(f"{path} has a tgim header without a proper {key!r}; get the file again")
    if header["kind"] not in KINDS.values() or not all(isinstance(word, str) for word in header["vocabulary"]):
        raise CheckpointError(f"{path} has a tgim header of unknown kind or vocabulary; get the file again")
    if header["template"].count("{}") != 1 or re.search(r"[{}]", header["template"].replace("{}", "")):
        raise CheckpointError(f"{path} has a tgim header without a proper 'template'; get the file again")
    if not isinstance(header.setdefault("address", header["name"]), str):
        raise CheckpointError(f"{path} has a tgim header without a proper 'address'; get the file again")
    header["role"] = role_of(header["kind"], header.get("role"))
    return {**header, "tensors": tensors}


def fingerprint(path: str | Path) -> str:
    """Hash, 16 hex digits, of what a checkpoint (name or path) computes with: weights, config and words, not its card.

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


# Embedded weights


class EmbeddedName(str):
    """Name of a checkpoint that comes with the package, a plain `str` with what its card says.

    >>> name = EmbeddedName("tagan-birds")
    >>> name, name.role, name.description
    ('tagan-birds', 'editor', 'TAGAN, birds, 64 px, 50 minutes of one CPU core')
    """

    __slots__ = ()

    @property
    def role(self) -> str:
        """Role of the model: "editor", "generator", "matching" or "parsing"."""
        return str(read_header(str(self))["role"])

    @property
    def description(self) -> str:
        """Title of the card."""
        return str(read_header(str(self))["card"].get("title", ""))

    @property
    def licence(self) -> str:
        """Terms of its weights, and what they were trained on."""
        return str(read_header(str(self))["card"].get("licence", ""))


def list_embedded() -> list[str]:
    """Names of the checkpoints that come with tgim; imports no torch."""
    folder = _weights()
    return sorted(p.name.removesuffix(SUFFIX) for p in folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []


@contextmanager
def naming(files: Mapping[str, Path]) -> Iterator[None]:
    """Let the names in `files` stand for these files wherever a checkpoint is named within the block.

    A run of stages names the models of its earlier stages so, and no path gets into what it writes.
    """
    token = _NAMED.set(files)
    try:
        yield
    finally:
        _NAMED.reset(token)


def resolve(path: str | Path) -> Path:
    """Find the file of a path, or of a name of embedded weights; CheckpointError when there is none."""
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
