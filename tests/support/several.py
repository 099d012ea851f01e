"""Training of small systems by one process or by several; a script: `several.py OUT STEPS CASE...`, under a launcher.

Process 0 writes to OUT, for each case, the terms of every step, and whether all processes ended with equal weights.
The case "layers" is what layers and gathered rows give, with their gradients.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from support.small import batch_of, model_of, trainable
from tgim.data.batch import Batch
from tgim.nn.losses import contrastive, fake_where
from tgim.nn.parallel import ALONE, Ranks, gathered, own_share, randn_like, rolled, summed, synchronise, together
from tgim.training import parallel

COUNT = 8  # pictures of a batch
LAYERS = "layers"


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
    optimizers = {net: torch.optim.Adam(trainable(getattr(model, net)).values(), 1e-4) for net in model.networks}
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


def layers(ranks: Ranks = ALONE) -> dict[str, Any]:
    """Loss and gradients of layers that join pictures, and the running statistics that they leave."""
    torch.manual_seed(0)
    image = 3 + torch.randn(6, 4, 5, 5)
    labels = torch.tensor([0, 1, 0, 2, 3, 4])
    net = nn.Sequential(nn.BatchNorm2d(4), nn.Dropout2d(0.5), nn.Dropout(0.2), nn.Conv2d(4, 3, 5), nn.Flatten())
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([1.0, -2.0, 0.5, 3.0]))
    synchronise(net)
    with together(ranks):
        x, own = own_share(image).clone().requires_grad_(), own_share(labels)
        code = net(x)
        code = code + 0.1 * randn_like(code)
        whole, known = gathered(code), gathered(own) > 0
        row, column = contrastive(whole @ gathered(rolled(code)).T, gathered(own))
        loss = row + column + fake_where(code[:, 0], own > 0) + 0.1 * summed(code.sum())
        parameters = list(net.parameters())
        (slope,) = torch.autograd.grad(loss, [x], retain_graph=True)
        loss.backward(inputs=parameters)
        terms = {"loss": loss}
        if ranks.size > 1:
            terms = parallel.average(ranks, parameters, terms)
        slope = gathered(slope) / ranks.size  # of the mean of the processes' losses
    found = {"loss": terms["loss"], "code": whole, "known": known.float(), "slope": slope}
    found |= {name: p.grad for name, p in net.named_parameters()} | dict(net.named_buffers())
    return {name: value.detach().flatten().tolist() for name, value in found.items()}


def same_everywhere(ranks: Ranks, state: dict[str, torch.Tensor]) -> bool:
    """Tell whether all processes have the tensors of process 0, bit for bit."""
    different = 0
    for value in state.values():
        first = value.clone()
        torch.distributed.broadcast(first, src=0)
        different += not torch.equal(first, value)
    return parallel.adding(ranks, lambda: [different])() == [0]


def launcher(count: int = 2) -> list[str]:
    """The beginning of a command that is run by so many processes; the port is a free one."""
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]


def environment() -> dict[str, str]:
    """That of a command of this Python, on one thread."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}


def of_two(out: Path, steps: int, cases: Sequence[str]) -> Any:
    """What two processes give for `cases`, by case."""
    command = [*launcher(), __file__, str(out), str(steps), *cases]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())


def main(out: str, steps: str, *cases: str) -> None:
    torch.set_num_threads(1)
    ranks = parallel.join("cpu")
    found: dict[str, Any] = {}
    for case in cases:
        if case == LAYERS:
            found[case] = layers(ranks)
            continue
        lines, state = train(case, int(steps), ranks)
        found[case] = {"lines": lines, "same": same_everywhere(ranks, state)}
    if ranks.rank == 0:
        Path(out).write_text(json.dumps(found))
    parallel.leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
