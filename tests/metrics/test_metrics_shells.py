"""The figures in chunks and over processes: the same as the pure functions on the whole."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from tgim import metrics
from tgim.errors import UserError

N = 9
X, Y, SIMILARITY = torch.zeros(N, 3, 12, 12), torch.zeros(N, 3, 12, 12), torch.linspace(-1, 1, N)
for _i in range(N):  # each picture at its own distance
    X[_i, :, :, : _i + 1] = _i / 9
    Y[_i, 0] = -_i / 10
SCORES = torch.linspace(0, 50, N * 7).sin().reshape(N, 7)
REAL, FAKE = (torch.linspace(0, end, N * 4).sin().reshape(N, 4) for end in (40, 60))
PICTURES = {
    "rmse": (metrics.rmse, (X, Y), {}),
    "mse_unit": (metrics.mse, (X, Y), {"range": "unit"}),
    "psnr": (metrics.psnr, (X[1:], Y[1:]), {}),
    "ssim": (metrics.ssim, (X, Y), {}),
    "preservation": (metrics.preservation, (X, Y, X[:, :1] > 0.5), {}),
    "manipulative_precision": (metrics.manipulative_precision, (X, Y, SIMILARITY), {}),
}


def retrieval_figures(scores: torch.Tensor) -> dict[str, float]:
    ranks = metrics.ranks(scores)
    recalls = {f"recall@{k}": metrics.recall_at(ranks, k) for k in (1, 5)}
    return {**recalls, "mrr": metrics.mrr(ranks), "median_rank": metrics.median_rank(ranks)}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("chunk", [1, 2, 4, 9])
def test_the_mean_over_chunks_is_that_over_pictures(name, chunk):
    function, tensors, options = PICTURES[name]
    shell = metrics.PictureMean(function, options=options)
    for _ in range(2):  # again after reset
        for parts in zip(*(t.split(chunk) for t in tensors), strict=True):
            shell.update(*parts)
        assert_close(shell.compute(), function(*tensors, **options).double().mean())
        shell.reset()


@pytest.mark.parametrize("chunk", [1, 2, 4, 9])
def test_figures_of_retrieval_do_not_depend_on_the_chunks(chunk):
    shell = metrics.Retrieval(ks=(1, 5))
    for _ in range(2):
        for part in SCORES.split(chunk):
            shell.update(part)
        assert {name: float(value) for name, value in shell.compute().items()} == retrieval_figures(SCORES)
        shell.reset()


@pytest.mark.parametrize("figure", ["fid", "kid"])
@pytest.mark.parametrize("chunk", [1, 2, 4, 9])
def test_distances_of_features_do_not_depend_on_the_chunks(figure, chunk):
    options = {"subsets": 5, "subset_size": 6} if figure == "kid" else {}
    shell = metrics.FeatureDistance(figure, options=options)
    for _ in range(2):
        for real, fake in zip(REAL.split(chunk), FAKE.split(chunk), strict=True):
            shell.update(real, real=True)
            shell.update(fake, real=False)
        expected = getattr(metrics, figure)(REAL, FAKE, **options)
        assert float(shell.compute()) == pytest.approx(expected, abs=1e-12)
        shell.reset()


def test_states_of_two_shells_merge():
    whole, rest = metrics.PictureMean(metrics.rmse), metrics.PictureMean(metrics.rmse)
    whole.update(X[:7], Y[:7])
    rest.update(X[7:], Y[7:])
    whole.merge_state(rest)
    assert_close(whole.compute(), metrics.rmse(X, Y).double().mean())


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_a_shell_without_data_or_with_two_extractors_says_so():
    for shell in (metrics.PictureMean(metrics.rmse), metrics.Retrieval(), metrics.FeatureDistance("fid")):
        with pytest.raises(UserError, match=r"call update first|at least 2 pictures"):
            shell.compute()
    shell = metrics.FeatureDistance("kid")
    shell.update(REAL, real=True)
    with pytest.raises(UserError, match="features are 3 wide, those before were 4"):
        shell.update(FAKE[:, :3], real=False)
    with pytest.raises(UserError, match="figure is 'is'"):
        metrics.FeatureDistance("is")


def measure(rank: int, folder: str) -> None:
    """One process of two: batches of other sizes than the other's, and one kind of features at the second alone."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=timedelta(seconds=120)
    )
    own = slice(0, 7) if rank == 0 else slice(7, N)
    mean, retrieval = metrics.PictureMean(metrics.rmse), metrics.Retrieval(ks=(1, 5))
    for x, y, scores in zip(X[own].split(3), Y[own].split(3), SCORES[own].split(3), strict=True):
        mean.update(x, y)
        retrieval.update(scores)
    figures = {"rmse": float(mean.compute())} | {name: float(value) for name, value in retrieval.compute().items()}
    for name in ("fid", "kid"):
        distance = metrics.FeatureDistance(name)
        distance.update(REAL[own], real=True)
        if rank == 1:
            distance.update(FAKE, real=False)
        figures[name] = float(distance.compute())
    Path(folder, f"{rank}.json").write_text(json.dumps(figures))
    dist.barrier()  # neither leaves while the other still talks to it
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_measure_what_one_does(tmp_path):
    torch.multiprocessing.spawn(measure, args=(str(tmp_path),), nprocs=2)
    expected = {"rmse": float(metrics.rmse(X, Y).double().mean()), **retrieval_figures(SCORES)}
    expected |= {"fid": metrics.fid(REAL, FAKE), "kid": metrics.kid(REAL, FAKE)}
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == pytest.approx(expected)
