"""Print all that tgim says to people, by kind and file: errors, warnings, notices, help; to be read in one voice.

python docs/messages.py [errors|warnings|said|help]
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "tgim"
WARNERS = {"warn", "warning", "notify"}
SPEAKERS = {"say", "echo", "tell", "bar", "doing", "info"}


def words(node: ast.AST) -> str:
    """The text of a string, with what is filled in as names in braces; empty for what is no string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (words(each) or f"{{{ast.unparse(getattr(each, 'value', each))}}}" for each in node.values)
        return "".join(parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        return words(node.left) + (words(node.right) if isinstance(node.op, ast.Add) else "")
    if isinstance(node, ast.IfExp):
        return f"{words(node.body)} / {words(node.orelse)}"
    return ""


def called(node: ast.Call) -> str:
    """Name of what is called."""
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def kind_of(node: ast.Call) -> str:
    """Kind of what a call says; empty for a call that says nothing."""
    name = called(node)
    if name.endswith(("Error", "BadParameter", "UsageError")):
        return "errors"
    if name in WARNERS:
        return "warnings"
    return "said" if name in SPEAKERS else ""


def messages(file: Path) -> Iterator[tuple[str, int, str]]:
    """Kind, line and text of what a module says."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        for keyword in node.keywords:
            if keyword.arg in ("help", "short_help", "metavar") and words(keyword.value):
                yield "help", node.lineno, words(keyword.value)
        if (kind := kind_of(node)) and node.args and (text := words(node.args[0])):
            yield kind, node.lineno, text


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["errors", "warnings", "said", "help"]
    for asked in wanted:
        print(f"== {asked}")
        for module in sorted(ROOT.rglob("*.py")):
            for kind, line, text in messages(module):
                if kind == asked:
                    print(f"{module.relative_to(ROOT)}:{line}: {' '.join(text.split())}")
