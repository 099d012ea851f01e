"""Many edits: which picture, by which text, into which file; and doing them one after the other."""

from __future__ import annotations

import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tgim.errors import FittingAlreadyWarning, MissingPartWarning, UserError
from tgim.system.files import replacing
from tgim.system.notices import hearing

if TYPE_CHECKING:
    from tgim.images.boxes import Box
    from tgim.images.photo import Photo, Source
    from tgim.inference.editor import Editor, Size
    from tgim.inference.generator import Generator
    from tgim.inference.steer import Assessor


class OverwriteError(UserError):
    """An output that would replace a picture which is to be edited."""


@dataclass(frozen=True)
class Job:
    """Edit to be done."""

    image: Path
    text: str
    out: Path


@dataclass(frozen=True)
class Result:
    """Outcome of a job; where `error` is set it says why nothing was written."""

    job: Job
    seconds: float = 0.0  # from opening the picture to the finished file
    width: int = 0  # pixels of what was written
    height: int = 0
    box: Box | None = None  # x, y, width, height in pixels of what was edited; None for the whole picture
    error: str = ""
    notes: tuple[str, ...] = ()  # what of the text could not be done in this picture
    skipped: bool = False  # the same edit was there already

    def as_dict(self) -> dict[str, Any]:
        """Convert a successful result to JSON values."""
        names = {"image": str(self.job.image), "out": str(self.job.out), "text": self.job.text}
        size = {"width": self.width, "height": self.height, "box": None if self.box is None else list(self.box)}
        return {**names, **size, "seconds": round(self.seconds, 3)}


def plan(
    images: Sequence[Path], texts: Sequence[str], *, out: Path | None, into_folder: bool = False, force: bool = False
) -> list[Job]:
    """The edits of every picture by every text, and the file of each.

    Args:
        images: the pictures.
        texts: one or more captions; with several, ``-1``, ``-2``, ... is put before the suffix of the files.
        out: a file; or a folder, in which pictures keep their names. None is ``<name>-edited<suffix>`` in the current
            folder.
        into_folder: `out` is a folder that may yet have to be made.
        force: allow outputs that replace a picture of `images`.

    Raises:
        OverwriteError: an output would replace a picture of `images`, and not `force`.
        UserError: no text, or two edits of one name.
    """
    if not texts:
        raise UserError("there is no text; describe the wanted picture, e.g. 'a red bird with black wings'")
    into_folder = into_folder or (out is not None and out.is_dir())
    jobs = []
    for image in images:
        target = out or _beside(image)
        jobs += numbered(image, texts, out / image.name if out is not None and into_folder else target)
    sources = {identity(image): image for image in images}
    named: dict[str, Job] = {}
    for job in jobs:
        source = sources.get(identity(job.out))
        if source is not None and not force:
            raise OverwriteError(f"{job.out} would replace the picture {source}; name another --out, or add --force")
        other = named.setdefault(os.path.normcase(os.path.abspath(job.out)), job)
        if other is not job:
            raise UserError(f"{other.image} and {job.image} would both become {job.out}; name another --out")
    return jobs


def numbered(image: Path, texts: Sequence[str], target: Path) -> list[Job]:
    """The edits of a picture into the file `target`, or with several texts into those of its name with numbers."""
    if len(texts) == 1:
        return [Job(image, texts[0], target)]
    return [Job(image, text, target.with_name(f"{target.stem}-{i}{target.suffix}")) for i, text in enumerate(texts, 1)]


def run(
    editor: Editor,
    jobs: Iterable[Job],
    *,
    quality: int | None = None,
    metadata: bool = False,
    make_folders: bool = False,
    box: str | Box | None = None,
    focus: bool = True,
    size: Size = "photo",
    strength: float = 1.0,
    seed: int | None = None,
    mask: Source | None = None,
    part: str | None = None,
    save_mask: Path | None = None,
    read: Callable[[Path], Photo] | None = None,
    write: Callable[[Photo, Path], object] | None = None,
) -> Iterator[Result]:
    """Do `jobs` in order, each picture opened, and its subject looked for, once.

    Args:
        editor: edits.
        jobs: from `plan`.
        quality: of JPEG and WebP, 1 to 100; None as in `tgim.images.photo.save_image`.
        metadata: keep the EXIF block.
        make_folders: make the folder of an output when it is not there.
        box: as in `Editor.edit_photo`, as are `focus`, `size`, `strength` and `seed`.
        focus: see there.
        size: see there.
        strength: see there.
        seed: see there.
        mask: see there.
        part: see there.
        save_mask: a file for the mask of what changed, of one job alone.
        read: opens a picture; `tgim.images.photo.open_to_edit` unless given.
        write: writes a picture to a job's `out`; `tgim.images.photo.save_image` unless given.

    Raises:
        UserError: a picture, text or option cannot be used.
    """
    from PIL import Image

    from tgim.images.photo import open_to_edit, save_image
    from tgim.inference.editor import LARGE
    from tgim.inference.masking import changed
    from tgim.inference.part_overlay import save_picture

    def save(edited: Photo, path: Path) -> object:
        return save_image(edited, path, quality=quality, metadata=metadata)

    read, write = read or open_to_edit, write or save
    photo, region, opened = None, None, None  # of the picture whose edits are being made
    left = deque(jobs)
    while left:
        job = left.popleft()
        start = time.perf_counter()
        if photo is None or opened != job.image:
            photo = opened = None  # frees the last picture before the next is opened
            photo = read(job.image)
            region = editor.region(photo, box=box, focus=focus, size=size)
            opened = job.image
        last = not left or left[0].image != job.image
        spare = (last or photo.height * photo.width > LARGE) and save_mask is None
        edited, notes = make(
            editor, photo, job.text, region=region, box=box, focus=focus, size=size, strength=strength, seed=seed,
            mask=mask, part=part, spare=spare,
        )  # fmt: skip
        acted = None if save_mask is None else changed(photo, edited)
        if spare:  # overwritten, and opened again for another text
            photo = opened = None
        if make_folders:
            job.out.parent.mkdir(parents=True, exist_ok=True)
        if acted is not None and save_mask is not None:
            save_picture(Image.fromarray(acted), save_mask)
        write(edited, job.out)
        yield Result(job, time.perf_counter() - start, edited.width, edited.height, region, notes=notes)


def make(
    editor: Editor,
    photo: Photo,
    text: str,
    *,
    region: Box | None,
    box: str | Box | None,
    focus: bool,
    size: Size,
    strength: float,
    seed: int | None,
    mask: Source | None,
    part: str | None,
    spare: bool,
) -> tuple[Photo, tuple[str, ...]]:
    """Edit a photo whose `region` is known by `Editor.region`; returns with it what of the text could not be done.

    Words that are not known were told of by `check_texts`, once for all pictures.

    Raises:
        UserError: as `Editor.edit_photo`.
    """
    masked = mask is not None or part is not None  # where a mask is, the editor may look elsewhere
    with hearing() as heard:
        edited = editor.edit_photo(
            photo, text, box=box if masked else region, focus=focus and masked, size=size, strength=strength,
            seed=seed, mask=mask, part=part, spare=spare,
        )  # fmt: skip
    return edited, tuple(str(each) for each in heard if isinstance(each, MissingPartWarning | FittingAlreadyWarning))


def check_texts(reader: Editor | Generator | Assessor, texts: Sequence[str]) -> list[str]:
    """Check all texts before the first picture; returns what to warn about, one line for each unknown word.

    Raises:
        TextError: one cannot be used.
    """
    from tgim.text.understand import UnknownWordWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UnknownWordWarning)
        for text in texts:
            reader.caption(text)
    return list(dict.fromkeys(str(each.message) for each in caught))


def write_new(image: Source, out: Path, *, force: bool = False, format: str = "") -> Path:
    """Write a picture to `out`, but not over another picture that is there; the same picture is no other.

    Raises:
        OverwriteError: `out` is another file, and not `force`.
        ImageError: as `tgim.images.photo.save_image`.
    """
    from tgim.images.photo import check_target, open_image, save_image

    target, kind = check_target(out, format=format)
    if force or not target.exists():
        return save_image(open_image(image), out, format=kind)
    with replacing(target) as new:
        save_image(open_image(image), new, format=kind)
        if target.read_bytes() != new.read_bytes():
            raise OverwriteError(f"{out} is there and is another picture; name another file, or add --force")
    return out


def _beside(image: Path) -> Path:
    """``<name>-edited<suffix>``; .png where the suffix is none that can be written."""
    from tgim.images.decode import SUFFIXES

    return Path(f"{image.stem}-edited{image.suffix if image.suffix.lower() in SUFFIXES else '.png'}")


def identity(path: Path) -> tuple[int, int] | str:
    """Equal for two paths of one file."""
    try:
        found = path.stat()
        return found.st_dev, found.st_ino
    except (OSError, ValueError):
        return os.path.abspath(str(path).replace("\0", ""))
