"""Models that a server offers: by name, loaded once, in memory for all requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tgim.checkpoints import checkpoint
from tgim.errors import UserError, nearest
from tgim.inference.editor import EDITING, Editor, open_editor
from tgim.models.parsing.part_maps import PartFinder

if TYPE_CHECKING:
    from tgim.inference.generator import Generator

T = TypeVar("T")


class Catalog:
    """Models that are served, each loaded when it is first asked for, and once.

    Args:
        models: names of embedded checkpoints, or files, by the name that requests use; the first of a role is its
            default.
        device: "cpu" or "cuda".
    """

    def __init__(self, models: dict[str, str | Path], *, device: str = "cpu") -> None:
        self.models, self.device = models, device
        self.headers = {name: checkpoint.read_header(source) for name, source in models.items()}
        self._loaded: dict[tuple[str, str], Any] = {}
        self._turn = threading.Lock()

    @property
    def loaded(self) -> list[str]:
        """Names of the models that are in memory."""
        return sorted({name for name, _ in self._loaded})

    def editor(self, name: str = "") -> tuple[str, Editor]:
        """An editor and its name, the default one unless given; raises UserError."""
        chosen = self._chosen(name, EDITING, "edits")
        return chosen, self._load(chosen, "editor", lambda source: open_editor(source, device=self.device))

    def generator(self, name: str = "") -> tuple[str, Generator]:
        """A generator and its name, the default one unless given; raises UserError."""
        from tgim.inference.generator import Generator

        chosen = self._chosen(name, ("generator",), "generates")
        load = Generator.from_pretrained
        return chosen, self._load(chosen, "generator", lambda source: load(source, device=self.device))

    def matching(self, name: str = "") -> tuple[str, checkpoint.Checkpoint]:
        """A matching model and its name, the default one unless given; raises UserError."""
        from tgim.inference.ranking import open_matching as load

        chosen = self._chosen(name, ("matching",), "matches")
        return chosen, self._load(chosen, "matching", lambda source: load(source, device=self.device))

    def finder(self, name: str = "") -> tuple[str, PartFinder]:
        """The part finder of an editor, and the editor's name; raises UserError."""
        chosen, editor = self.editor(name)
        finder = editor.engine.finder
        if finder is None:
            raise UserError(f"{chosen} knows no parts; ask for a model that does, such as birds")
        return chosen, finder

    def describe(self) -> list[dict[str, Any]]:
        """Name, role, title, licence and what it can do, of each model."""
        return [
            {
                "name": name,
                "role": header["role"],
                "title": header["card"].get("title", ""),
                "licence": header["card"].get("licence", ""),
                "edits": header["role"] in EDITING,
                "searches": header["role"] == "generator",
                "loaded": name in self.loaded,
            }
            for name, header in self.headers.items()
        ]

    def _chosen(self, name: str, roles: Sequence[str], does: str) -> str:
        able = [each for each, header in self.headers.items() if header["role"] in roles]
        if not able:
            raise UserError(f"no model is served that {does}; start the server with one, see tgim list")
        if name and name not in able:
            what = f"{name!r} is not served" if name not in self.models else f"{name} {_cannot(does)}"
            raise UserError(f"{what}{nearest(name, able)}; ask for one of: {', '.join(able)}")
        return name or able[0]

    def _load(self, name: str, kind: str, load: Callable[[str | Path], T]) -> T:
        with self._turn:
            if (name, kind) not in self._loaded:
                self._loaded[name, kind] = load(self.models[name])
            found: T = self._loaded[name, kind]
            return found


def _cannot(does: str) -> str:
    return f"neither {does} nor can be made to" if does == "edits" else f"is no model that {does}"
