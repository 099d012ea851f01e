"""Time of pictures by folded networks beside the authors' releases. Prints the committed table, or measures it anew.

    python benchmarks/folded.py
    python benchmarks/folded.py --run tagan sisgan
    python benchmarks/folded.py --run --precision bf16 --batch 16 tagan

Ours is the generator of the defaults, the papers' sizes, as an editor or `Generator` on a CPU makes pictures by it
(`tgim.nn.folding`). The other side is the release's own network in plain torch (`releases/`), with as many parameters,
in evaluation mode, without gradients. Weights are random, running statistics those of 16 pictures. Sentences and words
are given to both, so that no text is read. Both run in turns, on one thread, in CPU seconds of this process, since
other programs may run on the machine, with the memory allocator's settings of `tgim train`. The ratio is the median
over the turns of release / ours; the interval holds that median with 95 % (order statistics; of fewer than 6 turns it
is the lowest and highest). Differences are of a picture by the folded network from one by the network itself, in
[-1, 1], where a level of 255 is 0.0078.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import lru_cache
from math import comb
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from releases.editors import GanIntClsG, SisganG, TaganG
from releases.networks import Stage1, Stage2, Tree
from steps import in_turns, read, weights
from torch import Tensor, nn

from tgim.checkpoints.registry import find_model
from tgim.environment import origin
from tgim.inference.fast import PRECISIONS
from tgim.models.base import Model
from tgim.nn.folding import fold
from tgim.system.memory import keep_memory

RESULTS = Path(__file__).resolve().parent / "results" / "folded.jsonl"
SEED, BATCHES, WORDS = 0, (1, 16), 15
SETTLING = 16  # pictures that running statistics are of; few are of no use
SYSTEMS = ("tagan", "sisgan", "attngan", "stackgan1", "stackgan2", "stackgan_v2", "gan_int_cls")
Draw = Callable[[Any], Tensor]  # a generator, ours or a release's -> pictures (B, 3, S, S)


class Given(nn.Module):
    """Text encoder of a release whose sentences are known."""

    def __init__(self, sentence: Tensor) -> None:
        super().__init__()
        self.sentence = sentence

    def forward(self, *_: Tensor) -> tuple[None, Tensor]:
        return None, self.sentence


def sides(name: str, model: Any, batch: int) -> tuple[nn.Module, Draw, Draw]:
    """A release's network, and how ours and that one make pictures."""
    c = model.config
    picture = torch.rand(batch, 3, model.image_size, model.image_size) * 2 - 1
    if name in ("tagan", "sisgan"):
        sentence, eps = torch.randn(batch, c.text_size), torch.randn(batch, c.condition_size)
        sizes = {"width": c.width, "text": c.text_size, "condition": c.condition_size, "blocks": c.residual_blocks}
        theirs: Any = TaganG(**sizes, word=c.word_size) if name == "tagan" else SisganG(**sizes)
        if name == "tagan":
            theirs.read = Given(sentence)
        more = (None,) if name == "tagan" else ()
        return theirs, lambda m: m.generator(picture, sentence, eps)[0], lambda g: g(picture, sentence, *more)[0]
    noise = torch.randn(batch, model.noise_size)
    if name == "gan_int_cls":
        sentence = torch.randn(batch, c.sentence_size)
        sizes = {"width": c.width, "text": c.sentence_size, "condition": c.condition_size, "noise": c.noise_size}
        return GanIntClsG(**sizes), lambda m: m.generator(sentence, noise), lambda g: g(sentence, noise)
    if name in ("stackgan1", "stackgan2"):
        f = c if name == "stackgan1" else c.first
        sentence, eps = torch.randn(batch, f.sentence_size), torch.randn(batch, c.condition_size)
        sizes = {"width": f.width, "text": f.sentence_size, "condition": f.condition_size, "noise": f.noise_size}
        first = Stage1(side=f.image_size, **sizes)
        if name == "stackgan1":
            return first, lambda m: m.generator(sentence, noise, eps)[0], lambda g: g(sentence, noise)[0]
        sizes = {"width": c.width, "text": f.sentence_size, "condition": c.condition_size, "blocks": c.residual_blocks}
        theirs = Stage2(first, doublings=(c.image_size // f.image_size).bit_length() + 1, **sizes)
        return (
            theirs,
            lambda m: m.generator(m.first(sentence, noise, eps)[0], sentence, eps)[0],
            lambda g: g(sentence, noise)[0],
        )
    attends = name == "attngan"
    text = c.encoder.embedding_size if attends else c.sentence_size
    sizes = {"width": c.width, "text": text, "condition": c.condition_size, "noise": c.noise_size}
    side, scales = (c.sizes[0], c.scales) if attends else (c.base_size, c.branches)
    theirs = Tree(side=side, scales=scales, blocks=c.residual_blocks, attends=attends, **sizes)
    sentence, eps = torch.randn(batch, text), torch.randn(batch, c.condition_size)
    if not attends:
        return theirs, lambda m: m.generator(sentence, noise, eps)[0][-1], lambda g: g(sentence, noise)[0][-1]
    words, mask = torch.randn(batch, WORDS, text), torch.ones(batch, WORDS)
    turned = words.mT.contiguous()

    def ours(m: Any) -> Tensor:
        condition = m.generator.augment(sentence, eps).sample
        return m.generate_from((condition, words, mask), noise)

    return theirs, ours, lambda g: g(sentence, noise, turned, mask == 0)[0][-1]


@torch.no_grad()
def settled(network: nn.Module, draw: Callable[[], Tensor]) -> None:
    """Give a network the running statistics of one batch, and evaluate."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    network.train()
    draw()
    network.eval()


@lru_cache(maxsize=1)
def networks(name: str, sizes: str) -> tuple[Any, Any]:
    """Our model, with the config `sizes` (JSON) or the defaults, and the release's network, ready to make pictures."""
    torch.manual_seed(SEED)
    made = find_model(name)
    model = made(made.Config(**json.loads(sizes)), vocabulary_size=100)
    theirs, ours, their = sides(name, model, SETTLING)
    settled(model, lambda: ours(model))
    settled(theirs, lambda: their(theirs))
    own = weights(model.generator, without=("read.",))
    if name == "stackgan2":
        own += sum(p.numel() for each, p in model.first.named_parameters() if not each.startswith("read."))
    other = sum(p.numel() for p in theirs.parameters())
    if own != other:
        raise ValueError(f"{name}: our generator has {own:,} weights, the release's {other:,}")
    return model, theirs


def pair(
    name: str, *, batch: int, precision: str, sizes: dict[str, Any]
) -> tuple[Callable[[], Tensor], Callable[[], Tensor], Callable[[], Tensor], Model]:
    """Pictures by our folded network, by the release's, and by our network as it is."""
    model, theirs = networks(name, json.dumps(sizes))
    other, ours, their = sides(name, model, batch)
    if name == "tagan":
        theirs.read = other.read
    folded = fold(model, dtype=PRECISIONS[precision])
    return (
        torch.inference_mode()(lambda: ours(folded)),
        torch.no_grad()(lambda: their(theirs)),
        torch.inference_mode()(lambda: ours(model)),
        model,
    )


def measured(
    name: str, *, batch: int, precision: str = "fp32", pairs: int = 15, sizes: dict[str, Any] | None = None
) -> dict[str, Any]:
    """One line of the results."""
    torch.set_num_threads(1)
    ours, theirs, plain, model = pair(name, batch=batch, precision=precision, sizes=sizes or {})
    difference = (ours() - plain()).abs()
    found = in_turns(ours, theirs, pairs=pairs)
    ratios = sorted(b / a for a, b in found)
    lowest = order_statistic(pairs)
    facts = origin()
    return {
        "system": name,
        "side": model.image_size,
        "batch": batch,
        "precision": precision,
        "ours_s": round(median(a for a, _ in found), 4),
        "release_s": round(median(b for _, b in found), 4),
        "ratio": round(median(ratios), 2),
        "interval": [round(ratios[lowest], 2), round(ratios[-1 - lowest], 2)],
        "n": pairs,
        "largest_difference": float(f"{difference.max():.2g}"),
        "mean_difference": float(f"{difference.mean():.2g}"),
        "clock": "CPU seconds",
        "seed": SEED,
        "threads": 1,
        **{key: facts[key] for key in ("commit", "torch", "processor")},
    }


def order_statistic(n: int) -> int:
    """Place k of sorted values so that the values k and n - 1 - k hold the median between them with 95 %, or 0."""
    k = 0
    while 2 * sum(comb(n, i) for i in range(k + 2)) / 2**n <= 0.05:
        k += 1
    return k


def table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown of the results."""
    rows = [
        "| system | side | batch | precision | ours, s | release, s | ratio | interval | n | difference |",
        "|---|--:|--:|---|--:|--:|--:|---|--:|---|",
    ]
    for x in lines:
        low, high = x["interval"]
        rows.append(
            f"| {x['system']} | {x['side']} px | {x['batch']} | {x['precision']} | {x['ours_s']:.3f} "
            f"| {x['release_s']:.3f} | {x['ratio']:.2f} | {low:.2f} to {high:.2f} | {x['n']} "
            f"| {x['largest_difference']:.1g}, {x['mean_difference']:.1g} |"
        )
    return "\n".join(rows)


def kept(lines: list[dict[str, Any]], new: dict[str, Any], path: Path = RESULTS) -> list[dict[str, Any]]:
    """`lines` with `new` in place of the line of the same system, batch and precision, written to `path`."""

    def key(x: dict[str, Any]) -> tuple[int, bool, int]:
        return SYSTEMS.index(x["system"]), x["precision"] != "fp32", x["batch"]

    lines = sorted([*(x for x in lines if key(x) != key(new)), new], key=key)
    path.write_text("".join(json.dumps(x) + "\n" for x in lines), encoding="utf-8")
    return lines


@click.command()
@click.argument("systems", nargs=-1, type=click.Choice(SYSTEMS))
@click.option("--run", is_flag=True, help="Measure, and write the lines to the results file.")
@click.option("--precision", "precisions", multiple=True, type=click.Choice(list(PRECISIONS)), default=list(PRECISIONS))
@click.option("--batch", "batches", multiple=True, type=click.IntRange(1), default=BATCHES, show_default=True)
@click.option("--pairs", default=15, show_default=True, type=click.IntRange(1), help="Turns of both.")
def main(
    systems: tuple[str, ...], run: bool, precisions: tuple[str, ...], batches: tuple[int, ...], pairs: int
) -> None:
    """Print the table of pictures, ours beside the releases', of all SYSTEMS or some."""
    names, lines = systems or SYSTEMS, read(RESULTS)
    for name in names if run else ():
        for batch in batches:
            for precision in precisions:
                lines = kept(lines, measured(name, batch=batch, precision=precision, pairs=pairs))
    click.echo(table(x for x in lines if x["system"] in names))


if __name__ == "__main__":
    keep_memory()
    main()
