"""Edits of tables with any number of rows on any number of machines: Ray Data's `map_batches` over `Editor`.

`edit` adds a column of edited pictures to a data set of Ray. Each actor, a process on one of the machines, loads the
model once and edits one row after the other, as `tgim edit` does, so a row's picture does not depend on the others, on
the number of actors, or on which of them died: what a dead one had not handed over is begun again by another, however
often (Ray's default), so give each process the 3 GiB that the largest picture takes. Neither ray nor torch is imported
before `edit` is called. A block of the data set is one task; `Dataset.repartition(target_num_rows_per_block=64)` makes
small ones, which spread evenly and lose little.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tgim.errors import ImageError, TextError, UserError, nearest
from tgim.inference.batch_edit import make
from tgim.inference.folder_edit import FAULTS, Asked
from tgim.system.notices import hearing
from tgim.system.runtime import THREADS

if TYPE_CHECKING:
    from tgim.images.boxes import Box
    from tgim.images.photo import Photo
    from tgim.inference.editor import Size

MOST_BLOCKS = 1000  # that a table in memory is cut into


@dataclass(frozen=True)
class Columns:
    """Names of a table's columns: those that are read, None for one that there is not, and those that are added."""

    image: str
    text: str
    mask: str | None
    part: str | None
    box: str | None
    output: str
    notes: str
    error: str

    def check(self, there: Sequence[str]) -> None:
        """Compare with the columns that are there.

        Raises:
            UserError: one that is to be read is missing, or one that is to be added is there or has two uses.
        """
        for name in (self.image, self.text, self.mask, self.part, self.box):
            if name is not None and name not in there:
                known = ", ".join(there)
                raise UserError(f"the data set has no column {name!r}, it has {known}{nearest(name, there)}")
        added = (self.output, self.notes, self.error)
        for name in added:
            if name in there or added.count(name) > 1:
                raise UserError(f"the column {name!r} would be there twice; give another name for what is added")


def edit(
    dataset: Any,
    *,
    image_column: str = "image",
    text_column: str = "text",
    mask_column: str | None = None,
    part_column: str | None = None,
    box_column: str | None = None,
    output_column: str = "edited",
    notes_column: str = "notes",
    error_column: str = "error",
    model: str = "birds",
    strength: float = 1.0,
    box: str | Box | None = None,
    focus: bool = True,
    part: str | None = None,
    size: Size = "photo",
    seed: int | None = None,
    format: str = "",
    quality: int | None = None,
    metadata: bool = False,
    concurrency: int | tuple[int, int] | None = None,
    num_cpus: float = 1,
    batch_size: int = 16,
    keep_order: bool = True,
    on_error: Literal["record", "raise"] = "record",
) -> Any:
    """Edit the picture of each row by the row's own text; lazily, as all of Ray Data.

    Args:
        dataset: a `ray.data.Dataset`; or a pandas or pyarrow table or a list of dicts, which is cut into blocks.
        image_column: pictures, each of one of these kinds: the bytes of a file, its path as text, which every machine
            must reach, a dict with `bytes` or `path` (as in tables of Hugging Face), or an array (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4) that is uint8 or float in [0, 1].
        text_column: captions or phrases.
        mask_column: pictures of the same kinds, of any size, white where the row's picture may change; null for none.
        part_column: the part of the subject that alone may change; null for `part`.
        box_column: x, y, width and height in pixels, a list or text; null for `box`.
        output_column: added: the bytes of the edited file, in the picture's own format, with its alpha, profile and 16
            bits as `tgim edit` writes them, PNG of an array; null where the row failed.
        notes_column: added: a list of what of the text or file was left out, such as a part that is not in view.
        error_column: added: why the row failed, on one line; null where it did not.
        model: name of an embedded checkpoint, or a file, which every machine must reach.
        strength: as of `tgim.inference.editor.Editor.edit_photo`, as are `box`, `focus`, `part`, `size` and `seed`.
        box: see there.
        focus: see there.
        part: see there.
        size: see there.
        seed: see there.
        format: of the edited files, "jpeg" say, whatever the pictures' own.
        quality: of JPEG and WebP, 1 to 100; None as in `tgim.images.photo.save_image`.
        metadata: keep the EXIF block.
        concurrency: actors: a number, or the least and the most. None begins with one and adds what the CPUs allow.
            A number that takes all CPUs leaves none to read files with, and Ray waits for ever.
        num_cpus: of an actor, which computes on as many threads, rounded down, at least one. Another number of threads
            may change a few pixels by one level.
        batch_size: rows that are handed over at once; memory holds one decoded picture at a time, whatever it is.
        keep_order: rows come out in the order in which they went in (sets `preserve_order` of its context);
            else as they are done, with less to keep. Files that Ray writes have names in no order either way.
        on_error: "record" goes on after a row that fails; "raise" ends the job with its line.

    Returns:
        A `ray.data.Dataset` with the columns of `dataset` and three more. Equal calls give equal bytes.

    Raises:
        UserError: ray is missing, an option or the model cannot be used, or a column is missing. No picture was read.
    """
    ray = _ray()
    columns = Columns(
        image_column, text_column, mask_column, part_column, box_column, output_column, notes_column, error_column
    )
    asked = Asked(
        strength=strength, box=_box(box), focus=focus, size=size, seed=seed, part=part, kind=format, quality=quality,
        metadata=metadata,
    )  # fmt: skip
    if on_error not in ("record", "raise"):
        raise UserError(f"on_error is {on_error!r}, expected 'record' or 'raise'")
    _check(asked, model, masked=any(each is not None for each in (part, mask_column, part_column)))
    pool = _pool(ray, concurrency, num_cpus=num_cpus, batch_size=batch_size)
    rows = _dataset(ray, dataset, batch_size)
    there = rows.columns()
    if there is not None:  # of a data set without rows it is not known
        columns.check(there)
    edited = rows.map_batches(
        Rows,
        fn_constructor_kwargs={
            "model": model,
            "columns": columns,
            "asked": asked,
            "threads": max(1, int(num_cpus)),
            "forgiving": on_error == "record",
        },
        batch_size=batch_size,
        batch_format="pyarrow",
        compute=pool,
        num_cpus=num_cpus,
    )
    if keep_order:
        edited.context.execution_options.preserve_order = True
    return edited


class Rows:
    """Editor of tables, in the process of an actor.

    Args:
        model: name or file.
        columns: of the tables.
        asked: options that are the same for all rows.
        threads: that edits are computed on.
        forgiving: note a row's fault in the table, and go on.
    """

    def __init__(self, *, model: str, columns: Columns, asked: Asked, threads: int, forgiving: bool) -> None:
        os.environ[THREADS] = str(threads)  # before torch is loaded
        import torch

        from tgim.inference.editor import open_editor

        torch.set_num_threads(threads)
        self.editor = open_editor(model)
        self.columns, self.asked, self.forgiving = columns, asked, forgiving

    def __call__(self, table: Any) -> Any:
        """Add the three columns to a `pyarrow.Table`.

        Raises:
            UserError: a row failed, and faults are not forgiven.
        """
        import pyarrow

        done = [self._row(table, number) for number in range(table.num_rows)]
        kinds = (pyarrow.large_binary(), pyarrow.list_(pyarrow.string()), pyarrow.string())
        names = (self.columns.output, self.columns.notes, self.columns.error)
        for at, (name, kind) in enumerate(zip(names, kinds, strict=True)):
            table = table.append_column(name, pyarrow.array([row[at] for row in done], kind))
        return table

    def _row(self, table: Any, number: int) -> tuple[bytes | None, list[str], str | None]:
        """The edited file of a row, notes, and the fault."""
        names = self.columns

        def value(name: str | None) -> Any:
            return None if name is None else table.column(name)[number].as_py()

        try:
            text, part = value(names.text), value(names.part)
            content, notes = self.one(value(names.image), text, mask=value(names.mask), part=part, box=value(names.box))
        except FAULTS as error:
            if not self.forgiving:
                raise
            return None, [], _line(error)
        return content, notes, None

    def one(
        self, image: Any, text: Any, *, mask: Any = None, part: str | None = None, box: Any = None
    ) -> tuple[bytes, list[str]]:
        """Edit a picture; returns the bytes of the file, and notes.

        Raises:
            UserError: picture, text, mask, part or box cannot be used.
        """
        from tgim.images.photo import open_image, to_bytes

        if not isinstance(text, str):
            raise TextError(f"the text is {_what(text)}, expected a caption such as 'a red bird with black wings'")
        with hearing() as heard:
            self.editor.caption(text)
        photo = open_image(_source(image))
        where: dict[str, Any] = {"focus": self.asked.focus, "size": self.asked.size}
        where["box"] = self.asked.box if box is None else _box(box)
        region = self.editor.region(photo, **where)
        drawn: Photo | None = None if mask is None else open_image(_source(mask), name="mask bytes")
        edited, missed = make(
            self.editor, photo, text, region=region, **where, strength=self.asked.strength, seed=self.asked.seed,
            mask=drawn, part=self.asked.part if part is None else part, spare=True,
        )  # fmt: skip
        content = to_bytes(edited, self.asked.kind, quality=self.asked.quality, metadata=self.asked.metadata)
        return content, [*map(str, heard), *missed, *(f"{photo.name} {note}" for note in photo.extras.notes)]


def _ray() -> Any:
    """The module ray; UserError where it is missing."""
    try:
        import ray.data
    except ImportError:
        raise UserError('tgim.scale needs ray with its data library; run pip install "tgim[ray]"') from None
    return ray


def _check(asked: Asked, model: str, *, masked: bool) -> None:
    """Refuse options and models that no row could be edited by; UserError."""
    from tgim.images.photo import output_format
    from tgim.inference.editor import check_asked, open_editor
    from tgim.inference.masking import able_to_find

    check_asked(strength=asked.strength, size=asked.size, masked=masked)
    output_format(asked.kind)
    if asked.quality is not None and not 1 <= asked.quality <= 100:
        raise UserError(f"quality is {asked.quality}, expected 1 to 100; 95 is the default")
    editor = open_editor(model)
    if asked.part is not None:
        able_to_find(editor.model.part_localiser, asked.part, model=editor.model.name)


def _pool(ray: Any, concurrency: int | tuple[int, int] | None, *, num_cpus: float, batch_size: int) -> Any:
    """Ray's description of the actors; UserError where a number is out of range."""
    counts = (concurrency, concurrency) if isinstance(concurrency, int) else concurrency or (1, None)
    if len(counts) != 2 or counts[0] < 1 or (counts[1] is not None and counts[1] < counts[0]):
        raise UserError(f"concurrency is {concurrency}, expected a number from 1, or the least and the most of them")
    if not num_cpus > 0 or batch_size < 1:
        raise UserError(f"num_cpus is {num_cpus} and batch_size {batch_size}, expected more than 0 and at least 1")
    return ray.data.ActorPoolStrategy(min_size=counts[0], max_size=counts[1])


def _dataset(ray: Any, given: Any, batch_size: int) -> Any:
    """The data set of Ray of what is given; a table is cut into blocks, each of which one actor edits; UserError."""
    if isinstance(given, ray.data.Dataset):
        return given
    kind = f"{type(given).__module__.partition('.')[0]}.{type(given).__name__}"
    if kind not in ("pandas.DataFrame", "pyarrow.Table", "builtins.list"):
        raise UserError(f"the data set is a {kind}, expected a ray Dataset, a pandas or pyarrow table, or a list")
    if kind == "builtins.list" and not all(isinstance(row, Mapping) for row in given):
        raise UserError("the data set is a list of other things than dicts; give a dict of columns for each row")
    step = max(batch_size, -(-len(given) // MOST_BLOCKS))
    if kind == "builtins.list":
        return ray.data.from_items(given, override_num_blocks=max(1, -(-len(given) // step)))
    starts = range(0, max(1, len(given)), step)
    if kind == "pandas.DataFrame":
        return ray.data.from_pandas([given.iloc[start : start + step] for start in starts])
    return ray.data.from_arrow([given.slice(start, step) for start in starts])


def _source(value: Any) -> Any:
    """Source that `tgim.images.photo.open_image` takes, of a cell; ImageError where it holds no picture."""
    if isinstance(value, dict):
        found = value.get("bytes")
        value = value.get("path") if found is None else found
    if value is None:
        raise ImageError("the picture is null, expected the bytes of a file, its path, or an array")
    return value


def _box(value: Any) -> Box | None:
    """A box, whatever it is given as; ImageError where it is none."""
    from tgim.images.boxes import parse_box

    return None if value is None else parse_box(value)


def _what(value: Any) -> str:
    return "null" if value is None else f"of type {type(value).__name__}"


def _line(error: BaseException) -> str:
    """Say an error on one line."""
    from tgim.images.door import reason

    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {reason(error)}"
