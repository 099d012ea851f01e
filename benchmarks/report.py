"""Report as one HTML page: ranking, trade-off, tables, pictures, the worst and the best edits. It loads nothing else.

    python benchmarks/report.py benchmarks/results/birds.jsonl --out report.html
    python benchmarks/report.py benchmarks/results/birds.jsonl --data ../shared/data/cub --model birds --out report.html

With `--data` and `--model` the page holds photographs of the data set, which belong to their authors: it is for your
own disk, keep it out of the repository. Of a text-to-image model it shows generated pictures, a row for each caption
and a column for each noise. Without the two options it has tables and the plot alone.
"""

from __future__ import annotations

from pathlib import Path

import click

from tgim.data.config import DataConfig
from tgim.data.report import detect
from tgim.errors import UserError
from tgim.evaluation.records import Line
from tgim.reporting import Gallery, gallery_of, page, read_results


@click.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the data set whose pictures are shown.")
@click.option("--model", help="Embedded name or checkpoint of the model that is shown.")
@click.option("--judge", help="Embedded name or checkpoint; by default the one that RESULTS name.")
@click.option("--limit", type=int, help="Look for the worst and the best edits among so many pictures.")
@click.option("--title", default="How well pictures are edited", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(
    results: tuple[Path, ...],
    data: Path | None,
    model: str | None,
    judge: str | None,
    limit: int | None,
    title: str,
    out: Path,
) -> None:
    """Write the page of the files RESULTS."""
    if (data is None) != (model is None):
        raise click.UsageError("pictures need both --data and --model; leave out both for tables and plot alone")
    try:
        lines = read_results(results)
        gallery = pictures(data, model, lines, judge, limit) if data is not None and model is not None else None
    except UserError as error:
        raise click.ClickException(str(error)) from None
    out.write_text(page(lines, gallery=gallery, title=title), encoding="utf-8")
    click.echo(f"{out}: {out.stat().st_size / 2**20:.1f} MiB")


def pictures(data: Path, model: str, lines: list[Line], judge: str | None, limit: int | None) -> Gallery:
    """The pictures of the page, of the split that the lines of this data set were measured on."""
    kind = detect(data)
    own = [line for line in lines if line.data == kind]
    if not own:
        raise UserError(f"{data} is {kind}, of which no line was measured; give the folder of the results' data set")
    config = DataConfig(name=kind, root=str(data), split=own[0].split)  # type: ignore[arg-type]
    return gallery_of(model, data=config, lines=own, judge=judge, limit=limit)


if __name__ == "__main__":
    main()
