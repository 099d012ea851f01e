"""Memory that this process may still take, by the system and its control groups; memory that it keeps."""

from __future__ import annotations

import ctypes
import os

from tgim.system.runtime import CGROUPS, MEMBERSHIP, control_groups, read_small

MEMINFO = "/proc/meminfo"
UNLIMITED = 2**60  # bytes; version 1 writes a number beyond it where there is no limit
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of mallopt
OF_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
OF_VERSION_2 = ("memory.max", "memory.current", "inactive_file")


def available_memory(root: str = CGROUPS, membership: str = MEMBERSHIP, meminfo: str = MEMINFO) -> int | None:
    """Bytes that are free or can be freed at once, within the limit of every control group; None where nobody tells.

    Pages of files that a group has not used for a while count as free: the system takes them back.
    """
    found = []
    for line in read_small(meminfo).splitlines():
        words = line.split()
        if words[:1] == ["MemAvailable:"] and len(words) > 1 and words[1].isdigit():
            found.append(int(words[1]) * 1024)
    for folder, first in control_groups("memory", root, membership):
        most, used, spare = OF_VERSION_1 if first else OF_VERSION_2
        limit, taken = (read_small(f"{folder}/{name}").strip() for name in (most, used))
        if limit.isdigit() and taken.isdigit() and int(limit) < UNLIMITED:
            pairs = (line.split() for line in read_small(f"{folder}/memory.stat").splitlines())
            kept = next((int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == spare), 0)
            found.append(max(0, int(limit) - int(taken) + kept))
    return min(found, default=None)


def keep_memory(*, ahead: int = 2**28) -> bool:
    """Tell glibc's allocator to keep what is freed, and not to give it back and fault it in again.

    Steps of a training, and the arrays of a large photograph, take the same memory again and again; faults cost up to
    half of an edit's time. It holds for the whole process, so it is for programs, not for a library's functions.

    Args:
        ahead: bytes that are taken from the system beyond what is asked for; the default is for hours of training.

    Returns:
        Whether there is such an allocator and it took the settings.
    """
    try:
        if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return False
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, ValueError, AttributeError):  # another system
        return False
    taken = [mallopt(*option) for option in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, ahead))]
    return all(taken)
