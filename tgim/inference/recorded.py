"""Record of the embedded files, and of an edit by `birds`: what `tgim doctor` compares an installation with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tgim.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tgim.data.synthetic.pairs import Rendering

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"
RECORD = "record.json"  # beside the weights: sizes and hashes of files, and the edit below; benchmarks/record.py
TEXT, SIZE = "red head", (216, 288)  # of the edit that is tried, and its picture's height and width
CELL = 24  # pixels a side of the squares whose means are recorded
HEAD, REDNESS = ("crown", "face"), 60  # parts that become red, and by how many of 255 levels red is above the others
EDGE = 8  # pixels around the bird's box that do not count as background: its outline is found on a small copy
NEAR = 2.0  # of 255 levels, at the most, between an edit and the recorded one, by cells
AGAIN = "install tgim again: pip install --force-reinstall --no-deps tgim"


def read_record() -> dict[str, Any]:
    """Read the record of the embedded files: "files" (name -> "bytes", "sha256") and "edit" (see `cells`).

    Raises:
        UserError: it is missing or broken.
    """
    path = WEIGHTS / RECORD
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
        return {"files": dict(record["files"]), "edit": record["edit"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path} cannot be read; {AGAIN}") from None


def write_record() -> Path:
    """Write the record anew, of the files as they lie there and an edit as it is made now; returns its path."""
    from tgim.system.files import write_file

    files = sorted(path for path in WEIGHTS.iterdir() if path.suffix in (".graph", ".safetensors"))
    told = {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in files}
    lines = [f"  {json.dumps(name)}: {json.dumps(each)}" for name, each in told.items()]
    rows = [f"  {json.dumps(row)}" for row in cells(edit(sample().image, "onnx")).tolist()]
    files_told, edit_told = ",\n".join(lines), ",\n".join(rows)
    write_file(WEIGHTS / RECORD, f'{{"files": {{\n{files_told}\n}},\n"edit": [\n{edit_told}\n]}}\n')
    return WEIGHTS / RECORD


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def sample() -> Rendering:
    """The bird that is edited, and where its parts are."""
    from tgim.data.synthetic.pairs import sample_rendering

    return sample_rendering("birds", seed=0, size=SIZE)


def edit(image: NDArray[np.uint8], engine: str) -> NDArray[np.uint8]:
    """Edit a picture (H, W, 3) by `TEXT` on the processor, with the engine "onnx" or "torch"."""
    from tgim.images.photo import open_image
    from tgim.inference.editor import open_editor

    editor = open_editor("birds", engine="torch" if engine == "torch" else "onnx")
    edited: NDArray[np.uint8] = editor.edit_photo(open_image(image), TEXT).levels(8)[0]
    return edited


def judge(rendering: Rendering, edited: NDArray[np.uint8]) -> str:
    """Say what is wrong with an edit by `TEXT`; empty where it is right."""
    import numpy as np

    head = sum(rendering.parts[part] for part in HEAD) > 0.9
    red, green, blue = edited[head].astype(float).mean(0)
    if red - max(green, blue) < REDNESS:
        return f"the head's mean colour is {red:.0f}, {green:.0f}, {blue:.0f}, not red"
    changed = (edited != rendering.image).any(-1)
    rows, columns = (np.flatnonzero((rendering.subject > 0).any(axis)) for axis in (1, 0))
    changed[max(0, rows[0] - EDGE) : rows[-1] + EDGE, max(0, columns[0] - EDGE) : columns[-1] + EDGE] = False
    if changed.any():
        return f"{int(changed.sum())} pixels of the background changed"
    far = float(np.abs(cells(edited) - np.asarray(read_record()["edit"])).max())
    return f"it is {far:.1f} of 255 levels from the recorded one, at most {NEAR:g} are expected" if far > NEAR else ""


def cells(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean levels (H / c, W / c, 3) of a picture's squares of c = `CELL` pixels, to one decimal."""
    height, width, _ = picture.shape
    squares = picture.reshape(height // CELL, CELL, width // CELL, CELL, 3).astype(float)
    means: NDArray[np.float64] = squares.mean((1, 3)).round(1)
    return means
