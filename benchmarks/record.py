"""Record sizes and hashes of the embedded files, and an edit by `birds`: what `tgim doctor` compares with.

    python benchmarks/record.py

Run it when embedded files or edits by `birds` have changed on purpose; `benchmarks/embed.py` does so itself.
"""

from __future__ import annotations

import click

from tgim.inference.recorded import write_record


@click.command()
def main() -> None:
    """Write tgim/weights/record.json."""
    click.echo(write_record())


if __name__ == "__main__":
    main()
