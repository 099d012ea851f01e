"""Trained parts: weights that a system takes from the checkpoint of another, named by a key of its recipe.

Such a key (`model.matching`, `model.text`, ...) is the path of a checkpoint, or the name of an embedded one. A second
key holds the sizes of the part, so that the checkpoint of the whole loads without it; training fills it in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tgim.checkpoints import checkpoint
from tgim.errors import CheckpointError, PluginError
from tgim.models.base import Model
from tgim.text.vocabulary import Vocabulary

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Part(Generic[M]):
    """A part that comes from the checkpoint of a `system`, or of any system of that kind, such as `Generating`."""

    key: str  # model.<key> names the checkpoint
    sizes_key: str  # model.<sizes_key> has the config of the part
    system: type[M]

    def kind(self, name: str, *, origin: str) -> type[M]:
        """Find the class of the system `name`; CheckpointError, naming its `origin`, when it is of another kind."""
        try:
            found = checkpoint.find_model(name)
        except KeyError:
            found = Model
        except PluginError as error:
            raise CheckpointError(f"{origin}: {error}") from None
        if not issubclass(found, self.system):
            raise CheckpointError(f"{origin}, but model.{self.key} must name a trained {self.what}")
        return found

    @property
    def what(self) -> str:
        """The part in a word: the quoted name of its system, or the role of systems of its kind."""
        return repr(self.system.name) if self.system.name else self.system.role

    def header(self, source: str) -> dict[str, Any]:
        """Read the checkpoint's header, see `checkpoint.read_header`; CheckpointError when it is of another system."""
        header = checkpoint.read_header(source)
        self.kind(header["address"], origin=f"{source} is a {header['name']!r}")
        return header

    def sizes(self, source: str | None, given: Any = None) -> Any:
        """The config of the part: the one `given` in the recipe, else the checkpoint's, else None."""
        if given is not None or source is None:
            return given
        header = self.header(source)
        return self.kind(header["address"], origin=source).Config(**header["config"])

    def vocabulary(self, source: str | None) -> Vocabulary | None:
        """The words of the part, None where none is named: captions must mean the same ids to both."""
        return None if source is None else Vocabulary(self.header(source)["vocabulary"])

    def load(self, source: str | None, sizes: Any = None) -> M:
        """The trained part, in evaluation mode.

        Raises:
            CheckpointError: none is named, it is of another system, or its config is not `sizes` (where given).
        """
        if source is None:
            raise CheckpointError(
                f"model.{self.key} is not given, and model.{self.sizes_key} gives sizes alone; name the checkpoint of "
                f"a trained {self.what}"
            )
        self.header(source)
        found = checkpoint.load(source).model
        if not isinstance(found, self.system) or sizes not in (None, found.config):
            raise CheckpointError(
                f"{source} is not of the sizes in model.{self.sizes_key}; leave model.{self.sizes_key} out"
            )
        return found
