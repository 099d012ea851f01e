"""Losses as pure functions of tensors: no module, weight, config or device in sight. Logarithms are natural."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.nn.parallel import ratio, whole


def real_fake(logits: Tensor, real: bool) -> Tensor:
    """Binary cross-entropy of discriminator logits (any shape) against all-real or all-fake, in nats, mean; scalar.

    Goodfellow et al., NeurIPS 2014, eq. 1, with the non-saturating form for the generator (`real=True` on its own
    pictures).

    >>> float(real_fake(torch.zeros(4), True))  # log 2
    0.6931471824645996
    >>> float(real_fake(torch.tensor([20.0]), False))
    20.0
    """
    logits = logits.float()
    return F.softplus(-logits if real else logits).mean()


def fake_mean(logits: Tensor) -> Tensor:
    """`real_fake(logits, False)`; of several processes that train together, some may have more logits than others.

    >>> fake_mean(torch.zeros(4))
    tensor(0.6931)
    """
    if whole(1) == 1:
        return real_fake(logits, False)
    return ratio(F.softplus(logits.float()).sum(), logits.new_tensor(len(logits), dtype=torch.float32))


def gradient_penalty(logits: Tensor, image: Tensor) -> Tensor:
    """Squared length of the gradient of each logit with respect to its own picture, mean over B; scalar.

    The mean of |d logits[i] / d image[i]|^2, summed over channels and pixels. It can be differentiated again.

    Args:
        logits: (B,) of pictures that do not know of each other: no batch normalisation in between.
        image: (B, C, H, W), which requires a gradient.

    Source: Mescheder et al., "Which training methods for GANs do actually converge?", ICML 2018, eq. 9, without its
    factor of gamma / 2.

    >>> image = torch.ones(2, 3, 1, 1, requires_grad=True)
    >>> gradient_penalty(2 * image.sum((1, 2, 3)), image)  # three slopes of 2
    tensor(12.)
    """
    (slope,) = torch.autograd.grad(logits.sum(), [image], create_graph=True)
    return slope.float().square().flatten(1).sum(1).mean()


def fake_where(logits: Tensor, known: Tensor) -> Tensor:
    """`real_fake(logits, False)` over the rows where `known` (B,) is True; zero where none is.

    >>> fake_where(torch.tensor([0.0, 50.0]), torch.tensor([True, False]))
    tensor(0.6931)
    """
    return ratio((F.softplus(logits.float()) * known).sum(), known.sum())


def real_fake_log(log_probability: Tensor, real: bool) -> Tensor:
    """`real_fake` for a discriminator that gives the logarithm of a probability; in nats, mean; scalar.

    For products of many probabilities, where the product itself would underflow.

    >>> p = torch.tensor([0.25, 0.5])
    >>> torch.testing.assert_close(real_fake_log(p.log(), False), F.binary_cross_entropy(p, torch.zeros(2)))
    """
    surprise = -log_probability.float()
    if real:
        return surprise.mean()
    return -(-torch.expm1(-surprise.clamp(min=1e-30))).log().mean()


def log_mixture(weights: Tensor, logits: Tensor) -> Tensor:
    """log of sum_j weights_j sigmoid(logits_j) over the last dimension, exact near probability 0 and near 1.

    Args:
        weights: (..., S), not negative, summing to one.
        logits: (..., S).

    >>> log_mixture(torch.tensor([0.5, 0.5]), torch.tensor([0.0, 0.0])).exp()
    tensor(0.5000)
    >>> bool(log_mixture(torch.tensor([0.5, 0.5]), torch.tensor([40.0, 40.0])) < 0)  # 1 - sigmoid(40) is kept
    True
    """
    weights, logits = weights.float(), logits.float()
    rest = (weights * torch.sigmoid(-logits)).sum(-1)  # 1 - the mixture, exact where that is small
    small = torch.logsumexp(weights.clamp(min=1e-30).log() + F.logsigmoid(logits), -1)
    return torch.where(rest < 0.5, torch.log1p(-rest.clamp(max=0.5)), small)


def gaussian_kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mean, exp(log_var)) || N(0, 1)) in nats per dimension, mean over (B, C); scalar.

    Zhang et al., StackGAN, eq. 2.

    >>> float(gaussian_kl(torch.zeros(2, 3), torch.zeros(2, 3)))
    0.0
    >>> float(gaussian_kl(torch.full((2, 3), 2.0), torch.zeros(2, 3)))  # mean^2 / 2
    2.0
    """
    mean, log_var = mean.float(), log_var.float()
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var).mean()


def cosines(x: Tensor, y: Tensor) -> Tensor:
    """Cosine of every row of `x` (B, E) with every row of `y` (N, E): (B, N).

    >>> cosines(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 3.0]]))
    tensor([[1., 0.]])
    """
    with torch.autocast(x.device.type, enabled=False):  # 16 bits would blur a margin of 0.2
        return F.normalize(x.float(), dim=1) @ F.normalize(y.float(), dim=1).T


def ranking(scores: Tensor, *, margin: float = 0.2, labels: Tensor | None = None, hardest: bool = False) -> Tensor:
    """Hinge by which wrong pairs come within `margin` of the right one, both ways; summed, per row; scalar.

    Args:
        scores: (B, B), picture i against caption j; right pairs on the diagonal.
        margin: in units of the scores.
        labels: (B,) class ids; pairs of equal ids are not counted as wrong. None: only the diagonal is right.
        hardest: of each row and of each column count the worst wrong pair alone, instead of the sum of all.

    Source: Kiros et al., "Unifying visual-semantic embeddings", 2014; `hardest`: Faghri et al., "VSE++", BMVC 2018.

    >>> ranking(torch.eye(2))  # right pairs at 1, wrong ones at 0
    tensor(0.)
    >>> ranking(torch.zeros(2, 2), margin=0.2)  # four hinges of 0.2 over two rows
    tensor(0.4000)
    >>> ranking(torch.zeros(3, 3), margin=0.2, hardest=True)  # one hinge a row, one a column
    tensor(0.4000)
    """
    right = scores.diagonal()
    if labels is None:
        wrong = ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    else:
        wrong = labels[:, None] != labels[None, :]
    by_row = F.relu(margin + scores - right[:, None]) * wrong
    by_column = F.relu(margin + scores - right[None, :]) * wrong
    if hardest:
        return (by_row.amax(1).sum() + by_column.amax(0).sum()) / len(scores)
    return (by_row + by_column).sum() / len(scores)


def structured_hinge(scores: Tensor, labels: Tensor, *, margin: float = 1.0) -> tuple[Tensor, Tensor]:
    """Hinges of the structured joint embedding: pictures against classes of captions, and captions against classes
    of pictures; each summed over the wrong classes, mean over B; two scalars.

    For picture n: sum over classes y != y_n of max(0, margin + mean of F(v_n, t) over captions t of y - F(v_n, t_n)).
    A class is what the batch holds of it.

    Args:
        scores: F (B, B), picture i against caption j; own captions on the diagonal.
        labels: (B,) class ids.
        margin: the 0-1 loss of a wrong class, in units of the scores.

    Source: Reed et al., CVPR 2016, eq. 2-5, with the sum over classes that their release trains in place of the
    maximum; Akata et al., CVPR 2015.

    >>> structured_hinge(torch.zeros(3, 3), torch.tensor([0, 1, 1]))  # 1, 1, 1 wrong classes
    (tensor(1.), tensor(1.))
    >>> structured_hinge(2 * torch.eye(2), torch.tensor([0, 1]))
    (tensor(0.), tensor(0.))
    """
    scores = scores.float()
    same = (labels[:, None] == labels[None, :]).float()
    share = same / same.sum(0)  # column k: the mean over the class of k
    wrong = (1 - same) / same.sum(0)  # a class of many members counts once
    right = scores.diagonal()[:, None]
    with torch.autocast(scores.device.type, enabled=False):
        of_captions, of_pictures = scores @ share, scores.T @ share  # B, B
    pictures, captions = ((F.relu(margin + mean - right) * wrong).sum(1).mean() for mean in (of_captions, of_pictures))
    return pictures, captions


def contrastive(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the diagonal in rows and in columns, in nats, mean over B; equal labels are no negatives.

    Args:
        logits: (B, B), picture i against caption j.
        labels: (B,) class ids.

    >>> row, column = contrastive(torch.eye(3) * 100, torch.arange(3))
    >>> float(row) < 1e-6 and float(column) < 1e-6
    True
    """
    same = labels[:, None] == labels[None, :]
    same.fill_diagonal_(False)
    logits = logits.float().masked_fill(same, -math.inf)
    diagonal = torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(logits, diagonal), F.cross_entropy(logits.T, diagonal)


def word_scores(regions: Tensor, words: Tensor, mask: Tensor, *, gamma1: float = 5.0, gamma2: float = 5.0) -> Tensor:
    """Scores R(Q, D) of the words of each caption in each picture: (N, M), natural logarithms.

    With s = w . v for word t and region r: attention a = softmax_r(gamma1 softmax_t(s)), context c_t = sum_r a v_r,
    R = log sum_t exp(gamma2 cos(c_t, w_t)). Padding takes part in no sum.

    Args:
        regions: v (N, E, R) of N pictures.
        words: w (M, T, E) of M captions.
        mask: (M, T), True on real words.
        gamma1: how much attention singles out regions.
        gamma2: how much the score singles out the best words.

    Source: Xu et al., "AttnGAN", CVPR 2018, eq. 7-10; the power 1/gamma2 of eq. 10 is left to gamma3.

    >>> one = torch.ones(1, 2, 1)
    >>> word_scores(one, one.mT, torch.ones(1, 1, dtype=torch.bool), gamma2=3.0).round()  # one word, found: log exp(3)
    tensor([[3.]])
    """
    with torch.autocast(regions.device.type, enabled=False):
        mask = torch.cat([mask[:, :1] | ~mask.any(1, keepdim=True), mask[:, 1:]], 1)  # a caption of none scores zero
        regions, words = regions.float(), words.float().masked_fill(~mask[..., None], 0)
        match = torch.matmul(words.flatten(0, 1), regions).view(-1, *mask.shape, regions.shape[2])  # N, M, T, R
        hide = match.new_zeros(mask.shape).masked_fill(~mask, -1e30)[..., None]
        attention = (gamma1 * (match + hide).softmax(2)).softmax(3)
        # cos(c, w) without laying out c, which is wider than s: c . w = sum_r a s, and |c|^2 = a (v' v) a'
        rows = attention.flatten(1, 2)  # N, M T, R
        square = ((rows @ (regions.mT @ regions)) * rows).sum(2).view(match.shape[:3])
        length = square.clamp(min=1e-12).sqrt() * words.square().sum(2).clamp(min=1e-12).sqrt()
        cosine = (attention * match).sum(3) / length  # N, M, T
        scores: Tensor = (gamma2 * cosine).masked_fill(~mask, -1e30).logsumexp(2)
    return scores


def damsm_words(
    regions: Tensor,
    words: Tensor,
    mask: Tensor,
    labels: Tensor,
    *,
    gamma1: float = 5.0,
    gamma2: float = 5.0,
    gamma3: float = 10.0,
) -> tuple[Tensor, Tensor]:
    """Word loss of the DAMSM, picture to caption and caption to picture, in nats, mean over B; two scalars.

    `contrastive` of gamma3 times `word_scores`; see there for the arguments. Xu et al., CVPR 2018, eq. 11-12.
    """
    return contrastive(gamma3 * word_scores(regions, words, mask, gamma1=gamma1, gamma2=gamma2), labels)


def damsm_sentence(
    pictures: Tensor, sentences: Tensor, labels: Tensor, *, gamma3: float = 10.0
) -> tuple[Tensor, Tensor]:
    """Sentence loss of the DAMSM: `contrastive` of gamma3 times the cosines of (B, E) and (B, E); two scalars, nats.

    Xu et al., CVPR 2018, eq. 13 in place of eq. 10.
    """
    return contrastive(gamma3 * cosines(pictures, sentences), labels)


def known_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy in nats, mean over the places whose target is known (not negative); 0 when none is.

    >>> known_cross_entropy(torch.tensor([0.0, 9.0]), torch.tensor([1.0, -1.0]))
    tensor(0.6931)
    """
    known = (target >= 0).float()
    loss = F.binary_cross_entropy_with_logits(logits, target.clamp(0, 1), reduction="none")
    return ratio((loss * known).sum(), known.sum())


def colour_consistency(fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of two sizes of each picture in mean colour and in the covariance of colours; two scalars.

    Mean squared error between the means (B, 3) and between the covariances (B, 3, 3) over all pixels, pictures in
    [-1, 1] of any two sizes; mean over B and the entries.

    Source: Zhang et al., StackGAN++, TPAMI 2018, eq. 8.

    >>> black, grey = -torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 2, 2)
    >>> colour_consistency(black, grey)  # one apart, both flat
    (tensor(1.), tensor(0.))
    """
    (fine_mean, fine_spread), (coarse_mean, coarse_spread) = colour_moments(fine), colour_moments(coarse)
    return F.mse_loss(fine_mean, coarse_mean), F.mse_loss(fine_spread, coarse_spread)


def colour_moments(image: Tensor) -> tuple[Tensor, Tensor]:
    """Mean colour (B, 3) and covariance of colours (B, 3, 3, divided by the number of pixels) of pictures.

    >>> colour_moments(torch.tensor([0.0, 2.0]).expand(1, 3, 1, 2))[1][0, 0]
    tensor([1., 1., 1.])
    """
    with torch.autocast(image.device.type, enabled=False):
        pixels = image.float().flatten(2)  # B, 3, N
        mean = pixels.mean(2)
        centred = pixels - mean[..., None]
        return mean, centred @ centred.mT / pixels.shape[2]


def target_softmax(
    query: Tensor,
    target: Tensor,
    *,
    scale: float | Tensor = 16.0,
    labels: Tensor | None = None,
    own: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Cross-entropy of each query's own target among the targets of the batch, by scaled cosines; nats, mean; scalar.

    Args:
        query: (B, D).
        target: (B, D), target i is that of query i.
        scale: of the cosines, the inverse temperature.
        labels: (B,) class ids; other targets of an equal id are left out. None: only the own target is right.
        own: one more wrong target for each query (B, D), and (B,) True where it is wrong indeed.

    Source: Vo et al., "Composing Text and Image for Image Retrieval", CVPR 2019, eq. 4-5; `own` is ours.

    >>> float(target_softmax(torch.eye(2), torch.ones(2, 2)))  # both targets fit alike: log 2
    0.6931471824645996
    >>> float(target_softmax(torch.eye(2), torch.eye(2), scale=100.0))
    0.0
    """
    logits = scale * cosines(query, target)
    rows = torch.arange(len(logits), device=logits.device)
    if labels is not None:
        logits = logits.masked_fill((labels[:, None] == labels) & (rows[:, None] != rows), -math.inf)
    if own is not None:
        column = scale * F.cosine_similarity(query.float(), own[0].float(), dim=1)
        logits = torch.cat([logits, column.masked_fill(~own[1], -math.inf)[:, None]], 1)
    return F.cross_entropy(logits, rows)


def stage_distance(x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
    """Distance of pictures in the maps of several stages of a network: (B,), 0 for equal ones, at most 4; no unit.

    In each stage the channels at a place are scaled to length 1; then the squared difference, summed over channels,
    mean over places, mean over stages. Differentiable; a place without any feature counts as 0.

    Args:
        x: maps (B, C, H, W) of some pictures, one of each stage; sizes differ between stages.
        y: those of the others, of equal shapes.

    Source: Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018, eq. 1,
    without its learned weights of channels, which were fitted to people's judgements, and with a mean over stages in
    place of the sum.

    >>> up, right = torch.tensor([0.0, 2.0]).view(1, 2, 1, 1), torch.tensor([3.0, 0.0]).view(1, 2, 1, 1)
    >>> stage_distance([up, up], [right, 5 * up])  # 2 in the first stage, 0 in the second
    tensor([1.])
    """
    gaps = []
    for one, other in zip(x, y, strict=True):
        with torch.autocast(one.device.type, enabled=False):
            apart = F.normalize(one.float(), dim=1) - F.normalize(other.float(), dim=1)
            gaps.append(apart.square().sum(1).mean((1, 2)))
    return torch.stack(gaps).mean(0)
