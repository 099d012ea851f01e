"""Part curves, the fourth round of TAGrid: a learned reader of captions in front of the painter's brush.

The model never repaints. A part localiser finds the subject's parts. For each part a small transformer reads the
caption, beside what is to be seen of the part, and says whether it changes, and to which tones: a curve of colours over
the photograph's own lightness. A table of such curves is a bilateral grid (Chen, Paris and Durand, SIGGRAPH 2007) whose
cells are the parts. The brush of `tgim.models.editing.painting` applies them to the photograph's own pixels.

Training needs no pairs:

- lessons: texts of which the painter's rules know what they ask. Phrases about any part and colour; captions with one
  attribute altered; own captions, which change nothing; other pictures' captions, which leave alone what they do not
  name. They are answered in numbers, so hundreds fit in a step;
- a frozen matching model must find the target caption in the edited picture, against the captions of the batch, the
  picture's own among them. It teaches shades and words that no rule knows, and strength enough to be seen;
- an edit may cost so much change and no more, and parts that a target caption does not name stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import Unpack

from tgim.checkpoints import checkpoint
from tgim.checkpoints.registry import register
from tgim.data.base import CaptionedImages
from tgim.data.batch import Batch, BatchOptions, DescribedPictures, PartLessons
from tgim.data.config import DataConfig
from tgim.errors import SubjectError
from tgim.images.boxes import Box
from tgim.images.photo import as_array
from tgim.images.resample import Floats
from tgim.models.base import Codes, Config, Request, Terms
from tgim.models.editing.painting.painter import PartEditing
from tgim.models.editing.painting.words import vocabulary_words
from tgim.models.editing.part_curves.batches import EditBatches
from tgim.models.editing.part_curves.curves import recolour, tables
from tgim.models.editing.part_curves.described import describe_found
from tgim.models.editing.part_curves.head import PartHead, feature_count
from tgim.models.editing.part_curves.painted import NOT_FOUND, paint_curves, remarks_on
from tgim.models.editing.part_curves.pieces import begin_with, in_view, known, seen, weighted_mean
from tgim.models.editing.tagrid_targets import Targets, caption_loss, noised_view, rmse, sample_targets
from tgim.models.matching.dual_encoder import DualEncoderConfig
from tgim.models.matching.interaction import Interacting, Interaction
from tgim.models.parsing.localiser import PartLocaliser, PartLocaliserConfig
from tgim.models.parsing.part_maps import PartMaps, find_parts
from tgim.models.parts import Part
from tgim.nn.parallel import rolled, split
from tgim.text.vocabulary import TextCode, Tokens, Vocabulary, tokenize

LOCALISER = Part("localiser", "sight", PartLocaliser)
MATCHING = Part("matching", "matching", Interacting)
ZOOM = (1.0, 1.35)  # of what the matching model sees: it learned from pictures cut closer than a localiser's
CHANGES = 30.0  # Lab units that weigh 1 in the loss of curves


class PartCurvesConfig(Config):
    """Sizes and loss weights of part curves."""

    localiser: str | None = None  # trained part localiser: path of a checkpoint or name of an embedded one
    sight: PartLocaliserConfig | None = None  # sizes of that localiser; filled in from its checkpoint
    start: str | None = None  # trained part curves to go on from, by path or name; brings its own localiser
    matching: str | None = None  # trained matching model, for training alone; without one the lessons are all
    learning_size: int = Field(160, ge=64, multiple_of=32)  # pixels a side of the pictures that it is shown
    view_size: int = Field(128, ge=64, multiple_of=32)  # pixels a side of what the matching model sees of them
    width: int = Field(192, ge=32, multiple_of=4)  # channels of the head
    layers: int = Field(2, ge=1)  # of the head
    dropout: float = Field(0.1, ge=0, lt=1)
    word_size: int = Field(128, ge=8)  # width of a word vector and of each direction of the text encoder
    word_dropout: float = Field(0.05, ge=0, lt=1)  # probability that a training word is replaced by "unknown"
    pictures: int = Field(5000, ge=1)  # of the data set, that are described at the most
    taught: int = Field(12, ge=1)  # photographs of a batch that lessons are of; the others lend their captions
    phrases: int = Field(3, ge=0)  # lessons of each of them that are phrases of colours and parts
    caption_weight: float = Field(0.3, ge=0)  # of the painter's tones in lessons of captions; in phrases they weigh 1
    edited: int = Field(12, ge=1)  # photographs of a batch that the matching model is shown
    local_share: float = Field(0.25, ge=0, le=1)  # of the targets are the own caption with one attribute altered
    match_weight: float = 1.0
    gate_weight: float = 2.0  # of the cross-entropy of which parts change, in lessons
    own_weight: float = Field(4.0, gt=0)  # of own captions among the lessons of gates: nothing changes
    curve_weight: float = 1.0  # of the tones, in lessons
    stay_weight: float = 1.0  # of parts that a target caption does not name
    keep_weight: float = 0.5  # of the mean absolute change
    budget: float = Field(0.3, gt=0)  # RMSE in [-1, 1] that an edit may cost
    budget_weight: float = 10.0  # of what it costs more


@register("part_curves")
class PartCurves(PartEditing):
    """The editor: a frozen part localiser and the head that reads captions."""

    Config: ClassVar[type[Config]] = PartCurvesConfig
    networks: ClassVar[tuple[str, ...]] = ("head",)
    averaged: ClassVar[tuple[str, ...]] = ("head",)
    localiser: PartLocaliser

    def __init__(self, config: PartCurvesConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        sight = config.sight or (START.sizes(config.start).sight if config.start else None)
        sight = LOCALISER.sizes(config.localiser, sight) or PartLocaliserConfig.model_validate({})
        self.config = config.model_copy(update={"sight": sight})
        self.localiser = PartLocaliser(sight, vocabulary_size=0).requires_grad_(False)
        text = DualEncoderConfig.model_validate(config.model_dump(include={"word_size", "word_dropout"}))
        self.head = PartHead(
            parts=len(self.localiser.parts),
            features=feature_count(sight.backbone),
            vocabulary_size=vocabulary_size,
            width=config.width,
            layers=config.layers,
            dropout=config.dropout,
            text=text,
        )
        self._guide: list[tuple[Interacting, int]] = []  # no part of the model: an edit does without it

    @classmethod
    def vocabulary_for(cls, config: PartCurvesConfig) -> Vocabulary | None:
        """The words of the matching model, by its ids, then the parts' names and those that the painter knows."""
        if config.start:
            return START.vocabulary(config.start)
        words = MATCHING.vocabulary(config.matching)
        if words is None:
            return None
        sight = LOCALISER.sizes(config.localiser, config.sight)
        named = tokenize(" ".join(sight.names if sight is not None else ()))
        more = dict.fromkeys((*vocabulary_words(), *named))
        return Vocabulary([*words.words, *(word for word in more if word not in words)])

    def load_parts(self) -> None:
        """Take the weights of part curves to go on from, or the localiser's and what the matching model knows of words.

        Before training only.
        """
        if self.config.start:
            trained = START.load(self.config.start)  # its loss weights may be others
            checkpoint.fill(self, trained.state_dict(), path=self.config.start)
            return
        if self.config.localiser:
            self.localiser.load_state_dict(LOCALISER.load(self.config.localiser, self.config.sight).state_dict())
        if self.config.matching:
            guide, _ = self._matching(torch.device("cpu"))
            begin_with(self.head.text, next(each.text for each in guide.members if isinstance(each, Interaction)))

    def open_batches(
        self, dataset: CaptionedImages, config: DataConfig, **options: Unpack[BatchOptions]
    ) -> EditBatches:
        """Open batches of described pictures with lessons; arguments as of `tgim.data.loader.Batches`."""
        c = self.config
        return EditBatches(
            self.localiser,
            dataset,
            config,
            size=c.learning_size,
            pictures=c.pictures,
            taught=c.taught,
            phrases=c.phrases,
            caption_weight=c.caption_weight,
            **options,
        )

    def remarks(self, caption: str) -> tuple[str, ...]:
        """List what of a caption is not painted; TextError when it names no colour of any part."""
        return remarks_on(caption, self.localiser.parts)

    def train(self, mode: bool = True) -> PartCurves:
        """Switch to training mode, the frozen localiser excepted."""
        super().train(mode)
        self.localiser.eval()
        return self

    def condition(self, text: Tokens) -> Codes:
        """Encode captions: the fields of a `TextCode`."""
        return tuple(self.head.text(text))

    def edit(self, image: Tensor, text: Tokens, *, seed: int | None = None) -> Tensor:
        """Edit pictures (B, 3, S, S) in [-1, 1] at their own resolution; `seed` changes nothing."""
        return self.edit_photo(image, Request(("",) * len(image), text, skip=True))

    @torch.no_grad()
    def edit_photo_from(self, photo: Tensor, condition: Codes) -> Tensor:
        """Edits (N, 3, H, W) of one photograph (1, 3, H, W), by codes of N captions."""
        found = find_parts(self.localiser, photo)
        if found is None:
            raise SubjectError(f"no {self.what} is found in the picture")
        rows = [TextCode(*(code[i : i + 1] for code in condition)) for i in range(len(condition[0]))]
        return torch.cat([self._change(photo, row, found, skip=True) for row in rows])

    def _edit(self, photo: Tensor, request: Request, box: Box | None) -> Tensor:
        edited, before, found = [], None, None
        for i in range(len(photo)):
            picture = photo[i : i + 1]
            if request.strength == 0:
                edited.append(picture.clone())
                continue
            if before is None or not torch.equal(before, picture):  # often several captions for one photograph
                found, before = find_parts(self.localiser, picture, box=box), picture
            if found is None and not request.skip:
                raise SubjectError(NOT_FOUND.format(self.what))
            code = self.head.text(Tokens(request.tokens.ids[i : i + 1], request.tokens.mask[i : i + 1]))
            if found is not None:
                picture = self._change(picture, code, found, strength=request.strength, skip=request.skip, box=box)
            edited.append(picture)
        return torch.cat(edited)

    def _change(
        self,
        photo: Tensor,
        code: TextCode,
        found: PartMaps,
        *,
        strength: float = 1.0,
        skip: bool = False,
        box: Box | None = None,
    ) -> Tensor:
        """Change the parts of a photograph (1, 3, H, W) as a caption says."""
        pixels = as_array(photo[0])
        parts = describe_found(pixels, found, size=self.localiser.image_size, see=self._see)
        features, hidden = (torch.from_numpy(each)[None].to(photo.device) for each in (parts.features, parts.hidden))
        gate, curves = self.head(self.head.enter_parts(features), hidden, code)
        answer = as_array(gate[0]), as_array(curves[0].float())
        changed = paint_curves(self.localiser, pixels, found, *answer, strength=strength, skip=skip, box=box)
        return photo.new_tensor(changed)[None]

    def _see(self, picture: Floats) -> list[Floats]:
        """The backbone's maps (C, h, w) of a picture (3, S, S)."""
        maps, _ = seen(self.localiser, picture)
        return maps

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield the losses that are listed at the top of this file."""
        parts, lessons = batch.parts, batch.lessons
        if parts is None or lessons is None:
            raise ValueError("part curves learn from described pictures with lessons, and the batch has none")
        entered = self.head.enter_parts(parts.features)
        terms = self._lesson_terms(entered, parts, lessons)
        if self.config.matching and self.config.match_weight:
            terms |= self._picture_terms(entered, batch, parts)
        yield "head", terms

    def _lesson_terms(self, entered: Tensor, parts: DescribedPictures, lessons: PartLessons) -> Terms:
        """Cross-entropy of the gates, and distance of the tones, of texts whose meaning is known."""
        rows = lessons.rows.repeat_interleave(lessons.ids.shape[1])
        texts = Tokens(lessons.ids.flatten(0, 1), lessons.mask.flatten(0, 1))
        code = self.head.text(texts, each=lessons.ids.shape[1])
        gate, curves = self.head(entered[rows], parts.hidden[rows], code)
        seen = in_view(parts.hidden)[rows]
        wanted = lessons.gates.flatten(0, 1)
        error = F.binary_cross_entropy_with_logits(gate, wanted.clamp(min=0), reduction="none")
        far = F.smooth_l1_loss(curves / CHANGES, lessons.curves.flatten(0, 1) / CHANGES, reduction="none", beta=0.2)
        own = (torch.arange(len(rows), device=rows.device) % lessons.ids.shape[1] == 0)[:, None]
        worth = torch.where(own, self.config.own_weight, 1.0) * seen * (wanted >= 0)
        return {
            "gate": self.config.gate_weight * weighted_mean(error, worth),
            "curve": self.config.curve_weight * weighted_mean(far.sum(-1), seen * lessons.weights.flatten(0, 1)),
        }

    def _picture_terms(self, entered: Tensor, batch: Batch, parts: DescribedPictures) -> Terms:
        """Losses of photographs edited by captions of others, or by their own with one attribute altered."""
        c, photos = self.config, batch.first(int(parts.real.sum()))
        targets = sample_targets(photos, c.local_share)
        count = min(split(c.edited, "model.edited"), len(photos.image))
        image, seen = photos.image[:count], parts.first(count)
        gate, curves = self._answer(entered[:count], seen, Tokens(*(each[:count] for each in targets.captions)))
        opened = torch.sigmoid(gate) * ~seen.hidden
        edited = recolour(image, seen, opened, tables(seen.tones, curves))
        others = rolled(parts.named[: len(photos.image)])[:count]
        named = torch.where(targets.local[:count, None], seen.named, others)
        return {
            "match": c.match_weight * self._match(edited, targets, photos),
            "stay": c.stay_weight * weighted_mean(F.softplus(gate), in_view(seen.hidden) * (1 - named)),
            "keep": c.keep_weight * (edited - image).abs().mean(),
            "budget": c.budget_weight * F.relu(rmse(edited, image) - c.budget).mean(),
        }

    def _answer(self, entered: Tensor, parts: DescribedPictures, text: Tokens) -> tuple[Tensor, Tensor]:
        """Gates' logits (B, P) and curves (B, P, 9) of described pictures and captions."""
        gate, curves = self.head(entered, parts.hidden, self.head.text(text))
        return gate, curves

    def _match(self, edited: Tensor, targets: Targets, batch: Batch) -> Tensor:
        """Cross-entropy of the target captions by one member of the matching model, which knows fewer words."""
        guide, words = self._matching(edited.device)
        few, extra = replace(batch, text=known(batch.text, words)), targets.extra
        targets = targets._replace(extra=None if extra is None else known(extra, words))
        view = noised_view(edited, size=self.config.view_size, zoom=ZOOM)
        members = [each for each in guide.members if isinstance(each, Interaction)]
        return caption_loss(members, guide.features(view), targets, few)

    def _matching(self, device: torch.device) -> tuple[Interacting, int]:
        """The frozen matching model, loaded when it is first asked for, and how many ids it knows."""
        if not self._guide:
            guide = MATCHING.load(self.config.matching).requires_grad_(False).eval().to(device)
            words = MATCHING.vocabulary(self.config.matching)
            self._guide.append((guide, 0 if words is None else len(words)))
        return self._guide[0]


START = Part("start", "sight", PartCurves)
