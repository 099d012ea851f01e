"""Work that requests ask for, on bytes of pictures: edits, parts, matches, generated pictures; nothing of HTTP.

Results are those of the command line: the same photograph, text and options give the same pixels.
"""

from __future__ import annotations

import base64
import io
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from tgim.errors import SubjectError
from tgim.images.boxes import parse_box
from tgim.images.photo import Photo, open_image, output_format, resize, to_bytes
from tgim.inference import part_overlay
from tgim.inference.batch_edit import make
from tgim.server.catalog import Catalog
from tgim.system.notices import hearing
from tgim.text.understand import understand

T = TypeVar("T")
LOCATED = 2_000_000  # pixels: parts are looked for in a copy of at most so many
MEDIA = {
    "JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "TIFF": "image/tiff", "BMP": "image/bmp",
    "GIF": "image/gif",
}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A picture to send: the bytes of a file, their media type, and what to say of it."""

    content: bytes
    media: str
    facts: dict[str, Any] = field(default_factory=dict)  # JSON values


@dataclass(frozen=True)
class EditAsked:
    """An edit that is asked for; `Editor.edit_photo` says what the options mean."""

    image: bytes
    text: str
    model: str = ""
    mask: bytes | None = None
    strength: float = 1.0
    box: str = ""
    part: str = ""
    focus: bool = True
    size: str = "photo"
    seed: int | None = None
    format: str = ""
    quality: int | None = None
    metadata: bool = False


def edits(catalog: Catalog, asked: Sequence[EditAsked], *, max_pixels: int) -> list[Picture | Exception]:
    """Make edits; equal ones are made once."""
    made: dict[EditAsked, Picture | Exception] = {}
    for each in asked:
        if each not in made:
            made[each] = _tried(_edit, catalog, each, max_pixels)
    return [made[each] for each in asked]


def _edit(catalog: Catalog, asked: EditAsked, max_pixels: int) -> Picture:
    name, editor = catalog.editor(asked.model)
    box = parse_box(asked.box) if asked.box else None
    with logged() as logs:
        times = _Times()
        photo = times.of("decode", lambda: open_image(asked.image, max_pixels=max_pixels, name="the picture"))
        with hearing() as heard:
            editor.caption(asked.text)
        mask = None if asked.mask is None else open_image(asked.mask, max_pixels=max_pixels, name="the mask")
        size: Any = asked.size
        region = editor.region(photo, box=box, focus=asked.focus, size=size)
        edited, more = times.of(
            "edit",
            lambda: make(
                editor, photo, asked.text, region=region, box=box, focus=asked.focus, size=size,
                strength=asked.strength, seed=asked.seed, mask=mask, part=asked.part or None, spare=False,
            ),
        )  # fmt: skip
        kind = output_format(asked.format, own=photo.format)
        content = times.of(
            "encode", lambda: to_bytes(edited, kind, name="the edit", quality=asked.quality, metadata=asked.metadata)
        )
    facts = {
        "model": name,
        "caption": understand(asked.text, editor.vocabulary, editor.template).caption,
        "size": [edited.width, edited.height],
        "box": None if region is None else list(region),
        "notes": list(dict.fromkeys([*map(str, heard), *more, *photo.extras.notes, *logs])),
        "seconds": times.seconds,
    }
    return Picture(content, MEDIA[kind], facts)


@dataclass(frozen=True)
class PartsAsked:
    """Parts that are asked for: figures and a map, the overlay for people, or one part's mask."""

    image: bytes
    model: str = ""
    box: str = ""
    show: str = "figures"  # or "overlay", "mask"
    part: str = ""  # of a mask


def parts(catalog: Catalog, asked: PartsAsked, *, max_pixels: int) -> Picture | dict[str, Any]:
    """Find the parts of a picture's subject.

    Returns:
        For "figures" those of `tgim parts --json`, and a map: a PNG in base64 whose gray levels are indices of `names`.
        Of pictures over `LOCATED` pixels the map is that of a smaller copy. Else a picture.

    Raises:
        UserError: the picture, model, part or box cannot be used, or there is no subject.
    """
    name, finder = catalog.finder(asked.model)
    photo = open_image(asked.image, max_pixels=max_pixels, name="the picture")
    box = parse_box(asked.box, height=photo.height, width=photo.width) if asked.box else None
    small, scale = _reduced(photo)
    if box is not None:
        left, top, width, height = (round(value * scale) for value in box)
        left, top = min(left, small.width - 1), min(top, small.height - 1)
        box = (left, top, max(1, min(width, small.width - left)), max(1, min(height, small.height - top)))
    located = part_overlay.locate(small, finder, box=box)
    if located is None:
        raise SubjectError(f"no subject that {name} knows is found in the picture; if there is one, say where by a box")
    found, maps = located
    if asked.show == "overlay":
        return Picture(part_overlay.picture_bytes(part_overlay.overlay(small, found, maps)), "image/png")
    if asked.show == "mask":
        part = part_overlay.part_named(asked.part or part_overlay.SUBJECT, finder.parts)
        mask = Image.fromarray(part_overlay.mask_of(found, maps, part)).resize((photo.width, photo.height))
        return Picture(part_overlay.picture_bytes(mask), "image/png")
    figures = part_overlay.figures(found, maps)
    figures["subject"] = _enlarged(figures["subject"], scale)
    figures["others"] = [_enlarged(other, scale) for other in figures["others"]]
    labels = Image.fromarray(maps.argmax(0).astype(np.uint8))
    map_ = base64.b64encode(part_overlay.picture_bytes(labels)).decode()
    return {"model": name, "size": [photo.width, photo.height], "names": list(found.names), **figures, "map": map_}


@dataclass(frozen=True)
class MatchAsked:
    """Pictures and captions to score against each other."""

    images: tuple[bytes, ...]
    texts: tuple[str, ...]
    model: str = ""


def matches(catalog: Catalog, asked: Sequence[MatchAsked], *, max_pixels: int) -> list[dict[str, Any] | Exception]:
    """Score pictures against captions; requests are answered by one pass of the network over all of their pictures.

    Returns:
        For each request `scores`, a row for each picture with a score for each caption, higher the better they fit.
    """
    result: list[Any] = [None] * len(asked)
    ready: dict[tuple[str, ...], list[tuple[int, Image.Image]]] = {}  # by texts: of which request, and the picture
    for i, each in enumerate(asked):
        read = _tried(_opened, each.images, max_pixels)
        if isinstance(read, Exception):
            result[i] = read
        else:
            ready.setdefault(each.texts, []).extend((i, picture) for picture in read)
    for texts, pictures in ready.items():
        scored = _tried(_scores, catalog, asked[0].model, texts, pictures)
        for i, _ in pictures:
            result[i] = scored if isinstance(scored, Exception) else scored[i]
    return result


def _opened(images: Sequence[bytes], max_pixels: int) -> list[Image.Image]:
    named = ["the picture"] if len(images) == 1 else [f"picture {k}" for k in range(1, len(images) + 1)]
    pairs = zip(images, named, strict=True)
    return [open_image(image, max_pixels=max_pixels, name=name).to_pil() for image, name in pairs]


def _scores(
    catalog: Catalog, model: str, texts: tuple[str, ...], pictures: Sequence[tuple[int, Image.Image]]
) -> dict[int, dict[str, Any]]:
    """Answers by request."""
    from tgim.inference import ranking

    name, source = catalog.matching(model)
    with hearing() as heard:
        ranked = ranking.rank([picture for _, picture in pictures], texts, model=source, device=catalog.device)
    notes, answers = [str(each) for each in heard], dict[int, dict[str, Any]]()
    for (i, _), row in zip(pictures, ranked.scores, strict=True):
        answer = answers.setdefault(i, {"model": name, "texts": list(texts), "scores": [], "notes": notes})
        answer["scores"].append([round(float(score), 6) for score in row])
    return answers


@dataclass(frozen=True)
class GenerateAsked:
    """Pictures to generate of a caption."""

    text: str
    model: str = ""
    n: int = 1
    seed: int = 0
    vary: str = "noise"


def generated(catalog: Catalog, asked: Sequence[GenerateAsked]) -> list[Picture | Exception]:
    """Generate pictures of captions, those of a request side by side as PNG; requests differ in their text alone."""
    name, generator = catalog.generator(asked[0].model)
    usable: dict[str, tuple[str, ...] | Exception] = {}
    for text in dict.fromkeys(each.text for each in asked):
        with hearing() as heard:
            read = _tried(generator.caption, text)
        usable[text] = read if isinstance(read, Exception) else tuple(str(each) for each in heard)
    texts = [text for text, read in usable.items() if not isinstance(read, Exception)]
    first = asked[0]
    vary: Any = first.vary
    with hearing():
        found = list(generator.generate(texts, n=first.n, seed=first.seed, vary=vary)) if texts else []
    pictures = dict(zip(texts, found, strict=True))
    result: list[Picture | Exception] = []
    for each in asked:
        notes = usable[each.text]
        if isinstance(notes, Exception):
            result.append(notes)
            continue
        strip = Photo(pictures[each.text].permute(1, 2, 0, 3).flatten(2))
        facts = {"model": name, "caption": generator.caption(each.text), "notes": list(notes), "count": each.n}
        result.append(Picture(to_bytes(strip, "PNG"), MEDIA["PNG"], facts | {"size": [strip.width, strip.height]}))
    return result


def shown(image: bytes, side: int, *, max_pixels: int) -> Picture:
    """A picture as it is read, upright and sRGB or with its profile, as PNG of at most `side` pixels a side.

    Raises:
        ImageError: it cannot be read.
    """
    picture = open_image(image, max_pixels=max_pixels, name="the picture").to_pil()
    picture.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", icc_profile=picture.info.get("icc_profile"), compress_level=3)
    return Picture(buffer.getvalue(), MEDIA["PNG"])


def sample(kind: str, seed: int) -> Picture:
    """A synthetic bird or flower as PNG, to try edits on."""
    from tgim.data.synthetic.pairs import sample_picture

    buffer = io.BytesIO()
    Image.fromarray(sample_picture(kind, seed=seed, size=(480, 640))).save(buffer, format="PNG")
    return Picture(buffer.getvalue(), MEDIA["PNG"])


@contextmanager
def logged() -> Iterator[list[str]]:
    """Collect what the library warns of in its log, in this thread."""
    notes: list[str] = []
    thread = threading.get_ident()

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                notes.append(record.getMessage())

    handler, log = Kept(logging.WARNING), logging.getLogger("tgim")
    log.addHandler(handler)
    try:
        yield notes
    finally:
        log.removeHandler(handler)


class _Times:
    """Seconds of the steps of a piece of work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def of(self, name: str, step: Callable[[], T]) -> T:
        start = time.perf_counter()
        result = step()
        self.seconds[name] = round(time.perf_counter() - start, 4)
        return result


def _tried(step: Callable[..., T], *given: Any) -> T | Exception:
    """Result of a step, or the exception that it raises."""
    try:
        return step(*given)
    except Exception as error:
        return error


def _reduced(photo: Photo) -> tuple[Photo, float]:
    """A copy of a photograph of at most `LOCATED` pixels, and its scale."""
    scale = min(1.0, (LOCATED / (photo.height * photo.width)) ** 0.5)
    if scale == 1.0:
        return photo, scale
    size = max(1, round(photo.height * scale)), max(1, round(photo.width * scale))
    return photo.with_pixels(resize(photo.pixels, size)), scale


def _enlarged(box: Sequence[int], scale: float) -> list[int]:
    left, top, width, height = box
    return [round(left / scale), round(top / scale), round(width / scale), round(height / scale)]
