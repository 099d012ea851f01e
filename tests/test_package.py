"""Laws of the package as a whole: what importing costs, which way imports run, what the library never does."""

from __future__ import annotations

import ast
import os
import re
import resource
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import tgim
from support import ROOT

PACKAGE = Path(tgim.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS: dict[str, list[Path]] = {}  # direct child of the package -> its files
for _file in FILES:
    ROOMS.setdefault(_file.relative_to(PACKAGE).parts[0].removesuffix(".py"), []).append(_file)
HEAVY = ("torch", "torchvision", "numpy", "PIL", "pydantic", "skimage", "accelerate", "ray", "pyarrow")
LAYERS = (  # a room imports itself and rooms of earlier layers
    {"_version", "errors", "system"},
    {"environment", "images", "text"},
    {"checkpoints", "data", "nn"},
    {"metrics", "models"},
    {"conversion", "inference"},
    {"evaluation", "scale"},
    {"reporting"},
    {"training"},
    {"server"},
    {"cli"},
    {"__main__"},
)

NO_NAME = re.compile(r"(What|How|Whether|Where|When|Why|Which|Whose?|Is|Are|As|All|Those|That|Of|From)\b")


def name_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imports_of(file: Path) -> set[str]:
    """Modules of tgim that a file imports anywhere, type checking aside."""
    found: set[str] = set()
    nodes = list(ast.walk(tree_of(file)))
    checking = [node for node in nodes if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    aside = {child for node in checking for statement in node.body for child in ast.walk(statement)}
    for node in nodes:
        if node in aside:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "tgim"}


def top(name: str) -> str:
    """The direct child of the package that a dotted name lies in."""
    return name.split(".")[1] if "." in name else ""


def loaded_by(code: str) -> set[str]:
    """Packages that are loaded after `code` ran in a fresh interpreter."""
    script = f"import sys\n{code}\nprint(*{{m.split('.')[0] for m in sys.modules}})"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    return set(run.stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    [
        "tgim",
        "tgim.cli.main",
        "tgim.errors",
        "tgim.text",
        "tgim.inference.batch_edit",
        "tgim.environment",
        "tgim.scale",
    ],
)
def test_importing_is_cheap(module):
    assert not loaded_by(f"import {module}") & set(HEAVY)


@pytest.mark.slow
def test_a_checkpoint_is_described_without_torch(tagrid_file):
    code = f"from tgim.checkpoints.card import model_card, render\nrender(model_card({str(tagrid_file)!r}))"
    assert not loaded_by(code) & {"torch", "numpy"}


@pytest.mark.slow
def test_help_answers_at_once():
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}

    def seconds_of(*arguments):
        """Processor time of a command, which other work on the machine hardly changes."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], capture_output=True, env=environment, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    bare = min(seconds_of("-c", "") for _ in range(5))
    assert min(seconds_of("-m", "tgim", "--help") for _ in range(5)) < max(0.3, 6 * bare)  # 0.07 s


def test_the_public_names_are_there():
    assert all(getattr(tgim, name) is not None for name in tgim.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tgim.nonsense


@pytest.mark.slow
@pytest.mark.parametrize("room", sorted(ROOMS.keys() - {"__init__"}))
def test_imports_run_one_way(room):
    rank = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    assert room in rank, f"say in LAYERS where {room} belongs"
    for file in ROOMS[room]:
        for name in imports_of(file):
            if name != "tgim" and top(name) in rank:
                assert top(name) == room or rank[top(name)] < rank[room], f"{name_of(file)} imports {name}"


def test_training_does_without_what_people_hold():
    for file in FILES:
        if file.parent == PACKAGE / "training":
            assert not [name for name in imports_of(file) if top(name) == "inference"], file


@pytest.mark.slow
@pytest.mark.parametrize("room", ["evaluation", "inference", "models"])
def test_what_a_model_can_do_is_declared_not_looked_up(room):
    for file in (PACKAGE / room).rglob("*.py"):
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
                assert not isinstance(node.args[1], ast.Constant), f"{file}:{node.lineno}"


@pytest.mark.slow
def test_each_module_can_be_imported_first():
    names = [name_of(file) for file in FILES if file.stem != "__main__"]
    script = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    for loaded in [m for m in sys.modules if m.split('.')[0] == 'tgim']: del sys.modules[loaded]\n"
        "    try: importlib.import_module(name)\n"
        "    except ImportError as error: print(name, error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert run.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize("room", sorted(ROOMS))
def test_the_library_neither_prints_nor_asserts_nor_unpickles(room):
    for file, node in ((each, node) for each in ROOMS[room] for node in ast.walk(tree_of(each))):
        where = f"{file}:{getattr(node, 'lineno', 0)}"
        assert not isinstance(node, ast.Assert), where
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "pickle.load", "pickle.loads", "eval", "exec"), where
            if called == "np.load":
                assert all(k.arg != "allow_pickle" or ast.unparse(k.value) == "False" for k in node.keywords), where
            if called == "torch.load":
                assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords), where


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_docstrings_begin_with_what_they_name(room):
    for file in ROOMS[room]:
        nodes = [n for n in ast.walk(tree_of(file)) if isinstance(n, (ast.Module, ast.ClassDef, ast.FunctionDef))]
        texts = {ast.get_docstring(node) or "": getattr(node, "name", "the module") for node in nodes}
        assert not {text: name for text, name in texts.items() if NO_NAME.match(text)}, file


@pytest.mark.parametrize("folder", ["benchmarks", "tests", "tgim"])
def test_files_stay_readable(folder):
    long = {str(file) for file in (ROOT / folder).rglob("*.py") if file.read_text(encoding="utf-8").count("\n") > 400}
    assert not long


@pytest.mark.slow
def test_what_test_files_share_is_in_their_support():
    for file in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {*(alias.name for alias in node.names), getattr(node, "module", None) or ""}
                assert not any(name.startswith(("test_", "conftest")) for name in names), file
