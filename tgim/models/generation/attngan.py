"""AttnGAN: Fine-Grained Text to Image Generation with Attentional GANs (Xu et al., CVPR 2018).

Generator, section 3.1: a first stage makes a small picture from the sentence and noise; each further stage attends, at
every place of the map before it, to the words that matter there (eq. 2-3), and makes a picture of twice the size. Each
scale i has a discriminator of its own, with heads for pictures alone and with the sentence. A DAMSM (section 3.2),
trained first and then frozen, gives its text encoder, and its loss on the generator's last picture.

    L_Di = (BCE(D(x), 1) + BCE(D(x, s), 1)) / 2 + (BCE(D(G), 0) + BCE(D(G, s), 0) + BCE(D(x, s^), 0)) / 3
    L_G = sum_i (BCE(D(G), 1) + BCE(D(G, s), 1)) + KL + lambda (L_words + L_sentence)

with s the sentence of the picture and s^ that of the next in the batch (eq. 4-6 and 14, weighed as in the release; the
paper has 1/2 for each adversarial term and no s^).

Differs from the paper or the authors' release:
- padding: no place attends to it (the release repeats its mask in the wrong order where captions differ in length);
- the discriminators of all scales are one network for the loop; logits in place of probabilities (same loss, no
  log(0));
- discriminators start at N(0, 0.02), not at orthogonal matrices: those of 2048 rows take longer than all else;
- the DAMSM may be a small one, `recipes/damsm_*.yaml`; pictures are resized to what it was trained on;
- a picture without `variation` takes the mean of the conditioning augmentation; a lone picture is normalised by the
  running statistics where the first layer has nothing to compare it to, and has no mismatching caption;
- sizes other than 64, 128 and 256.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from tgim.checkpoints.registry import register
from tgim.data.batch import Batch
from tgim.models.base import Codes, Config, Terms
from tgim.models.generation.adversarial import AdversarialGenerator, at_side, discriminator_terms, generator_terms
from tgim.models.generation.attngan_blocks import GeneratedScales, Generator
from tgim.models.matching.damsm import DAMSM, DAMSMConfig
from tgim.models.parts import Part
from tgim.nn.layers import JointDiscriminators
from tgim.nn.losses import damsm_sentence, damsm_words, gaussian_kl
from tgim.nn.parallel import gathered, gathered_all
from tgim.nn.resize import resize
from tgim.text.vocabulary import TextCode, Tokens, Vocabulary

log = logging.getLogger(__name__)

MATCHING = Part("matching", "encoder", DAMSM)


class AttnGANConfig(Config):
    """Sizes and loss weights of AttnGAN; the defaults are the release's for birds."""

    image_size: int = Field(256, ge=16)  # pixels, square, of the last picture; each before it has half the side
    scales: int = Field(3, ge=1, le=3)  # pictures, the first of at least 16 pixels
    matching: str | None = None  # trained DAMSM: path of a checkpoint; None: an untrained one, for trial
    encoder: DAMSMConfig | None = None  # sizes of that model; filled in from its checkpoint
    width: int = Field(32, ge=1)  # channels of the generator's maps; the first one has 16 times as many
    discriminator_width: int = Field(64, ge=1)  # channels at half resolution, doubled at each halving
    residual_blocks: int = Field(2, ge=0)  # of each refining stage
    condition_size: int = Field(100, ge=1)  # of the conditioning augmentation
    noise_size: int = Field(100, ge=1)
    adversarial_weight: float = Field(1.0, ge=0)  # of each of two terms a scale; 0.5 in the paper
    damsm_weight: float = Field(5.0, ge=0)  # lambda: 5 on birds, 50 on COCO
    kl_weight: float = Field(1.0, ge=0)

    @model_validator(mode="after")
    def _sizes(self) -> AttnGANConfig:
        first = self.image_size >> (self.scales - 1)
        if first < 16 or first & (first - 1) or first << (self.scales - 1) != self.image_size:
            raise ValueError(
                f"image_size is {self.image_size} at {self.scales} scales; it must be a power of two, and the first of "
                "the pictures, each half as wide as the next, at least 16 pixels: e.g. 64, 128 and 256 for 3 scales"
            )
        return self

    @property
    def sizes(self) -> list[int]:
        """Sides of the pictures in pixels, the smallest first."""
        return [self.image_size >> i for i in range(self.scales - 1, -1, -1)]


@register("attngan")
class AttnGAN(AdversarialGenerator):
    """Xu et al. 2018: pictures from captions, coarse to fine, each place by the words that matter there."""

    Config: ClassVar[type[Config]] = AttnGANConfig

    attends_to_words: ClassVar[bool] = True

    def __init__(self, config: AttnGANConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        encoder = MATCHING.sizes(config.matching, config.encoder) or DAMSMConfig.model_validate({})
        self.config = config.model_copy(update={"encoder": encoder})
        text_size = encoder.embedding_size
        self.matching = DAMSM(encoder, vocabulary_size=vocabulary_size).requires_grad_(False)
        self.generator = Generator(
            text_size,
            width=config.width,
            first_size=config.sizes[0],
            scales=config.scales,
            residual_blocks=config.residual_blocks,
            condition_size=config.condition_size,
            noise_size=config.noise_size,
        )
        self.discriminator = JointDiscriminators(config.sizes, config.discriminator_width, text_size)

    @classmethod
    def vocabulary_for(cls, config: AttnGANConfig) -> Vocabulary | None:
        """Vocabulary of the matching model: captions must mean the same ids to both."""
        return MATCHING.vocabulary(config.matching)

    def load_parts(self) -> None:
        """Load the weights of the trained matching model; before training only."""
        if self.config.matching:
            self.matching.load_state_dict(MATCHING.load(self.config.matching, self.config.encoder).state_dict())
        else:
            log.warning("model.matching is not given: captions are read by an untrained DAMSM; train one first")

    def train(self, mode: bool = True) -> AttnGAN:
        """Switch to training mode, the frozen matching model excepted."""
        super().train(mode)
        self.matching.eval()
        return self

    # Generating

    def encode_text(self, text: Tokens) -> TextCode:
        """Encode captions by the frozen text encoder; sentences are not of unit length."""
        with torch.no_grad():
            code: TextCode = self.matching.encoders.caption(self.matching.encoders.table(text), text.mask)
        return code

    def condition(self, text: Tokens, *, variation: Tensor | None = None) -> Codes:
        """Encode captions: condition (B, V), words (B, T, E) and their presence (B, T), 1 for words, 0 for padding.

        Captions of one `Tokens` have one T, so that their codes can be interpolated; words that only one of two has
        then count in proportion.
        """
        code = self.encode_text(text)
        return self.generator.augment(code.sentence, variation).sample, code.words, code.mask.float()

    def generate_scales(self, condition: Codes, noise: Tensor) -> GeneratedScales:
        """Generate pictures of all scales, with their attentions, from what `condition` gave and noise (B, Z)."""
        sample, words, presence = condition
        generated: GeneratedScales = self.generator(sample, noise, words, presence)
        return generated

    def generate_from(self, condition: Codes, noise: Tensor) -> Tensor:
        """Generate pictures (B, 3, S, S) in [-1, 1] from what `condition` gave and noise (B, Z)."""
        return self.generate_scales(condition, noise).images[-1]

    def attention_maps(self, text: Tokens, noise: Tensor, *, variation: Tensor | None = None) -> list[Tensor]:
        """Attention maps (B, T, h, w) of each refining stage, coarse to fine; they sum to 1 over T.

        They belong to the picture that `generate` makes of the same arguments; `tgim.inference.attention` shows them.
        """
        return self.generate_scales(self.condition(text, variation=variation), noise).maps

    # Training

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield the losses of the discriminators of all scales, then the generator's; pictures are made once."""
        c, text = self.config, self.encode_text(batch.text)
        condition = self.generator.augment(text.sentence, self.generator.augment.noise(len(batch.image)))
        codes = (condition.sample, text.words, text.mask.float())
        generated = self.generate_scales(codes, self.noise(batch.image)).images

        terms: Terms = {}
        for side, discriminator, image in zip(c.sizes, self.discriminator, generated, strict=True):
            photographs = resize(batch.image, (side, side))
            terms |= at_side(side, discriminator_terms(discriminator, photographs, image, text.sentence))
        yield "discriminator", terms

        terms = {}
        for side, discriminator, image in zip(c.sizes, self.discriminator, generated, strict=True):
            found = generator_terms(discriminator, image, text.sentence)
            terms |= at_side(side, found, weight=c.adversarial_weight)
        terms |= {} if not c.damsm_weight else self._damsm_terms(generated[-1], text, batch.labels)
        yield "generator", {**terms, "kl": c.kl_weight * gaussian_kl(condition.mean, condition.log_var)}

    def _damsm_terms(self, image: Tensor, text: TextCode, labels: Tensor) -> Terms:
        """Losses of the DAMSM on generated pictures, both directions together."""
        c, m = self.config, self.matching.config
        picture = gathered_all(self.matching.encode_image(resize(image, (m.image_size, m.image_size))))
        text, labels = gathered_all(text), gathered(labels)
        gammas = {"gamma1": m.gamma1, "gamma2": m.gamma2, "gamma3": m.gamma3}
        words = damsm_words(picture.regions, text.words, text.mask, labels, **gammas)
        sentence = damsm_sentence(picture.embedding, text.sentence, labels, gamma3=m.gamma3)
        both = {"words": words[0] + words[1], "sentence": sentence[0] + sentence[1]}
        return {name: c.damsm_weight * loss for name, loss in both.items()}
