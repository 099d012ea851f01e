"""The verb that writes a model for other programs: `tgim export`."""

from __future__ import annotations

from pathlib import Path

import click

from tgim.cli.app import main
from tgim.cli.options import FILE, json_option
from tgim.system.say import say, say_json


@main.command()
@click.argument("model")
@click.option(
    "--to", "kind", type=click.Choice(["onnx"]), default="onnx", show_default=True, help="Format of the files."
)
@click.option("--out", "folder", type=FILE, required=True, help="Folder to write to.")
@json_option
def export(model: str, kind: str, folder: Path, as_json: bool) -> None:
    """Write a model in ONNX, for programs without torch.

    MODEL is a name (see tgim list) or a file: a part localiser, an editor of another round (tagrid, part_curves), or
    a matching model of words and regions. Each of its networks takes one picture of the model's size, or one caption,
    and is a file; <name>.json says names, shapes and ranges, and how far edits or scores lie from torch's.
    """
    from tgim.inference.export import export as write

    facts = write(model, folder)
    if as_json:
        say_json(facts)
        return
    far = facts["difference"]
    for told in facts["networks"].values():
        say(folder / told["file"])
    largest = far["largest"] if isinstance(far["largest"], int) else f"{far['largest']:.1e}"
    say(
        f"{facts['kind']}, {facts['image_size']} px, opset {facts['opset']}; {far['pictures']} pictures differ from "
        f"torch's by {largest} {far['of']} at most, {far['mean']:.1e} on average"
    )
