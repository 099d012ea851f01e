"""Examination of an installation: `tgim doctor` prints it. Nothing is written, and torch may be missing."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from tgim._version import __version__
from tgim.errors import UserError
from tgim.inference import recorded
from tgim.system.memory import available_memory
from tgim.system.packages import EXTRAS, FULL, LIGHT, TORCH, Package, is_old, is_there
from tgim.system.runtime import THREADS, WAIT_POLICY, cpu_quota, machine_cores, usable_cores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


State = Literal["ok", "note", "fails"]
APART = 1  # of 255 levels, at the most, between the edits of both engines
PIP = {"onnx": "onnxruntime", "torch": "torch torchvision"}
USE = {  # of an engine that is missing
    "onnx": "; edits take torch instead, and start more slowly",
    "torch": "; birds and flowers edit without it, all other models and training need it",
}
NEEDED = {"onnx": 1.5, "torch": 2.0}  # GiB for 12 megapixels; measured 1.3 and 1.7 (4000 x 3000, JPEG, whole bird)
SPARE_DISK = 1.0  # GiB, less is told
REPORT = "install tgim again; if that does not help, report it with what tgim doctor --json and tgim env print"
FORMATS = {"jpg": "JPEG", "zlib": "PNG", "webp": "WebP", "libtiff": "compressed TIFF"}  # Pillow's names of features
NEEDED_FORMATS = ("jpg", "zlib")


class Finding(NamedTuple):
    """One thing that was looked at: its name, whether it is right, what was found, and what to do about it."""

    name: str
    state: State
    told: str
    remedy: str = ""  # empty where all is well


def examine(*, full: bool = False) -> Iterator[Finding]:
    """Look at everything that edits need, one after the other; a few seconds. Nothing is raised.

    "fails" is what makes verbs fail or edit wrongly, "note" what may be wanted and is not there.

    Args:
        full: compare all embedded files by their hashes, too.
    """
    yield Finding("tgim", "ok", f"{__version__} in {_home()}, Python {platform.python_version()}, {_system()}")
    engines: dict[str, NDArray[np.uint8]] = {}
    checks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("packages", look_at_packages),
        ("models", partial(look_at_models, full=full)),
        ("edit", partial(look_at_edits, engines)),
        ("extras", look_at_extras),
        ("threads", look_at_threads),
        ("memory", partial(look_at_memory, engines)),
        ("cache", look_at_cache),
        ("bf16", look_at_bf16),
        ("formats", look_at_formats),
    )
    for name, check in checks:
        try:
            yield from check()
        except Exception as error:
            yield Finding(name, "fails", f"could not be looked at: {type(error).__name__}: {error}", REPORT)


def _home() -> Path:
    return Path(__file__).resolve().parents[1]


def _system() -> str:
    return f"{platform.system()} {platform.machine()}"


def _pip(*packages: Package) -> str:
    """Say the command that installs packages."""
    return "pip install " + " ".join(f'"{each.wanted}"' if each.least else each.name for each in packages)


def _pip_extra(extra: str) -> str:
    """Say the command that installs an extra; without torch, one that leaves it out."""
    return f'pip install "tgim[{extra}]"' if is_there(TORCH) else _pip(*EXTRAS[extra])


def look_at_packages() -> Iterator[Finding]:
    """Find required packages that are missing or too old; without torch, those of the small installation.

    Either engine will do (`look_at_edits`).
    """
    required = [*LIGHT, TORCH, *FULL] if is_there(TORCH) else [*LIGHT]
    absent = [each for each in required if not is_there(each)]
    missing = [each for each in absent if each.module != "onnxruntime"]
    old = [each for each in required if each not in absent and is_old(each)]
    for found, what in ((missing, "missing"), (old, "too old")):
        if found:
            yield Finding("packages", "fails", f"{what}: {', '.join(each.name for each in found)}", _pip(*found))
    if not missing and not old:
        yield Finding("packages", "ok", f"{len(required) - len(absent)} required packages are there")


def look_at_models(*, full: bool = False) -> Iterator[Finding]:
    """Compare the embedded files with their record: names, sizes, headers, with `full` hashes."""
    from tgim.checkpoints.checkpoint import read_header
    from tgim.checkpoints.graphs import SUFFIX, read_graphs

    total, wrong = 0, 0
    files = recorded.read_record()["files"]
    for name, told in files.items():
        path, what = recorded.WEIGHTS / name, ""
        try:
            size = path.stat().st_size
            total += size
            if size != told["bytes"]:
                what = f"has {size} bytes, expected {told['bytes']}"
            elif full and recorded.sha256(path) != told["sha256"]:
                what = "has other content than when it was recorded"
            elif path.suffix == SUFFIX:
                read_graphs(path)
            else:
                read_header(path)
        except FileNotFoundError:
            what = "is missing"
        except (OSError, UserError) as error:
            what = "cannot be read: " + str(error).partition(";")[0]
        if what:
            wrong += 1
            yield Finding("models", "fails", f"{name} {what}", recorded.AGAIN)
    if not wrong:
        looked = "hashes" if full else "sizes and headers; --full compares hashes"
        yield Finding("models", "ok", f"{len(files)} embedded files are whole, {total / 1e6:.0f} MB ({looked})")


def look_at_edits(engines: dict[str, NDArray[np.uint8]]) -> Iterator[Finding]:
    """Edit a rendered bird by each engine, and compare the edits with what is right, the record, and each other.

    Args:
        engines: gets the edit (H, W, 3) of each engine that works.
    """
    rendering = recorded.sample()
    for engine, module in (("onnx", "onnxruntime"), ("torch", "torch")):
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            if error.name == module:
                told = f"{module} is not installed{USE[engine]}"
                yield Finding(f"engine {engine}", "note", told, f"pip install {PIP[engine]}")
                continue
            yield _broken(engine, module, error)
            continue
        except Exception as error:  # a library of the system that is missing, another processor, ...
            yield _broken(engine, module, error)
            continue
        try:
            edited = recorded.edit(rendering.image, engine)
        except Exception as error:
            yield Finding(f"engine {engine}", "fails", f"an edit ends in {type(error).__name__}: {error}", REPORT)
            continue
        engines[engine] = edited
        wrong = recorded.judge(rendering, edited)
        if wrong:
            yield Finding(f"engine {engine}", "fails", f"an edit of a rendered bird is wrong: {wrong}", REPORT)
        else:
            told = f"{module} edits a rendered bird rightly: red head, background bit-identical, as recorded"
            yield Finding(f"engine {engine}", "ok", told)
    if not engines:
        yield Finding("engines", "fails", "no engine works, so nothing can be edited", "pip install onnxruntime")
    elif len(engines) == 2:
        first, second = engines.values()
        apart = abs(first.astype(int) - second).max()
        told = f"their edits differ by {apart} of 255 levels at the most"
        state: State = "ok" if apart <= APART else "fails"
        yield Finding("engines", state, told, "" if state == "ok" else f"{REPORT}; --engine chooses one")


def _broken(engine: str, module: str, error: Exception) -> Finding:
    remedy = f"pip install --force-reinstall {PIP[engine]}"
    return Finding(f"engine {engine}", "fails", f"{module} is there, but cannot be loaded: {error}", remedy)


def look_at_extras() -> Iterator[Finding]:
    """Say which extras are there, and how to get the others."""
    for extra, packages in EXTRAS.items():
        missing = [each for each in packages if not is_there(each)]
        old = [each for each in packages if each not in missing and is_old(each)]
        if missing or old:
            found = (("missing", missing), ("too old", old))
            told = "; ".join(f"{what}: {', '.join(each.name for each in some)}" for what, some in found if some)
            yield Finding(f"extra {extra}", "note", told, _pip_extra(extra))
        else:
            yield Finding(f"extra {extra}", "ok", "is there")


def look_at_threads() -> Iterator[Finding]:
    """Compare the threads that edits take with the cores that this process may use."""
    cores, usable, quota = machine_cores(), usable_cores(), cpu_quota()
    limit = "" if quota is None else f", by a quota of {quota:g}"
    room = f"{usable} of {cores} cores may be used{limit}"
    asked = os.environ.get(THREADS, "")
    first = asked.split(",")[0].strip()
    waiting = [name for name in WAIT_POLICY if os.environ.get(name, "").upper() == "ACTIVE"]
    if quota is not None and quota < 1:
        told = f"the container has {quota:g} of a core: an edit takes {1 / quota:.1f} times as long"
        yield Finding("threads", "note", told, "give the container a core or two, by docker run --cpus 2 say")
    if asked and not (first.isdigit() and int(first)):
        told, remedy = f"{THREADS}={asked} is no number of threads; {room}", f"unset {THREADS}, or set it to {usable}"
        yield Finding("threads", "note", told, remedy)
    elif first and int(first) > usable:
        told = f"{THREADS}={first}, but {room}: threads wait for each other, edits take longer"
        yield Finding("threads", "note", told, f"unset {THREADS}, or set it to {usable}")
    elif waiting:
        told = f"{waiting[0]}=ACTIVE: threads that wait keep their cores busy; {room}"
        yield Finding("threads", "note", told, f"unset {waiting[0]}")
    else:
        yield Finding("threads", "ok", f"{room}; threads of an edit: {first or usable}")


def look_at_memory(engines: dict[str, NDArray[np.uint8]]) -> Iterator[Finding]:
    """Compare the memory that is available with what an edit of 12 megapixels takes."""
    needed = NEEDED["torch" if [*engines] == ["torch"] else "onnx"]
    found = available_memory()
    what = f"an edit of 12 megapixels takes {needed:g} GiB"
    if found is None:
        yield Finding("memory", "ok", f"{what}; this system does not say what is available")
    elif found < needed * 2**30:
        remedy = "close other programs, raise the container's limit, or edit smaller photographs"
        yield Finding("memory", "note", f"{found / 2**30:.1f} GiB are available, {what}", remedy)
    else:
        yield Finding("memory", "ok", f"{found / 2**30:.1f} GiB are available, {what}")


def look_at_cache() -> Iterator[Finding]:
    """Look whether the folder of caches, or the one that it would be made in, takes files. Edits need none."""
    from tgim.data.cache import cache_folder
    from tgim.inference.embeddings import FOLDER as EMBEDDINGS
    from tgim.inference.embeddings import stores

    remedy = "set TGIM_CACHE to a folder that can be written; edits need none, training and tgim eval do"
    try:
        folder = cache_folder()
    except UserError as error:
        yield Finding("cache", "note", str(error).partition(";")[0], remedy)
        return
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        yield Finding("cache", "note", f"{there} is not a folder, so {folder} cannot be made", remedy)
    elif not os.access(there, os.W_OK | os.X_OK):
        yield Finding("cache", "note", f"{folder} cannot be written", remedy)
    elif (free := shutil.disk_usage(there).free / 2**30) < SPARE_DISK:
        yield Finding("cache", "note", f"{folder} has {free:.1f} GiB of room", f"make room, or {remedy}")
    else:
        held = sum(size for size, _ in stores(folder / EMBEDDINGS).values()) / 2**30
        told = f"; {held:.1f} GiB of embeddings lie in {EMBEDDINGS}, which may be deleted" if held else ""
        yield Finding("cache", "ok", f"{folder} can be written, {free:.0f} GiB are free{told}")


def look_at_bf16() -> Iterator[Finding]:
    """Say in which number format training computes here, and why."""
    from tgim.environment import ISA_LIMITS, cpu_features, pick_precision

    try:
        import torch
    except Exception:  # without it, or with one that cannot be loaded
        told = ", ".join(feature for feature in cpu_features() if "bf16" in feature) or "none that the system tells"
        yield Finding("bf16", "ok", f"instructions: {told}; only training, by torch, uses them")
        return
    limit = next((name for name in ISA_LIMITS if os.environ.get(name)), "")
    found = pick_precision("auto", "cuda" if torch.cuda.is_available() else "cpu")
    if limit and limit in found.reason and found.name == "fp32":
        yield Finding("bf16", "note", f"training computes in {found}", f"unset {limit}")
    else:
        yield Finding("bf16", "ok", f"training computes in {found}; edits in fp32")


def look_at_formats() -> Iterator[Finding]:
    """Say which kinds of pictures are opened here."""
    from PIL import features

    from tgim.images.kinds import PHONE, is_opened

    absent = [name for name in FORMATS if not features.check(name)]
    for name in absent:
        state: State = "fails" if name in NEEDED_FORMATS else "note"
        remedy = "pip install --force-reinstall pillow, a wheel of which has it"
        yield Finding("formats", state, f"this Pillow reads and writes no {FORMATS[name]}", remedy)
    phones = {kind: is_opened(kind) for kind in dict.fromkeys(PHONE.values())}
    shown = {"AVIF": "AVIF", "HEIF": "HEIC"}
    for kind, opened in phones.items():
        if not opened:
            yield Finding("formats", "note", f"{shown[kind]} pictures, of phones, are not opened", _pip_extra("phone"))
    names = [FORMATS[name].split()[-1] for name in FORMATS if name not in absent]
    names += [shown[kind] for kind, opened in phones.items() if opened]
    yield Finding("formats", "ok", f"opened: {', '.join([*names, 'BMP', 'GIF'])}")
