"""Logs of a training run for people: one JSON line every so many steps, TensorBoard, sheets of samples."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from tgim.data.base import CaptionedImages
from tgim.data.batch import Batch
from tgim.images.sheet import contact_sheet
from tgim.models.base import Editing, Generating, sample_noise
from tgim.system.files import replacing, write_file
from tgim.system.lines import ForeignText, parse, read_rows
from tgim.text.vocabulary import Vocabulary, pad

PICTURES, CAPTIONS = 4, 3  # of a sample sheet


class RunLog:
    """`log.jsonl` in the folder of a run, and TensorBoard beside it where that is installed.

    Args:
        folder: of the run.
        step: where the run goes on; lines of later steps, left by a run that was killed, are cut.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        self.path = folder / "log.jsonl"
        kept = [line for line in read_log(self.path) if line["step"] <= step]
        write_file(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = self.path.open("a", encoding="utf-8", buffering=1)
        self._curves: Any = None
        with contextlib.suppress(ImportError):
            from tgim.training.curves import Curves

            self._curves = Curves(folder / "tensorboard", step=step)

    def write(self, record: Mapping[str, Any]) -> None:
        """Add a line; numbers of nested keys become curves."""
        self._file.write(json.dumps(record) + "\n")
        if self._curves is not None:
            numbers = {name: each for name, each in flatten(record).items() if isinstance(each, int | float)}
            self._curves.add(record["step"], {name: each for name, each in numbers.items() if name != "step"})

    def close(self) -> None:
        """Write out what is pending."""
        self._file.close()
        if self._curves is not None:
            self._curves.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a log; what is no whole line of one, such as a last line that was cut off, is left out."""
    lines = []
    with contextlib.suppress(ForeignText):
        for row in read_rows(path) if path.is_file() else ():
            with contextlib.suppress(ValueError):
                lines.append(parse(row.text))
    return [line for line in lines if _is_record(line)]


def _is_record(line: Any) -> bool:
    """Tell whether a line has a step and losses that are numbers."""
    if not isinstance(line, dict) or type(line.get("step")) is not int or not isinstance(line.get("losses"), dict):
        return False
    return all(isinstance(value, int | float) or value == {} for value in flatten(line["losses"]).values())


def thin(lines: Sequence[Mapping[str, Any]], *, most: int = 100) -> list[dict[str, Any]]:
    """Choose about `most` evenly spaced lines, the last among them, with step and losses: a curve for the checkpoint.

    >>> [line["step"] for line in thin([{"step": n, "losses": {}} for n in range(1, 8)], most=3)]
    [1, 4, 7]
    """
    stride = max(1, -(-len(lines) // most))
    kept = [*lines[::stride], *(lines[-1:] if (len(lines) - 1) % stride else [])]
    return [{"step": line["step"], "losses": _rounded(line["losses"])} for line in kept]


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return float(f"{value:.5g}")


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join nested keys by dots.

    >>> flatten({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return flat


def sample_sheet(
    path: Path, model: Editing, batch: Batch, *, captions: Sequence[str], vocabulary: Vocabulary, device: torch.device
) -> Path:
    """Write a sheet of the first pictures of `batch`, each as it is and edited by each of `captions`.

    The model is left in the mode that it was in; no random number is used up.
    """
    image = batch.image[:PICTURES].to(device)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            texts = [pad([vocabulary.ids(caption)] * len(image)).to(device) for caption in captions]
            edited = [model.edit(image, text).float().clamp(-1, 1).cpu() for text in texts]
    finally:
        model.train(was_training)
    rows = [[image[i].cpu(), *(column[i] for column in edited)] for i in range(len(image))]
    own = [" ".join(vocabulary.words[i - 2] for i in row.tolist() if i >= 2) for row in batch.text.ids[: len(rows)]]
    return _write(contact_sheet(rows, row_labels=own, column_labels=["source", *captions]), path)


def generated_sheet(
    path: Path, model: Generating, *, captions: Sequence[str], vocabulary: Vocabulary, device: torch.device
) -> Path:
    """Write a sheet of what `model` generates: a row for each of `captions`, a column for each of a few noises.

    All sheets have the same noises. The model is left in the mode that it was in; no random number is used up.
    """
    noise = sample_noise(model, PICTURES, seed=0)[0].to(device)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            texts = [pad([vocabulary.ids(caption)] * len(noise)).to(device) for caption in captions]
            rows = [list(model.generate(text, noise).float().clamp(-1, 1).cpu()) for text in texts]
    finally:
        model.train(was_training)
    columns = [f"noise {i}" for i in range(1, len(noise) + 1)]
    return _write(contact_sheet(rows, row_labels=captions, column_labels=columns), path)


def _write(sheet: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG")
    return path


def sample_captions(dataset: CaptionedImages) -> list[str]:
    """Choose different captions, of pictures far apart in the data set."""
    firsts = list(dict.fromkeys(item.captions[0] for item in dataset.items))
    return [firsts[(2 * i + 1) * len(firsts) // (2 * CAPTIONS)] for i in range(min(CAPTIONS, len(firsts)))]
