"""Cards of checkpoints: what people should know before they use one, read from its header without torch."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

from tgim.checkpoints import checkpoint, registry

SECTIONS: dict[str, tuple[registry.Role, ...]] = {  # of the list of systems, and the roles in each
    "systems": ("editor", "generator"),
    "matching": ("matching",),
    "composing": ("retrieval",),
    "parts": ("parsing",),
}


def model_card(name_or_path: str | Path) -> dict[str, Any]:
    """Read the card of a checkpoint, embedded or a file, as JSON values; its vocabulary is counted, not listed.

    Raises:
        CheckpointError: as `tgim.checkpoints.checkpoint.read_header`.
    """
    path = checkpoint.resolve(name_or_path)
    header = checkpoint.read_header(path)
    history = header["history"] if isinstance(header["history"], dict) else {}
    return {
        "model": str(name_or_path),
        "file": str(path),
        "megabytes": round(path.stat().st_size / 2**20, 2),
        "system": header["name"],
        "role": header["role"],
        "address": header["address"] if header["address"] != header["name"] else None,
        "card": header["card"],
        "data": header["data"],
        "image_size": header["preprocessing"].get("image_size"),
        "parameters": sum(math.prod(tensor["shape"]) for tensor in header["tensors"].values()),
        "number_types": sorted({tensor["dtype"] for tensor in header["tensors"].values()}),
        "words": len(header["vocabulary"]),
        "template": header["template"],
        "config": header["config"],
        "training": {key: value for key, value in history.items() if key not in ("curve", "recipe")},
        "recipe": history.get("recipe"),
        "tgim_version": header["tgim_version"],
    }


def list_all() -> dict[str, dict[str, str]]:
    """List embedded checkpoints, and the systems that edit or generate, match, compose and find parts.

    Each name has a line with the model's role and what it is. Systems of the modules in TGIM_PLUGINS are among them.
    """
    embedded = {}
    for name in checkpoint.list_embedded():
        card = model_card(name)
        embedded[name] = f"{card['role']}: {card['card'].get('title', card['system'])} ({card['megabytes']} MiB)"
    systems = {
        section: {
            name: f"{system.role}: {_headline(system)}"
            for role in roles
            for name, system in registry.systems(role).items()
        }
        for section, roles in SECTIONS.items()
    }
    return {"models": embedded, **systems}


def _headline(model: type) -> str:
    """The first sentence of the module that holds the model, which names its paper."""
    text = " ".join((sys.modules[model.__module__].__doc__ or "").strip().partition("\n\n")[0].split())
    sentence = re.match(r".*?(?<!et al)[.](?=\s|$)", text)
    return sentence[0] if sentence else text


def render(card: dict[str, Any]) -> str:
    """Write a card as text, one fact a line; what is not known is left out."""
    own = dict(card["card"])
    facts: dict[str, Any] = {
        "title": own.pop("title", None),
        "system": f"{card['system']} ({card['role']}), {card['image_size']} px",
        "class": card["address"],
        "file": f"{card['file']}, {card['megabytes']} MiB",
        "parameters": f"{card['parameters']:,} ({', '.join(card['number_types'])})",
        "vocabulary": f"{card['words']:,} words",
        "phrases": f"become {card['template'].format('...')!r}" if card["template"] != "{}" else None,
        "data": card["data"],
        "licence": own.pop("licence", card["data"].get("licence")),
        "figures": own.pop("figures", None),
        "limits": own.pop("limits", None),
        **own,
        "training": card["training"],
        "written by": f"tgim {card['tgim_version']}",
    }
    lines: list[str] = []
    for name, value in facts.items():
        rows = [row for row in _rows(value) if row] or []
        lines += [f"{name.replace('_', ' '):<12}{row}" if i == 0 else f"{'':<12}{row}" for i, row in enumerate(rows)]
    return "\n".join(lines)


def _rows(value: Any) -> list[str]:
    """A fact as lines: one for each entry of a list or dictionary."""
    if value is None or value == {} or value == []:
        return []
    if isinstance(value, dict):
        return [f"{str(key).replace('_', ' ')}: {_short(inner)}" for key, inner in value.items() if inner is not None]
    if isinstance(value, list):
        return [_short(inner) for inner in value]
    return str(value).splitlines()


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{str(key).replace('_', ' ')} {_short(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
