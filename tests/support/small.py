"""Every registered system at a tiny size, a batch for it, and a step of its training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tgim.checkpoints import registry
from tgim.data.batch import Batch, DescribedPictures, LabelledViews, PartLessons, SyntheticPairs
from tgim.environment import pick_precision
from tgim.models.base import Model
from tgim.models.editing.part_curves.head import feature_count
from tgim.text.vocabulary import Tokens, Vocabulary

CAPTIONS = [
    "this bird has a red head and breast",
    "a small blue bird",
    "a bird with yellow and black wings",
    "white belly",
]
VOCABULARY = Vocabulary.build(CAPTIONS)
ENCODER = {"image_size": 32, "width": 8, "blocks": 1, "word_size": 8, "embedding_size": 16}
WORDS_AND_REGIONS = {**ENCODER, "members": 2, "match_size": 8}
NARROW = {"image_size": 32, "width": 4, "residual_blocks": 1, "word_size": 6, "text_size": 8, "condition_size": 5}
PICTURE = {"image_size": 32, "width": 8, "blocks": 1}
DRAWER = {"image_size": 32, "word_size": 6, "text_size": 8, "noise_size": 6, "condition_size": 5, "width": 8}
STAGE1 = {**DRAWER, "image_size": 16, "discriminator_width": 4}
COMPOSED = {"system": "vse", "encoder": {**PICTURE, "word_size": 8, "embedding_size": 16}}
NEEDS_BF16 = pytest.mark.skipif(pick_precision("auto", "cpu").name != "bf16", reason="the processor emulates bf16")
MOST = 1_000_000  # parameters that a system may have without an entry in SIZES
SIZES = {  # a system that is not named here is tried at its defaults
    "tagrid": {"encoder": WORDS_AND_REGIONS, "width": 16, "bins": 3},
    "tagan": NARROW,
    "sisgan": NARROW,
    "gan_int_cls": {**DRAWER, "discriminator_width": 4},
    "style_encoder": {"system": "gan_int_cls", "sizes": {**DRAWER, "discriminator_width": 4}, "width": 4},
    "in_domain": {
        "system": "gan_int_cls",
        "sizes": {**DRAWER, "discriminator_width": 4},
        "width": 4,
        "discriminator_width": 4,
        "pretrained": False,
        "taps": (0, 1),
    },
    "stackgan1": STAGE1,
    "stackgan2": {
        "image_size": 32,
        "first": STAGE1,
        "width": 4,
        "residual_blocks": 1,
        "condition_size": 4,
        "discriminator_width": 4,
    },
    "stackgan_v2": {**{k: v for k, v in STAGE1.items() if k != "image_size"}, "base_size": 8, "residual_blocks": 1},
    "attngan": {
        "image_size": 32,
        "scales": 2,
        "encoder": ENCODER,
        "width": 4,
        "discriminator_width": 4,
        "residual_blocks": 1,
        "condition_size": 5,
        "noise_size": 6,
    },
    "dual_encoder": ENCODER,
    "late_interaction": WORDS_AND_REGIONS,
    "frozen_interaction": {
        "image_size": 64,
        "pretrained": False,
        "width": 16,
        "members": 2,
        "word_size": 8,
        "embedding_size": 16,
        "match_size": 8,
    },
    "vse": {**PICTURE, "word_size": 8, "embedding_size": 16},
    "damsm": {**PICTURE, "word_size": 8, "embedding_size": 16},
    "sje": {**PICTURE, "text_widths": (8, 12, 16), "embedding_size": 16},
    "part_localiser": {
        "image_size": 64,
        "widths": (16, 16, 16, 16),
        "pretrained": False,
        "subject_classes": ((7, 24),),
    },
    "part_curves": {
        "sight": {"image_size": 64, "widths": (16, 16, 16, 16), "pretrained": False},
        "width": 32,
        "layers": 1,
        "word_size": 8,
        "dropout": 0.0,
    },
    "tirg": COMPOSED,
    "compose_concat": COMPOSED,
}
SYSTEMS: dict[str, type[Model]] = {  # those of the library: tests register some of their own
    name: system for name, system in registry.systems().items() if system.__module__.startswith("tgim.")
}
VARIANTS: dict[str, tuple[str, dict[str, object]]] = {  # what else a system can be: its name, and what differs
    "stackgan_v2, one branch": ("stackgan_v2", {"branches": 1, "base_size": 16}),
    "stackgan_v2, two branches": ("stackgan_v2", {"branches": 2, "base_size": 16}),
    "stackgan_v2, captions alone": ("stackgan_v2", {"unconditional_weight": 0.0}),
    "stackgan_v2, colours": ("stackgan_v2", {"colour_weight": 50.0}),
    "stackgan_v2, no captions": ("stackgan_v2", {"conditional": False}),
    "attngan, one scale": ("attngan", {"scales": 1}),
    "attngan, three scales": ("attngan", {"scales": 3, "image_size": 64}),
}
CASES = {**SYSTEMS, **{case: SYSTEMS[name] for case, (name, _) in VARIANTS.items()}}


def settings_of(case: str) -> dict[str, object]:
    """What to configure a system or a variant with, at a tiny size."""
    name, options = VARIANTS.get(case, (case, {}))
    return {**SIZES.get(name, {}), **options}


def model_of(case: str, *, stirred: bool = True, **options: object) -> Model:
    """A small model in training mode; `stirred` so that no weight is the zero that it may start from."""
    torch.manual_seed(0)
    system = CASES[case]
    config = system.Config(**{**settings_of(case), **options})
    model = system(config, vocabulary_size=len(VOCABULARY)).train()
    size = sum(parameter.numel() for parameter in model.parameters())
    if size > MOST and not settings_of(case):
        pytest.fail(
            f"{case} has {size:,} parameters at its defaults; name a smaller size for it in tests/support/small.py",
            False,
        )
    if stirred:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
            if case == "tagrid":
                model.generator.head.leave[-1].weight.normal_(std=0.5)  # edits that can be seen
            if case == "part_curves":
                model.head.gate.bias.fill_(2.0)  # parts change
                model.localiser.decoder.output[-1].weight.normal_(std=3.0)  # and are told apart
    return model


def batch_of(side: int = 32, count: int = 4) -> Batch:
    """Pictures with captions, guesses at the subject (and pixels of which nothing is known), and synthetic pairs."""
    source = torch.Generator().manual_seed(1)
    image, target = (torch.rand(count, 3, side, side, generator=source) * 2 - 1 for _ in range(2))
    subject = torch.randint(-1, 2, (count, 1, side, side), generator=source).float()
    text = VOCABULARY.encode([CAPTIONS[i % len(CAPTIONS)] for i in range(count)])
    known = subject.clamp(0, 1)
    pairs = SyntheticPairs(image.flip(0), text.roll(), text, target, known, known)
    altered = Tokens(text.ids.clone(), text.mask)
    altered.ids[:, 0] = altered.ids[:, 0].roll(1)
    cells = torch.tensor([0, 1, 2, 9, 100, 103, 254, 255])  # labels of all sorts
    cells = cells[torch.randint(8, (count, side // 4, side // 4), generator=source)]
    labels = torch.arange(count)
    parts, lessons = described_of(side, count, source)
    return Batch(
        image,
        text,
        labels,
        subject=subject,
        synthetic=pairs,
        altered=altered,
        views=LabelledViews(cells),
        parts=parts,
        lessons=lessons,
    )


def described_of(side: int, count: int, source: torch.Generator) -> tuple[DescribedPictures, PartLessons]:
    """Descriptions of ten parts, and two lessons of each picture."""
    parts, features = 10, feature_count("lite0")
    tones = torch.tensor([20.0, 50.0, 80.0, 5.0, -5.0]).expand(count, parts, 5)
    index = torch.randint(1, parts, (count, 2, side, side), generator=source)
    share = torch.rand(count, 2, side, side, generator=source) / 2
    named = torch.randint(2, (count, parts), generator=source).float()
    hidden = torch.zeros(count, parts, dtype=torch.bool)
    hidden[:, 1] = True
    seen = torch.randn(count, parts, features, generator=source)
    text = VOCABULARY.encode([CAPTIONS[i % len(CAPTIONS)] for i in range(2 * count)])
    gates = torch.randint(-1, 2, (count, 2, parts), generator=source).float()
    curves = 50 * torch.rand(count, 2, parts, 9, generator=source)
    ids, mask = (each.view(count, 2, -1) for each in text)
    lessons = PartLessons(torch.arange(count), ids, mask, gates, curves, gates.clamp(min=0))
    return DescribedPictures(seen, tones, index, share, named, hidden, labels_real(count)), lessons


def labels_real(count: int) -> torch.Tensor:
    """All but the last picture are photographs."""
    return torch.arange(count) < count - 1


def noise_for(model: Model, count: int = 4) -> torch.Tensor:
    """The same noise at every call."""
    return torch.randn(count, model.noise_size, generator=torch.Generator().manual_seed(3))


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def train(model: Model, batch: Batch, *, steps: int, lr: float = 1e-3, only: str | None = None) -> list[float]:
    """Train as the loop does, each step from the same random numbers; returns the loss of each step, over networks.

    With `only`, that network alone is trained, and its losses are returned.
    """
    optimizers = {net: torch.optim.Adam(trainable(getattr(model, net)).values(), lr) for net in model.networks}
    losses = []
    for _ in range(steps):
        torch.manual_seed(7)
        losses.append(0.0)
        for network, terms in model.steps(batch):
            if only not in (None, network):
                continue
            total = sum(terms.values())
            optimizers[network].zero_grad()
            total.backward(inputs=list(trainable(getattr(model, network)).values()))
            optimizers[network].step()
            losses[-1] += total.item()
    return losses
