"""Files that are written whole or not at all, and the hash of their content."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str], *, sync: bool = False) -> Iterator[Path]:
    """Give a new, empty file beside `path` to write into; it takes that name when the block ends.

    After an error, also of the block, `path` is what it was before and nothing is left beside it. The permissions are
    those of any new file (the umask's). A symbolic link at `path` is itself replaced, not what it points to.

    Args:
        path: of the finished file; its folder is there.
        sync: wait until the content is on the disk before it takes the name, so that a power cut leaves one or the
            other.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".tgim-{os.getpid()}-{secrets.token_hex(4)}.part")  # short: `path` may be near a limit
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        mode = os.fstat(handle).st_mode & 0o777
        os.close(handle)
        yield temporary
        temporary.chmod(mode)  # a writer may have put a file of its own there
        if sync:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write_file(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write `content`, text as UTF-8, to `path` by `replacing`.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as temporary:
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
