"""Part localiser: a small decoder on the maps of a frozen ImageNet network finds the parts of a subject.

`recipes/parts_birds.yaml` and `recipes/parts_flowers.yaml` train it on points that people clicked, on synthetic
pictures whose parts are known, and on guesses of where the subject is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor
from typing_extensions import Unpack

from tgim.checkpoints.registry import register
from tgim.data.base import CaptionedImages
from tgim.data.batch import Batch, BatchOptions
from tgim.data.config import DataConfig
from tgim.data.points import BACKGROUND
from tgim.data.views import GUESSED, SUBJECT
from tgim.errors import DataError
from tgim.models.base import Config, Localising, Terms
from tgim.models.efficientnet import EfficientNetLite, Variant, load_pretrained, widths
from tgim.models.parsing.batches import ViewBatches, part_names
from tgim.models.parsing.decoder import Decoder
from tgim.nn.parallel import ratio, summed
from tgim.text.lexicon.parts import BIRD_PARTS
from tgim.text.vocabulary import Vocabulary


class PartLocaliserConfig(Config):
    """Sizes of a part localiser."""

    image_size: int = Field(224, ge=64, le=512, multiple_of=32)  # pixels that one look sees
    backbone: Variant = "lite0"
    pretrained: bool = True  # start from the ImageNet weights of the installed package
    part_names: tuple[str, ...] | Literal["points"] = (
        BIRD_PARTS  # besides the background; points: those that points name
    )
    subject_classes: tuple[tuple[int, int], ...] = ()  # ImageNet classes [first, last] that are a subject
    together: bool = False  # all subjects of a photograph count as one, blossoms of a plant say
    teacher: str | None = None  # a trained localiser of the same parts, whose guesses are learned, too; path or name
    guess_weight: float = Field(0.5, ge=0)  # of guesses, where labels by a person, and synthetic truth, weigh 1
    dropout: float = Field(0.0, ge=0, lt=1)  # share of the backbone's channels that is left out in training
    lean: dict[str, float] = Field(
        default_factory=dict
    )  # part -> what is added to its logits when it is used, where missing it costs more
    balance: float = Field(
        0.5, ge=0, le=1
    )  # 1: rare and small parts weigh as much as others; 0: as many cells as known
    widths: tuple[int, int, int, int] = (32, 64, 96, 128)  # channels of the decoder, finest map first
    blocks: tuple[int, int, int, int] = (1, 2, 2, 2)  # residual blocks there

    @model_validator(mode="after")
    def _leans(self) -> PartLocaliserConfig:
        if self.part_names != "points" and (unknown := sorted(set(self.lean) - {BACKGROUND, *self.names})):
            raise ValueError(f"lean names {unknown[0]!r}, which is none of the parts")
        return self

    @field_validator("part_names")
    @classmethod
    def _named(cls, value: tuple[str, ...] | Literal["points"]) -> tuple[str, ...] | Literal["points"]:
        if value != "points" and (not value or len(set(value)) < len(value) or BACKGROUND in value):
            raise ValueError(f"part_names must be different names without {BACKGROUND!r}, got {list(value)}")
        return value

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts besides the background; none as long as they are to be taken from points."""
        return () if isinstance(self.part_names, str) else self.part_names


@register("part_localiser")
class PartLocaliser(Localising):
    """Localiser of parts: a frozen backbone and a trained decoder."""

    Config = PartLocaliserConfig
    networks = ("decoder",)
    averaged = ("decoder",)
    config: PartLocaliserConfig

    def __init__(self, config: PartLocaliserConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.backbone = EfficientNetLite(config.backbone, classifier=bool(config.subject_classes))
        self.backbone.requires_grad_(False)
        self.decoder = Decoder(
            widths(config.backbone),
            widths=config.widths,
            parts=len(self.parts),
            blocks=config.blocks,
            dropout=config.dropout,
        )

    def load_parts(self) -> None:
        """Load the ImageNet weights of the backbone; before training only."""
        if self.config.pretrained:
            load_pretrained(self.backbone, self.config.backbone)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the maps; the first is the background."""
        return (BACKGROUND, *self.config.names)

    @property
    def together(self) -> bool:
        """True where all subjects of a photograph count as one."""
        return self.config.together

    def look(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (B, P, S / 4, S / 4) of each part, and the probability (B,) that a subject is there at all.

        The latter is what ImageNet's classifier gives the subject classes; 1 for a localiser that names none.

        Args:
            image: (B, 3, S, S) in [-1, 1].
        """
        with torch.no_grad():
            maps = self.backbone(image)
        return self.look_by(maps)

    def look_by(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """`look` by the backbone's maps, finest first."""
        present = maps[0].new_ones(len(maps[0]))
        if self.config.subject_classes:
            classes = self.backbone.classify(maps[-1]).softmax(1)
            present = sum((classes[:, a : b + 1].sum(1) for a, b in self.config.subject_classes), 0 * present)
        return self.probabilities(maps), present

    def probabilities(self, maps: Sequence[Tensor]) -> Tensor:
        """Probabilities (B, P, S / 4, S / 4) of each part, from the backbone's maps, finest first."""
        logits: Tensor = self.decoder(maps)
        lean = logits.new_tensor([self.config.lean.get(part, 0.0) for part in self.parts])
        return (logits + lean[:, None, None]).softmax(1)

    @classmethod
    def vocabulary_for(cls, config: PartLocaliserConfig) -> Vocabulary:
        """Vocabulary of the names of the parts: a localiser takes no captions."""
        return Vocabulary.build([BACKGROUND, *config.names])

    @classmethod
    def config_for(
        cls, config: PartLocaliserConfig, *, dataset: CaptionedImages, data: DataConfig
    ) -> PartLocaliserConfig:
        """The config with the names of the parts taken from the points, where it says so."""
        if config.names:
            return config
        names = part_names(dataset, data)
        if unknown := sorted(set(config.lean) - {BACKGROUND, *names}):
            raise DataError(f"model.lean names {unknown[0]!r}, which is none of the parts ({', '.join(names)})")
        return config.model_copy(update={"part_names": names})

    def open_batches(
        self, dataset: CaptionedImages, config: DataConfig, **options: Unpack[BatchOptions]
    ) -> ViewBatches:
        """Open batches of labelled views; arguments as of `tgim.data.loader.Batches`."""
        return ViewBatches(self, dataset, config, **options)

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield the losses of the known cells; half of the batches are mirrored."""
        views = batch.views
        if views is None:
            raise ValueError("a part localiser learns from labelled views, and the batch has none")
        maps, cells = views.maps, views.cells
        if not maps:
            with torch.no_grad():
                maps = self.backbone(batch.image)
        if torch.rand(()) < 0.5:
            maps, cells = tuple(each.flip(-1) for each in maps), cells.flip(-1)
        yield (
            "decoder",
            cell_terms(self.decoder(maps), cells, guess_weight=self.config.guess_weight, balance=self.config.balance),
        )


def cell_terms(logits: Tensor, cells: Tensor, *, guess_weight: float = 1.0, balance: float = 0.0) -> Terms:
    """Losses of logits (B, P, s, s) for labelled cells (B, s, s); each is a mean over the cells that it is about.

    - parts, background: -log p(label) where a person, a box or the renderer says which; a part of which n cells are
      known in the batch weighs n ** -balance, so that 1 lets all parts weigh the same, and 0 all cells;
    - subject: -log(1 - p(background)) where it is known that some part is there;
    - guess: `guess_weight` times -log p(label) where GrabCut or a trained localiser guesses so.
    """
    logs = logits.float().log_softmax(1)
    count = logits.shape[1]
    guessed = (cells >= GUESSED) & (cells < GUESSED + count)
    named = cells < count
    label = torch.where(named, cells, torch.where(guessed, cells - GUESSED, 0))
    nll = -logs.gather(1, label[:, None])[:, 0]
    covered = -torch.log1p(-logs[:, 0].exp().clamp(max=1 - 1e-3))
    on_part = named & (cells > 0)
    known = summed(torch.bincount(label[on_part], minlength=count)).clamp(min=1).to(nll) ** -balance
    return {
        "parts": ratio((nll * known[label] * on_part).sum(), (known[label] * on_part).sum(), least=1e-9),
        "background": _mean(nll, cells == 0),
        "subject": _mean(covered, cells == SUBJECT),
        "guess": guess_weight * _mean(nll, guessed),
    }


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean of `values` `where` it is true; 0 where it never is."""
    return ratio((values * where).sum(), where.sum())
