"""Training of small systems by one process or by several; a script: `several.py OUT STEPS CASE...`, under a launcher.

Process 0 writes to OUT, for each case, the terms of every step, and whether all processes ended with equal weights.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from support.small import batch_of, model_of, trainable
from tgim.data.batch import Batch
from tgim.nn.parallel import ALONE, Ranks, synchronise, together
from tgim.training import parallel

COUNT = 8  # pictures of a batch


def batch_for(side: int) -> Batch:
    """A batch in which some classes come twice, and the last two pictures have descriptions as synthetic ones."""
    batch = batch_of(side, COUNT)
    assert batch.parts is not None
    parts = replace(batch.parts, real=torch.arange(COUNT) < COUNT - 2)
    labels = torch.tensor([0, 1, 2, 0, 1, 3, 4, 5])
    return replace(batch, labels=labels, parts=parts, source=batch.image.roll(3, 0), change=batch.text.roll(3))


def train(case: str, steps: int, ranks: Ranks = ALONE) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """Train as the loop does; returns the terms of each step, and the model's state."""
    model = model_of(case)
    batch = batch_for(model.image_size)
    if ranks.size > 1:
        synchronise(model)
        batch = batch.share(ranks.rank, ranks.size)
    optimizers = {net: torch.optim.Adam(trainable(getattr(model, net)).values(), 1e-3) for net in model.networks}
    lines = []
    for step in range(steps):
        torch.manual_seed(step)
        lines.append(line := {})
        with together(ranks):
            for network, terms in model.steps(batch):
                parameters = list(trainable(getattr(model, network)).values())
                optimizers[network].zero_grad()
                torch.stack(list(terms.values())).sum().backward(inputs=parameters)
                if ranks.size > 1:
                    terms = parallel.average(ranks, parameters, terms)
                optimizers[network].step()
                line |= {f"{network}.{name}": float(term.detach()) for name, term in terms.items()}
    return lines, model.state_dict()


def same_everywhere(ranks: Ranks, state: dict[str, torch.Tensor]) -> bool:
    """Tell whether all processes have the tensors of process 0, bit for bit."""
    same = 0
    for value in state.values():
        first = value.clone()
        torch.distributed.broadcast(first, src=0)
        same += not torch.equal(first, value)
    return parallel.adding(ranks, lambda: [same])() == [0]


def main(out: str, steps: str, *cases: str) -> None:
    torch.set_num_threads(1)
    ranks = parallel.join("cpu")
    found: dict[str, Any] = {}
    for case in cases:
        lines, state = train(case, int(steps), ranks)
        found[case] = {"lines": lines, "same": same_everywhere(ranks, state)}
    if ranks.rank == 0:
        Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
