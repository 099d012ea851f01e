"""Parts that all verbs of the command `tgim` share: the group of commands, its errors, warnings and progress bars.

Nothing heavy is imported until a verb needs it. What the user can mend ends as one line on stderr and exit code 2; a
folder with bad pictures, or an unusable data set, as exit code 1; ctrl-C as 130.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgim._version import __version__
from tgim.errors import UserError

if TYPE_CHECKING:
    from tgim.inference.editor import Editor


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
    """The library's log on stderr: warnings and worse, and what it does while that takes long."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            warn(record.getMessage())
        else:
            click.echo(f"tgim: {record.getMessage()}", err=True)


def say(value: dict[str, Any]) -> None:
    """Print one JSON line on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False))


def check_picture(path: Path, *, advice: str = "give --image a picture") -> None:
    """Raise UserError unless `path` is a file."""
    if not path.is_file():
        raise UserError(f"{path} is {'not a file' if path.exists() else 'not there'}; {advice}")


def end_with(failed: Sequence[str]) -> None:
    """Name pictures that could not be used, a line each, and exit with 1 where there are any."""
    for error in failed:
        click.echo(f"tgim: failed: {' '.join(error.split())}", err=True)
    if failed:
        sys.exit(1)


@contextmanager
def progress_bar(unit: str, *, total: int | None = None) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal; gives a function to call with (done, total)."""
    from tqdm import tqdm

    with tqdm(total=total, unit=unit, disable=None, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


@contextmanager
def naming_unknown_words() -> Iterator[None]:
    """Say on stderr, at once, which words of a text the model does not know."""
    from tgim.text.understand import UnknownWordWarning

    with warnings.catch_warnings():
        warnings.simplefilter("always", UnknownWordWarning)
        warnings.showwarning = lambda message, *_: warn(str(message))
        yield


def open_editor(model: str, *, device: str, invert_steps: int | None, progress: bool) -> Editor:
    """Open the checkpoint `model` as an editor of photographs.

    Args:
        model: name or file.
        device: "auto", "cpu" or "cuda".
        invert_steps: of the search for a photograph's noise; None for the model's own.
        progress: show a bar while it searches, on a terminal.

    Raises:
        UserError: it does not edit, or `invert_steps` are given and it does not search.
    """
    from tgim.checkpoints import checkpoint
    from tgim.environment import pick_device
    from tgim.inference.editor import Editor
    from tgim.inference.inversion import Inverter

    device = pick_device(device)
    source = checkpoint.load(model, device=device)
    inverter = Inverter.of(source.model, steps=invert_steps, progress=progress and sys.stderr.isatty())
    if inverter is None and invert_steps is not None:
        raise UserError(f"{model} ({source.name}) edits photographs without a search; leave out --invert-steps")
    return Editor(source if inverter is None else replace(source, model=inverter), device=device)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tgim")
def main() -> None:
    """Edit photographs by captions, and train the models that do it."""
    log = logging.getLogger("tgim")
    if not any(isinstance(handler, Messages) for handler in log.handlers):
        log.addHandler(Messages(logging.INFO))
        logging.getLogger("tgim.doing").setLevel(logging.INFO)  # of the others, warnings are let through
