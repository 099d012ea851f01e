"""Files that are written whole or not at all, and the hash of their content."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

# Why a finished file cannot take the name of another: it is mounted there, or its folder takes no new files.
FIXED = (errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def replacing(path: str | os.PathLike[str], *, sync: bool = False, follow: bool = True) -> Iterator[Path]:
    """Give a new, empty file beside `path` to write into; it takes that name when the block ends.

    After an error, also of the block, `path` is what it was before and nothing is left beside it. Permissions and owner
    are those of the file that is replaced, else those of any new file (the umask's). A file that cannot be replaced (it
    is a mount of its own, or its folder takes no new files) gets the finished content written into it.

    Args:
        path: of the finished file; its folder is there.
        sync: wait until the content is on the disk before it takes the name, so that a power cut leaves one or the
            other.
        follow: write what a symbolic link at `path` points to; otherwise the link itself is replaced.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(os.path.realpath(path)) if follow else Path(path)
    old = _status(path)
    temporary = path.with_name(f".tgim-{os.getpid()}-{secrets.token_hex(4)}.part")  # short: `path` may be near a limit
    try:
        handle = _create(temporary, old)
    except OSError as error:
        if old is None or error.errno not in FIXED:
            raise
        temporary = Path(tempfile.gettempdir()) / temporary.name
        handle = _create(temporary, old)
    try:
        mode = stat.S_IMODE((old or os.fstat(handle)).st_mode)
        os.close(handle)
        yield temporary
        if old is not None:
            with suppress(OSError, AttributeError):  # only root may give files away; Windows has no owners
                os.chown(temporary, old.st_uid, old.st_gid)
        temporary.chmod(mode)  # a writer may have put a file of its own there
        if sync:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        try:
            os.replace(temporary, path)
        except OSError as error:
            if old is None or error.errno not in FIXED:
                raise
            _overwrite(path, temporary.read_bytes())
            temporary.unlink()
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _status(path: Path) -> os.stat_result | None:
    """The status of an ordinary file; None where there is none."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _create(path: Path, old: os.stat_result | None) -> int:
    """Open a new file that nobody can read who could not read the `old` one."""
    mode = 0o666 if old is None else stat.S_IMODE(old.st_mode) & 0o666 | stat.S_IWUSR
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)


def _overwrite(path: Path, content: bytes) -> None:
    """Write `content` into the file at `path`; after an error its old content is put back."""
    with path.open("rb+", buffering=0) as file:
        old = file.read()
        try:
            _fill(file, content)
        except BaseException:
            _fill(file, old)  # into blocks that are there: `_fill` cuts off at the end alone
            raise


def _fill(file: FileIO, content: bytes) -> None:
    """Make `content` all that an open file holds."""
    file.seek(0)
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]
    file.truncate()
    os.fsync(file.fileno())


def write_file(path: str | os.PathLike[str], content: bytes | str, *, follow: bool = True) -> None:
    """Write `content`, text as UTF-8, to `path` by `replacing`.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path, follow=follow) as temporary:
        temporary.write_bytes(content if isinstance(content, bytes) else content.encode())


def sha256_of(path: str | os.PathLike[str]) -> str:
    """64 hex digits: the SHA-256 of a file's bytes.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
