"""Pictures for the page: a contact sheet, and the edits that the judge ranks lowest and highest, as JPEG data URIs."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tgim.data import open_dataset
from tgim.data.base import Stream, random_source
from tgim.data.config import DataConfig
from tgim.errors import UserError
from tgim.evaluation import Bench, Contender, ModelContender
from tgim.evaluation.records import Line
from tgim.evaluation.retrieval import target_ranks
from tgim.images.photo import Photo, open_image, to_uint8
from tgim.inference.editor import Editor
from tgim.inference.generator import Generator
from tgim.metrics import rmse
from tgim.nn.resize import resize
from tgim.text.understand import UnknownWordWarning

BUDGET = 1_500_000  # bytes of all pictures of a page, in base64
QUALITIES = (
    (176, 82),
    (160, 76),
    (144, 70),
    (112, 64),
    (80, 55),
)  # (longer side in pixels, JPEG quality), tried in turn
CAPTIONS = {
    "cub": (
        "this bird has a red head and breast",
        "this bird is yellow with black wings",
        "a small blue bird with a white belly",
        "this bird is completely black",
        "a white bird with gray wings",
        "this bird has a bright green body",
    ),
    "oxford102": (
        "this flower has red petals",
        "the petals of this flower are yellow with an orange center",
        "a blue flower with a yellow center",
        "this flower is white",
        "a purple flower",
        "this flower has bright pink petals with a white center",
    ),
}


@dataclass(frozen=True)
class Example:
    """Edit of one picture and its measures; pictures are data URIs."""

    source: str
    edited: str
    caption: str
    rank: int
    candidates: int
    rmse_own: float


@dataclass(frozen=True)
class Gallery:
    """Pictures of the page; `rows` are data URIs, one row for each of `captions`."""

    model: str
    data: str
    captions: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    worst: tuple[Example, ...]
    best: tuple[Example, ...]
    notes: tuple[str, ...] = ()
    generated: bool = False  # of captions alone, a noise in each column; then there is no worst and no best


def gallery_of(
    model: str,
    *,
    data: DataConfig,
    lines: Sequence[Line],
    judge: str | None = None,
    captions: Sequence[str] = (),
    columns: int = 10,
    count: int = 10,
    limit: int | None = None,
    cache: Path | None = None,
) -> Gallery:
    """Edit a few pictures of a data set to look at, and find the worst and the best edits of all that were measured.

    A text-to-image model generates pictures of captions instead.

    Args:
        model: name or path of an editor or a text-to-image model.
        data: the data set whose pictures are shown.
        lines: results; they say size, seed and judge, and are compared with what is shown.
        judge: name or path of the matching model, where `lines` do not name an embedded one.
        captions: rows of the contact sheet; chosen for the data set, or its own, unless given.
        columns: pictures of the contact sheet.
        count: of the worst and of the best edits.
        limit: look for these among so many pictures.
        cache: where edits are kept; those of an evaluation are found again.

    Raises:
        UserError: the data, model or judge cannot be used.
    """
    contender = ModelContender.open(model)
    if contender.only_generates:
        return generated_gallery(model, contender, data=data, lines=lines, captions=captions, columns=columns)
    some = [line for line in lines if line.judge is not None]
    judge = judge or (str(some[0].judge).rsplit(":", 1)[0] if some else None)
    if judge is None:
        raise UserError("no line of the results names a judge; name the matching model that ranks the edits (--judge)")
    facts = some[0] if some else lines[0]
    bench = Bench(data, size=facts.size, seed=facts.seed, judge=judge, limit=limit, cache=cache)
    ranks, candidates, change = measured(bench, contender)
    order = np.lexsort((change, ranks))  # best first
    picked = {"worst": order[::-1][:count], "best": order[:count]}
    dataset, editor = bench.dataset, contender.editor
    shown = np.sort(random_source(facts.seed, Stream.SHOWN).permutation(bench.rows)[:columns])
    captions = tuple(captions) or CAPTIONS.get(dataset.name) or tuple(dict.fromkeys(bench.target))[:6]
    photos = [open_image(dataset.items[row].path) for row in shown]
    pictures = [photo.tensor for photo in photos]
    pictures += [one_edit(editor, photo, text, focus=True) for text in captions for photo in photos]
    for row in np.concatenate(list(picked.values())):
        photo = open_image(dataset.items[bench.rows[row]].path)
        pictures += [photo.tensor, one_edit(editor, photo, bench.target[row], focus=False)]
    uris = within_budget(pictures)
    width = len(shown)
    sheet = [tuple(uris[first : first + width]) for first in range(0, width * (len(captions) + 1), width)]
    pairs = iter(uris[width * len(sheet) :])
    examples = {
        name: tuple(
            Example(next(pairs), next(pairs), bench.target[row], int(ranks[row]), candidates, float(change[row]))
            for row in rows
        )
        for name, rows in picked.items()
    }
    return Gallery(
        model=contender.name,
        data=dataset.name,
        captions=("photograph", *captions),
        rows=tuple(sheet),
        worst=examples["worst"],
        best=examples["best"],
        notes=tuple(_differences(bench, contender, lines)),
    )


def generated_gallery(
    model: str,
    contender: ModelContender,
    *,
    data: DataConfig,
    lines: Sequence[Line],
    captions: Sequence[str] = (),
    columns: int = 10,
) -> Gallery:
    """A contact sheet of a text-to-image model: captions down, noises across; arguments as of `gallery_of`."""
    if not captions:
        captions = CAPTIONS.get(data.name) or tuple(item.captions[0] for item in open_dataset(data).items[:6])
    pictures = Generator.from_pretrained(model).generate(captions, n=columns, seed=lines[0].seed)
    uris = iter(within_budget(list(pictures.flatten(0, 1))))
    known = {line.checkpoint for line in lines}
    return Gallery(
        model=contender.name,
        data=data.name,
        captions=tuple(captions),
        rows=tuple(tuple(islice(uris, columns)) for _ in captions),
        worst=(),
        best=(),
        notes=tuple(_unlike("checkpoint", contender.checkpoint, known)),
        generated=True,
    )


def measured(bench: Bench, contender: Contender) -> tuple[NDArray[np.int64], int, NDArray[np.float64]]:
    """Measure each picture: rank of its target caption, number of candidates, RMSE under its own caption."""
    ranks = target_ranks(bench, bench.edits(contender, bench.target))
    change = rmse(bench.edits(contender, bench.own), bench.pictures)
    return ranks, 1 + bench.task.target_wrong.shape[1], change.double().numpy()


def one_edit(editor: Editor, photo: Photo, text: str, *, focus: bool) -> Tensor:
    """The edited photograph at its own size; unedited where the caption has no known word.

    Without `focus` there is no closer look at the subject: the edit as it is measured.
    """
    if not editor.knows(text):
        return photo.tensor
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownWordWarning)
        return editor.edit_photo(photo, text, focus=focus).tensor


def _differences(bench: Bench, contender: Contender, lines: Sequence[Line]) -> Iterator[str]:
    """Note how the pictures were made, and where that differs from the figures."""
    yield f"ranks and changes of single edits: {len(bench)} pictures of {bench.size} px, judge {bench.judge_label}"
    for what, mine, theirs in (
        ("data", bench.content, {line.content for line in lines}),
        ("judge", bench.judge_label, {line.judge for line in lines}),
        ("checkpoint", contender.checkpoint, {line.checkpoint for line in lines}),
    ):
        yield from _unlike(what, mine, theirs)


def _unlike(what: str, mine: str | None, theirs: Collection[str | None]) -> Iterator[str]:
    if mine not in theirs:
        yield f"the {what} of the pictures ({mine}) is none of the figures'"


def data_uri(pixels: Tensor, *, side: int, quality: int) -> str:
    """A picture (3, H, W) in [-1, 1] as a JPEG of at most `side` pixels."""
    height, width = pixels.shape[-2:]
    scale = min(1.0, side / max(height, width))
    small = resize(pixels[None].float(), (max(1, round(scale * height)), max(1, round(scale * width))))[0]
    file = io.BytesIO()
    Image.fromarray(to_uint8(small).permute(1, 2, 0).contiguous().numpy()).save(file, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def within_budget(pictures: Sequence[Tensor], *, budget: int = BUDGET) -> list[str]:
    """Encode pictures as data URIs, as large and good as fits into `budget` bytes; the smallest size in any case."""
    uris: list[str] = []
    for side, quality in QUALITIES:
        uris = [data_uri(pixels, side=side, quality=quality) for pixels in pictures]
        if sum(map(len, uris)) <= budget:
            break
    return uris
