"""TAGrid: a text-adaptive bilateral grid of colour transforms, tgim's own editor.

The model never repaints. From a small copy of the photograph and the caption it predicts, for each cell of a coarse
grid and a few brightness bins, an affine colour transform; the grid is sliced at every pixel of the photograph by
position and brightness and applied to that pixel (Gharbi et al., "Deep Bilateral Learning", SIGGRAPH 2017, section 3).
A soft mask of the subject, predicted from the picture alone, says where colour may change at all:

    y(p) = x(p) + mask(p) (A(p) [x(p), 1] - x(p)),      A(p) = grid sliced at (position of p, guide of x(p))

Training needs no pairs (nothing is known about how a real photograph ought to look after an edit):

- a frozen image-text matching model must find the target caption in the edited picture, against the other captions of
  the batch and, as a hard negative, against the picture's own caption;
- with its own caption a picture stays what it is;
- a small patch discriminator keeps colours plausible, a penalty keeps them inside the range;
- drawn pictures, whose true edit is known, teach colour words and parts directly;
- where the training data offer a guess at the subject (GrabCut), the mask is taught by it and by the drawn pictures.

An edit differs from training's picture in two things: the mask is refined by the photograph (`tgim.matting`), and a
picture that fits its caption already is changed less (`need`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from tgim import checkpoint
from tgim.bilateral import apply_affine, look_up, roughness, slice_grid
from tgim.data.batch import Batch, DrawnPairs
from tgim.errors import CheckpointError
from tgim.losses import known_cross_entropy
from tgim.matching.dual_encoder import DualEncoder, DualEncoderConfig, ImageCode
from tgim.matting import subject_mask
from tgim.model import Config, Editing, Terms
from tgim.text import TextCode, Tokens, Vocabulary


class TAGridConfig(Config):
    """Sizes and loss weights of TAGrid."""

    matching: str | None = None  # trained matching model: path of a checkpoint or name of an embedded one
    start: str | None = None  # a trained TAGrid to go on from, by path or name; brings its own matching model
    encoder: DualEncoderConfig | None = None  # sizes of that model; filled in from its checkpoint
    width: int = Field(96, ge=16, multiple_of=8)  # channels of the head
    bins: int = Field(6, ge=2)  # brightness bins of the grid
    bound: float = Field(1.2, gt=0)  # largest change of a coefficient from the identity
    own_share: float = Field(0.25, gt=0, le=1)  # of the batch that is also edited with its own caption; at least one
    match_scale: float = Field(12.0, gt=0)  # inverse temperature of the matching softmax
    match_weight: float = 1.0
    keep_weight: float = 1.5  # of the mean absolute change
    own_weight: float = 8.0  # of the mean absolute change under the own caption
    range_weight: float = 10.0  # of the overshoot beyond [-1, 1]
    smooth_weight: float = 0.1  # of the difference of neighbouring cells
    adversarial_weight: float = 0.5
    subject_weight: float = 2.0  # of the mask's cross-entropy
    drawn_weight: float = 20.0  # of the mean absolute error on drawn pairs


class Plan(NamedTuple):
    """An edit, small: predicted once from a small copy, applied at any resolution."""

    grid: Tensor  # (B, 12, bins, G, G), affine coefficients, row by row of the 3x4 matrix
    subject: Tensor  # (B, 1, S, S), probability that the subject is there


class WordAttention(nn.Module):
    """Every place asks the words: (B, C, G, G) and words (B, T, E) -> context (B, C, G, G)."""

    def __init__(self, channels: int, word_size: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Linear(word_size, channels)
        self.value = nn.Linear(word_size, channels)

    def forward(self, x: Tensor, text: TextCode) -> Tensor:
        query = self.query(x).flatten(2).mT  # B, GG, C
        scores = query @ self.key(text.words).mT / x.shape[1] ** 0.5  # B, GG, T
        weights = scores.float().masked_fill(~text.mask[:, None], -1e4).softmax(-1)
        context: Tensor = weights.to(query.dtype) @ self.value(text.words)
        return context.mT.reshape(x.shape)


class HeadBlock(nn.Module):
    """Scale and shift by the sentence, ask the words, mix with the neighbours; (B, C, G, G) -> the same."""

    def __init__(self, channels: int, word_size: int, condition_size: int) -> None:
        super().__init__()
        self.film = nn.Linear(condition_size, 2 * channels)
        self.attention = WordAttention(channels, word_size)
        self.join = nn.Conv2d(2 * channels, channels, 1)
        self.mix = nn.Sequential(
            nn.GroupNorm(8, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(8, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor, text: TextCode, condition: Tensor) -> Tensor:
        scale, shift = self.film(condition)[..., None, None].chunk(2, 1)
        x = x * (1 + scale) + shift
        x = x + self.join(torch.cat([x, self.attention(x, text)], 1))
        mixed: Tensor = x + self.mix(x)
        return mixed


class GridHead(nn.Module):
    """Features of picture and caption to the grid (B, 12, bins, G, G); the identity before any training."""

    identity: Tensor  # (12,), coefficients that change nothing

    def __init__(self, config: TAGridConfig, encoder: DualEncoderConfig) -> None:
        super().__init__()
        self.bins, self.bound = config.bins, config.bound
        words, common = 2 * encoder.word_size, encoder.embedding_size
        self.enter = nn.Conv2d(6 * encoder.width + 3, config.width, 1)
        self.blocks = nn.ModuleList(HeadBlock(config.width, words, 3 * common) for _ in range(2))
        self.leave = nn.Sequential(
            nn.GroupNorm(8, config.width), nn.SiLU(), nn.Conv2d(config.width, 12 * config.bins, 3, padding=1)
        )
        last = self.leave[-1]
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.register_buffer("identity", torch.eye(3, 4).flatten(), persistent=False)

    def forward(self, image: Tensor, code: ImageCode, text: TextCode) -> Tensor:
        fine = code.fine
        coarse = F.interpolate(code.coarse, fine.shape[-2:], mode="bilinear", align_corners=False)
        colours = F.adaptive_avg_pool2d(image, (fine.shape[-2], fine.shape[-1]))
        x = self.enter(torch.cat([fine, coarse, colours], 1))  # B, C, G, G
        seen, said = code.embedding, text.sentence
        condition = torch.cat([said, seen, 4 * said * seen], 1)  # the product tells whether the caption fits already
        for block in self.blocks:
            x = block(x, text, condition)
        change = self.leave(x).float().unflatten(1, (12, self.bins))
        return self.identity.view(12, 1, 1, 1) + self.bound * torch.tanh(0.5 * change)


class SubjectMask(nn.Module):
    """Where the subject is: picture and its features to logits (B, 1, S, S); knows nothing of the caption."""

    def __init__(self, encoder: DualEncoderConfig) -> None:
        super().__init__()
        self.enter_full = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.SiLU())
        self.enter_half = nn.Sequential(nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.SiLU())
        self.deep = nn.Sequential(
            nn.Conv2d(6 * encoder.width, 64, 1), nn.SiLU(), nn.Conv2d(64, 64, 3, padding=1), nn.SiLU()
        )
        self.up_half = nn.Sequential(nn.Conv2d(96, 32, 3, padding=1), nn.SiLU())
        self.up_full = nn.Sequential(nn.Conv2d(48, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 1, 1))

    def forward(self, image: Tensor, code: ImageCode) -> Tensor:
        coarse = F.interpolate(code.coarse, code.fine.shape[-2:], mode="bilinear", align_corners=False)
        full = self.enter_full(image)
        half = self.enter_half(full)
        deep = F.interpolate(self.deep(torch.cat([code.fine, coarse], 1)), scale_factor=2.0, mode="bilinear")
        half = F.interpolate(self.up_half(torch.cat([deep, half], 1)), scale_factor=2.0, mode="bilinear")
        logits: Tensor = self.up_full(torch.cat([half, full], 1))
        return logits.float()


class Guide(nn.Module):
    """Which brightness bin a pixel looks up: pixelwise, brightness plus a learned correction, in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.correct = nn.Sequential(nn.Conv2d(3, 8, 1), nn.SiLU(), nn.Conv2d(8, 1, 1))
        nn.init.zeros_(self.correct[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.correct[-1].bias)  # type: ignore[arg-type]
        self.register_buffer("luma", torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        brightness = 0.5 + 0.5 * (image * self.luma).sum(1, keepdim=True)  # type: ignore[operator]
        guide: Tensor = (brightness + 0.5 * torch.tanh(self.correct(image).float())).clamp(0, 1)
        return guide


class Generator(nn.Module):
    """All that is trained to edit."""

    def __init__(self, config: TAGridConfig, encoder: DualEncoderConfig) -> None:
        super().__init__()
        self.head = GridHead(config, encoder)
        self.subject = SubjectMask(encoder)
        self.guide = Guide()


class TAGrid(Editing):
    """The editor: a frozen matching model, the head on it, a patch discriminator for training."""

    name: ClassVar[str] = "tagrid"
    Config: ClassVar[type[Config]] = TAGridConfig
    networks: ClassVar[tuple[str, ...]] = ("generator", "discriminator")
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: TAGridConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        encoder = config.encoder or matching_config(config)
        self.config = config.model_copy(update={"encoder": encoder})
        self.matching = DualEncoder(encoder, vocabulary_size=vocabulary_size).requires_grad_(False)
        self.generator = Generator(config, encoder)
        self.discriminator = patch_discriminator(32)

    @classmethod
    def vocabulary_for(cls, config: TAGridConfig) -> Vocabulary | None:
        """The vocabulary of the matching model: captions must mean the same ids to both."""
        source = config.start or config.matching
        return Vocabulary(checkpoint.read_header(source)["vocabulary"]) if source else None

    def load_parts(self) -> None:
        """Take the weights of the TAGrid to start from, or of the trained matching model; before training only."""
        if self.config.start:
            self.load_state_dict(checkpoint.load(self.config.start).model.state_dict())
        elif self.config.matching:
            trained = checkpoint.load(self.config.matching).model
            self.matching.load_state_dict(trained.state_dict())

    @property
    def image_size(self) -> int:
        return int(self.config.encoder.image_size)

    def train(self, mode: bool = True) -> TAGrid:
        """Switch to training mode, the frozen matching model excepted."""
        super().train(mode)
        self.matching.eval()
        return self

    def plan(self, image: Tensor, text: Tokens) -> Plan:
        """Predict the edit of small pictures (B, 3, S, S) in [-1, 1]; what fits its caption already is edited less."""
        code, words = self.matching.encode_image(image), self.matching.encode_text(text)
        identity = self.generator.head.identity.view(12, 1, 1, 1)
        change = self.generator.head(image, code, words) - identity
        grid = identity + need(code.embedding, words.sentence).view(-1, 1, 1, 1, 1) * change
        return Plan(grid, torch.sigmoid(self.generator.subject(image, code)))

    def subject(self, image: Tensor) -> Tensor:
        """Probability (B, 1, S, S) that the subject is there, in small pictures (B, 3, S, S) in [-1, 1]."""
        return torch.sigmoid(self.generator.subject(image, self.matching.encode_image(image)))

    def recolour(self, image: Tensor, plan: Plan, *, strength: float = 1.0, strip: int = 256) -> Tensor:
        """Carry a plan out on photographs (B, 3, H, W) in [-1, 1] of any size; the same shape comes back, in [-1, 1].

        Only pixels under the mask are touched; the others stay bit-identical. The mask is refined by the photograph's
        own colours and edges (`tgim.matting`), which training does without. `strip` rows are worked on at a time.
        """
        result = image.clone()
        height, width = image.shape[-2:]
        for i, photo in enumerate(image):
            mask = strength * subject_mask(photo[None], plan.subject[i : i + 1])[0, 0]
            for first in range(0, height, strip):
                rows, columns = (mask[first : first + strip] > 0).nonzero(as_tuple=True)
                if not len(rows):
                    continue
                rows = rows + first
                pixels = photo[:, rows, columns]  # 3, N
                x, y = (columns + 0.5) / width, (rows + 0.5) / height
                guide = self.generator.guide(pixels[None, :, None])[:, 0, 0]
                transform = look_up(plan.grid[i : i + 1], x[None], y[None], guide)
                change = apply_affine(pixels[None], transform)[0].clamp(-1, 1) - pixels
                result[i, :, rows, columns] = pixels + mask[rows, columns] * change
        return result

    def edit(self, image: Tensor, text: Tokens, *, seed: int | None = None) -> Tensor:
        """Edited pictures at the model's own resolution; there is no noise, `seed` changes nothing."""
        return self.recolour(image, self.plan(image, text))

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Discriminator on photographs and edits, then the generator on everything listed at the top of this file."""
        c = self.config
        image, own_count = batch.image, max(1, round(c.own_share * len(batch.image)))
        with torch.no_grad():
            code = self.matching.encode_image(image)
            own = self.matching.encode_text(batch.text)
        target = own.roll()
        grid = self.generator.head(image, code, target)
        mask_logits = self.generator.subject(image, code)
        edited = self._render(image, grid, mask_logits)

        yield (
            "discriminator",
            {
                "real": F.softplus(-self.discriminator(image)).mean(),
                "edited": F.softplus(self.discriminator(edited.detach().clamp(-1, 1))).mean(),
            },
        )
        few = slice(0, own_count)
        own_code = ImageCode(*(x[few] for x in code))
        own_grid = self.generator.head(image[few], own_code, TextCode(*(x[few] for x in own)))
        kept = self._render(image[few], own_grid, mask_logits[few])
        terms = {
            "match": c.match_weight * self._match(edited, target, own, batch.labels),
            "keep": c.keep_weight * (edited - image).abs().mean(),
            "own": c.own_weight * (kept - image[few]).abs().mean(),
            "range": c.range_weight * F.relu(edited.abs() - 1).mean(),
            "smooth": c.smooth_weight * roughness(grid),
            "adversarial": c.adversarial_weight * F.softplus(-self.discriminator(edited)).mean(),
        }
        if batch.subject is not None:
            terms["subject"] = c.subject_weight * known_cross_entropy(mask_logits, batch.subject)
        if batch.drawn is not None:
            terms |= self._drawn_terms(batch.drawn)
        yield "generator", terms

    def _render(self, image: Tensor, grid: Tensor, mask_logits: Tensor) -> Tensor:
        transform = slice_grid(grid, self.generator.guide(image))
        mask = firm(mask_logits).detach()  # it learns where the subject is, not what pays
        return image + mask * (apply_affine(image, transform) - image)

    def _match(self, edited: Tensor, target: TextCode, own: TextCode, labels: Tensor) -> Tensor:
        """Cross-entropy of the target caption among all target and all own ones, for a picture shifted and noised."""
        shifted = random_shift(edited, 4)
        seen = self.matching.encode_image(shifted + 0.03 * torch.randn_like(shifted)).embedding
        logits = self.config.match_scale * seen @ torch.cat([target.sentence, own.sentence]).T  # B, 2B
        wanted = labels.roll(1)
        may_fit = wanted[:, None] == torch.cat([wanted, labels])[None]
        rows = torch.arange(len(labels), device=labels.device)
        may_fit[rows, rows] = False
        may_fit[rows, rows + len(labels)] = False  # the own caption is always a negative
        return F.cross_entropy(logits.masked_fill(may_fit, -1e4), rows)

    def _drawn_terms(self, drawn: DrawnPairs) -> Terms:
        with torch.no_grad():
            code = self.matching.encode_image(drawn.image)
            text = self.matching.encode_text(drawn.target_text)
        logits = self.generator.subject(drawn.image, code)
        edited = self._render(drawn.image, self.generator.head(drawn.image, code, text), logits)
        return {
            "drawn": self.config.drawn_weight * (edited - drawn.target).abs().mean(),
            "drawn_subject": self.config.subject_weight * known_cross_entropy(logits, drawn.subject),
        }


def matching_config(config: TAGridConfig) -> DualEncoderConfig:
    """Sizes of the matching model that `config` names, or the defaults."""
    if config.start is not None:
        return DualEncoderConfig(**wanted(config.start, TAGrid.name, "start")["config"]["encoder"])
    if config.matching is None:
        return DualEncoderConfig.model_validate({})
    return DualEncoderConfig(**wanted(config.matching, DualEncoder.name, "matching")["config"])


def wanted(source: str, system: str, key: str) -> dict[str, Any]:
    """The header of checkpoint `source`, or CheckpointError when it is of another system than `model.<key>` needs."""
    header = checkpoint.read_header(source)
    if header["name"] != system:
        raise CheckpointError(f"{source} is a {header['name']!r}, but model.{key} must name a trained {system!r}")
    return header


def patch_discriminator(width: int) -> nn.Sequential:
    """Pictures (B, 3, S, S) to logits (B, 1, S/4 - 1, S/4 - 1), spectrally normalised (Miyato et al., ICLR 2018)."""
    return nn.Sequential(
        spectral_norm(nn.Conv2d(3, width, 4, stride=2, padding=1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(2 * width, 1, 4, padding=1)),
    )


def need(seen: Tensor, said: Tensor) -> Tensor:
    """How much of an edit a picture needs: 1 up to a cosine of 0.3 with the caption, falling to 1/2 at 0.7; (B,).

    Of training pictures and their own captions nine in ten have a larger cosine than 0.3, a quarter a larger than 0.7.

    >>> need(torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    tensor([0.5000, 1.0000])
    """
    return 1 - 0.5 * (((seen * said).sum(1) - 0.3) / 0.4).clamp(0, 1)


def firm(logits: Tensor) -> Tensor:
    """Training's mask from logits: 0 below a probability of 5 %, 1 above 35 % (GrabCut misses much of a subject).

    >>> firm(torch.tensor([-9.0, 0.0, 9.0]))
    tensor([0., 1., 1.])
    """
    return ((torch.sigmoid(logits) - 0.05) / 0.3).clamp(0, 1)


def random_shift(image: Tensor, pixels: int) -> Tensor:
    """The pictures moved by up to `pixels` in each direction, borders repeated; one shift for the batch."""
    dy, dx = (int(v) for v in torch.randint(0, 2 * pixels + 1, (2,)))
    padded = F.pad(image, (pixels,) * 4, mode="replicate")
    return padded[..., dy : dy + image.shape[-2], dx : dx + image.shape[-1]]
