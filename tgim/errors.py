"""Errors that tgim raises when the caller, a file or a recipe is at fault.

Every message is one line: what came, what was expected, what to do. The command line prints it and exits with 2.
"""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Base of all errors that the user can mend; anything else that escapes is a defect of tgim."""


class ImageError(UserError):
    """A picture that cannot be read, is not what it claims to be, or is too large."""


class SubjectError(UserError):
    """A picture without a subject, or without the part that is to be edited."""


class MissingPartWarning(UserWarning):
    """A part that a caption names cannot be seen in the picture; the rest is edited."""


class FittingAlreadyWarning(UserWarning):
    """A picture that is taken to show already what a caption asks for; nothing is changed."""


class TextError(UserError):
    """A caption that cannot be used: empty, too long, or without one known word."""


class DataError(UserError):
    """A data set that is missing, incomplete or broken."""


class CheckpointError(UserError):
    """A checkpoint that is missing, truncated, foreign or newer than this tgim."""


class PluginError(UserError):
    """A system from outside tgim that cannot be imported, or may not be."""


class RecipeError(UserError):
    """A recipe, or a key=value of it, that does not fit."""


def unexpanded(path: object) -> str:
    """Return a hint where `path` looks like a pattern that the shell has left as it was, else an empty string.

    >>> unexpanded("*.jpg")
    '; a pattern is replaced by names only without quotes, and where there are such files'
    """
    found = any(sign in str(path) for sign in "*?[")
    return "; a pattern is replaced by names only without quotes, and where there are such files" if found else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``'; did you mean X?'`` for the closest of `known`, or an empty string when none is close.

    >>> nearest("batchsize", ["batch_size", "lr"])
    "; did you mean 'batch_size'?"
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
