"""The command `tgim`: each verb calls one library function and says what came of it.

Nothing heavy is imported until a verb needs it. What the user can mend ends as one line on stderr and exit code 2; a
folder with bad pictures, or an unusable data set, as exit code 1; ctrl-C as 130.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tgim._version import __version__
from tgim.errors import UserError

GUARD = "TGIM_ALLOCATOR_SET"  # set in a process that was started anew with `malloc_environment`


class Program(click.Group):
    """A group whose errors are one line each."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> Any:
        """Run one command and exit; `args` are those of the process unless given."""
        extra |= {"standalone_mode": False, "obj": {"own_process": args is None}}
        try:
            with warnings.catch_warnings():
                if not sys.warnoptions:
                    warnings.simplefilter("ignore")  # of other packages; tgim's own are logged or shown by the verbs
                sys.exit(super().main(args, prog_name=prog_name or "tgim", **extra) or 0)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(2)
        except click.UsageError as error:
            hint = f"; see {error.ctx.command_path} --help" if error.ctx else ""
            fail(error.format_message().rstrip(".") + hint)
        except click.ClickException as error:
            fail(error.format_message())
        except UserError as error:
            fail(str(error))
        except click.Abort:  # click's name for ctrl-C
            fail("interrupted", code=130, kind="")
        except MemoryError:
            fail("out of memory; use a smaller picture, or close other programs")
        except OSError as error:
            if error.strerror is None:
                raise
            fail(": ".join(filter(None, [str(error.filename or ""), error.strerror])))


def fail(message: str, *, code: int = 2, kind: str = "error: ") -> None:
    """Say `message` as one line on stderr and exit."""
    click.echo(f"tgim: {kind}{' '.join(message.split())}", err=True)
    sys.exit(code)


def warn(message: str) -> None:
    """Say `message` as one line on stderr."""
    click.echo(f"tgim: warning: {' '.join(message.split())}", err=True)


class Messages(logging.Handler):
    """The library's log, warnings and worse, on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        warn(record.getMessage())


def say(value: dict[str, Any]) -> None:
    """One JSON line on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False))


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
FILE = click.Path(path_type=Path)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tgim")
def main() -> None:
    """Edit photographs by captions, and train the models that do it."""
    log = logging.getLogger("tgim")
    if not any(isinstance(handler, Messages) for handler in log.handlers):
        log.addHandler(Messages(logging.WARNING))


@main.command()
@click.option("--image", type=FILE, help="The picture.")
@click.option("--images", type=FILE, help="Or a folder: every picture in it; --out is a folder then.")
@click.option(
    "--text", "texts", multiple=True, required=True, help="Caption of the result, or a phrase; may be repeated."
)
@click.option("--out", "target", help="File or folder to write.  [default: <name>-edited<suffix> in this folder]")
@click.option("--model", default="birds", show_default=True, help="Name (see tgim list) or file of a checkpoint.")
@click.option("--strength", type=float, default=1.0, show_default=True, help="0 leaves the picture, 1 edits fully.")
@click.option("--box", metavar="X,Y,W,H", help="Edit this region alone, in pixels from the upper left; soft edge.")
@click.option("--focus/--no-focus", default=True, help="Look closer at a small subject.  [default: focus]")
@click.option(
    "--size",
    type=click.Choice(["photo", "model"]),
    default="photo",
    show_default=True,
    help="Of the result: the photograph's, or the model's raw output.",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Of models that draw noise.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="Of JPEG and WebP files.")
@click.option("--metadata", is_flag=True, help="Keep the EXIF block (camera, date, place).")
@click.option("--force", is_flag=True, help="Allow --out to replace the picture itself.")
@as_json
def edit(
    image: Path | None,
    images: Path | None,
    texts: tuple[str, ...],
    target: str | None,
    model: str,
    device: str,
    force: bool,
    as_json: bool,
    quality: int,
    metadata: bool,
    **options: Any,
) -> None:
    """Edit pictures so that a caption becomes true of them.

    \b
    tgim edit --image bird.jpg --text "red head and breast" --out edited.jpg
    tgim edit --image bird.jpg --text "a blue bird" --text "a white bird" --out results/
    tgim edit --images photos --text "this bird is yellow with black wings" --out edited

    With several --text the files are numbered: edited-1.jpg, edited-2.jpg. An existing --out is replaced, but never the
    picture itself without --force. --json prints a line for each file that was written.
    """
    if (image is None) == (images is None):
        raise click.UsageError("give either --image FILE or --images FOLDER")
    out = None if target is None else Path(target)
    if images is not None and out is None:
        raise click.UsageError("--images needs --out FOLDER")
    from tqdm import tqdm

    from tgim import jobs
    from tgim.carry import parse_box
    from tgim.editor import Editor
    from tgim.environment import pick_device
    from tgim.images import check_target, list_images
    from tgim.inversion import Inverter
    from tgim.language import understand

    if options["box"] is not None:
        options["box"] = parse_box(options["box"])
    into_folder = images is not None or (target is not None and target.endswith(("/", os.sep)))
    sources = [image] if image is not None else list_images(str(images))
    if image is not None and not image.is_file():
        raise UserError(f"{image} is {'not a file' if image.exists() else 'not there'}; give --image a picture")
    if into_folder and out is not None and out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file, but --out must name a folder here")
    todo = jobs.plan(sources, texts, out=out, into_folder=into_folder, force=force)
    if not into_folder:
        for job in todo:
            check_target(job.out)
    editor = Editor.from_pretrained(model, device=pick_device(device))
    if image is not None and isinstance(editor.model, Inverter):
        editor.model.progress = sys.stderr.isatty()
    for message in jobs.check_texts(editor, texts):
        warn(message)
    results = jobs.run(
        editor,
        todo,
        quality=quality,
        metadata=metadata,
        make_folders=into_folder,
        keep_going=images is not None,
        **options,
    )
    failed = []
    with tqdm(total=len(todo), unit="edit", disable=None if images is not None else True, leave=False) as bar:
        for result in results:
            bar.update()
            if result.error:
                failed.append(result.error)
            elif as_json:
                read = understand(result.job.text, editor.vocabulary, editor.template)
                unknown = {word: list(near) for word, near in read.unknown.items()}
                line = result.as_dict() | {"model": model, "device": str(editor.device), **options}
                say(line | {"caption": read.caption, "unknown": unknown})
            elif images is None:
                click.echo(result.job.out)
    if images is not None and not as_json:
        click.echo(f"{len(todo) - len(failed)} of {len(todo)} edits written to {out}")
    for error in failed:
        click.echo(f"tgim: failed: {' '.join(error.split())}", err=True)
    if failed:
        sys.exit(1)


@main.command()
@click.argument("recipe", type=FILE)
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--out", type=FILE, help="Folder of the run: checkpoints, logs, samples.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out, with the same losses.")
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe, parameters, memory and time; write nothing.")
@click.pass_context
def train(
    context: click.Context, recipe: Path, overrides: tuple[str, ...], out: Path | None, resume: bool, dry_run: bool
) -> None:
    """Train the model of a recipe, or all models of a recipe of stages.

    RECIPE is a YAML file; KEY=VALUE replaces some of its values.

    \b
    tgim train recipes/tagrid.yaml data.root=my_pictures --out runs/mine
    tgim train recipes/tagrid.yaml data.root=my_pictures editor.train.steps=500 --out runs/try
    tgim train recipes/tagan_birds.yaml train.steps=100 data.root=~/cub --out runs/try
    tgim train recipes/tagan_birds.yaml --dry-run

    Of a recipe of stages, KEY begins with a stage's name or is for all stages; the last stage may be a report.

    Ctrl-C saves and stops; the same command with --resume goes on.
    """
    from tgim import recipe as recipes
    from tgim import train as training

    values = recipes.read(recipe)
    if isinstance(values, dict) and "stages" in values:
        from tgim import stages

        several = stages.parse(values, overrides, source=str(recipe))
        if dry_run:
            click.echo(str(stages.dry_run(several)))
            return
        device = next(iter(several.trainings.values())).train.device
    else:
        several, chosen = None, recipes.parse(values, overrides, source=str(recipe))
        if dry_run:
            click.echo(str(training.dry_run(chosen)))
            return
        device = chosen.train.device
    if out is None:
        raise click.UsageError("give --out FOLDER for the run, or --dry-run")
    if context.find_root().obj["own_process"]:
        restart_for_memory(device, training.malloc_environment())
    progress = sys.stderr.isatty()
    try:
        if several is None:
            click.echo(training.fit(chosen, out=out, resume=resume, progress=progress))
            return

        def tell(line: str) -> None:
            click.echo(f"tgim: {line}", err=True)

        outcome = stages.fit(several, out=out, resume=resume, progress=progress, tell=tell)
        if summary := outcome.summary():
            click.echo(f"{summary}\n")
        for path in filter(None, (outcome.model, outcome.page)):
            click.echo(path)
    except training.Interrupted as error:
        fail(str(error), code=130, kind="")


def restart_for_memory(device: str, settings: dict[str, str]) -> None:
    """Start this process anew with `settings` of glibc's allocator, which are read only then: once, and for the CPU."""
    from tgim.environment import pick_device

    wanted = {key: value for key, value in settings.items() if key not in os.environ}
    if not wanted or GUARD in os.environ or platform.libc_ver()[0] != "glibc" or pick_device(device) != "cpu":
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, "-m", "tgim", *sys.argv[1:]], {**os.environ, **wanted, GUARD: "1"})


@main.group()
def data() -> None:
    """Look at data sets."""


@data.command()
@click.argument("path", type=FILE)
@click.option("--kind", type=click.Choice(["cub", "oxford102", "folder"]), help="Layout.  [default: recognised]")
@as_json
def check(path: Path, kind: Any, as_json: bool) -> None:
    """Say what a data set holds, and what is wrong with it.

    Every picture and caption in PATH is looked at; what is missing or broken is counted and named.

    Exits with 1 when no model can be trained on it.
    """
    from tqdm import tqdm

    from tgim.data.report import check as check_data

    with tqdm(unit="picture", disable=None, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = check_data(path, kind=kind, progress=progress)
    if as_json:
        say(report.as_dict())
    else:
        click.echo(str(report))
    sys.exit(0 if report.usable else 1)


@main.command()
@click.option(
    "--system",
    type=click.Choice(["tagan", "sisgan", "stackgan1", "stackgan2", "stackgan_v2", "attngan"]),
    required=True,
)
@click.argument("source", metavar="FILE.pth", type=FILE)
@click.argument("out", metavar="OUT.safetensors", type=FILE)
@click.option("--word-vectors", type=FILE, help="TAGAN's and SISGAN's: a fastText .vec, or a .npy with --words.")
@click.option("--words", type=FILE, help="Of the .npy table, those to keep of the .vec, or AttnGAN's; one a line.")
@click.option("--text-encoder", type=FILE, help="SISGAN's or AttnGAN's, from their authors; StackGAN's `sje`.")
@click.option("--image-encoder", type=FILE, help="AttnGAN's, to train on with its matching loss.")
@click.option("--discriminator", type=FILE, help="The authors' discriminator, to train on from there.")
@click.option("--image-size", type=click.IntRange(16, 1024), help="Pixels.  [default: the release's]")
@click.option("--template", default="{}", help="Completes a phrase to a caption, e.g. 'this bird has a {}'.")
@click.option("--half", is_flag=True, help="Store weights in 16 bits.")
def convert(system: Any, source: Path, out: Path, **options: Any) -> None:
    """Turn a released checkpoint into one of tgim.

    FILE.pth is a generator from the authors of the system. Those of TAGAN and SISGAN hold no word vectors; give those,
    too. Those of StackGAN and StackGAN-v2 hold no text encoder; give the `sje` checkpoint that they were trained with.
    AttnGAN's needs its text encoder and that one's words.
    """
    from tgim.convert import convert as convert_file

    click.echo(convert_file(system, source, out, **options))


@main.command()
@click.argument("model")
@as_json
def info(model: str, as_json: bool) -> None:
    """Print a model's card: data, licence, figures, limits.

    MODEL is a name (see tgim list) or a file.
    """
    from tgim import card

    found = card.model_card(model)
    if as_json:
        say(found)
    else:
        click.echo(card.render(found))


@main.command(name="list")
@as_json
def list_command(as_json: bool) -> None:
    """List the models and the systems to train."""
    from tgim.card import list_all

    found = list_all()
    if as_json:
        say(found)
        return
    for heading, names in found.items():
        click.echo(f"{heading}:")
        for name, what in names.items():
            click.echo(f"  {name:<18}{what}")


@main.command()
@click.argument("out", type=FILE)
@click.option("--kind", type=click.Choice(["birds", "flowers"]), default="birds", show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Which picture.")
@click.option("--force", is_flag=True, help="Replace another picture of that name.")
def sample(out: Path, kind: str, seed: int, force: bool) -> None:
    """Draw a bird or a flower to try things on."""
    from tgim.data.synthetic import sample_picture
    from tgim.jobs import write_new

    click.echo(write_new(sample_picture(kind, seed=seed), out, force=force))


@main.command()
@as_json
def env(as_json: bool) -> None:
    """Print versions, threads and devices."""
    from tgim.environment import describe

    found = describe()
    if as_json:
        say(found)
        return
    for name, value in found.items():
        rows = [f"{key} {inner}" for key, inner in value.items()] if isinstance(value, dict) else value
        click.echo(f"{name.replace('_', ' '):<16}{', '.join(rows) if isinstance(rows, list) else rows}")


import tgim.cli_eval  # noqa: E402  adds its verbs to `main`, so it comes last
import tgim.cli_make  # noqa: E402
import tgim.cli_search  # noqa: E402, F401
