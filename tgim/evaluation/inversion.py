"""`inversion@1`: ways to invert photographs into text-to-image models: what is reconstructed, and whether it edits.

Each way finds the noise of a photograph once, under the photograph's own caption. From that noise the generator makes
the photograph again (own caption) and edits it (target caption of another class, as in `retrieval@1`). Rows of a model:

- a generator: "NAME+random", a random noise that knows nothing of the photograph, and "NAME+search", optimisation from
  the mean (Abdal et al., ICCV 2019);
- a generator with an encoder (Reed et al., ICML 2016, or Zhu et al., ECCV 2020): "NAME", the encoder alone, and
  "NAME+search", optimisation that starts from its noise and stays near what it encodes (ECCV 2020, eq. 4).

Searches take 100 steps at most, and compare pictures by the features that the model brings itself (`Inverter.of`).
Trivial editors get both captions like an editor. The figures:

- `rmse` of the reconstruction, in [-1, 1];
- `feature_distance` of the reconstruction: that of `tgim.nn.losses.stage_distance` in EfficientNet-Lite2, at 128
  pixels; like LPIPS, but not LPIPS: another network, no learned weights. The line's extractor names it. In-domain
  encoders are trained on EfficientNet-Lite0, which has learned from the same pictures: a relative of the measure;
- `off_normal`: | |z|/sqrt(Z) - 1 |, how far the noise's length is from that of noise the generator was trained on;
- `recall@1` of the edit by the judge, as in `retrieval@1`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tgim import metrics
from tgim.checkpoints import checkpoint
from tgim.errors import CheckpointError
from tgim.evaluation import catalogue, retrieval
from tgim.evaluation.bench import Bench
from tgim.evaluation.catalogue import CEILING, CHANCE, FLOOR
from tgim.evaluation.contenders import Contender
from tgim.evaluation.matcher import CHUNK
from tgim.evaluation.protocol import Protocol
from tgim.evaluation.records import Measured, Options
from tgim.evaluation.ways import Way, ways
from tgim.models.matching.frozen_interaction import FrozenInteraction
from tgim.nn.losses import stage_distance
from tgim.nn.resize import resize

BACKBONE = "judge-birds-2"  # embedded weights that bring EfficientNet-Lite2
TAPS = (1, 2, 3, 5)  # of its stages: strides 4, 8, 16 and 32
SIDE = 128  # pixels at which pictures are compared there
METRICS = ("rmse", "feature_distance", "recall@1")  # and "off_normal" of what has noise


def inverted(bench: Bench, way: Way) -> Tensor:
    """Noise (n, Z) of the bench's photographs under their own captions, found and kept 64 pictures at a time."""
    found = []
    for first in range(0, len(bench), CHUNK):
        part = slice(first, min(first + CHUNK, len(bench)))
        rows = bench.rows[part].tolist()

        def make(part: slice = part, rows: list[int] = rows) -> NDArray[Any]:
            return way.noise(bench.pictures[part], bench.own[part], rows, seed=bench.seed).numpy()

        depends = (way.name, *way.options.values(), bench.seed, rows, bench.pictures[part], bench.own[part])
        found.append(torch.from_numpy(bench.kept(way, make, "noise", *depends)))
        bench.progress(f"{way.name}: noise", part.stop, len(bench))
    return torch.cat(found)


def generated(bench: Bench, way: Way, noise: Tensor, captions: Sequence[str]) -> Tensor:
    """Pictures (n, 3, S, S) of noise (n, Z) and captions, made 64 at a time."""
    found = []
    for first in range(0, len(noise), CHUNK):
        part = slice(first, first + CHUNK)
        found.append(way.pictures(noise[part], captions[part]))
        bench.progress(f"{way.name}: pictures", min(part.stop, len(noise)), len(noise))
    return resize(torch.cat(found), (bench.size, bench.size))


@lru_cache(maxsize=1)
def backbone() -> FrozenInteraction:
    """The embedded model whose frozen network compares pictures."""
    model = checkpoint.load(BACKBONE).model
    if not isinstance(model, FrozenInteraction):
        raise CheckpointError(f"{BACKBONE} is a {model.name!r}, expected a matching model on a frozen network")
    return model


def label(bench: Bench) -> str:
    """Label of the network that compares pictures: "efficientnet-lite2 of judge-birds-2:0123456789abcdef, ..."."""
    variant = backbone().config.backbone
    return f"efficientnet-{variant} of {BACKBONE}:{checkpoint.fingerprint(BACKBONE)}, {SIDE} px, no learned weights"


@torch.no_grad()
def distances(pictures: Tensor, others: Tensor) -> NDArray[np.float64]:
    """Feature distance (n,) of pictures (n, 3, S, S) in [-1, 1] from others; see the module."""
    network, found = backbone().backbone, []
    for first in range(0, len(pictures), CHUNK):
        part = slice(first, first + CHUNK)
        maps = (network.maps(resize(each[part], (SIDE, SIDE)), TAPS) for each in (pictures, others))
        found.append(stage_distance(*maps))
    return torch.cat(found).double().numpy()


def measure(bench: Bench, contender: Contender) -> Iterator[Measured]:
    """The figures of a way to invert, or of a trivial editor."""
    options: Options = {}
    if isinstance(contender, Way):
        options, noise = contender.options, inverted(bench, contender)
        again, edited = (generated(bench, contender, noise, texts) for texts in (bench.own, bench.target))
        lengths = noise.double().square().mean(1).sqrt()
        yield Measured("off_normal", (lengths - 1).abs().numpy(), higher_is_better=False, options=options)
    else:
        again, edited = bench.edits(contender, bench.own), bench.edits(contender, bench.target)
    yield from _likeness(bench, again, options)
    found = retrieval.target_ranks(bench, edited)
    yield Measured("recall@1", (found <= 1).astype(float), options={**retrieval.candidates(bench), **options})


def _likeness(bench: Bench, again: Tensor, options: Options) -> Iterator[Measured]:
    """Both distances of reconstructions from the photographs."""
    errors = {
        "rmse": metrics.rmse(again, bench.pictures).double().numpy(),
        "feature_distance": distances(again, bench.pictures),
    }
    for metric, values in errors.items():
        yield Measured(metric, values, higher_is_better=False, options=options)


def references(bench: Bench) -> Iterator[tuple[str, Measured]]:
    """Recall of real photographs with their own captions, of unedited ones with the target's, and of chance."""
    for name, figure in retrieval.references(bench):
        if figure.metric == METRICS[-1]:
            yield name, figure


def if_named(bench: Bench) -> bool:
    """Return False: searches are slow, so it is measured by name alone."""
    return False


INVERSION = Protocol(
    catalogue.INVERSION,
    METRICS,
    measure,
    references,
    (CEILING, FLOOR, CHANCE),
    needs_judge=True,
    extractor_label=label,
    possible=if_named,
    contenders=ways,
)
