"""Preparations of a run that may take long, said while they last."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from tgim.system.say import bar as progress_bar

if TYPE_CHECKING:
    from tgim.data.cache import Progress

PATIENCE = 2.0  # seconds before a line is logged
log = logging.getLogger("tgim.doing")  # what it says is no warning; the command line shows it all the same


@cache
def note(text: str) -> None:
    """Say `text` as a warning, once in a process."""
    log.warning(text)


@contextmanager
def doing(what: str, *, bar: bool = False) -> Iterator[Progress]:
    """Give a function to call with (done, total): it shows progress, or logs one line once `what` takes long."""
    begun, said, bars = time.monotonic(), False, list[Any]()
    with ExitStack() as stack:

        def tell(done: int, total: int) -> None:
            nonlocal said
            if bar and not bars:
                bars.append(stack.enter_context(progress_bar(total=total, desc=what, unit="picture", show=True)))
            if bars:
                bars[0].total = total
                bars[0].update(done - bars[0].n)
            spent = time.monotonic() - begun
            if not bar and not said and spent > PATIENCE and 0 < done < total:
                said = True
                left = spent / done * (total - done)
                log.info("%s: %s of %s done, about %.0f s to go", what, f"{done:,}", f"{total:,}", left)

        yield tell
