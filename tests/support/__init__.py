"""What several test files share beyond the fixtures of conftest.py: small systems, worlds and commands."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of the source tree
