"""The verb that opens the labelling page: `tgim label`."""

from __future__ import annotations

from pathlib import Path

import click

from tgim.cli.app import main, note, warn
from tgim.system.say import say


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--parts", metavar="A,B,...", help="Names of the parts; kept for the next start.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is every one.")
@click.option("--port", type=click.IntRange(0, 65535), default=7861, show_default=True, help="0 takes a free one.")
@click.option("--allow-host", "names", multiple=True, metavar="NAME", help="Answer as this host, too; may be repeated.")
@click.option("--no-browser", is_flag=True, help="Do not open the browser.")
def label(folder: Path, parts: str | None, host: str, port: int, names: tuple[str, ...], no_browser: bool) -> None:
    """Click the parts of one's own pictures in a browser.

    FOLDER holds the pictures, or has images/, and gets metadata.jsonl.

    \b
    tgim label my_pictures --parts roof,wall,door
    tgim train recipes/tagrid.yaml data.root=my_pictures --out runs/mine

    Each point is saved at once, as "points" in metadata.jsonl; all else in the file stays as it is. The page shows its
    keys under "?". Without --parts, names come from the last start or from points that are there, or the page asks.
    Ctrl-C ends it. It needs pip install "tgim[serve]".
    """
    from tgim.server.local import OWN_NAMES, is_loopback, is_unspecified, listen, needed, serve, url_of

    needed(("starlette", "uvicorn"))
    from tgim.data.labels import Labels
    from tgim.server.browser import open_page
    from tgim.server.labelling import build

    labels = Labels(folder)
    if parts is not None:
        labels.keep_parts(parts.split(","))
    if labels.left_out:
        warn(f"{labels.left_out} pictures are links out of {folder} and are left out; copy them into it")
    app = build(labels, hosts=[*OWN_NAMES, *names, *([] if is_unspecified(host) else [host])])
    with listen(host, port) as listening:
        url = url_of(listening)
        if not is_loopback(host):
            warn(f"whoever can reach {host} can see these pictures and change their points")
        say(url)
        note(f"{len(labels.names):,} pictures, {labels.marks().count(1):,} with points; ctrl-C ends")
        if not no_browser:
            open_page(url)
        serve(app, listening)
