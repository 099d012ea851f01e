"""The verb that serves edits and their page to a browser: `tgim serve`."""

from __future__ import annotations

from pathlib import Path

import click

from tgim.cli.app import main, note, warn
from tgim.cli.options import device_option
from tgim.errors import UserError
from tgim.system.say import say

MODELS = ("birds", "birds-1", "birds-2", "flowers", "flowers-1", "judge-birds", "judge-flowers", "attngan-birds")


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is every one.")
@click.option("--port", type=click.IntRange(0, 65535), default=7860, show_default=True, help="0 takes a free one.")
@click.option(
    "--model", "models", multiple=True, help="Name or file of a model to serve; may be repeated.  [default: all]"
)
@click.option("--allow-host", "names", multiple=True, metavar="NAME", help="Answer as this host, too; may be repeated.")
@click.option(
    "--workers", type=click.IntRange(1, 64), help="Requests worked on at a time.  [default: cores, 4 at most]"
)
@click.option(
    "--queue", "waiting", type=click.IntRange(0, 10_000), default=16, show_default=True,
    help="Requests that wait beside them; others are told to come again.",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(1, 3600), default=60, show_default=True, help="Seconds that a request may take."
)
@click.option(
    "--max-mib", type=click.FloatRange(0.1, 1024), default=50, show_default=True, help="Size of a request at the most."
)
@click.option(
    "--max-megapixels",
    type=click.FloatRange(0.01, 120),
    default=40,
    show_default=True,
    help="Size of a picture at the most.",
)
@click.option("--open", "show", is_flag=True, help="Open the page in a browser.")
@device_option
def serve(
    host: str,
    port: int,
    models: tuple[str, ...],
    names: tuple[str, ...],
    workers: int | None,
    waiting: int,
    timeout: float,
    max_mib: float,
    max_megapixels: float,
    show: bool,
    device: str,
) -> None:
    """Serve edits over HTTP, and a page to make them on.

    \b
    tgim serve
    tgim serve --model birds --model runs/mine/model.safetensors --port 8000
    curl -F image=@bird.jpg -F text="red head" http://127.0.0.1:7860/edit > edited.jpg

    The page is at /, the interface at /docs: /edit, /parts, /match, /generate, /sample, /models, /health and /metrics.
    Only this machine is served unless --host says otherwise; there is no log-in. Nothing is fetched from an
    address that a request names, and no upload is written to disk. The first --model of a kind is its default.
    Ctrl-C ends it.
    """
    from tgim.server import local

    local.needed()
    from tgim.checkpoints.checkpoint import list_embedded
    from tgim.environment import pick_device
    from tgim.system.runtime import usable_cores

    chosen = models or tuple(dict.fromkeys([*(name for name in MODELS if name in list_embedded()), *list_embedded()]))
    served: dict[str, str | Path] = {}
    for name in chosen:
        short = name if name in list_embedded() else _short(Path(name))
        if short in served:
            raise UserError(f"{name} and {served[short]} would both be served as {short!r}; rename one of the files")
        served[short] = name
    workers = workers or min(4, usable_cores())
    listening = local.listen(host, port)
    from tgim.server.app import Limits, create_app
    from tgim.server.catalog import Catalog

    limits = Limits(
        max_bytes=round(max_mib * 2**20),
        max_pixels=round(max_megapixels * 1e6),
        waiting=waiting,
        seconds=timeout,
        workers=workers,
        threads=max(1, usable_cores() // workers),
    )
    catalog = Catalog(served, device=pick_device(device))
    app = create_app(catalog, limits)
    if not local.is_loopback(host):
        warn(f"{host} is in reach of other machines, and there is no log-in; put a proxy with one before it")
    url = local.url_of(listening)
    say(f"{url} serves {len(served)} models; ctrl-C ends it")
    if show:
        import webbrowser

        webbrowser.open(url)
    own = [*local.OWN_NAMES, *names, *([] if local.is_unspecified(host) else [host])]
    guarded = local.Guard(app, hosts=own, max_bytes=limits.max_bytes)
    local.serve(guarded, listening, stopping=app.state.stop)
    note("the server has ended")


def _short(file: Path) -> str:
    """Name of a model that is a file: the file's, or its folder's for the file of a run."""
    return file.parent.name or file.stem if file.stem == "model" else file.stem
