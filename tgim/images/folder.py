"""Pictures in a folder, known by their suffix."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from tgim.errors import ImageError, unexpanded
from tgim.images.door import one_line, reason
from tgim.images.kinds import FOREIGN, PHONE, SUFFIXES, suffixes

log = logging.getLogger(__name__)


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """The pictures directly in `folder` by their suffix, hidden files left out, in alphabetical order.

    Pictures of kinds that tgim does not open (HEIC, AVIF, ...) are left out, and logged as a warning.

    Raises:
        ImageError: no such folder, or no picture in it.
    """
    name = one_line(os.fspath(folder))
    try:
        visible = sorted(path for path in Path(folder).iterdir() if not path.name.startswith("."))
        files = [path for path in visible if not path.is_dir()]
    except (OSError, ValueError) as error:
        why = f"{reason(error)}{unexpanded(name)}"
        raise ImageError(f"{name} cannot be listed ({why}); expected a folder of pictures") from error
    opened = suffixes()
    foreign = [path for path in files if path.suffix.lower() in {*FOREIGN, *PHONE}.difference(opened)]
    if foreign:
        kinds = ", ".join(sorted({path.suffix.lower() for path in foreign}))
        extra = ', or pip install "tgim[phone]"' if any(path.suffix.lower() in PHONE for path in foreign) else ""
        log.warning("%s: %d files are left out, convert them first (%s)%s", name, len(foreign), kinds, extra)
    found = [path for path in files if path.suffix.lower() in opened]
    inner = [one_line(str(path)) for path in visible if path not in files]
    if not found and inner:
        what = f"but {len(inner)} folders" if len(inner) > 1 else "but a folder"
        raise ImageError(f"{name} holds no picture, {what}, which are not looked into; name one of them: {inner[0]}")
    if not found:
        raise ImageError(f"{name} holds no picture; expected files that end in {', '.join(SUFFIXES)}")
    return found
