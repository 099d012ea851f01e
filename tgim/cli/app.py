"""Parts that all verbs of the command `tgim` share: the group of commands, its errors, warnings and progress bars.

Nothing heavy is imported until a verb needs it. What the user can mend ends as one line on stderr and exit code 2; a
folder with bad pictures, or an unusable data set, as exit code 1; ctrl-C as 130; a closed pipe silently as 141.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgim._version import __version__
from tgim.errors import UserError, unexpanded
from tgim.system.say import OutputError, bar, end_bars, one_line, prepare_streams, say, show_progress

if TYPE_CHECKING:
    from tgim.inference.editor import Editor
    from tgim.inference.engines import Engines

CLOSED_PIPE = 141  # exit code of a program whose reader has gone: 128 and the number of SIGPIPE


class _Saying(click.Command):
    """A command whose help is printed by `say`, and which takes an option that has one value once."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """The option --help."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _help
        return option

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line; UsageError where the second value of an option would silently win."""
        if not ctx.resilient_parsing:
            for option, times in Counter(self.make_parser(ctx).parse_args(args=list(args))[2]).items():
                plain = isinstance(option, click.Option) and option.is_flag and not option.secondary_opts
                if times > 1 and isinstance(option, click.Option) and not (option.multiple or option.count or plain):
                    name = "/".join([option.opts[-1], *option.secondary_opts])
                    raise click.UsageError(f"{name} is given {times} times and takes one value; give it once", ctx)
        return super().parse_args(ctx, args)


def _help(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        say(context.get_help())
        context.exit()


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        say(f"tgim, version {__version__}")
        context.exit()


class Verb(_Saying):
    """A verb of the command."""


class Verbs(_Saying, click.Group):
    """A group of verbs."""

    command_class = Verb


class Program(Verbs):
    """A group whose errors are one line each."""

    group_class = Verbs

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> Any:
        """Run one command and exit; `args` are those of the process unless given."""
        if args is None:
            prepare_streams()
        extra |= {"standalone_mode": False, "obj": {"own_process": args is None}}
        try:
            with warnings.catch_warnings():
                if not sys.warnoptions:
                    warnings.simplefilter("ignore")  # of other packages; tgim's own are logged or shown by the verbs
                sys.exit(super().main(args, prog_name=prog_name or "tgim", **extra) or 0)
        except OutputError as error:
            if error.closed:
                sys.exit(CLOSED_PIPE)
            fail(str(error))
        except click.exceptions.NoArgsIsHelpError as error:
            say(error.format_message(), err=True)
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
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            fail("this needs torch, which is not installed here; run pip install torch torchvision")
        except MemoryError:
            fail("out of memory; use a smaller picture, or close other programs")
        except OSError as error:
            fail(": ".join(filter(None, [str(error.filename or ""), error.strerror or str(error)])))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; ctrl-C aborts it without click's empty line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.Abort from None


def fail(message: str, *, code: int = 2, kind: str = "error: ") -> None:
    """Say `message` as one line on stderr and exit."""
    end_bars()
    say(f"tgim: {kind}{one_line(message)}", err=True)
    sys.exit(code)


def warn(message: str) -> None:
    """Say `message` as one line on stderr."""
    say(f"tgim: warning: {one_line(message)}", err=True)


def note(message: str) -> None:
    """Say what is going on, as one line on stderr."""
    say(f"tgim: {one_line(message)}", err=True)


class Messages(logging.Handler):
    """The library's log on stderr: warnings and worse, and what it does while that takes long."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            warn(record.getMessage())
        else:
            note(record.getMessage())


def check_picture(path: Path, *, advice: str = "give --image a picture", many: str = "") -> None:
    """Raise UserError unless `path` is a file; `many` says how several pictures are given."""
    if path.is_file():
        return
    if path.is_dir():
        raise UserError(f"{path} is a folder; {many or advice + ' in it'}")
    hint = unexpanded(path)
    what = "not a file" if path.exists() else "not there"
    raise UserError(f"{path} is {what}{hint}; {many if hint and many else advice}")


def check_not_input(out: Path, *inputs: Path) -> None:
    """Raise UserError where `out` is a file that is read."""
    for path in inputs:
        if out.exists() and path.exists() and out.samefile(path):
            raise UserError(f"{out} would replace {path}, which is read; name another file")


def end_with(failed: Sequence[str]) -> None:
    """Name pictures that could not be used, a line each, and exit with 1 where there are any."""
    for error in failed:
        note(f"failed: {error}")
    if failed:
        sys.exit(1)


@contextmanager
def progress_bar(unit: str, *, total: int | None = None) -> Iterator[Callable[[int, int], None]]:
    """Show progress; gives a function to call with (done, total)."""
    with bar(total=total, unit=unit, leave=False) as shown:

        def progress(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield progress


def own_cache() -> Path | None:
    """The folder of the user's cache; None, with a warning, where there is none."""
    from tgim.data.cache import cache_folder

    try:
        return cache_folder()
    except UserError as error:
        warn(f"{error}, or give --no-cache")
        return None


@contextmanager
def naming_unknown_words() -> Iterator[None]:
    """Say on stderr, at once, which words of a text the model does not know."""
    from tgim.text.understand import UnknownWordWarning

    with warnings.catch_warnings():
        warnings.simplefilter("always", UnknownWordWarning)
        warnings.showwarning = lambda message, *_: warn(str(message))
        yield


def open_editor(
    model: str, *, device: str, invert_steps: int | None = None, progress: bool = False, engine: Engines = "auto"
) -> Editor:
    """Open the checkpoint `model` as an editor of photographs.

    Args:
        model: name or file.
        device: "auto", "cpu" or "cuda".
        invert_steps: of the search for a photograph's noise; None for the model's own.
        progress: show progress while it searches.
        engine: see `tgim.inference.editor.open_editor`.

    Raises:
        UserError: it does not edit, `invert_steps` are given and it does not search, or the engine cannot run it.
    """
    from tgim.inference.editor import open_editor

    return open_editor(
        model, device=device_for(model, device, engine), invert_steps=invert_steps,
        progress=progress, engine=engine,
    )  # fmt: skip


def device_for(model: str, device: str, engine: str) -> str:
    """Choose where a model runs: "cpu" where it takes no torch, so that torch is not asked for a GPU."""
    from tgim.environment import pick_device
    from tgim.inference.onnx_engine import has_graph

    if device == "auto" and engine != "torch" and has_graph(model):
        return "cpu"
    return pick_device(device)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def main(quiet: bool) -> None:
    """Edit photographs by captions, and train the models that do it."""
    show_progress(not quiet)
    log = logging.getLogger("tgim")
    if not any(isinstance(handler, Messages) for handler in log.handlers):
        log.addHandler(Messages(logging.INFO))
        logging.getLogger("tgim.doing").setLevel(logging.INFO)  # of the others, warnings are let through
