"""The figures against scikit-image, torchmetrics, torch-fidelity, scipy's and closed forms; and the laws they obey."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from tgim import metrics
from tgim.errors import UserError
from tgim.metrics import METRICS, distributions

FEW = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**31)


def pictures(seed: int, n: int = 3, height: int = 14, width: int = 17) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def blend(x: torch.Tensor, seed: int, share: float) -> torch.Tensor:
    return (1 - share) * x + share * pictures(seed, *x.shape[:1], *x.shape[2:])


def half_preservation(x, y):
    mask = torch.zeros(len(x), 1, *x.shape[2:])
    mask[..., : x.shape[3] // 2] = 1
    return metrics.preservation(x, y, mask)


def shared_similarity(x, y):
    return metrics.manipulative_precision(x, y, torch.full((len(x),), 0.5))


PAIRWISE = {
    "mse": metrics.mse,
    "mse_unit": lambda x, y: metrics.mse(x, y, range="unit"),
    "rmse": metrics.rmse,
    "rmse_unit": lambda x, y: metrics.rmse(x, y, range="unit"),
    "psnr": metrics.psnr,
    "ssim": metrics.ssim,
    "preservation": half_preservation,
    "manipulative_precision": shared_similarity,
}
SAME = {"psnr": float("inf"), "ssim": 1.0, "manipulative_precision": 0.5}  # of equal pictures; 0 where not named


# Pictures


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRWISE)
@FEW
@given(seed=seeds, share=st.floats(0.01, 1))
def test_a_pairwise_figure_keeps_its_range_and_treats_pictures_alone_and_alike(name, seed, share):
    figure, x = PAIRWISE[name], pictures(seed)
    y = blend(x, seed + 1, share)
    value = figure(x, y)
    assert value.shape == (3,)
    assert value.min() >= METRICS[name].low - 1e-6
    assert value.max() <= METRICS[name].high + 1e-6
    assert_close(figure(y, x), value)
    assert_close(figure(x.flip(0), y.flip(0)), value.flip(0))
    assert_close(torch.cat([figure(x[i : i + 1], y[i : i + 1]) for i in range(3)]), value)
    assert_close(figure(x, x), torch.full((3,), SAME.get(name, 0.0)))
    assert figure(x[:0], y[:0]).shape == (0,)


@pytest.mark.parametrize("name", PAIRWISE)
@FEW
@given(seed=seeds)
def test_a_worse_picture_is_worse_in_the_direction_of_the_table(name, seed):
    x = pictures(seed)
    slightly, badly = (PAIRWISE[name](x, blend(x, seed + 1, share)) for share in (0.1, 0.8))
    assert bool((slightly > badly).all() if METRICS[name].higher_is_better else (slightly < badly).all())


def test_errors_and_noise_are_those_of_scikit_image():
    x, y = pictures(0), pictures(1)
    for value, unit, decibel, a, b in zip(
        metrics.mse(x, y), metrics.mse(x, y, range="unit"), metrics.psnr(x, y), x.numpy(), y.numpy(), strict=True
    ):
        assert float(value) == pytest.approx(mean_squared_error(a, b), rel=1e-5)
        assert float(unit) == pytest.approx(mean_squared_error((a + 1) / 2, (b + 1) / 2), rel=1e-5)
        assert float(decibel) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=2), rel=1e-5)
    assert_close(metrics.rmse(x, y, range="unit"), metrics.rmse(x, y) / 2)
    assert_close(metrics.rmse(x, y).square(), metrics.mse(x, y))


@pytest.mark.slow
@FEW
@given(seed=seeds, share=st.floats(0, 1), height=st.integers(11, 24), flat=st.booleans())
def test_ssim_is_that_of_scikit_image(seed, share, height, flat):
    x = pictures(seed, 2, height, 15)
    x = x * 0.01 + 0.9 if flat else x
    y = blend(x, seed + 1, share)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 2.0}
    for value, a, b in zip(metrics.ssim(x, y), x.double().numpy(), y.double().numpy(), strict=True):
        assert float(value) == pytest.approx(structural_similarity(a, b, channel_axis=0, **options), abs=1e-4)


def test_preservation_looks_only_outside_the_mask():
    x, y = pictures(0), pictures(1)
    mask = torch.rand(3, 1, 14, 17) < 0.5
    for i, value in enumerate(metrics.preservation(x, y, mask)):
        kept = (x - y)[i][:, ~mask[i, 0]]
        assert float(value) == pytest.approx(float(kept.square().mean().sqrt()), rel=1e-5)
    assert_close(metrics.preservation(x, torch.where(mask, y, x), mask), torch.zeros(3))
    assert_close(metrics.preservation(x, y, torch.zeros(3, 1, 14, 17)), metrics.rmse(x, y))
    assert_close(metrics.preservation(x, y, torch.full((3, 1, 14, 17), 0.5)), metrics.rmse(x, y))  # all weigh alike


def test_manipulative_precision_is_its_formula_in_the_unit_range():
    x, y, fit = pictures(0), pictures(1), torch.tensor([0.9, 0.0, -0.3])
    apart = ((x + 1) / 2 - (y + 1) / 2).abs().flatten(1).mean(1)
    assert_close(metrics.manipulative_precision(x, y, fit), (1 - apart) * fit)


X = torch.zeros(2, 3, 12, 12)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: metrics.mse(X, X[:1]), r"x is \(2, 3, 12, 12\) and y is \(1, 3, 12, 12\)"),
        (lambda: metrics.mse(X[0], X[0]), r"x has shape \(3, 12, 12\), expected \(N, 3, H, W\)"),
        (lambda: metrics.mse(X[:, :1], X[:, :1]), "expected .N, 3, H, W"),
        (lambda: metrics.rmse(X, X.byte()), "y is torch.uint8, expected a float tensor"),
        (lambda: metrics.rmse(X.numpy(), X), "x is ndarray, expected a float tensor"),
        (lambda: metrics.psnr(X, X + float("nan")), "y holds NaN"),
        (lambda: metrics.psnr(X, X + 255), "y holds values from 255 to 255"),
        (lambda: metrics.mse(X, X, range="bytes"), "range is 'bytes'"),
        (lambda: metrics.ssim(X[..., :10], X[..., :10]), "at least 11 pixels"),
        (lambda: metrics.preservation(X, X, torch.zeros(2, 12, 12)), r"expected \(2, 1, 12, 12\)"),
        (lambda: metrics.preservation(X, X, torch.full((2, 1, 12, 12), 2.0)), "from 2 to 2"),
        (lambda: metrics.preservation(X, X, torch.ones(2, 1, 12, 12)), "mask 0 covers its whole picture"),
        (lambda: metrics.manipulative_precision(X, X, torch.zeros(3)), r"similarity has shape \(3,\)"),
        (lambda: metrics.lpips(X, X, network=nn.Identity()), "at least 32 pixels"),
        (lambda: metrics.fid(np.zeros((1, 4)), np.zeros((9, 4))), r"real has shape \(1, 4\).*at least 2 pictures"),
        (lambda: metrics.fid(np.zeros((3, 4)), np.zeros((9, 5))), "real has 4 features and fake 5"),
        (lambda: metrics.fid(np.zeros(4), np.zeros((9, 4))), r"real has shape \(4,\), expected \(N, D\)"),
        (lambda: metrics.fid(np.zeros((3, 4)), np.full((3, 4), np.inf)), "fake holds NaN or infinity"),
        (lambda: metrics.kid(np.zeros((3, 4)), np.zeros((9, 4)), subset_size=4), "of 4 rows cannot be drawn from 3"),
        (lambda: metrics.inception_score(np.ones((3, 4))), "rows that sum to 1"),
        (lambda: metrics.inception_score(np.eye(4), splits=5), "expected 1 to 4"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(call, said):
    with pytest.raises(UserError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


# Features


class AsFeatures(nn.Module):
    """Stands where the references want a network: its pictures are features already."""

    num_features = 6

    def forward(self, x):
        return x


def features(seed: int, n: int, width: int = 6) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=source)
    return torch.randn(n, width, generator=source) @ mixing + torch.randn(width, generator=source)


def reference_distance(metric, real, fake):
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return metric.compute()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("n", "m"), [(40, 30), (9, 50)])
def test_fid_is_that_of_torchmetrics_and_torch_fidelity(n, m):
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torchmetrics.image.fid import FrechetInceptionDistance

    real, fake = features(0, n), features(1, m)
    value = metrics.fid(real, fake)
    assert value == pytest.approx(
        float(reference_distance(FrechetInceptionDistance(AsFeatures()), real, fake)), rel=1e-4
    )
    statistics = [fid_features_to_statistics(x.double()) for x in (real, fake)]
    (fidelity,) = fid_statistics_to_metric(*statistics, verbose=False).values()
    assert value == pytest.approx(fidelity, rel=1e-6)


@FEW
@given(seed=seeds, n=st.integers(2, 12), m=st.integers(2, 12), width=st.integers(1, 9))
def test_fid_is_the_formula_also_for_fewer_rows_than_features(seed, n, m, width):
    from scipy.linalg import sqrtm

    real, fake = features(seed, n, width).double().numpy(), features(seed + 1, m, width).double().numpy()
    s1, s2 = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (real, fake))
    values, vectors = np.linalg.eigh(s1)
    root = vectors @ np.diag(values.clip(0) ** 0.5) @ vectors.T
    middle = np.linalg.eigvalsh(root @ s2 @ root).clip(0)
    expected = np.square(real.mean(0) - fake.mean(0)).sum() + np.trace(s1 + s2) - 2 * np.sqrt(middle).sum()
    value = metrics.fid(real, fake)
    scale = np.trace(s1 + s2) + 1e-9
    assert value == pytest.approx(expected, rel=1e-5, abs=1e-6 * scale)
    if min(n, m) > 2 * width:
        inside = np.trace(s1 + s2) - 2 * np.trace(np.atleast_2d(sqrtm(s1 @ s2)).real)
        assert value == pytest.approx(np.square(real.mean(0) - fake.mean(0)).sum() + inside, rel=1e-5, abs=1e-6 * scale)
    assert metrics.fid(fake, real) == pytest.approx(value, abs=1e-9 * scale)
    assert metrics.fid(real[::-1], fake) == pytest.approx(value, abs=1e-9 * scale)
    assert metrics.fid(real, real) == pytest.approx(0, abs=1e-9 * scale)
    moved = metrics.fid(real, real + 2)
    assert moved == pytest.approx(4 * width, abs=1e-8 * scale + 1e-8)


def test_fid_of_one_source_grows_as_the_sets_shrink_and_kid_does_not():
    source = np.random.default_rng(0)
    sets = {n: [source.normal(size=(2, n, 8)) for _ in range(40)] for n in (10, 80)}
    fids = {n: np.mean([metrics.fid(*pair) for pair in pairs]) for n, pairs in sets.items()}
    kids = {n: [metrics.kid(*pair, subsets=1) for pair in pairs] for n, pairs in sets.items()}
    assert fids[10] > 4 * fids[80] > 0
    for values in kids.values():
        assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))  # around 0
        assert min(values) < 0


@pytest.mark.filterwarnings("ignore")
def test_kid_is_that_of_torchmetrics_and_torch_fidelity():
    from torch_fidelity.metric_kid import kernel_poly, mmd2
    from torchmetrics.image.kid import KernelInceptionDistance

    real, fake = features(0, 20), features(1, 20)
    value = metrics.kid(real, fake)
    reference = KernelInceptionDistance(AsFeatures(), subsets=2, subset_size=20)
    assert value == pytest.approx(float(reference_distance(reference, real, fake)[0]), rel=1e-4)
    a, b = real.double().numpy(), fake.double().numpy()
    options = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}
    kernels = [kernel_poly(x, y, **options) for x, y in ((a, a), (a, b), (b, b))]
    assert value == pytest.approx(mmd2(*kernels), rel=1e-9)


@pytest.mark.slow
def test_kid_draws_its_subsets_from_the_seed_alone(monkeypatch):
    real, fake = features(0, 30), features(1, 25)
    options = {"subsets": 12, "subset_size": 10}
    values = metrics.kid_subsets(real, fake, **options, seed=3)
    assert values.std() > 0
    assert metrics.kid(real, fake, **options, seed=3) == pytest.approx(values.mean())
    assert not np.allclose(values, metrics.kid_subsets(real, fake, **options, seed=4))
    monkeypatch.setattr(distributions, "TABLE", 0)  # as for sets too large to keep all kernel values
    np.testing.assert_allclose(metrics.kid_subsets(real, fake, **options, seed=3), values, rtol=1e-9)
    many = metrics.kid(real, fake, subsets=3000, subset_size=10)
    assert many == pytest.approx(metrics.kid(real[:25], fake, subset_size=25), rel=0.2)


@pytest.mark.filterwarnings("ignore")
def test_inception_score_is_that_of_torchmetrics_and_torch_fidelity(monkeypatch):
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torchmetrics.image.inception import InceptionScore

    logits = 3 * features(0, 40)
    p = logits.double().softmax(1)
    reference = InceptionScore(AsFeatures(), splits=1)
    reference.update(logits)
    assert metrics.inception_score(p, splits=1) == pytest.approx(float(reference.compute()[0]), rel=1e-4)
    monkeypatch.setattr(np.random, "default_rng", np.random.RandomState)  # the reference's shuffle
    mean, deviation = isc_features_to_metric(logits, splits=4, rng_seed=0).values()
    scores = metrics.inception_scores(p, splits=4)
    assert (scores.mean(), scores.std()) == (pytest.approx(mean), pytest.approx(deviation))


@FEW
@given(seed=seeds, splits=st.integers(1, 5))
def test_inception_score_lies_between_one_and_the_number_of_classes(seed, splits):
    p = (5 * features(seed, 12)).double().softmax(1)
    values = metrics.inception_scores(p, splits=splits)
    assert values.shape == (splits,)
    assert 1 - 1e-9 <= values.min() <= values.max() <= 6 + 1e-9
    assert metrics.inception_score(p.flip(0), splits=1) == pytest.approx(metrics.inception_score(p, splits=1))
    assert metrics.inception_score(F.one_hot(torch.arange(12) % 6).double(), splits=1) == pytest.approx(6)
