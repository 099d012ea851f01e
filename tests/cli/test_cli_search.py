"""Laws of `tgim search`: it lists what the library found, the picture itself left out, and refuses in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from support import small
from support.commands import is_refused, tgim
from tgim.checkpoints import checkpoint
from tgim.data.cache import decode
from tgim.errors import CheckpointError, ImageError, UserError
from tgim.images.photo import from_uint8
from tgim.inference import scoring
from tgim.inference.search import SUM, as_caption, search

TEXT = "red head and breast"


def saved(folder, name, **options):
    model = small.model_of(name)
    return checkpoint.save(folder / f"{name}.safetensors", model, vocabulary=small.VOCABULARY, **options)


@pytest.fixture(scope="module")
def tirg(tmp_path_factory):
    """A checkpoint of a small, untrained composing system."""
    return saved(tmp_path_factory.mktemp("models"), "tirg")


@pytest.fixture(scope="module")
def matcher(tmp_path_factory):
    """A checkpoint of a small, untrained matching model that completes phrases."""
    return saved(tmp_path_factory.mktemp("models"), "dual_encoder", template="this bird has a {}")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A working folder with photos/0.png ... 6.png."""
    monkeypatch.chdir(tmp_path)
    source, folder = np.random.default_rng(0), Path("photos")
    folder.mkdir()
    for i in range(7):
        coarse = Image.fromarray(source.integers(0, 256, (3, 3, 3), dtype=np.uint8))
        coarse.resize((48, 40), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return folder


def seen(path, model):
    return from_uint8(torch.tensor(decode(path, size=model.image_size)).permute(2, 0, 1))[None]


@pytest.mark.slow
def test_pictures_come_by_their_nearness_to_what_is_meant(photos, tirg):
    model = checkpoint.load(tirg).model
    others = [path for path in sorted(photos.iterdir()) if path.name != "3.png"]
    with torch.no_grad():
        meant = model.compose(seen(photos / "3.png", model), small.VOCABULARY.encode([TEXT]))
        scores = {str(path): float(model.embed_images(seen(path, model)) @ meant[0]) for path in others}
    best = sorted(scores, key=lambda name: -scores[name])
    result = tgim("search", photos, "--image", photos / "3.png", "--text", TEXT, "--model", tirg, "--top", 4)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    heading, *rows, rest = result.stdout.splitlines()
    assert heading == f"photos/3.png: {TEXT}"
    assert rest.strip() == "and 2 more"
    assert [row.split()[2] for row in rows] == best[:4]
    for row in rows:
        assert float(row.split()[1]) == pytest.approx(scores[row.split()[2]], abs=6e-4)
    lines = [
        json.loads(line)
        for line in tgim(
            "search", photos, "--image", photos / "3.png", "--text", TEXT, "--model", tirg, "--json"
        ).stdout.splitlines()
    ]
    assert [(line["rank"], line["image"]) for line in lines] == list(enumerate(best, 1))
    for line in lines:
        assert line["score"] == pytest.approx(scores[line["image"]], abs=1e-5)
        assert (line["query"], line["text"], line["by"]) == ("photos/3.png", TEXT, "tirg")


@pytest.mark.slow
def test_a_matching_model_adds_embeddings_and_says_so(photos, matcher):
    source = checkpoint.load(matcher)
    result = tgim("search", photos, "--image", photos / "0.png", "--text", f"but with a {TEXT}", "--model", matcher)
    assert result.exit_code == 0
    assert result.stderr.count("\n") == 1
    assert "not trained to compose" in result.stderr
    assert "recipes/compose_tirg_birds.yaml" in result.stderr
    others = sorted(photos.iterdir())[1:]
    with torch.no_grad():
        said = source.model.embed_captions(source.vocabulary.encode([f"this bird has a {TEXT}"]))
        meant = source.model.embed_images(seen(photos / "0.png", source.model)) + said
        scores = [float(source.model.embed_images(seen(path, source.model)) @ meant[0]) for path in others]
    listed = [row.split()[2] for row in result.stdout.splitlines()[1:]]
    assert listed == [str(others[i]) for i in np.argsort(-np.array(scores))]
    found = search(others, image=photos / "0.png", text=TEXT, model=matcher)
    assert found.how == SUM
    np.testing.assert_allclose(found.scores, np.array(scores) / float(meant.norm()), atol=1e-5)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("but with a red head", "red head"),
        ("The same bird with black wings", "black wings"),
        ("a blue bird", "blue bird"),
        ("make the wings black", "wings black"),
        ("without the wingbars", "without the wingbars"),
        ("the", "the"),
    ],
)
def test_what_is_to_be_different_is_read_as_a_phrase(text, phrase):
    assert as_caption(text) == phrase


def test_pictures_are_read_a_few_at_a_time_and_may_be_of_any_form(photos, tirg, monkeypatch):
    paths = sorted(photos.iterdir())
    expected = search(paths[1:], image=paths[0], text=TEXT, model=tirg)
    monkeypatch.setattr(scoring, "CHUNK", 2)
    calls = []
    forms = [path.read_bytes() for path in paths[1:]]
    found = search(forms, image=Image.open(paths[0]), text=TEXT, model=tirg, progress=lambda *call: calls.append(call))
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    assert calls == [(2, 6), (4, 6), (6, 6)]


def test_broken_pictures_are_named_at_the_end(photos, tirg):
    (photos / "5.png").write_bytes(b"no picture")
    result = tgim("search", photos, "--image", photos / "0.png", "--text", TEXT, "--model", tirg)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 6
    assert result.stderr.startswith("tgim: failed: photos/5.png")
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_unknown_words_are_named(photos, tirg):
    result = tgim("search", photos, "--image", photos / "0.png", "--text", "a bleu bird", "--model", tirg)
    assert result.exit_code == 0
    assert result.stderr == "tgim: warning: unknown word 'bleu' is ignored; nearest known: blue\n"


BAD = {
    "no such folder": (["nowhere", "--image", "photos/0.png", "--text", TEXT], "nowhere cannot be listed"),
    "no picture in the folder": (["empty", "--image", "photos/0.png", "--text", TEXT], "no picture"),
    "no other picture": (["alone", "--image", "alone/0.png", "--text", TEXT], "no picture to search among"),
    "no such image": (["photos", "--image", "gone.png", "--text", TEXT], "gone.png is not there"),
    "a folder as image": (["photos", "--image", "photos", "--text", TEXT], "is a folder"),
    "an unreadable image": (["photos", "--image", "broken.png", "--text", TEXT], "broken.png"),
    "no image": (["photos", "--text", TEXT], "--image"),
    "no text": (["photos", "--image", "photos/0.png"], "--text"),
    "empty text": (["photos", "--image", "photos/0.png", "--text", " "], "no words"),
    "unknown words": (["photos", "--image", "photos/0.png", "--text", "qwertz"], "none of the words"),
    "no such model": (["photos", "--image", "photos/0.png", "--text", TEXT, "--model", "judge-brids"], "judge-birds"),
    "top": (["photos", "--image", "photos/0.png", "--text", TEXT, "--top", "0"], "--top"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_search_is_refused(photos, tirg, case):
    for folder in ("empty", "alone"):
        Path(folder).mkdir()
    Path("alone/0.png").write_bytes((photos / "0.png").read_bytes())
    Path("broken.png").write_bytes(b"no picture")
    args, said = BAD[case]
    model = [] if "--model" in args else ["--model", tirg]
    assert said in is_refused(tgim("search", *args, *model))


def test_an_editor_is_refused(photos, tagrid_file):
    said = is_refused(tgim("search", photos, "--image", photos / "0.png", "--text", TEXT, "--model", tagrid_file))
    assert "neither composes nor matches" in said
    source = checkpoint.load(tagrid_file)
    with pytest.raises(CheckpointError, match="neither composes nor matches"):
        search([photos / "1.png"], image=photos / "0.png", text=TEXT, model=source)
    with pytest.raises(UserError, match="list"):
        search(str(photos), image=photos / "0.png", text=TEXT, model=source)
    with pytest.raises(ImageError):
        search(
            [],
            image=photos / "0.png",
            text=TEXT,
            model=checkpoint.Checkpoint(small.model_of("tirg"), small.VOCABULARY, "{}"),
        )


def test_the_verb_explains_itself():
    assert "\n  search " in tgim("--help").stdout
    result = tgim("search", "--help")
    assert result.exit_code == 0
    assert result.stdout.count("\n  tgim search ") == 3  # examples
