"""A model beside its equal that is folded for a CPU (`tgim.nn.folding`): what people hold stays as it is."""

from __future__ import annotations

import threading
from typing import Any, Generic, Literal, TypeVar

import torch

from tgim.environment import pick_precision
from tgim.errors import UserError
from tgim.models.base import Generating, Model
from tgim.models.editing.repainting import Repainting
from tgim.nn.folding import fold

Precision = Literal["fp32", "bf16"]
PRECISIONS: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
M = TypeVar("M", bound=Model)


class Fast(Generic[M]):
    """A model, and the network that pictures are made by.

    That is the model itself on a GPU, in training, where something looks at its modules (hooks), and for editors that
    do not repaint; else its folded equal, made at first use, and anew after its weights have changed.

    Args:
        model: what is folded.
        precision: "fp32", or "bf16", which is faster where the processor computes with it, and rounds.

    Raises:
        UserError: unknown precision, bf16 of a model that is not folded, or of a processor that emulates it.
    """

    def __init__(self, model: M, *, precision: str = "fp32") -> None:
        if precision not in PRECISIONS:
            raise UserError(f"precision is {precision!r}, expected one of {', '.join(PRECISIONS)}")
        self.model, self.dtype = model, PRECISIONS[precision]
        self._able = isinstance(model, Generating | Repainting)
        self._lock, self._folded, self._state = threading.Lock(), model, ()
        if precision == "bf16":
            native = pick_precision("auto", "cpu")
            if not self._able:
                raise UserError(f"{model.name} makes pictures in fp32 alone; leave out the precision")
            if native.name != "bf16":
                raise UserError(f"precision is bf16, but: {native.reason}; leave it out")

    def __call__(self) -> M:
        """The network to make pictures by, in inference mode or without gradients."""
        if not self._able or not foldable(self.model):
            return self.model
        with self._lock:
            state = state_of(self.model)
            if state != self._state:
                self._folded, self._state = fold(self.model, dtype=self.dtype), state
            return self._folded


def foldable(model: Model) -> bool:
    """Test whether a model is on a CPU, evaluates, and has no hooks."""
    looked_at = any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    return not model.training and not looked_at and all(each.device.type == "cpu" for each in model.parameters())


def state_of(model: Model) -> tuple[Any, ...]:
    """Places and versions of weights: another tuple after any change of them."""
    tensors = [*model.parameters(), *model.buffers()]
    return tuple((id(each), each.data_ptr(), 0 if each.is_inference() else each._version) for each in tensors)
