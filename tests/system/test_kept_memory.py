"""Memory that a process keeps when it is freed."""

import subprocess
import sys

import pytest

from support.commands import environment

CODE = """
import resource, sys
import numpy as np
from tgim.system.memory import keep_memory
kept = keep_memory() if sys.argv[1] == "keep" else True
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(4_000_000)
before = faults()
for _ in range(5):
    np.ones(4_000_000)
print(int(kept), faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is asked")
def test_memory_that_is_freed_is_not_faulted_in_again():
    variables = {name: value for name, value in environment().items() if not name.startswith("MALLOC_")}

    def run(word):
        done = subprocess.run([sys.executable, "-c", CODE, word], env=variables, capture_output=True, check=True)
        return list(map(int, done.stdout.split()))

    kept, faults = run("keep")
    if not kept:
        pytest.skip("the allocator is not glibc's")  # musl, say
    assert faults < 200
    assert run("leave")[1] > faults  # pages of 4 kB or 2 MB
