"""Losses as pure functions of tensors: no module, weight, config or device in sight. Logarithms are natural."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


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


def ranking(scores: Tensor, *, margin: float = 0.2) -> Tensor:
    """Hinge by which wrong pairs come within `margin` of the right one, both ways; summed, per row; scalar.

    Args:
        scores: (B, B), picture i against caption j; right pairs on the diagonal.
        margin: in units of the scores.

    Source: Kiros et al., "Unifying visual-semantic embeddings", 2014.

    >>> ranking(torch.eye(2))  # right pairs at 1, wrong ones at 0
    tensor(0.)
    >>> ranking(torch.zeros(2, 2), margin=0.2)  # four hinges of 0.2 over two rows
    tensor(0.4000)
    """
    right = scores.diagonal()
    by_row = F.relu(margin + scores - right[:, None])
    by_column = F.relu(margin + scores - right[None, :])
    wrong = ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    return ((by_row + by_column) * wrong).sum() / len(scores)


def known_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy in nats, mean over the places whose target is known (not negative); 0 when none is.

    >>> known_cross_entropy(torch.tensor([0.0, 9.0]), torch.tensor([1.0, -1.0]))
    tensor(0.6931)
    """
    known = (target >= 0).float()
    loss = F.binary_cross_entropy_with_logits(logits, target.clamp(0, 1), reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)
