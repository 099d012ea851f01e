"""Laws of `tgim match` and `tgim eval`: what they print is what the library found, and what is bad is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from support import small
from support.commands import interrupted
from tgim.checkpoints import checkpoint
from tgim.cli import evaluate as cli_eval
from tgim.cli.main import main
from tgim.evaluation.catalogue import CATALOGUE
from tgim.inference import ranking

TEXTS = ["this bird has a red head and breast", "a small blue bird", "a bird with yellow and black wings"]
TIMES = ("seconds", "commit", "machine")


def tgim(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args], prog_name="tgim")


def is_refused(result):
    """One line on stderr that says what is wrong, and exit code 2."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("tgim: error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def lines_of(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def matcher(tmp_path_factory):
    """A checkpoint of a small, untrained matching model."""
    folder = tmp_path_factory.mktemp("models")
    return checkpoint.save(folder / "matcher.safetensors", small.model_of("dual_encoder"), vocabulary=small.VOCABULARY)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with a data set: my_birds/images/0.png ... 7.png, captions, no classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TGIM_DATA", raising=False)
    source, root = np.random.default_rng(0), tmp_path / "my_birds"
    (root / "images").mkdir(parents=True)
    records = []
    for i in range(8):
        coarse = Image.fromarray(source.integers(0, 256, (3, 3, 3), dtype=np.uint8))
        coarse.resize((48, 40), Image.Resampling.BICUBIC).save(root / "images" / f"{i}.png")
        colours = source.choice(["red", "blue", "yellow", "black", "white"], 2)
        captions = [f"a small {colours[0]} bird", f"this bird has a {colours[1]} belly and {colours[0]} wings"]
        records.append(json.dumps({"file_name": f"{i}.png", "captions": captions}))
    (root / "metadata.jsonl").write_text("\n".join(records))
    return tmp_path


def test_both_verbs_explain_themselves():
    listed = tgim("--help").stdout
    for verb in ("match", "eval"):
        assert f"\n  {verb} " in listed
        result = tgim(verb, "--help")
        assert result.exit_code == 0
        assert result.stdout.startswith(f"Usage: tgim {verb}")
        assert result.stdout.count(f"\n  tgim {verb} ") == 3  # examples


# match


def test_one_text_lists_the_pictures_best_first(here, matcher):
    result = tgim("match", "my_birds/images", "--model", matcher, "--text", TEXTS[0], "--top", 5)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    pictures = sorted(Path("my_birds/images").iterdir())
    found = ranking.rank(pictures, TEXTS[:1], model=matcher)
    heading, *rows, rest = result.stdout.splitlines()
    assert heading == TEXTS[0]
    assert rest.strip() == "and 3 more"
    for place, (row, best) in enumerate(zip(rows, found.pictures[0], strict=False), 1):
        assert row.split() == [str(place), f"{found.scores[best, 0]:.3f}", str(pictures[best])]


def test_one_picture_lists_the_texts_best_first(here, matcher):
    options = [part for text in TEXTS for part in ("--text", text)]
    result = tgim("match", "my_birds/images/3.png", "--model", matcher, *options)
    heading, *rows = result.stdout.splitlines()
    assert heading == "my_birds/images/3.png"
    found = ranking.rank([heading], TEXTS, model=matcher)
    assert [row.split(maxsplit=2)[2] for row in rows] == [TEXTS[i] for i in found.captions[0]]


@pytest.mark.slow
def test_many_of_both_give_a_list_for_each_text(here, matcher):
    Path("texts.txt").write_text("\n".join([*TEXTS, "", TEXTS[0]]))
    args = ("match", "my_birds/images", "--model", matcher, "--texts", "texts.txt")
    blocks = tgim(*args, "--top", 2).stdout.split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == TEXTS
    assert all(len(block.splitlines()) == 4 for block in blocks)
    pairs = lines_of(tgim(*args, "--json"))
    assert len(pairs) == 24
    found = ranking.rank(sorted(Path("my_birds/images").iterdir()), TEXTS, model=matcher)
    for pair in pairs:
        row, column = found.images.index(pair["image"]), TEXTS.index(pair["text"])
        assert pair["score"] == pytest.approx(found.scores[row, column], abs=1e-5)
        assert found.pictures[column, pair["picture_rank"] - 1] == row
        assert found.captions[row, pair["text_rank"] - 1] == column
    shown = [(pair["text"], pair["picture_rank"]) for pair in lines_of(tgim(*args, "--json", "--top", 2))]
    assert shown == [(text, place) for text in TEXTS for place in (1, 2)]


def test_broken_pictures_are_named_at_the_end(here, matcher):
    Path("my_birds/images/5.png").write_bytes(b"no picture")
    result = tgim("match", "my_birds/images", "my_birds/images/0.png", "--model", matcher, "--text", TEXTS[0])
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 8
    assert result.stderr.startswith("tgim: failed: my_birds/images/5.png")
    assert result.stderr.count("\n") == 1
    assert "5.png" in is_refused(tgim("match", "my_birds/images/5.png", "--model", matcher, "--text", TEXTS[0]))


def test_unknown_words_are_named_once(here, matcher):
    texts = ("--text", "a bleu bird", "--text", "bleu wings")
    result = tgim("match", "my_birds/images", "--model", matcher, *texts)
    assert result.exit_code == 0
    assert result.stderr == "tgim: warning: unknown word 'bleu' is ignored; nearest known: blue\n"


BAD_MATCHES = {
    "no text": ([], "--texts"),
    "unknown words": (["--text", "qwertz"], "none of the words"),
    "empty text": (["--text", " "], "no words"),
    "no such file": (["--texts", "nowhere.txt"], "nowhere.txt"),
    "empty file": (["--texts", "empty.txt"], "no caption"),
    "no text file": (["--texts", "my_birds/images/0.png"], "UTF-8"),
    "no such picture": (["gone.png", "--text", TEXTS[0]], "gone.png is not there"),
    "no picture in a folder": (["my_birds", "--text", TEXTS[0]], "no picture"),
    "top": (["--text", TEXTS[0], "--top", "0"], "--top"),
    "no such model": (["--text", TEXTS[0], "--model", "judge-brids"], "judge-brids"),
}


@pytest.mark.parametrize("case", BAD_MATCHES)
def test_a_bad_match_is_refused(here, matcher, case):
    Path("empty.txt").write_text("\n \n")
    args, said = BAD_MATCHES[case]
    assert said in is_refused(
        tgim("match", "my_birds/images", *args, *(() if "--model" in args else ("--model", matcher)))
    )


def test_an_editor_does_not_match(here, tagrid_file):
    said = is_refused(tgim("match", "my_birds/images", "--model", tagrid_file, "--text", TEXTS[0]))
    assert "does not match pictures with captions" in said


# eval


@pytest.fixture
def measure(here, matcher, tagrid_file):
    """Run `tgim eval` on the data set with the small editor and two protocols."""
    usual = {"--data": "my_birds", "--split": "all"}

    def run(*args: object) -> Result:
        rest = [word for pair in usual.items() if pair[0] not in args for word in pair]
        return tgim("eval", *rest, "--model", tagrid_file, *args)

    return run


def test_the_help_names_every_protocol():
    text = tgim("eval", "--help").stdout
    for entry in CATALOGUE.values():
        assert f"  {entry.name:<18}{entry.help}" in text


@pytest.mark.slow
def test_a_folder_is_measured_once(here, matcher, measure):
    args = ("--protocol", "l2-edit,retrieval@1", "--judge", matcher, "--out", "results.jsonl")
    first = measure(*args)
    assert first.exit_code == 0, first.output
    assert all(part in first.stdout for part in ("l2-edit@1", "retrieval@1", "tagrid", "identity"))
    written = Path("results.jsonl").read_bytes()
    count = len(written.splitlines())
    assert f"{count} figures were added to results.jsonl" in first.stderr
    lines = [json.loads(line) for line in written.splitlines()]
    assert {line["protocol"] for line in lines} == {"l2-edit@1", "retrieval@1"}
    assert {line["kind"] for line in lines} == {"model", "baseline", "reference"}
    assert all(line["low"] <= line["value"] <= line["high"] and line["n"] == 8 for line in lines)

    again = measure(*args)
    assert again.exit_code == 0
    assert again.stdout == first.stdout
    assert f"results.jsonl holds {count} figures" in again.stderr
    assert "nothing was measured again" in again.stderr
    assert Path("results.jsonl").read_bytes() == written

    other = measure(*args[:-1], "other.jsonl", "--json")
    shown = lines_of(other)
    assert [{k: v for k, v in line.items() if k not in TIMES} for line in shown] == [
        {k: v for k, v in line.items() if k not in TIMES} for line in lines
    ]


@pytest.mark.slow
def test_without_baselines_and_judge_the_model_alone_is_measured(here, measure):
    result = measure("--protocol", "l2-own-caption", "--no-baselines", "--limit", 3, "--json")
    assert result.exit_code == 0, result.output
    lines = lines_of(result)
    assert {line["model"] for line in lines} == {"tagrid"}
    assert {line["n"] for line in lines} == {3}


BAD_EVALS = {
    "judge missing": (["--protocol", "retrieval"], "tgim train recipes/judge_birds.yaml"),
    "judge missing for all": ([], "--judge"),
    "protocol": (["--protocol", "retreival"], "did you mean 'retrieval'"),
    "protocol version": (["--protocol", "retrieval@7"], "did you mean 'retrieval@1'"),
    "no protocol": (["--protocol", ","], "--protocol"),
    "data": (["--data", "oxfort102"], "did you mean 'oxford102'"),
    "data without home": (["--data", "cub"], "TGIM_DATA"),
    "data layout": (["--data", "my_birds/images"], "known layouts"),
    "data of another kind": (["--kind", "cub", "--protocol", "l2-edit"], "my_birds"),
    "out is a folder": (["--protocol", "l2-edit", "--out", "my_birds"], "is a folder"),
    "out below a file": (["--protocol", "l2-edit", "--out", "my_birds/metadata.jsonl/x"], "no folder"),
    "out is no result": (["--protocol", "l2-edit", "--out", "my_birds/metadata.jsonl"], "metadata.jsonl"),
    "judge": (["--protocol", "retrieval", "--judge", "no/such.safetensors"], "no/such.safetensors"),
    "model": (["--protocol", "l2-edit", "--model", "no/such.safetensors"], "no/such.safetensors"),
    "seed": (["--seed", "-1"], "--seed"),
}


@pytest.mark.parametrize("case", BAD_EVALS)
def test_a_bad_measurement_is_refused_and_nothing_is_written(here, measure, case):
    args, said = BAD_EVALS[case]
    out = () if "--out" in args else ("--out", "out.jsonl")
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert said in is_refused(measure(*args, *out))
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_an_editor_is_no_judge_and_a_judge_no_editor(here, matcher, measure, tagrid_file):
    assert "which edits" in is_refused(measure("--protocol", "retrieval", "--judge", tagrid_file))
    assert "does not edit" in is_refused(measure("--protocol", "l2-edit", "--model", matcher))


@pytest.mark.slow
def test_an_editor_generates_nothing_and_a_text_to_image_model_edits_if_that_is_named(here, matcher, measure):
    from support import toy_generator

    said = is_refused(measure("--protocol", "generation", "--judge", matcher))
    assert "tagrid edits pictures and generates none" in said
    file = toy_generator.save_toy(Path("generator.safetensors"))
    args = ("eval", "--data", "my_birds", "--split", "all", "--model", file, "--limit", 4)
    result = tgim(*args, "--protocol", "l2-edit", "--json")
    assert result.exit_code == 0, result.output
    assert {line["model"] for line in lines_of(result)} > {"generator", "identity"}
    assert "judge" in is_refused(tgim(*args, "--protocol", "generation"))  # it needs one


def test_what_is_printed_of_generators_is_one_table():
    from support.results_toy import generations, results

    text = cli_eval.tables([*generations(), *results()])
    assert text.count("diversity, RMSE") == 1
    assert "generation@1" not in text
    assert "R@1 of 100" in text
    assert "retrieval@1" in text


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_measured(here, matcher, tagrid_file):
    names = "l2-edit,l2-own-caption,retrieval,tradeoff,mp,directional"
    args = ["--data", "my_birds", "--split", "all", "--judge", matcher, "--protocol", names, "--out", "results.jsonl"]
    models = [part for i in range(3) for part in ("--model", _copy(tagrid_file, f"model{i}.safetensors"))]
    done = interrupted("eval", *args, *models, once=Path("results.jsonl"))
    assert done.returncode == 130, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("tgim: interrupted; ")
    assert done.stderr.count("\n") == 1
    kept = [json.loads(line) for line in Path("results.jsonl").read_text().splitlines()]
    assert f"{len(kept)} figures are in results.jsonl" in done.stderr


def _copy(file, name):
    """The same editor under another name."""
    loaded = checkpoint.load(file)
    return checkpoint.save(Path(name), loaded.model, vocabulary=loaded.vocabulary)
