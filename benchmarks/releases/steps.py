"""One training step of each authors' release, as it computes it, which `benchmarks/steps.py` compares with ours.

What a release shares and what it computes anew is kept: pictures that are generated and features computed twice,
that the generator's phase leaves gradients in the discriminator (those in PyTorch; GAN-INT-CLS, in Lua, asks for the
gradient of its input alone), binary cross-entropy on sigmoids, an optimiser for each scale, a moving average where the
release has one. Sentences of a char-CNN-RNN come from files there, so they are given here and cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from releases.editors import GanIntClsG, PairDiscriminator, SisganG, TaganD, TaganG
from releases.networks import Discriminator, Stage1, Stage2, Tree
from tgim.data.batch import Batch
from tgim.models.base import Model

Step = Callable[[], None]


def adam(network: nn.Module) -> Adam:
    return Adam([p for p in network.parameters() if p.requires_grad], lr=2e-4, betas=(0.5, 0.999))


def bce(probability: Tensor, real: bool) -> Tensor:
    return F.binary_cross_entropy(probability.float(), torch.full_like(probability, float(real), dtype=torch.float32))


def bce_logits(logits: Tensor, real: bool) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def kl(mean: Tensor, log_var: Tensor) -> Tensor:
    return (mean.pow(2) + log_var.exp() - 1 - log_var).mean() * 0.5


def average(averages: list[Tensor], network: nn.Module) -> None:
    for old, new in zip(averages, network.parameters(), strict=True):
        old.mul_(0.999).add_(new.data, alpha=0.001)


def move(optimizer: Adam, network: nn.Module, losses: Iterable[Tensor]) -> None:
    """Gradients to zero, a backward pass for each loss, and Adam; `losses` are made one after the other."""
    network.zero_grad()
    for loss in losses:
        loss.backward()
    optimizer.step()


def stackgan1(model: Model, batch: Batch) -> tuple[dict[str, nn.Module], Step]:
    c = model.config
    sizes = {"side": c.image_size, "width": c.width, "condition": c.condition_size, "noise": c.noise_size}
    return stackgan(model, batch, Stage1(**sizes, text=c.encoder.embedding_size), alone=False)


def stackgan2(model: Model, batch: Batch) -> tuple[dict[str, nn.Module], Step]:
    c, f = model.config, model.config.first
    text = f.encoder.embedding_size
    sizes = {"side": f.image_size, "width": f.width, "condition": f.condition_size, "noise": f.noise_size}
    doublings = (c.image_size // f.image_size).bit_length() + 1
    more = {"doublings": doublings, "width": c.width, "condition": c.condition_size, "blocks": c.residual_blocks}
    return stackgan(model, batch, Stage2(Stage1(**sizes, text=text), text=text, **more), alone=True)


def stackgan(model: Model, batch: Batch, g: nn.Module, *, alone: bool) -> tuple[dict[str, nn.Module], Step]:
    c = model.config
    d = Discriminator(side=c.image_size, width=c.discriminator_width, condition=c.condition_size, alone=alone)
    of_g, of_d, count = adam(g), adam(d), len(batch.image)
    sentence = torch.randn(count, g.augment.fc.in_features)

    def losses_of_d(fake: Tensor, mean: Tensor) -> Tensor:
        real, fake = d.features(batch.image), d.features(fake.detach())
        right = bce(d.match(real, mean), True)
        wrong, generated = bce(d.match(real[:-1], mean[1:]), False), bce(d.match(fake, mean), False)
        if not alone:
            return right + (wrong + generated) / 2
        return (right + bce(d.alone(real), True)) / 2 + (wrong + generated + bce(d.alone(fake), False)) / 3

    def step() -> None:
        fake, mean, log_var = g(sentence, torch.randn(count, model.noise_size))
        move(of_d, d, [losses_of_d(fake, mean.detach())])
        seen = d.features(fake)
        loss = bce(d.match(seen, mean.detach()), True) + 2 * kl(mean, log_var)
        move(of_g, g, [loss + bce(d.alone(seen), True) if alone else loss])

    return {"generator": g, "discriminator": d}, step


def stackgan_v2(model: Model, batch: Batch) -> tuple[dict[str, nn.Module], Step]:
    c = model.config
    g = Tree(
        side=c.base_size,
        scales=c.branches,
        width=c.width,
        text=c.encoder.embedding_size,
        condition=c.condition_size,
        noise=c.noise_size,
        blocks=c.residual_blocks,
        attends=False,
    )
    discriminators = nn.ModuleList(
        Discriminator(side=side, width=c.discriminator_width, condition=c.condition_size, alone=True)
        for side in c.image_sizes
    )
    of_g, of_d, averages = adam(g), [adam(d) for d in discriminators], [p.data.clone() for p in g.parameters()]
    count = len(batch.image)
    sentence = torch.randn(count, c.encoder.embedding_size)
    photographs = [F.interpolate(batch.image, (side, side), mode="area") for side in c.image_sizes]
    others = [image.roll(1, 0) for image in photographs]  # of another class, from files

    def losses_of_d(d: Discriminator, real: Tensor, wrong: Tensor, fake: Tensor, mean: Tensor) -> Tensor:
        seen = [d.features(x) for x in (real, wrong, fake)]
        joint = [bce(d.match(x, mean), truth) for x, truth in zip(seen, (True, False, False), strict=True)]
        return sum(joint) + sum(bce(d.alone(x), truth) for x, truth in zip(seen, (True, True, False), strict=True))

    def step() -> None:
        fakes, mean, log_var = g(sentence, torch.randn(count, c.noise_size))
        for d, optimizer, *shown in zip(discriminators, of_d, photographs, others, fakes, strict=True):
            move(optimizer, d, [losses_of_d(d, shown[0], shown[1], shown[2].detach(), mean.detach())])
        loss = 2 * kl(mean, log_var)
        for d, fake in zip(discriminators, fakes, strict=True):
            seen = d.features(fake)
            loss = loss + bce(d.match(seen, mean), True) + bce(d.alone(seen), True)
        move(of_g, g, [loss])
        average(averages, g)

    return {"generator": g, "discriminator": discriminators}, step


def attngan(model: Model, batch: Batch) -> tuple[dict[str, nn.Module], Step]:
    c, damsm = model.config, model.matching  # frozen, the same on both sides
    text = damsm.config.embedding_size
    g = Tree(
        side=c.sizes[0],
        scales=c.scales,
        width=c.width,
        text=text,
        condition=c.condition_size,
        noise=c.noise_size,
        blocks=c.residual_blocks,
        attends=True,
    )
    discriminators = nn.ModuleList(
        Discriminator(side=side, width=c.discriminator_width, condition=text, alone=True) for side in c.sizes
    )
    of_g, of_d, averages = adam(g), [adam(d) for d in discriminators], [p.data.clone() for p in g.parameters()]
    count, side = len(batch.image), damsm.config.image_size
    photographs = [F.interpolate(batch.image, (side, side), mode="area") for side in c.sizes]
    lengths, classes = batch.text.mask.sum(1).tolist(), batch.labels

    def losses_of_d(d: Discriminator, image: Tensor, generated: Tensor, sentence: Tensor) -> Tensor:
        real, fake = d.features(image), d.features(generated)
        match, other = bce(d.match(real, sentence), True), bce(d.match(real[:-1], sentence[1:]), False)
        right = (bce(d.alone(real), True) + match) / 2
        return right + (bce(d.alone(fake), False) + bce(d.match(fake, sentence), False) + other) / 3

    def step() -> None:
        with torch.no_grad():
            code = damsm.encoders.caption(damsm.encoders.table(batch.text), batch.text.mask)
        words, sentence = code.words.transpose(1, 2), code.sentence
        fakes, mean, log_var = g(sentence, torch.randn(count, c.noise_size), words, ~batch.text.mask)
        for d, optimizer, image, fake in zip(discriminators, of_d, photographs, fakes, strict=True):
            move(optimizer, d, [losses_of_d(d, image, fake.detach(), sentence)])
        loss = kl(mean, log_var)
        for d, fake in zip(discriminators, fakes, strict=True):
            seen = d.features(fake)
            loss = loss + bce(d.match(seen, sentence), True) + bce(d.alone(seen), True)
        shown = F.interpolate(fakes[-1], (side, side), mode="bilinear", align_corners=False)
        code = damsm.encode_image(shown)
        found = words_loss(code.regions, words, lengths, classes) + sentence_loss(code.embedding, sentence, classes)
        move(of_g, g, [loss + c.damsm_weight * found])
        average(averages, g)

    return {"generator": g, "discriminator": discriminators}, step


def damsm_losses(regions: Tensor, words: Tensor, sentence: Tensor, picture: Tensor, batch: Batch) -> Tensor:
    """Both losses of the DAMSM from codes: regions (B, E, R), words (B, T, E), sentences and pictures (B, E)."""
    lengths = batch.text.mask.sum(1).tolist()
    found = words_loss(regions, words.transpose(1, 2), lengths, batch.labels)
    return found + sentence_loss(picture, sentence, batch.labels)


def words_loss(regions: Tensor, words: Tensor, lengths: list[int], classes: Tensor) -> Tensor:
    """AttnGAN's: a loop over the captions of the batch, each repeated for all pictures; `words` are (B, E, T)."""
    count, columns = len(regions), []
    for i, length in enumerate(lengths):
        word = words[i, :, :length].unsqueeze(0).contiguous().repeat(count, 1, 1)
        context = attended(word, regions)
        flat = [x.transpose(1, 2).contiguous().view(count * length, -1) for x in (word, context)]
        cosine = (flat[0] * flat[1]).sum(1) / (flat[0].norm(2, 1) * flat[1].norm(2, 1)).clamp(min=1e-8)
        columns.append(cosine.view(count, length).mul(5.0).exp().sum(1, keepdim=True).log())
    return both_ways(torch.cat(columns, 1) * 10.0, classes)


def attended(word: Tensor, regions: Tensor) -> Tensor:
    """Contexts (B, E, T) of words (B, E, T) among regions (B, E, R): softmax over words, then over regions."""
    count, _, length = word.shape
    scores = torch.bmm(regions.transpose(1, 2).contiguous(), word).view(-1, length)
    scores = torch.softmax(scores, 1).view(count, -1, length).transpose(1, 2).contiguous()
    weights = torch.softmax(scores.view(count * length, -1) * 5.0, 1).view(count, length, -1)
    return torch.bmm(regions, weights.transpose(1, 2).contiguous())


def sentence_loss(pictures: Tensor, sentences: Tensor, classes: Tensor) -> Tensor:
    norms = pictures.norm(2, 1, keepdim=True) @ sentences.norm(2, 1, keepdim=True).T
    return both_ways(pictures @ sentences.T / norms.clamp(min=1e-8) * 10.0, classes)


def both_ways(scores: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy of rows and of columns, captions of the same class left out row by row."""
    masks = []
    for i in range(len(scores)):
        mask = classes == classes[i]
        mask[i] = False
        masks.append(mask)
    scores = scores.masked_fill(torch.stack(masks), -float("inf"))
    right = torch.arange(len(scores))
    return F.cross_entropy(scores, right) + F.cross_entropy(scores.T, right)


def tagan(model: Model, batch: Batch) -> tuple[dict[str, nn.Module], Step]:
    c = model.config
    word, text = c.word_size, c.text_size
    sizes = {"width": c.width, "word": word, "text": text}
    g = TaganG(**sizes, condition=c.condition_size, blocks=c.residual_blocks)
    d = TaganD(side=c.image_size, **sizes)
    of_g, of_d, image = adam(g), adam(d), batch.image
    own = torch.randn(batch.text.ids.shape[1], len(image), word), batch.text.mask.sum(1)  # word vectors, given
    other = own[0].roll(1, 1), own[1].roll(1, 0)

    def real() -> Tensor:
        logit, right, wrong = d(image, *own, negative=True)
        return bce_logits(logit, True) + 10 * (bce(right, True) + bce(wrong.clamp(max=1), False)) / 2

    def losses_of_d() -> Iterable[Tensor]:
        yield real()
        yield bce_logits(d(g(image, *other)[0].detach(), *other)[0], False)

    def wanted() -> Iterable[Tensor]:
        fake, mean, log_var = g(image, *other)  # generated anew
        logit, match = d(fake, *other)
        yield bce_logits(logit, True) + 10 * bce(match, True) + 0.5 * kl(mean, log_var)
        kept, mean, log_var = g(image, *own)
        yield 0.2 * F.l1_loss(kept, image) + 0.5 * kl(mean, log_var)

    def step() -> None:
        move(of_d, d, losses_of_d())
        move(of_g, g, wanted())

    return {"generator": g, "discriminator": d}, step


def sisgan(model: Model, batch: Batch) -> tuple[dict[str, nn.Module], Step]:
    c = model.config
    g = SisganG(width=c.width, text=c.text_size, condition=c.condition_size, blocks=c.residual_blocks)
    d = PairDiscriminator(width=c.width, text=c.text_size, condition=c.condition_size, bias=True)
    of_g, of_d, image = adam(g), adam(d), batch.image

    def losses_of_d(own: Tensor, relevant: Tensor) -> Iterable[Tensor]:
        yield bce_logits(d(image, own), True)
        yield 0.5 * bce_logits(d(image, own.roll(1, 0)), False)
        yield 0.5 * bce_logits(d(g(image, relevant)[0].detach(), relevant), False)

    def step() -> None:
        with torch.no_grad():
            own = model.text(batch.text).sentence  # trained before, the same on both sides
        half = len(own) // 2
        relevant = torch.cat([own[:half].roll(-1, 0), own[half:]])
        move(of_d, d, losses_of_d(own, relevant))
        fake, mean, log_var = g(image, relevant)  # generated anew
        move(of_g, g, [bce_logits(d(fake, relevant), True) + kl(mean, log_var)])

    return {"generator": g, "discriminator": d}, step


def gan_int_cls(model: Model, batch: Batch) -> tuple[dict[str, nn.Module], Step]:
    c = model.config
    text, condition = c.encoder.embedding_size, c.condition_size
    g = GanIntClsG(width=c.width, text=text, condition=condition, noise=c.noise_size)
    d = PairDiscriminator(width=c.discriminator_width, text=text, condition=condition, bias=False)
    of_g, of_d, count, weights = adam(g), adam(d), len(batch.image), list(g.parameters())
    sentence, other = torch.randn(count, text), batch.image.roll(1, 0)

    def losses_of_d() -> Iterable[Tensor]:
        yield bce_logits(d(batch.image, sentence), True)
        yield 0.5 * bce_logits(d(other, sentence), False)
        yield 0.5 * bce_logits(d(g(sentence, torch.randn(count, c.noise_size)).detach(), sentence), False)

    def step() -> None:
        move(of_d, d, losses_of_d())
        half = count // 2
        told = torch.cat([sentence, (sentence[:half] + sentence[half : 2 * half]) / 2])
        g.zero_grad()
        generated = g(
            told, torch.randn(len(told), c.noise_size)
        )  # anew, with half as many more of interpolated captions
        bce_logits(d(generated, told), True).backward(inputs=weights)
        of_g.step()

    return {"generator": g, "discriminator": d}, step


RELEASES = {
    "gan_int_cls": gan_int_cls,
    "stackgan1": stackgan1,
    "stackgan2": stackgan2,
    "stackgan_v2": stackgan_v2,
    "attngan": attngan,
    "tagan": tagan,
    "sisgan": sisgan,
}
