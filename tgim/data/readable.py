"""The pictures of a data set that can be read: one that cannot never ends a run, whichever part of it opens it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tgim.data.base import CaptionedImages
from tgim.data.cache import Progress, readable
from tgim.errors import DataError


def only_readable(
    dataset: CaptionedImages,
    *,
    cache: str | Path | None = None,
    progress: Progress | None = None,
    limit: int | None = None,
) -> CaptionedImages:
    """Leave out the pictures of a data set that `tgim data check` calls unreadable, with a warning.

    Args:
        dataset: any but a synthetic one.
        cache: folder where it is kept which they are; `cache_folder()` unless given.
        progress: called with (done, total) while pictures are looked at.
        limit: look at so many readable ones alone; the rest are believed to be.

    Raises:
        DataError: none can be read, or the cache cannot be written.
    """
    items = dataset.items
    good: set[Path] = set()
    seen, wanted = 0, len(items) if limit is None else min(limit, len(items))
    while seen < len(items) and len(good) < wanted:
        part = items[seen : seen + wanted - len(good)]
        good |= readable(sorted(item.path for item in part), folder=cache, progress=progress)
        seen += len(part)
    left = (*(item for item in items[:seen] if item.path in good), *items[seen:])
    if not left:
        raise DataError(f"{dataset.root}: none of {len(items)} pictures can be read; run tgim data check on it")
    return dataset if len(left) == len(items) else replace(dataset, items=left)
