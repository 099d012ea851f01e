"""Folders of `tgim edit`: their options, and all edits of a folder with a report at the end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tgim.cli.app import device_for, note, open_editor, warn
from tgim.cli.options import FILE
from tgim.errors import UserError
from tgim.system.say import bar, say, say_json

if TYPE_CHECKING:
    from tgim.inference.batch_edit import Result
    from tgim.inference.engines import Engines
    from tgim.inference.folder_edit import Folder
    from tgim.inference.workers import Ready

Verb = TypeVar("Verb", bound=Callable[..., Any])
OPTIONS = (
    click.option("--recursive", is_flag=True, help="With --images: also pictures in folders below, links followed."),
    click.option("--skip-existing", is_flag=True, help="Skip what is there from the same picture, text and options."),
    click.option("--shard", metavar="I/N", help="The I-th of N parts of --images, for as many machines."),
    click.option(
        "--workers",
        type=click.IntRange(1, 1024),
        default=1,
        show_default=True,
        help="Processes that share the cores; each loads the model.",
    ),
    click.option("--watch", is_flag=True, help="Go on with pictures that come into --images, until ctrl-C."),
    click.option("--failed", type=FILE, help="Write failed edits of --images as JSON lines: image, text, error."),
)


@dataclass(frozen=True)
class FolderOptions:
    """Values of the options that are of use with --images alone."""

    recursive: bool = False
    skip_existing: bool = False
    shard: str | None = None
    workers: int = 1
    watch: bool = False
    failed: Path | None = None

    def check(self, folder: Folder) -> None:
        """Refuse what cannot be done, before anything is.

        Raises:
            UserError: --shard or --failed are unusable, or edits would be read as pictures.
        """
        from tgim.images.folder import pictures_among

        self.part()
        if self.failed is not None:
            if self.failed.is_dir() or not self.failed.absolute().parent.is_dir():
                raise UserError(f"--failed {self.failed} is a folder or lies in none; name a file such as failed.jsonl")
            if pictures_among([self.failed.name]) or (self.failed.exists() and not self.failed.is_file()):
                raise UserError(f"--failed {self.failed} is a picture or a device; name a file such as failed.jsonl")
        here, there = (Path(os.path.realpath(path)) for path in (folder.images, folder.out))
        if (self.watch or self.skip_existing) and (here == there or (self.recursive and there in here.parents)):
            what = "--watch" if self.watch else "--skip-existing"
            raise UserError(f"{what} would take edits in {folder.out} for pictures to edit; name an --out elsewhere")

    def refuse(self) -> None:
        """Refuse what only goes with --images; UsageError."""
        for each in fields(self):
            if getattr(self, each.name) != each.default:
                raise click.UsageError(f"--{each.name.replace('_', '-')} goes with --images FOLDER")

    def part(self) -> tuple[int, int]:
        """The part, and the number of parts; UserError unless --shard reads I/N."""
        if self.shard is None:
            return 1, 1
        part, _, parts = self.shard.partition("/")
        known = all(each.isascii() and each.isdigit() and len(each) < 10 for each in (part, parts))
        if not known or not 1 <= int(part) <= int(parts):
            raise UserError(f"--shard is {self.shard!r}, expected I/N such as 1/4, with I from 1 to N")
        return int(part), int(parts)

    def names(self, folder: Folder) -> list[str]:
        """Names of the pictures of this part; ImageError where the folder has none."""
        from tgim.images.folder import list_images, walk_images
        from tgim.inference.folder_edit import shard

        if self.recursive:
            found = walk_images(folder.images, without=folder.out)
        else:
            found = [path.name for path in list_images(str(folder.images), deeper=", or add --recursive")]
        return list(shard(found, *self.part()))

    def arriving(self, folder: Folder) -> Iterator[str | None]:
        """Names of the pictures of this part as they come."""
        from tgim.inference.folder_edit import shard
        from tgim.inference.watching import arriving

        for name in arriving(folder.images, recursive=self.recursive, without=folder.out):
            if name is None or list(shard([name], *self.part())):
                yield name


def folder_options(verb: Verb) -> Verb:
    """Add the options of `FolderOptions` to a command."""
    for option in reversed(OPTIONS):
        verb = option(verb)
    return verb


def edit_folder(
    folder: Folder, options: FolderOptions, *, model: str, device: str, engine: Engines, told: dict[str, Any],
    force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Make the edits of a folder, print the report, and exit with 1 where one failed.

    Args:
        folder: what is to be done; its checkpoint is filled in.
        options: how.
        model: name or file.
        device: "auto", "cpu" or "cuda".
        engine: "auto", "onnx" or "torch".
        told: what each line of --json says beside the edit.
        force: allow outputs that replace pictures of the folder.
        as_json: print JSON lines.

    Raises:
        UserError: the folder, a text or an option cannot be used.
    """
    from tgim.checkpoints import checkpoint
    from tgim.images.photo import output_format
    from tgim.inference.folder_edit import check_outputs

    check_folder(folder.out)
    output_format(folder.asked.kind)  # whether it is known
    if folder.masks is not None and not folder.masks.is_dir():
        raise UserError(f"{folder.masks} must be a folder with a mask for each picture of --images, named as they are")
    options.check(folder)
    if options.watch and not folder.images.is_dir():
        raise UserError(f"{folder.images} is no folder; make it before it is watched")
    names = [] if options.watch else options.names(folder)
    if not force:
        check_outputs(folder, names)
    folder = replace(folder, skip=options.skip_existing, checkpoint=checkpoint.fingerprint(model))
    coming: Iterable[str | None] = options.arriving(folder) if options.watch else names
    count = options.workers if options.watch else min(options.workers, len(names))
    total = None if options.watch else len(names) * len(folder.texts)
    report = _Report(folder, told, as_json=as_json, live=options.watch)
    with _started(folder, model=model, device=device, engine=engine, workers=count) as (ready, run):
        for message in ready.notes:
            warn(message)
        report.ready = ready
        results = run(coming)
        try:
            with bar(total=total, unit="edit", leave=False) as shown:
                for result in results:
                    shown.update()
                    report.add(result)
        except KeyboardInterrupt as interrupt:
            with suppress(KeyboardInterrupt):
                report.add(results.throw(interrupt))
                for result in results:
                    report.add(result)
            if not options.watch:
                raise
        finally:
            report.end(total, options.failed)
    if report.failed and not options.watch:
        sys.exit(1)


def check_folder(out: Path) -> None:
    """Refuse a file where --out names a folder; UserError."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file, but --out must name a folder here")


@contextmanager
def _started(
    folder: Folder, *, model: str, device: str, engine: Engines, workers: int
) -> Iterator[tuple[Ready, Callable[[Iterable[str | None]], Generator[Result, None, None]]]]:
    """Load the model, here or in several workers; gives what it says of the texts, and what makes the edits."""
    from tgim.inference.folder_edit import Maker, overlapped
    from tgim.inference.workers import Crew, Ready

    device = device_for(model, device, engine)
    if workers > 1:
        with Crew(folder, model=model, device=device, engine=engine, count=workers) as crew:
            yield crew.ready, crew.run
        return
    editor = open_editor(model, device=device, invert_steps=folder.asked.invert_steps, engine=engine)
    ready, maker = Ready.of(editor, folder.texts), Maker(editor, folder)
    yield ready, lambda names: overlapped(maker, names)


class _Report:
    """Outcome of the edits of a folder, printed as it becomes known and at the end."""

    def __init__(self, folder: Folder, told: dict[str, Any], *, as_json: bool, live: bool) -> None:
        self.folder, self.told, self.as_json, self.live = folder, told, as_json, live
        self.ready: Ready | None = None
        self.done, self.skipped = 0, 0
        self.failed: list[Result] = []

    def add(self, result: Result) -> None:
        """Count a result, and tell what is known of it now."""
        for message in result.notes:
            warn(f"{result.job.image}: {message}")
        if result.error:
            self.failed.append(result)
            if self.live:
                note(f"failed: {result.error}")
            return
        if result.skipped:
            self.skipped += 1
            return
        self.done += 1
        if self.as_json and self.ready is not None:
            read, device = self.ready.read[result.job.text], {"device": self.ready.device}
            say_json(self.told | device | result.as_dict() | read)
        elif self.live:
            say(result.job.out)

    def end(self, total: int | None, file: Path | None) -> None:
        """Print how many edits were made, skipped and failed, and write those that failed to a file of JSON lines."""
        from tgim.system.files import write_file

        for result in () if self.live else self.failed:
            note(f"failed: {result.error}")
        if file is not None:
            rows = ({"image": str(each.job.image), "text": each.job.text, "error": each.error} for each in self.failed)
            write_file(file, "".join(json.dumps(row) + "\n" for row in rows))
        counts = {"done": self.done, "skipped": self.skipped, "failed": len(self.failed)}
        if self.as_json:
            say_json({"report": counts})
            return
        total = sum(counts.values()) if total is None else total
        rest = ", ".join(f"{number} {what}" for what, number in counts.items() if number and what != "done")
        say(f"{self.done} of {total} edits written to {self.folder.out}{', ' if rest else ''}{rest}")
