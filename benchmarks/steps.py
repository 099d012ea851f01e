"""Time of a training step beside that of the authors' release. Prints the committed table, or measures it anew.

    python benchmarks/steps.py
    python benchmarks/steps.py --run tagan sisgan
    python benchmarks/steps.py --run --full stackgan1
    python benchmarks/steps.py --run --bf16 tagan sisgan

Ours is `Trainer.train_step` on one batch: all that the loop does for a step but read pictures, the moving average and
the check for losses that are not finite included. The other side is `releases/steps.py`: the release's step in plain
torch, with networks of as many parameters (that is checked). Both run in turns, on one thread, and are timed in CPU
seconds of this process, since other programs may run on the machine; a ratio is the median over the turns. The
release's step is in float32, its precision, ours in that or in bfloat16. Both have the memory allocator's settings of
`tgim train`; ours has its pictures' channels last in memory, as the recipes for a CPU have.
Captions are read by our side in every step, while the releases of GAN-INT-CLS and StackGAN read sentences from a file.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from releases.networks import Attention
from releases.steps import RELEASES, damsm_losses
from torch import nn

from tgim.checkpoints import checkpoint
from tgim.data.batch import Batch
from tgim.environment import origin
from tgim.models.generation.attngan_blocks import WordAttention
from tgim.models.generation.stackgan import StackGAN1
from tgim.models.matching.sje import SJE, SJEConfig
from tgim.nn.losses import damsm_sentence, damsm_words
from tgim.system.memory import keep_memory
from tgim.text.vocabulary import Alphabet, Tokens
from tgim.training import recipe
from tgim.training.build import build_trainer
from tgim.training.loop import Trainer

RESULTS = Path(__file__).resolve().parent / "results" / "steps.jsonl"
SEED, BATCH = 0, 16
SMALL_TEXT = {"text_widths": [96, 128, 64], "embedding_size": 256}
NARROW = {"width": 32, "discriminator_width": 16, "condition_size": 64}
SMALL: dict[str, dict[str, Any]] = {  # sizes of the recipes that a plain CPU can run
    "gan_int_cls": NARROW,
    "stackgan1": NARROW,
    "stackgan2": {"image_size": 64, **NARROW, "first": {"image_size": 32, **NARROW}},
    "stackgan_v2": {"base_size": 16, "residual_blocks": 1, **NARROW},
    "attngan": {"image_size": 64, "scales": 2, "width": 16, "discriminator_width": 24, "condition_size": 64},
    "tagan": {"image_size": 64, "width": 16, "word_size": 128, "text_size": 128, "condition_size": 64},
    "sisgan": {"width": 16, "condition_size": 64, "text_steps": 1},  # sentences are learned first, as in the release
}
FULL: dict[str, dict[str, Any]] = {"sisgan": {"text_steps": 1}}  # otherwise the papers', which are the defaults
READS_CHARACTERS = ("gan_int_cls", "stackgan1", "stackgan2", "stackgan_v2")
PARTS = ("damsm_losses", "word_attention")
Step = Callable[[], object]


def trainer_of(
    system: str, sizes: dict[str, Any], *, batch: int, text: dict[str, Any], folder: Path, precision: str = "fp32"
) -> Trainer:
    """The loop around a new model, as `tgim train` builds it, on synthetic pictures."""
    model = {"name": system, **sizes}
    if system in READS_CHARACTERS:
        sje = SJE(SJEConfig(**text), vocabulary_size=len(Alphabet()))
        reader = str(checkpoint.save(folder / "sje.safetensors", sje, vocabulary=Alphabet()))
        if system == "stackgan2":
            first = StackGAN1(StackGAN1.Config(**model.pop("first", {}), text=reader), vocabulary_size=len(Alphabet()))
            model["stage1"] = str(checkpoint.save(folder / "first.safetensors", first, vocabulary=Alphabet()))
        else:
            model["text"] = reader
    data = {"name": "synthetic", "synthetic": {"pool": 2 * batch}}
    train = {"steps": 1000, "batch_size": batch, "device": "cpu", "seed": SEED, "threads": 1, "precision": precision}
    train["channels_last"] = True
    return build_trainer(recipe.parse({"model": model, "data": data, "train": train}), cache=folder)


def of_system(
    system: str, sizes: dict[str, Any], *, batch: int, text: dict[str, Any], precision: str
) -> tuple[Step, Step, int]:
    """Our step and the release's, and the side of the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(system, sizes, batch=batch, text=text, folder=Path(folder), precision=precision)
        shown = trainer.batches.batch(0)
    if system == "sisgan":
        trainer.model.step_count.fill_(1)  # after the steps that train the text encoder alone
    networks, theirs = RELEASES[system](trainer.model, shown)
    for name, network in networks.items():
        ours = weights(getattr(trainer.model, name), without=("read.table.", "read.characters."))
        if ours != weights(network):
            raise ValueError(f"{system}: our {name} has {ours:,} weights, the release's {weights(network):,}")
    return lambda: trainer.train_step(shown), theirs, trainer.model.image_size


def weights(network: nn.Module, *, without: tuple[str, ...] = ()) -> int:
    """Number of trained parameters of a network."""
    named = network.named_parameters()
    return sum(p.numel() for name, p in named if p.requires_grad and not name.startswith(without))


def of_part(part: str, *, batch: int) -> tuple[Step, Step, int]:
    """A part of AttnGAN forward and backward at its full size, ours and the release's."""
    mask = torch.arange(18) < torch.arange(batch)[:, None] % 8 + 8  # captions of 8 to 15 words, cut to 18
    width, side = 256, 64
    words, sentence = torch.randn(batch, 18, width) * mask[..., None], torch.randn(batch, width)
    if part == "word_attention":
        x, transposed = torch.randn(batch, 32, side, side).requires_grad_(), words.transpose(1, 2).contiguous()
        ours, theirs = WordAttention(32, width), Attention(32, width)
        return (
            lambda: ours(x, words, mask.float())[0].sum().backward(),
            lambda: theirs(x, transposed, ~mask)[0].sum().backward(),
            side,
        )
    regions = torch.randn(batch, width, 289, requires_grad=True)
    picture = torch.randn(batch, width, requires_grad=True)
    shown = Batch(torch.zeros(batch, 3, 1, 1), Tokens(mask.long(), mask), torch.arange(batch))

    def batched() -> None:
        found = damsm_words(regions, words, mask, shown.labels), damsm_sentence(picture, sentence, shown.labels)
        sum(found[0] + found[1]).backward()

    return batched, lambda: damsm_losses(regions, words, sentence, picture, shown).backward(), 17


def in_turns(ours: Step, theirs: Step, *, pairs: int) -> list[tuple[float, float]]:
    """CPU seconds of both, measured in turns, after one step of each that is not counted."""
    found = []
    for turn in range(pairs + 1):
        order = (ours, theirs) if turn % 2 else (theirs, ours)  # neither always comes second
        seconds = {}
        for step in order:
            begun = time.process_time()
            step()
            seconds[step] = time.process_time() - begun
        found.append((seconds[ours], seconds[theirs]))
    return found[1:]


def measured(
    name: str,
    *,
    full: bool,
    pairs: int,
    batch: int = BATCH,
    sizes: dict[str, Any] | None = None,
    precision: str = "fp32",
) -> dict[str, Any]:
    """One line of the results."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    if name in PARTS:
        ours, theirs, side = of_part(name, batch=batch)
    else:
        sizes = sizes if sizes is not None else (FULL if full else SMALL).get(name, {})
        text: dict[str, Any] = {} if full else SMALL_TEXT
        ours, theirs, side = of_system(name, sizes, batch=batch, text=text, precision=precision)
    found = in_turns(ours, theirs, pairs=pairs)
    ratios = sorted(a / b for a, b in found)
    facts = origin()
    return {
        "system": name,
        "sizes": "full" if full or name in PARTS else "small",
        "side": side,
        "batch": batch,
        "dtype": {"fp32": "float32", "bf16": "bfloat16"}[precision],
        "ours_s": round(median(a for a, _ in found), 4),
        "release_s": round(median(b for _, b in found), 4),
        "ratio": round(median(ratios), 3),
        "lowest": round(ratios[0], 3),
        "highest": round(ratios[-1], 3),
        "n": pairs,
        "clock": "CPU seconds",
        "seed": SEED,
        "threads": 1,
        **{key: facts[key] for key in ("commit", "torch", "machine", "cores")},
    }


def table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown of the results."""
    rows = [
        "| system | sizes | side | batch | ours in | ours, s | release, s | ratio | lowest, highest | n |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {x['system']} | {x['sizes']} | {x['side']} px | {x['batch']} | {x['dtype']} "
        f"| {x['ours_s']:.3f} | {x['release_s']:.3f} "
        f"| {x['ratio']:.2f} | {x['lowest']:.2f}, {x['highest']:.2f} | {x['n']} |"
        for x in lines
    ]
    return "\n".join(rows)


def read(path: Path = RESULTS) -> list[dict[str, Any]]:
    """The lines of a results file; none where there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def kept(lines: list[dict[str, Any]], new: dict[str, Any], path: Path = RESULTS) -> list[dict[str, Any]]:
    """`lines` with `new` in place of the line of the same system, sizes and precision, written to `path`."""
    order = [*RELEASES, *PARTS]

    def place(x: dict[str, Any]) -> tuple[int, bool, bool]:
        return order.index(x["system"]), x["sizes"] == "full", x["dtype"] == "bfloat16"

    lines = sorted([*(x for x in lines if place(x) != place(new)), new], key=place)
    path.write_text("".join(json.dumps(x) + "\n" for x in lines), encoding="utf-8")
    return lines


@click.command()
@click.argument("systems", nargs=-1, type=click.Choice([*RELEASES, *PARTS]))
@click.option("--run", is_flag=True, help="Measure, and write the lines to the results file.")
@click.option("--full", is_flag=True, help="At the paper's sizes.")
@click.option("--bf16", is_flag=True, help="Our step in bfloat16; the release's stays in float32.")
@click.option("--batch", default=BATCH, show_default=True, type=click.IntRange(2), help="Pictures of a step.")
@click.option("--pairs", default=9, show_default=True, type=click.IntRange(1), help="Turns of both.")
def main(systems: tuple[str, ...], run: bool, full: bool, bf16: bool, batch: int, pairs: int) -> None:
    """Print the table of training steps, ours beside the releases', of all SYSTEMS or some."""
    names, lines = systems or (*RELEASES, *PARTS), read()
    if run:
        for name in names:
            precision = "bf16" if bf16 else "fp32"
            lines = kept(lines, measured(name, full=full, pairs=pairs, batch=batch, precision=precision))
    click.echo(table(x for x in lines if x["system"] in names))


if __name__ == "__main__":
    keep_memory()
    main()
