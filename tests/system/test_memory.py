"""Memory that is available, by the system and by a container's limits."""

from __future__ import annotations

from tgim.system import memory

GIB = 2**30


def test_the_smallest_limit_on_memory_counts(tmp_path):
    def write(name: str, text: object) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")

    def available() -> int | None:
        return memory.available_memory(str(tmp_path), str(tmp_path / "own"), str(tmp_path / "meminfo"))

    assert available() is None
    write("meminfo", "MemTotal: 9 kB\nMemAvailable:   8388608 kB")
    write("own", "0::/box/job")
    assert available() == 8 * GIB
    write("box/memory.max", 4 * GIB)
    write("box/memory.current", 3 * GIB)
    write("box/job/memory.max", "max")
    write("box/job/memory.current", GIB)
    assert available() == GIB
    write("box/memory.stat", f"anon 5\ninactive_file {GIB // 2}")
    assert available() == GIB + GIB // 2
    write("own", "4:cpu,memory:/box")
    write("memory/box/memory.limit_in_bytes", 9223372036854771712)
    write("memory/box/memory.usage_in_bytes", GIB)
    assert available() == 8 * GIB
    write("memory/box/memory.limit_in_bytes", 2 * GIB)
    assert available() == GIB
