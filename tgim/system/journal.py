"""Files of lines that several processes append to, each of which may be killed at any moment.

A line counts once its end is there. One that was torn is ended by the next, and is for the reader to recognise.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tgim.system.lines import LONGEST
from tgim.system.locks import locked


class Journal:
    """Lines of a file, which is made by the first.

    Args:
        path: of the file; its folder is there when a line is added.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0  # bytes

    def append(self, line: bytes) -> None:
        """Add a line, given without its end, at once; none of it is left where that fails.

        Raises:
            OSError: the file cannot be written.
        """
        with self.path.open("ab+", buffering=0) as file, locked(file.fileno()):
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            torn = file.read(1) not in (b"", b"\n")
            try:
                rest = memoryview(b"\n" * torn + line + b"\n")
                while rest:  # a disk that is nearly full takes a part
                    rest = rest[file.write(rest) :]
            except OSError:
                with suppress(OSError):
                    file.truncate(size)
                raise

    def news(self) -> Iterator[bytes]:
        """The whole lines, without their ends, that were added since the last call, by whomever; none without a file.

        Lines of over `LONGEST` bytes are left out.

        Raises:
            OSError: the file cannot be read.
        """
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            if os.fstat(file.fileno()).st_size < self._read:  # another file has taken its name
                self._read = 0
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # it is being written, or torn
                self._read += len(line)
                if len(line) <= LONGEST:
                    yield line[:-1]
