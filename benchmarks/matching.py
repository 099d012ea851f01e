"""Which captions fit a picture, and which pictures a caption? Recall of matching models on classes they never saw.

    python benchmarks/matching.py --data cub --model judge-birds --model runs/vse_birds/model.safetensors

Protocol `matching@1` of `tgim.evaluation.matching`: 100 candidates, 99 of them of other classes; chance is 1, 5, 10 %.
"""

from __future__ import annotations

from pathlib import Path

import click

from tgim.data.config import DataConfig
from tgim.errors import UserError
from tgim.evaluation.matching import evaluate_matching


@click.command()
@click.option("--model", "models", multiple=True, required=True, help="Embedded name or checkpoint; may be repeated.")
@click.option("--data", type=click.Choice(["cub", "oxford102"]), default="cub", show_default=True)
@click.option("--root", help="The data set's folder; $TGIM_DATA/<data> by default.")
@click.option("--split", default="test", show_default=True, type=click.Choice(["val", "test"]))
@click.option("--limit", type=int, help="Measure so many pictures only.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Results file; what it holds is not measured again.")
def main(
    models: tuple[str, ...], data: str, root: str | None, split: str, limit: int | None, seed: int, out: Path | None
) -> None:
    """Print recall@1, 5 and 10 both ways."""
    config = DataConfig.model_validate({"name": data, "root": root, "split": split})
    try:
        lines = evaluate_matching(models, data=config, seed=seed, out=out, limit=limit)
    except UserError as error:
        raise click.ClickException(str(error)) from None
    for line in lines:
        click.echo(
            f"{line.model:<24}{line.metric:<28}{line.value:7.1%}  ({line.low:.1%} to {line.high:.1%}), n {line.n}"
        )


if __name__ == "__main__":
    main()
