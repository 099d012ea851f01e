"""Run the cells of a notebook in order, without Jupyter, and write a notebook as Markdown for the site.

python docs/cells.py docs/notebooks/edit_and_measure.ipynb            # runs it in this folder
python docs/cells.py docs/notebooks/edit_and_measure.ipynb --write    # and keeps what its cells printed and showed
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

QUALITY = 80  # of the pictures that are kept, JPEG


def as_markdown(content: str, *, name: str) -> str:
    """The cells of a notebook and their outputs as Markdown; below the title, a link to download it."""
    pieces = []
    for cell in json.loads(content)["cells"]:
        source = "".join(cell["source"])
        pieces.append(f"```python\n{source}\n```" if cell["cell_type"] == "code" else source)
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if picture := data.get("image/jpeg"):
                pieces.append(f"![output](data:image/jpeg;base64,{''.join(picture.split())})")
            elif text := "".join(output.get("text", data.get("text/plain", ""))).rstrip():
                pieces.append(f"```text\n{text}\n```")
    title, _, rest = pieces[0].partition("\n")
    return "\n\n".join([title, f"{{download}}`Download this notebook <{name}>`", rest, *pieces[1:]]) + "\n"


def run(path: Path) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Run the code cells in order in one namespace; for each, the cell and its outputs."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] != "code":
            continue
        body = ast.parse("".join(cell["source"]), f"{path.name}, cell {number}").body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(ast.Module(body, []), path.name, "exec"), names)
            shown = eval(compile(ast.Expression(last.value), path.name, "eval"), names) if last else None
        yield cell, list(_outputs(printed.getvalue(), shown))


def _outputs(printed: str, shown: Any) -> Iterator[dict[str, Any]]:
    if printed:
        yield {"output_type": "stream", "name": "stdout", "text": printed.splitlines(keepends=True)}
    if isinstance(shown, Image.Image):
        content = io.BytesIO()
        shown.convert("RGB").save(content, "JPEG", quality=QUALITY, optimize=True)
        data = {"image/jpeg": base64.b64encode(content.getvalue()).decode(), "text/plain": ["a picture"]}
        yield {"output_type": "display_data", "metadata": {}, "data": data}
    elif shown is not None:
        yield {"output_type": "display_data", "metadata": {}, "data": {"text/plain": [str(shown)]}}


def main(path: Path, *, write: bool) -> None:
    """Run a notebook in this folder, or with `write` in a new one, and keep the outputs in the file."""
    path, start = path.resolve(), time.process_time()
    whole = json.loads(path.read_text(encoding="utf-8"))
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder if write else here)
        outputs = [found for _, found in run(path)]
        os.chdir(here)
    code = [cell for cell in whole["cells"] if cell["cell_type"] == "code"]
    for number, (cell, found) in enumerate(zip(code, outputs, strict=True), 1):
        cell["execution_count"], cell["outputs"] = number, found
        print("".join("".join(output.get("text", "")) for output in found), end="")
    if write:
        path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{path.name}: {time.process_time() - start:.0f} s of a processor in this process")


if __name__ == "__main__":
    main(Path(sys.argv[1]), write="--write" in sys.argv)
