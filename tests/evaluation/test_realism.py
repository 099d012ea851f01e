"""Laws of `realism@1`: disjoint halves, worse sets are farther away, every line says by which extractor."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tgim.data.base import Item
from tgim.errors import UserError
from tgim.evaluation import realism
from tgim.evaluation.features import Frozen

N = 64


def extractor(label="toy:0123456789abcdef", classes=False):
    """Colours of a coarse grid, and how rough the picture is."""

    def embed(pictures):
        rough = (pictures[..., 1:] - pictures[..., :-1]).abs().mean((2, 3)) * 4
        return torch.cat([F.adaptive_avg_pool2d(pictures, 2).flatten(1), rough], 1)

    return Frozen(label, 15, embed, classify=(lambda features: 5 * features) if classes else None)


class Toy:
    """Noise under one of two tints; targets are the next pictures."""

    def __init__(self, seed=0, source="toy", **options):
        rng = torch.Generator().manual_seed(3)
        tint = torch.rand(N, 3, 1, 1, generator=rng) - 0.5
        self.pictures = (tint + 0.3 * torch.randn(N, 3, 16, 16, generator=rng)).clamp(-1, 1)
        items = tuple(Item(Path(f"/toy/{i}.png"), ("a bird",)) for i in range(N))
        self.dataset = SimpleNamespace(items=items, root=Path("/toy"))
        self.rows, self.targets = np.arange(N), (np.arange(N) + 1) % N
        self.target = ["a red bird"] * N
        self.seed, self.extractor = seed, source
        self.asked = []

    def edits(self, contender, captions, strength=1.0, *, pictures=None):
        return contender.edit(self.pictures)

    def seen(self, what):
        return lambda done, total: None

    def kept(self, contender, make, kind, *depends):
        self.asked.append(depends[-1])
        return make()


@pytest.fixture(autouse=True)
def toy_extractor(monkeypatch):
    monkeypatch.setattr(realism, "open_extractor", lambda source: extractor(classes=source == "classes"))


def kid_of(bench, edit, *, replaces=False):
    rows = realism.measure(bench, SimpleNamespace(edit=edit, replaces=replaces))
    return {m.metric: m.figures(seed=0)[0] for m in rows}


def test_halves_are_disjoint_seeded_and_of_all_pictures_in_whatever_order():
    names = [f"{i}.jpg" for i in range(101)]
    first, second = realism.split_halves(names, seed=0)
    assert sorted([*first, *second]) == list(range(101))
    assert abs(len(first) - len(second)) <= 1
    assert not np.array_equal(first, realism.split_halves(names, seed=1)[0])
    turned = realism.split_halves(names[::-1], seed=0)[0]
    assert {names[::-1][i] for i in turned} == {names[i] for i in first}


def test_edits_are_never_compared_with_their_sources():
    bench = Toy()
    half = realism.halves(bench)
    kid_of(bench, lambda pictures: pictures)
    (compared,) = bench.asked
    assert torch.equal(compared, bench.pictures[half.first])
    assert torch.equal(half.against, extractor().features(bench.pictures[half.second]))


@pytest.mark.slow
def test_worse_pictures_are_farther_away_than_real_ones():
    bench = Toy()
    real = {m.metric: m.figures(seed=0)[0] for name, m in realism.references(bench) if name == "real"}
    same = kid_of(bench, lambda pictures: pictures)
    assert same == real  # who changes nothing is as good as real: preservation and obedience are measured elsewhere
    blurred = kid_of(bench, lambda pictures: F.avg_pool2d(pictures, 5, 1, 2))
    tinted = kid_of(bench, lambda pictures: (pictures + torch.tensor([0.8, -0.4, 0.0])[:, None, None]).clamp(-1, 1))
    one = kid_of(bench, lambda pictures: pictures[:1].expand_as(pictures))
    for worse in (blurred, tinted, one):
        assert worse["kid"] > real["kid"]
        assert worse["fid"] > real["fid"]


def test_every_figure_says_by_which_features_against_how_many():
    bench = Toy()
    for name, m in realism.references(bench):
        assert name in realism.REALISM.reference_names
        assert m.options["against"] == N // 2 == m.n
        value, low, high = m.figures(seed=0)
        assert low <= value <= high
        assert m.higher_is_better == (m.metric == "is")
    assert realism.REALISM.extractor_label(bench) == "toy:0123456789abcdef"
    assert [m.metric for _, m in realism.references(bench)] == 2 * ["fid", *realism.METRICS]


def test_an_inception_score_only_where_there_are_classes():
    found = {m.metric for _, m in realism.references(Toy(source="classes"))}
    assert found == {"is", "fid", *realism.METRICS}


def test_figures_repeat():
    first, second = ([(n, m.figures(seed=0)) for n, m in realism.references(Toy())] for _ in range(2))
    assert first == second


def test_unrelated_photographs_of_the_other_half_are_left_out():
    bench = Toy()
    half = realism.halves(bench)
    kid_of(bench, lambda pictures: pictures.roll(-1, 0), replaces=True)
    (compared,) = bench.asked
    others = {tuple(picture.flatten()[:9].tolist()) for picture in bench.pictures[half.second]}
    assert 2 <= len(compared) < len(half.first)
    assert not others & {tuple(picture.flatten()[:9].tolist()) for picture in compared}


def test_distances_of_a_matching_models_features_do_not_depend_on_their_scale(monkeypatch):
    base = extractor()
    small = Frozen("toy:0123456789abcdef", 15, lambda pictures: base._embed(pictures) / 50)
    figures = []
    for made in (base, small):
        monkeypatch.setattr(realism, "open_extractor", lambda source, made=made: made)
        figures.append([m.figures(seed=0)[0] for _, m in realism.references(Toy())])
    assert figures[0] == pytest.approx(figures[1], rel=1e-3, abs=1e-6)


def test_inceptions_features_are_taken_as_they_are(monkeypatch):
    monkeypatch.setattr(realism, "open_extractor", lambda source: extractor("inception-fid/w.pth:0123456789abcdef"))
    assert realism.halves(Toy()).scale == 1


def test_a_jpeg_file_changes_a_picture_a_little():
    pictures = Toy().pictures[:2]
    after = realism.as_jpeg(pictures)
    assert after.shape == pictures.shape
    assert 0.001 < float((after - pictures).square().mean()) < 0.1
    assert torch.equal(after, realism.as_jpeg(pictures))


def test_what_is_missing_is_said():
    with pytest.raises(UserError, match="needs an extractor"):
        realism.halves(Toy(source=None))
    few = Toy()
    few.rows = few.rows[:9]
    with pytest.raises(UserError, match="too few to compare halves"):
        realism.halves(few)
