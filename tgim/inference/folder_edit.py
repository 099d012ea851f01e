"""Edits of a folder's pictures at any number: read ahead, edited and written at once, with a manifest of what is done.

A picture is known by its name relative to the folder. `tgim.inference.workers` does the same in several processes.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tgim._version import __version__
from tgim.errors import UserError
from tgim.inference.batch_edit import Job, OverwriteError, Result, identity, make, numbered
from tgim.inference.manifest import Manifest

if TYPE_CHECKING:
    from tgim.images.boxes import Box
    from tgim.images.photo import Photo
    from tgim.inference.editor import Editor, Size

FAULTS = (UserError, OSError, MemoryError, RuntimeError)  # of one picture, which must not end a night's run


@dataclass(frozen=True)
class Asked:
    """Options that are the same for all edits of a folder; those of `tgim.inference.editor.Editor.edit_photo` first."""

    strength: float = 1.0
    box: Box | None = None
    focus: bool = True
    size: Size = "photo"
    seed: int | None = None
    part: str | None = None
    invert_steps: int | None = None
    kind: str = ""  # of file, whatever the name says
    quality: int | None = None
    metadata: bool = False


@dataclass(frozen=True)
class Folder:
    """A folder of pictures, the texts to edit each by, and where the edits go."""

    images: Path
    out: Path
    texts: tuple[str, ...]
    asked: Asked = Asked()
    masks: Path | None = None  # a folder with a mask of each picture's name, in folders of the same names
    checkpoint: str = ""  # fingerprint of the model
    skip: bool = False  # edits that are there

    def jobs(self, name: str) -> list[Job]:
        """The edits of a picture."""
        return numbered(self.images / name, self.texts, self.out / name)

    def as_json(self) -> dict[str, Any]:
        """Convert to JSON values."""
        paths = {key: None if path is None else str(path) for key, path in self._paths().items()}
        return {**paths, "texts": self.texts, "asked": asdict(self.asked), "checkpoint": self.checkpoint} | {
            "skip": self.skip
        }

    def _paths(self) -> dict[str, Path | None]:
        return {"images": self.images, "out": self.out, "masks": self.masks}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Folder:
        """Read what `as_json` gave."""
        asked, masks = told["asked"], told["masks"]
        box = None if asked["box"] is None else tuple(asked["box"])
        return cls(
            Path(told["images"]),
            Path(told["out"]),
            tuple(told["texts"]),
            Asked(**{**asked, "box": box}),
            None if masks is None else Path(masks),
            told["checkpoint"],
            told["skip"],
        )


def shard(names: Iterable[str], part: int, parts: int) -> Iterator[str]:
    """Choose those of `names` that belong to one of `parts`, counted from 1: each to one, whatever else is there.

    >>> sorted(name for part in (1, 2, 3) for name in shard(["a.jpg", "b.jpg", "c/d.jpg"], part, 3))
    ['a.jpg', 'b.jpg', 'c/d.jpg']
    """
    for name in names:
        told = os.fsencode(name.replace(os.sep, "/"))
        if int.from_bytes(hashlib.sha256(told).digest()[:8], "big") % parts == part - 1:
            yield name


def check_outputs(folder: Folder, names: Sequence[str]) -> None:
    """Refuse outputs that would replace a picture of the folder.

    Raises:
        OverwriteError: one would.
    """
    outs = (job.out for name in names for job in folder.jobs(name))
    there = {identity(out): out for out in outs if out.exists()}
    for name in names if there else ():
        source = folder.images / name
        if (out := there.get(identity(source))) is not None:
            raise OverwriteError(f"{out} would replace the picture {source}; name another --out, or add --force")


@dataclass
class Loaded:
    """A picture whose edits, `jobs`, are to be made; `results` of those that are not."""

    name: str
    photo: Photo | None = None
    mask: Photo | None = None
    edits: list[tuple[Job, dict[str, Any]]] = field(default_factory=list)  # with their lines of the manifest
    results: list[Result] = field(default_factory=list)
    large: bool = False  # and not opened yet
    seconds: float = 0.0


@dataclass
class Edited:
    """An edit to be written."""

    job: Job
    line: dict[str, Any]
    photo: Photo
    region: Box | None
    notes: tuple[str, ...]
    seconds: float


class Maker:
    """Makes the edits of a folder in three steps, each of which may run in a thread of its own.

    Args:
        editor: of the model whose fingerprint `folder` has.
        folder: what is to be done.

    Raises:
        UserError: an option is out of range, or the model knows no such part.
    """

    def __init__(self, editor: Editor, folder: Folder) -> None:
        from tgim.inference.editor import check_asked
        from tgim.inference.masking import able_to_find

        asked = folder.asked
        check_asked(strength=asked.strength, size=asked.size, masked=not (folder.masks is None and asked.part is None))
        if asked.part is not None:
            able_to_find(editor.engine.finder, asked.part, model=editor.engine.name)
        self.editor, self.folder = editor, folder
        self._manifest = Manifest(folder.out)
        self._masks: dict[Path, tuple[int, dict[str, list[Path]]]] = {}  # of a folder: its time, and masks by name

    def one(self, name: str) -> Iterator[Result]:
        """Make all edits of a picture, one step after the other."""
        loaded = self.load(name)
        yield from self.large(name) if loaded.large else self._finish(loaded)

    def large(self, name: str) -> Iterator[Result]:
        """Make all edits of a large picture, which is overwritten by each and opened again."""
        for job in self.folder.jobs(name):
            yield from self._finish(self.load(name, only=job))

    def _finish(self, loaded: Loaded) -> list[Result]:
        made = (each if isinstance(each, Result) else self.write(each) for each in self.edit(loaded))
        return [*loaded.results, *made]

    def load(self, name: str, *, only: Job | None = None) -> Loaded:
        """Read a picture, unless its edits are there; a large one is opened only for one job.

        Faults of the picture become results.
        """
        from tgim.images.decode import upright_size
        from tgim.images.door import one_line
        from tgim.images.photo import open_image, open_to_edit
        from tgim.inference.editor import LARGE

        start = time.perf_counter()
        jobs = self.folder.jobs(name) if only is None else [only]
        loaded, path = Loaded(name), str(self.folder.images / name)
        try:
            content = _read(path)
            mask = None if self.folder.masks is None else self._mask(name)
            drawn = None if mask is None else _read(str(mask))
            for job in jobs:
                line = self._line(name, job, content, drawn)
                if self.folder.skip and self._manifest.has(line):
                    loaded.results.append(Result(job, skipped=True))
                else:
                    loaded.edits.append((job, line))
            if not loaded.edits:
                return loaded
            width, height = upright_size(path)
            if width * height > LARGE and only is None:
                return Loaded(name, large=True)
            loaded.photo = open_to_edit(content, name=one_line(path))
            loaded.mask = None if drawn is None else open_image(drawn, name=one_line(str(mask)))
            loaded.seconds = time.perf_counter() - start
        except FAULTS as error:
            return Loaded(name, results=[Result(job, error=said(job, error)) for job in jobs])
        return loaded

    def edit(self, loaded: Loaded) -> Iterator[Edited | Result]:
        """Make the edits of a picture that was read."""
        from tgim.inference.editor import LARGE

        photo, asked = loaded.photo, self.folder.asked
        if photo is None:
            return
        where: dict[str, Any] = {"box": asked.box, "focus": asked.focus, "size": asked.size}
        large, last = photo.height * photo.width > LARGE, loaded.edits[-1][0]
        regions: list[Box | None] = []  # one, once it is found
        before = loaded.seconds
        for job, line in loaded.edits:
            start = time.perf_counter()
            try:
                if not regions:
                    regions.append(self.editor.region(photo, **where))
                edited, notes = make(
                    self.editor, photo, job.text, region=regions[0], **where, strength=asked.strength, seed=asked.seed,
                    mask=loaded.mask, part=asked.part, spare=large or job is last,
                )  # fmt: skip
            except FAULTS as error:
                yield Result(job, error=said(job, error))
                continue
            seconds, before = before + time.perf_counter() - start, 0.0
            yield Edited(job, line, edited, regions[0], notes, seconds)

    def write(self, edited: Edited) -> Result:
        """Write an edit: its line of the manifest, and then the file, both whole."""
        from tgim.images.door import one_line
        from tgim.images.photo import check_target, to_bytes, write_bytes

        start = time.perf_counter()
        job, photo, asked = edited.job, edited.photo, self.folder.asked
        name = one_line(str(job.out))
        try:
            job.out.parent.mkdir(parents=True, exist_ok=True)
            target, kind = check_target(job.out, format=asked.kind, own=photo.format)
            content = to_bytes(photo, kind, name=name, quality=asked.quality, metadata=asked.metadata)
            self._manifest.add(edited.line, content=content)
            write_bytes(target, content, name=name)
        except FAULTS as error:
            return Result(job, error=said(job, error))
        seconds = edited.seconds + time.perf_counter() - start
        return Result(job, seconds, photo.width, photo.height, edited.region, notes=edited.notes)

    def _line(self, name: str, job: Job, content: bytes, mask: bytes | None) -> dict[str, Any]:
        """The line of the manifest, without `output`, of an edit that is to be made."""
        drawn = None if mask is None else hashlib.sha256(mask).hexdigest()
        return {
            "image": name,
            "out": os.path.relpath(job.out, self.folder.out),
            "picture": hashlib.sha256(content).hexdigest(),
            "checkpoint": self.folder.checkpoint,
            "text": job.text,
            "options": {**asdict(self.folder.asked), "mask": drawn},
            "tgim": __version__,
        }

    def _mask(self, name: str) -> Path:
        """The mask of a picture; UserError where there is none, or there are several."""
        from tgim.images.folder import list_images

        image = Path(name)
        folder = (self.folder.masks or Path()) / image.parent
        changed = folder.stat().st_mtime_ns if folder.exists() else -1
        if self._masks.get(folder, (None,))[0] != changed:
            found: dict[str, list[Path]] = {}
            for each in list_images(str(folder)):
                found.setdefault(each.stem, []).append(each)
            self._masks[folder] = changed, found
        masks = self._masks[folder][1].get(image.stem, [])
        if len(masks) != 1:
            many = f"{len(masks)} masks" if masks else "no mask"
            raise UserError(f"{folder} has {many} of the name {image.stem!r}; put one there for each picture")
        return masks[0]


def overlapped(maker: Maker, names: Iterable[str | None]) -> Generator[Result, None, None]:
    """Make the edits of pictures while the next picture is read and the last edit is written, each in a thread.

    At most one picture waits on either side, and a large one (`tgim.inference.editor.LARGE`) has the process for
    itself, so that the memory does not grow with the number of pictures. After a KeyboardInterrupt the result of what
    was being written comes, and then the interrupt again.

    Args:
        maker: makes them.
        names: of the pictures; None where there is none yet: what is being written is waited for then.
    """
    coming, ended = iter(names), False
    with ThreadPoolExecutor(1) as reading, ThreadPoolExecutor(1) as writing:
        ahead: Future[Loaded] | None = None
        written: list[Future[Result]] = []  # at most one
        try:
            while not ended or ahead is not None:
                loaded = None if ahead is None else ahead.result()
                ahead = None
                if not ended and not (loaded is not None and loaded.large):
                    name = next(coming, "")
                    ended = name == ""
                    ahead = reading.submit(maker.load, name) if name else None
                if loaded is None or loaded.large or loaded.results:  # which come after what is being written
                    yield from _results(written)
                if loaded is None:
                    continue
                if loaded.large:
                    yield from maker.large(loaded.name)
                    continue
                yield from loaded.results
                for made in maker.edit(loaded):
                    yield from _results(written)
                    if isinstance(made, Result):
                        yield made
                    else:
                        written.append(writing.submit(maker.write, made))
                    del made  # the thread that writes it is the last to hold it
                del loaded
            yield from _results(written)
        except KeyboardInterrupt:
            yield from _results(written)
            raise


def _results(written: list[Future[Result]]) -> Iterator[Result]:
    """Wait for what is being written, and take it from the list."""
    while written:
        result = written[0].result()
        written.clear()
        yield result


def said(job: Job, error: BaseException) -> str:
    """Say on one line why an edit was not made."""
    return str(error) if isinstance(error, UserError) else f"{job.image}: {type(error).__name__}: {error}"


def _read(path: str) -> bytes:
    """The bytes of an ordinary file; ImageError where it cannot be read."""
    from tgim.images.door import ordinary_file

    with ordinary_file(path) as file:
        return file.read()
