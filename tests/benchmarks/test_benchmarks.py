"""What the documents say is what was measured; the scripts print what the library says."""

import sys

import pytest
from click.testing import CliRunner

from support import ROOT
from support.results_toy import asked_parts, generations, results
from support.scripts import run, script
from tgim.checkpoints import checkpoint

DATA = {  # embedded checkpoint -> its results file, and the data set in it
    "attngan-birds": ("birds", "cub"),
    "attngan-encoder-birds": ("birds", "cub"),
    "sisgan-birds": ("birds", "cub"),
    "tagan-birds": ("birds", "cub"),
    "birds": ("birds", "cub"),
    "flowers": ("flowers", "oxford102"),
    "judge-birds": ("birds", "cub"),
    "judge-flowers": ("flowers", "oxford102"),
    "birds-2": ("birds", "cub"),
    "judge-birds-2": ("judges", "cub"),
    "judge-flowers-2": ("judges", "oxford102"),
}


@pytest.fixture
def beside(monkeypatch):
    """Scripts import their neighbours, as they do when they are run."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    yield
    sys.modules.pop("l2_table", None)


@pytest.fixture
def results_file(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text("".join(line.model_dump_json() + "\n" for line in results() + results("oxford102")), "utf-8")
    return path


@pytest.mark.slow
def test_the_results_page_shows_the_committed_results():
    table = script("table")
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert table.filled(page, table.table()) == page


def test_the_table_shows_a_row_for_each_contender_of_each_data_set(results_file, monkeypatch):
    table = script("table")
    monkeypatch.setattr(table, "RESULTS", [results_file])
    rows = table.table().splitlines()
    birds = next(row for row in rows if row.startswith("| `birds` "))
    assert birds == "| `birds` | 27.0% (2.14) | 0.078 | 0.196 | 0.090 | 71.0% |"
    assert sum(row.startswith("| real photograph ") for row in rows) == 2  # one table for each data set


def test_the_table_of_text_to_image_models_follows_that_of_editors(results_file, monkeypatch):
    table = script("table")
    monkeypatch.setattr(table, "RESULTS", [results_file])
    before = table.table()
    with results_file.open("a") as file:
        file.writelines(line.model_dump_json() + "\n" for line in generations())
    after = table.table()
    assert after.startswith(before)
    assert "| `attngan` | 5.0% | 0.25 | 25.0% | 1.5000 | 0.180 | 0.360 |" in after.removeprefix(before)


def test_the_table_of_parts_stands_between_them(results_file, monkeypatch):
    table = script("table")
    monkeypatch.setattr(table, "RESULTS", [results_file])
    before = table.table()
    with results_file.open("a") as file:
        file.writelines(line.model_dump_json() + "\n" for line in (*generations(), *asked_parts()))
    rows = table.table().removeprefix(before).splitlines()
    found = rows.index("| `painter` | **90.0%** | **99.0%** | **2.0%** | **0.4** | **0.03** | 0.800 |")
    assert found < rows.index("| `attngan` | 5.0% | 0.25 | 25.0% | 1.5000 | 0.180 | 0.360 |")
    assert not any("n 20" in row for row in rows)  # single parts are for those who measure


@pytest.mark.parametrize("name", DATA)
def test_the_card_shows_the_committed_results(name):
    from tgim.checkpoints.card import model_card
    from tgim.reporting import read_results

    embed = script("embed")
    figures = model_card(name)["card"]["figures"]
    lines = read_results([ROOT / "benchmarks" / "results" / f"{DATA[name][0]}.jsonl"])
    told = embed.OF_GENERATORS if name == "attngan-birds" else embed.OF_EDITORS
    measured = (
        embed.judge_figures(lines, {name})
        if name.startswith("judge")
        else embed.editor_figures(lines, {name}, DATA[name][1], told)
    )
    assert measured
    assert set(measured) <= set(figures)


@pytest.mark.slow
def test_the_lines_are_of_the_models_that_come_with_the_package():
    from tgim.reporting import read_results

    for name, (file, _) in DATA.items():
        lines = read_results([ROOT / "benchmarks" / "results" / f"{file}.jsonl"])
        told = {line.checkpoint for line in lines if line.model == name} | {
            line.judge.split(":")[1] for line in lines if line.judge and line.judge.startswith(f"{name}:")
        }
        assert told == {checkpoint.fingerprint(name)}


def test_the_l2_table_in_both_forms(results_file):
    main = script("l2_table").main
    markdown, text = run(main, results_file), run(main, "--text", results_file)
    for output in (markdown.output, text.output):
        assert output.count("TAGAN (Nam et al., NeurIPS 2018)") == 2  # one for each data set
        assert "Excluded: MSE [0, 1]; an unrelated photograph scores 0.112" in output
    assert "|" not in text.output


def test_the_cost_of_training_is_read_from_checkpoints_and_kept(results_file, monkeypatch, tmp_path):
    module, weights = script("l2_table"), ROOT / "tgim" / "weights"
    monkeypatch.setattr(module, "COSTS", tmp_path / "training.jsonl")
    hours = {name: checkpoint.read_header(weights / f"{name}.safetensors")["history"]["seconds"] / 3600 for name in
             ("birds", "attngan-birds")}  # fmt: skip
    costs = [part for name in hours for part in ("--cost", "birds", weights / f"{name}.safetensors")]
    assert run(module.main, *costs, results_file).exit_code == 0
    assert run(module.main, *costs, results_file).exit_code == 0  # counted once
    assert module.hours_of(()) == {"birds": pytest.approx(sum(hours.values()), abs=0.02)}


def test_a_run_names_one_file_and_measures_before_it_prints(results_file, monkeypatch, beside):
    import tgim.evaluation

    calls = []
    monkeypatch.setattr(tgim.evaluation, "evaluate", lambda models, **options: calls.append((models, options)))
    main = script("retrieval").main
    answer = run(main, "--run", "--model", "birds", "--judge", "judge-birds", "--limit", 20, results_file)
    assert answer.exit_code == 0
    ((models, options),) = calls
    assert models == ["birds"]
    assert options["protocols"] == ("retrieval@1",)
    assert (options["judge"], options["limit"], options["out"]) == ("judge-birds", 20, results_file)
    two = run(main, "--run", "--model", "birds", results_file, results_file)
    assert two.exit_code == 1
    assert "one results file" in two.output


def test_faults_are_one_line(tmp_path, results_file, beside):
    empty, torn = tmp_path / "empty.jsonl", tmp_path / "torn.jsonl"
    empty.write_text("")
    torn.write_text('{"row": "real"}\n{"row": "real"}\n')
    out = tmp_path / "page.html"
    for name, arguments in {
        "l2_table": (),
        "retrieval": (),
        "report": ("--out", out),
    }.items():
        for path in (empty, torn, tmp_path / "none.jsonl"):
            answer = run(script(name).main, path, *arguments)
            assert answer.exit_code == 1
            assert answer.output.startswith("Error: ")
            assert answer.output.count("\n") == 1
    assert run(script("report").main, results_file, "--model", "birds", "--out", out).exit_code == 2
    assert not out.exists()


def test_a_page_without_pictures(results_file, tmp_path):
    out = tmp_path / "page.html"
    assert run(script("report").main, results_file, "--out", out, "--title", "Birds & flowers").exit_code == 0
    page = out.read_text("utf-8")
    assert "Birds &amp; flowers" in page
    assert "<img" not in page


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["editor", "matcher"])
def test_embedding_writes_a_card_with_figures(kind, tmp_path, tagrid_file, results_file, monkeypatch):
    import tgim
    from support.small import VOCABULARY, model_of

    name = {"editor": "birds", "matcher": "judge-birds"}[kind]
    source = tmp_path / "source.safetensors"
    model = model_of({"editor": "tagrid", "matcher": "dual_encoder"}[kind])
    checkpoint.save(source, model, vocabulary=VOCABULARY, card={"title": "Small"}, data={"name": "cub"})
    (tmp_path / "weights").mkdir()
    monkeypatch.setattr(tgim, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(checkpoint, "_weights", lambda: tmp_path / "weights")
    main = script("embed").main
    assert run(main, source, name, "--results", results_file, "--licence", "research use").exit_code == 0
    found = checkpoint.load(name)  # by its name: a hyphen is part of it
    assert found.role == {"editor": "editor", "matcher": "matching"}[kind]
    assert found.card["title"] == "Small"
    assert found.card["licence"] == "research use"
    real = "retrieval@1, cub test, n 987, 64 px: photograph, own caption: R@1 12.6% (12.2 to 13.0), judge judge-birds"
    assert real in found.card["figures"]
    edited = "l2-own-caption@1, cub test, n 987, 64 px: edited: RMSE [-1, 1] 0.078 (0.076 to 0.080)"
    assert (edited in found.card["figures"]) == (kind == "editor")
    assert not any("oxford102" in figure for figure in found.card["figures"] if kind == "editor")


@pytest.mark.slow
def test_what_was_not_measured_gets_no_figures(tagrid_file, results_file):
    answer = CliRunner().invoke(script("embed").main, [str(tagrid_file), "mine", "--results", str(results_file)])
    assert "nothing of 'mine' as editor" in str(answer.exception)
