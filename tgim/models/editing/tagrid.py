"""TAGrid: a text-adaptive bilateral grid of colour transforms, tgim's own editor.

The model never repaints. From a small copy of the photograph and the caption it predicts, for each cell of a coarse
grid and a few brightness bins, an affine colour transform; the grid is sliced at every pixel of the photograph by
position and brightness and applied to that pixel (Gharbi et al., "Deep Bilateral Learning", SIGGRAPH 2017, section 3).
A soft mask of the subject, predicted from the picture alone, says where colour may change at all:

    y(p) = x(p) + mask(p) A(p) [x(p), 1],      A(p) = grid sliced at (position of p, guide of x(p))

Training needs no pairs (nothing is known about how a real photograph ought to look after an edit):

- a frozen matching model of words and regions must find the target caption in the edited picture, against the captions
  of the batch, the picture's own among them. The target is another picture's caption, and then the same made false by
  one attribute is a negative, too; or it is the own caption with one attribute altered;
- strength is an input: training samples it, and it says how much of the picture's colours an edit may cost (RMSE);
- with its own caption a picture stays what it is;
- a small patch discriminator keeps colours plausible, a penalty keeps them inside the range;
- synthetic pictures, whose true edit is known, teach colour words and parts directly;
- where the training data offer a guess at the subject (GrabCut), the mask is taught by it and by synthetic pictures.

An edit differs from training's picture in two things: the mask is refined by the photograph (`tgim.images.matting`),
and a caption that fits this picture better than it does nearly all references is true already: strength is taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import AliasChoices, Field
from torch import Tensor, nn
from torch.nn import functional as F

from tgim.checkpoints import checkpoint
from tgim.checkpoints.registry import register
from tgim.data.batch import Batch, SyntheticPairs
from tgim.images.photo import as_array
from tgim.models.base import Codes, Config, Editing, Request, Terms
from tgim.models.editing.slicing import GuideWeights, recoloured, weakened
from tgim.models.editing.tagrid_head import (
    FeatureEncoder,
    FeaturePyramid,
    GridHead,
    Guide,
    References,
    SubjectMask,
    patch_discriminator,
)
from tgim.models.editing.tagrid_targets import Targets, caption_loss, noised_view, rmse, sample_targets
from tgim.models.matching.interaction import ImageFeatures
from tgim.models.matching.late_interaction import LateInteraction, LateInteractionConfig, Member
from tgim.models.parts import Part
from tgim.nn.bilateral import apply_affine, roughness, slice_grid
from tgim.nn.losses import known_cross_entropy
from tgim.nn.parallel import gathered_all, rand, whole
from tgim.nn.resize import resize
from tgim.text.vocabulary import TextCode, Tokens, Vocabulary

MATCHING = Part("matching", "encoder", LateInteraction)


class TAGridConfig(Config):
    """Sizes, loss weights and shares of a batch of TAGrid."""

    matching: str | None = None  # trained matching model: path of a checkpoint or name of an embedded one
    start: str | None = None  # a trained TAGrid to go on from, by path or name; brings its own matching model
    encoder: LateInteractionConfig | None = None  # sizes of that model; filled in from its checkpoint
    width: int = Field(80, ge=16, multiple_of=16)  # channels of the head at a quarter of the resolution
    bins: int = Field(6, ge=2)  # brightness bins of the grid
    bound: float = Field(1.5, gt=0)  # largest coefficient
    own_share: float = Field(0.25, gt=0, le=1)  # of the batch that is also edited with its own caption; at least one
    local_share: float = Field(0.25, ge=0, le=1)  # of the targets are the own caption with one attribute altered
    full_share: float = Field(0.7, ge=0, le=1)  # of the edits are trained at full strength, the others at any
    match_scale: float = Field(1.0, gt=0)  # times the matching model's own inverse temperature
    match_weight: float = 3.0
    keep_weight: float = 1.0  # of the mean absolute change
    budget: float = Field(0.3, gt=0)  # RMSE in [-1, 1] that an edit may cost at full strength, less in proportion
    budget_weight: float = 20.0  # of what it costs more
    own_weight: float = 12.0  # of the mean absolute change under the own caption
    range_weight: float = 10.0  # of the overshoot beyond [-1, 1]
    smooth_weight: float = 0.1  # of the difference of neighbouring cells
    adversarial_weight: float = 0.5
    subject_weight: float = 2.0  # of the mask's cross-entropy
    gate_weight: float = 2.0  # of the cross-entropy of which cells change: known of synthetic pairs and own captions
    synthetic_weight: float = Field(  # of the mean squared error on synthetic pairs, where they change
        10.0, validation_alias=AliasChoices("synthetic_weight", "drawn_weight")
    )
    references: int = Field(64, ge=1)  # pictures of the training data that tell how well a caption usually fits
    synthetic_rest_weight: float = Field(  # of the mean absolute error elsewhere, a share of the whole picture
        12.0, validation_alias=AliasChoices("synthetic_rest_weight", "drawn_rest_weight")
    )


class Plan(NamedTuple):
    """Edit predicted from a small copy of a photograph, to be applied at any resolution."""

    grid: Tensor  # (B, 12, bins, G, G), what is added: affine coefficients, row by row of the 3x4 matrix
    subject: Tensor  # (B, 1, S, S), probability that the subject is there


class Generator(nn.Module):
    """Networks that predict an edit."""

    def __init__(self, config: TAGridConfig, encoder: LateInteractionConfig) -> None:
        super().__init__()
        self.eyes = FeatureEncoder(config.width, 2 * encoder.width, 4 * encoder.width)  # `eyes`: in keys of weights
        self.head = GridHead(
            config.width,
            config.bins,
            config.bound,
            word_size=2 * encoder.word_size,
            embedding_size=encoder.embedding_size,
        )
        self.subject = SubjectMask(config.width)
        self.guide = Guide()
        self.references = References(config.references, encoder)


@register("tagrid")
class TAGrid(Editing):
    """The editor: a frozen matching model, the head on its first member, a patch discriminator for training."""

    Config: ClassVar[type[Config]] = TAGridConfig
    networks: ClassVar[tuple[str, ...]] = ("generator", "discriminator")
    averaged: ClassVar[tuple[str, ...]] = ("generator",)
    has_strength: ClassVar[bool] = True

    def __init__(self, config: TAGridConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        encoder = matching_config(config)
        self.config = config.model_copy(update={"encoder": encoder})
        self.matching = LateInteraction(encoder, vocabulary_size=vocabulary_size).requires_grad_(False)
        self.generator = Generator(config, encoder)
        self.discriminator = patch_discriminator(32)

    @classmethod
    def vocabulary_for(cls, config: TAGridConfig) -> Vocabulary | None:
        """The vocabulary of the matching model: captions must mean the same ids to both."""
        return START.vocabulary(config.start) or MATCHING.vocabulary(config.matching)

    def load_parts(self) -> None:
        """Take the weights of the TAGrid to start from, or of the trained matching model; before training only."""
        if self.config.start:
            trained = START.load(self.config.start)  # its loss weights may be others
            checkpoint.fill(self, trained.state_dict(), path=self.config.start)
        elif self.config.matching:
            self.matching.load_state_dict(MATCHING.load(self.config.matching, self.config.encoder).state_dict())

    @property
    def image_size(self) -> int:
        return int(self.config.encoder.image_size)

    def train(self, mode: bool = True) -> TAGrid:
        """Switch to training mode, the frozen matching model excepted."""
        super().train(mode)
        self.matching.eval()
        return self

    def plan(self, image: Tensor, text: Tokens, *, strength: float = 1.0) -> Plan:
        """Predict the edit of small pictures (B, 3, S, S) in [-1, 1].

        `strength` is the share of the full edit's cost (RMSE of the small picture): 0 changes nothing, 1 is the full
        edit. Training decides what a weaker edit changes first.
        """
        return self.plan_from(image, self.condition(text), strength=strength)

    def condition(self, text: Tokens) -> Codes:
        """Encode captions: the fields of a `TextCode`."""
        return tuple(self.reader.text(text))

    def plan_from(self, image: Tensor, condition: Codes, *, strength: float = 1.0) -> Plan:
        """Predict the edit as `plan` does, from what `condition` gave."""
        features, code = self.encoded(image)
        text = TextCode(*condition)
        need = self.generator.references.need(self.reader, code, self.reader.encode_words(text))
        grid, _ = self.generator.head(features, text, need)
        logits = self.generator.subject(features)
        if strength < 1:
            weak, _ = self.generator.head(features, text, strength * need)
            grid = self._weakened(image, grid, weak, torch.sigmoid(logits), strength)
        return Plan(grid, torch.sigmoid(logits))

    def _weakened(self, image: Tensor, full: Tensor, weak: Tensor, subject: Tensor, strength: float) -> Tensor:
        guide, rows = self._guide(), zip(*map(as_array, (image, full, weak, subject[:, 0])), strict=True)
        weaker = [weakened(each, own, less, mask, guide, strength) for each, own, less, mask in rows]
        return full.new_tensor(np.stack(weaker))

    def _guide(self) -> GuideWeights:
        return GuideWeights.of({name: as_array(value) for name, value in self.generator.guide.state_dict().items()})

    def subject(self, image: Tensor) -> Tensor:
        """Probability (B, 1, S, S) that the subject is there, in small pictures (B, 3, S, S) in [-1, 1]."""
        return torch.sigmoid(self.generator.subject(self.features(image)))

    def features(self, image: Tensor) -> FeaturePyramid:
        """Features of small pictures (B, 3, S, S) in [-1, 1] for the head; no caption is involved."""
        return self.encoded(image)[0]

    def encoded(self, image: Tensor) -> tuple[FeaturePyramid, ImageFeatures]:
        """`features` of small pictures, and what the matching model's reader compares with captions."""
        with torch.no_grad():
            fine, coarse = self.reader.maps(image)
            code = self.reader.encode_maps(coarse)
        return self.generator.eyes(image, fine, coarse, code.whole), code

    @torch.no_grad()
    def recolour(self, image: Tensor, plan: Plan) -> Tensor:
        """Apply a plan to photographs (B, 3, H, W) in [-1, 1] of any size; the same shape comes back, in [-1, 1].

        Pixels outside the mask stay bit-identical. The mask is refined by the photograph's own colours and edges
        (`tgim.images.matting`), which training does without.
        """
        guide, rows = self._guide(), zip(*map(as_array, (image, plan.grid, plan.subject[:, 0])), strict=True)
        return image.new_tensor(np.stack([recoloured(photo, grid, subject, guide) for photo, grid, subject in rows]))

    def edit(self, image: Tensor, text: Tokens, *, seed: int | None = None) -> Tensor:
        """Edit pictures (B, 3, S, S) in [-1, 1] at the model's resolution; `seed` changes nothing."""
        return self.recolour(image, self.plan(image, text))

    def edit_photo_from(self, photo: Tensor, condition: Codes) -> Tensor:
        """Edits (N, 3, H, W) of one photograph (1, 3, H, W), by a plan for each of N codes of captions."""
        small = resize(photo, (self.image_size, self.image_size))
        rows = [tuple(code[i : i + 1] for code in condition) for i in range(len(condition[0]))]
        return torch.cat([self.recolour(photo, self.plan_from(small, row)) for row in rows])

    def edit_photo(self, photo: Tensor, request: Request) -> Tensor:
        """Edit photographs (B, 3, H, W) in [-1, 1] at their own resolution, by a plan made of small copies."""
        small = resize(photo, (self.image_size, self.image_size))
        plan = self.plan(small, request.tokens, strength=request.strength)
        return self.recolour(small if request.raw else photo, plan)

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield the discriminator's losses, then those of the generator listed at the top of this file."""
        c, image = self.config, batch.image
        own_count = max(1, round(c.own_share * whole(len(image))) // whole(1))
        targets = sample_targets(batch, c.local_share)
        with torch.no_grad():
            target = self.reader.text(targets.captions)
            own = self.reader.text(batch.text[:own_count])
        features, code = self.encoded(image)
        self.generator.references.remember(gathered_all(code))
        mask_logits = self.generator.subject(features)
        strength = self._strengths(image)
        grid, _ = self.generator.head(features, target, strength)
        edited = self._render(image, grid, mask_logits)

        yield (
            "discriminator",
            {
                "real": F.softplus(-self.discriminator(image)).mean(),
                "edited": F.softplus(self.discriminator(edited.detach().clamp(-1, 1))).mean(),
            },
        )
        few = slice(0, own_count)
        own_grid, own_gate = self.generator.head(features[few], own, strength[few])
        kept = self._render(image[few], own_grid, mask_logits[few])
        terms = {
            "match": c.match_weight * self._match(edited, targets, batch),
            "keep": c.keep_weight * (edited - image).abs().mean(),
            "budget": c.budget_weight * F.relu(rmse(edited, image) - c.budget * strength).mean(),
            "own": c.own_weight * (kept - image[few]).abs().mean(),
            "own_gate": c.gate_weight * F.softplus(own_gate).mean(),
            "range": c.range_weight * F.relu(edited.abs() - 1).mean(),
            "smooth": c.smooth_weight * roughness(grid),
            "adversarial": c.adversarial_weight * F.softplus(-self.discriminator(edited)).mean(),
        }
        if batch.subject is not None:
            terms["subject"] = c.subject_weight * known_cross_entropy(mask_logits, batch.subject)
        if batch.synthetic is not None:
            terms |= self._synthetic_terms(batch.synthetic)
        yield "generator", terms

    def _render(self, image: Tensor, grid: Tensor, mask_logits: Tensor) -> Tensor:
        transform = slice_grid(grid, self.generator.guide(image))
        mask = mask_from_logits(mask_logits).detach()  # it learns where the subject is, not what pays
        return image + mask * apply_affine(image, transform)

    def _strengths(self, image: Tensor) -> Tensor:
        """Sample strengths (B,): 1 for a share `full_share` of the pictures, uniform in [0.15, 1] for the rest."""
        some = rand(2, len(image), device=image.device, dim=1)
        return torch.where(some[0] < self.config.full_share, 1.0, 0.15 + 0.85 * some[1])

    def _match(self, edited: Tensor, targets: Targets, batch: Batch) -> Tensor:
        member = self._members[int(torch.randint(len(self._members), ()))]
        seen = member.encode_image(noised_view(edited))
        return caption_loss([member], [seen], targets, batch, scale=self.config.match_scale)

    def _synthetic_terms(self, pairs: SyntheticPairs) -> Terms:
        c, half = self.config, slice(0, max(1, len(pairs.image) // 2))
        with torch.no_grad():
            text, own = self.reader.text(pairs.target_text), self.reader.text(pairs.text[half])
        features = self.features(pairs.image)
        logits = self.generator.subject(features)
        strength = self._strengths(pairs.image)
        grid, gate = self.generator.head(features, text, strength)
        edited = self._render(pairs.image, grid, logits)
        error = edited - torch.lerp(pairs.image, pairs.target, strength.view(-1, 1, 1, 1))
        inside = (error.square().mean(1, keepdim=True) * pairs.change).sum((1, 2, 3))
        inside = inside / pairs.change.sum((1, 2, 3)).clamp(min=10)
        own_grid, own_gate = self.generator.head(features[half], own, strength[half])
        kept = self._render(pairs.image[half], own_grid, logits[half])
        change = F.adaptive_avg_pool2d(pairs.change, (gate.shape[-2], gate.shape[-1]))
        return {
            "synthetic": c.synthetic_weight * inside.mean(),
            "synthetic_rest": c.synthetic_rest_weight * (error.abs() * (1 - pairs.change)).mean(),
            "synthetic_own": c.own_weight * (kept - pairs.image[half]).abs().mean(),
            "synthetic_gate": c.gate_weight
            * F.binary_cross_entropy_with_logits(gate, change, pos_weight=gate.new_tensor(3.0)),
            "synthetic_own_gate": c.gate_weight * F.softplus(own_gate).mean(),
            "synthetic_subject": c.subject_weight * known_cross_entropy(logits, pairs.subject),
        }

    @property
    def _members(self) -> list[Member]:
        return [member for member in self.matching.members if isinstance(member, Member)]

    @property
    def reader(self) -> Member:
        """The member of the matching model that reads captions for the head."""
        return self._members[0]


START = Part("start", "encoder", TAGrid)


def matching_config(config: TAGridConfig) -> LateInteractionConfig:
    """Find the sizes of the matching model: those that `config` gives or names, else the defaults."""
    given = config.encoder
    if given is None and config.start is not None:
        given = START.sizes(config.start).encoder
    found: LateInteractionConfig | None = MATCHING.sizes(config.matching, given)
    return found or LateInteractionConfig.model_validate({})


def mask_from_logits(logits: Tensor) -> Tensor:
    """Threshold logits softly to a mask for training: 0 below a probability of 5 %, 1 above 35 %.

    The threshold is low because GrabCut misses much of a subject.

    >>> mask_from_logits(torch.tensor([-9.0, 0.0, 9.0]))
    tensor([0., 1., 1.])
    """
    return ((torch.sigmoid(logits) - 0.05) / 0.3).clamp(0, 1)
