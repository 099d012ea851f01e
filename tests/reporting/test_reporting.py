"""Laws of what results are shown as: nothing is lost, nothing is made up, nothing from a file becomes markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
import torch

from support.results_toy import asked_parts, curve, generation, generations, l2, line, parts, results, retrieval
from tgim.errors import UserError
from tgim.reporting import (
    generation_tables,
    l2_tables,
    page,
    parts_tables,
    read_results,
    retrieval_tables,
    section_tables,
    summary_tables,
)
from tgim.reporting.pictures import BUDGET, Example, Gallery, data_uri, within_budget
from tgim.reporting.plot import tradeoff_svg
from tgim.reporting.results import metric_label, pick, written
from tgim.reporting.tables import ranking

EVIL = '<script>alert("x")</script>'
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """What a page holds: tags, what they point at, words; raises where tags do not close each other."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.names, self.words, self.open = [], [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.names += [name for name, _ in attributes]
        self.links += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.words.append(data)


def gallery(caption="a red bird"):
    uri = data_uri(torch.zeros(3, 8, 8), side=8, quality=60)
    example = Example(uri, uri, caption, 7, 100, 0.1234)
    rows = ((uri, uri), (uri, uri))
    return Gallery(caption, caption, ("photograph", caption), rows, (example,) * 2, (example,), (caption,))


def row_of(table, name):
    return next(row for row in table.rows if row.name == name)


def test_files_are_read_in_order_and_a_line_measured_again_counts_once(tmp_path):
    first, second = line("a@1", "birds", "rmse", 0.1), line("a@1", "birds", "rmse", 0.2, commit="d" * 40)
    other = line("a@1", "birds", "mse", 0.3)
    for name, part in {"one": [first, other], "two": [second]}.items():
        (tmp_path / name).write_text("".join(each.model_dump_json() + "\n" for each in part))
    assert read_results([tmp_path / "one", tmp_path / "two"]) == [second, other]


@pytest.mark.parametrize("content", ["", '{"row": "real"}\n\n'])
def test_what_is_no_result_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=r"^[^\n]*results\.jsonl[^\n]*$"):
        read_results([path])


def test_figures_that_cannot_be_compared_stand_in_different_tables():
    changes = [{}, {"size": 128}, {"content": "other"}, {"n": 5}, {"seed": 1}, {"judge": "j:0"}, {"split": "val"}]
    lines = [line("a@1", "birds", "rmse", 0.1, **change) for change in changes]
    assert len(section_tables(lines)) == len(changes)


def test_references_stand_first_then_baselines_then_models_the_best_on_top():
    (table,) = retrieval_tables(results()[::-1])
    assert [row.kind for row in table.rows] == ["reference"] * 3 + ["baseline"] * 5 + ["model"] * 2
    assert [row.name for row in table.rows[:3]] == [
        "real photograph",
        "unedited photograph",
        "chance",
    ]
    assert [row.name for row in table.rows[-2:]] == ["birds", "tagan"]


def test_the_best_is_a_model_of_several_in_the_direction_of_the_metric():
    tables = {table.title.split(": ")[1].split(",")[0]: table for table in section_tables(results())}
    for protocol, better in (("retrieval@1", "birds"), ("l2-own-caption@1", "birds")):
        marked = {row.name for row in tables[protocol].rows if any(cell.best for cell in row.cells)}
        assert marked == {better}  # though identity's RMSE is 0
    alone = [each for each in results() if each.model != "tagan"]
    assert not any(cell.best for table in section_tables(alone)[:3] for row in table.rows for cell in row.cells)


def test_retrieval_is_read_against_real_photographs():
    lines = [*retrieval("real", 0.2, kind="reference"), *retrieval("birds", 0.05)]
    (table,) = retrieval_tables(lines)
    assert row_of(table, "birds").cells[-1].text == "0.25"
    assert row_of(table, "real photograph").cells[-1].text == "1.00"
    (bare,) = retrieval_tables(list(retrieval("birds", 0.05)))
    assert bare.columns == ("R@1", "R@5", "R@10", "MRR")


@pytest.mark.parametrize(("unrelated", "out"), [(0.112 * 4, ["mse_unit"]), (0.25, ["mse_unit", "mse"]), (4.0, [])])
def test_a_reading_is_excluded_by_the_unrelated_photograph_alone(unrelated, out):
    lines = list(l2("l2-own-caption@1", "unrelated", 0.7, unrelated, kind="baseline"))
    lines += l2("l2-own-caption@1", "birds", 0.1, 0.01)
    (table,) = l2_tables(lines)
    excluded = [note for note in table.notes if note.startswith("Excluded")]
    assert len(excluded) == len(out)
    assert all(any(f"Excluded: {metric_label(metric)};" in note for note in excluded) for metric in out)
    published = [row for row in table.rows if row.kind == "published"]
    assert [row.cells[0].text for row in published] == ["0.30", "0.25", "0.11"]
    assert all(cell.text == "–" for row in published for cell in row.cells[1:])  # in no column of ours


def test_without_an_unrelated_photograph_nothing_is_excluded():
    (table,) = l2_tables(list(l2("l2-own-caption@1", "birds", 0.1, 0.01)))
    assert "no reading" in table.notes[0]
    (drawn,) = l2_tables(list(l2("l2-own-caption@1", "birds", 0.1, 0.01, data="synthetic")))
    assert all(row.kind != "published" for row in drawn.rows)


def test_the_summary_takes_each_figure_from_its_own_protocol():
    lines = results() + results("oxford102")
    tables = summary_tables(lines)
    assert [table.title.split(",")[0] for table in tables] == ["cub", "oxford102"]
    cells = {row.name: [cell.text for cell in row.cells] for row in tables[0].rows}
    assert cells["birds"] == ["27.0% (2.14)", "0.078", "0.196", "0.090", "71.0%"]
    assert cells["identity"][-1] == "12.0%"
    assert cells["chance"][1:] == ["–"] * 4


def test_text_to_image_models_have_one_table_and_leave_that_of_editors_as_it_was():
    (table,) = generation_tables([*results(), *generations()])
    assert table.title.startswith("cub, test split, n 987, seed 0; 64 px; judge judge-birds:")
    assert "KID by" not in table.title  # the judge's own features
    cells = {row.name: [cell.text for cell in row.cells] for row in table.rows}
    assert list(cells) == ["real photograph", "chance", "attngan", "stackgan1"]  # the best recall first
    assert cells["attngan"] == ["5.0%", "0.25", "25.0%", "1.5000", "0.180", "0.360"]
    assert cells["chance"] == ["1.0%", "0.05", "5.0%", "–", "–", "–"]
    assert summary_tables([*results(), *generations()]) == summary_tables(results())
    (exact,) = generation_tables(generations(), intervals=True)
    assert exact.rows[2].cells[0].text == "5.0% (4.9 to 5.2)"
    (other,) = generation_tables(generation("attngan", 0.05, 9.0, extractor="inception-fid/x:1"))
    assert other.title.endswith("; KID by inception-fid/x:1")
    assert len(other.columns) == 5  # without photographs there is no share of theirs


def test_a_page_of_text_to_image_models_has_their_sheet_and_no_ranking():
    uri = data_uri(torch.zeros(3, 8, 8), side=8, quality=60)
    generated = Gallery("attngan", "cub", ("a red bird", "a <b>"), ((uri,) * 3,) * 2, (), (), generated=True)
    text = page(generations(), gallery=generated)
    found = Page(text)
    assert found.tags.count("img") == 6
    assert found.tags.count("table") == 1
    targets = [link for link in found.links if link.startswith("#")]
    assert targets == ["#pictures", "#tables", "#origin"]
    words = " ".join(found.words)
    assert "those of one column share their noise" in words
    for each in generations():
        assert written(each.metric, each.value) in words, each


def test_parts_have_a_table_of_all_asks_and_one_of_each_part_and_colour():
    everything, hits, reds, spills = parts_tables([*results(), *asked_parts()])
    assert everything.title == "cub, test split, n 35, seed 0: parts@1, own size"
    assert everything.columns == ("hit", "half way", "spilt", "others' change", "outside, of 255", "texture")
    cells = {row.name: [cell.text for cell in row.cells] for row in everything.rows}
    assert list(cells) == ["identity", "painter", "birds"]  # the baseline, then the most hits
    assert cells["painter"] == ["90.0%", "99.0%", "2.0%", "0.4", "0.03", "0.800"]
    assert cells["identity"][-1] == "–"  # nothing changed, so no texture
    assert [cell.best for cell in row_of(everything, "painter").cells] == [True] * 5 + [False]  # texture is a draw
    assert hits.title.endswith("parts@1, hit by part")
    assert hits.columns == ("head, n 20",)
    assert reds.columns == ("red, n 15",)
    assert [cell.text for cell in row_of(reds, "birds").cells] == ["20.0%"]
    assert spills.columns == ("head, n 19",)
    assert parts_tables(asked_parts(), broken_down=False) == [everything]
    (exact, *_) = parts_tables(asked_parts(), intervals=True)
    assert row_of(exact, "birds").cells[0].text == "40.0% (38.8 to 41.2)"
    limited = [*asked_parts(), *parts("birds", 0.5, 0.5, options={"asks": 3, "limit": 35})]
    assert len(parts_tables(limited, broken_down=False)) == 2  # another choice of pictures
    words = " ".join(Page(page(asked_parts())).words)
    for each in asked_parts():
        assert written(each.metric, each.value) in words, each
    assert "One part of a photograph is asked for" in words


def test_two_checkpoints_of_one_name_are_told_apart():
    lines = [*l2("l2-edit@1", "birds", 0.1, 0.01), *l2("l2-edit@1", "birds", 0.2, 0.02, checkpoint="b" * 16)]
    (table,) = section_tables(lines)
    assert [row.name for row in table.rows] == ["birds (aaaaaa)", "birds (bbbbbb)"]


def test_tables_have_as_many_cells_as_columns_in_both_forms():
    for table in (*section_tables(results()), *l2_tables(results()), *summary_tables(results())):
        rows = [each for each in table.markdown().splitlines() if each.startswith("|")]
        assert {each.count(" | ") for each in rows} == {len(table.columns)}
        rule, *text = table.text().splitlines()[1:]
        assert all(len(each) <= len(rule) for each in text[: len(table.rows) + 2])


def test_names_break_no_markdown():
    (table,) = section_tables([line("a@1", "a|b<c", "rmse", 0.1, kind="baseline")])
    assert "| a\\|b&lt;c |" in table.markdown()


def test_ranking_is_by_area():
    assert [who.name for who, _ in ranking(results())][:2] == ["birds", "colour_shift"]


def test_a_picture_of_the_curve_has_every_point_and_stays_inside():
    lines = [each for each in results() if each.protocol == "tradeoff@1"]
    svg = tradeoff_svg(lines, references=[each for each in results() if each.kind == "reference"])
    assert svg.count("<circle") == 4 + 4 + 5  # two models with four strengths, five baselines
    assert svg.count("<polyline") == 2
    for x, y in re.findall(r'cx="([-\d.]+)" cy="([-\d.]+)"', svg):
        assert 0 <= float(x) <= 560
        assert 0 <= float(y) <= 400
    assert tradeoff_svg([]) == ""


def test_labels_do_not_cover_each_other():
    lines = [each for i in range(6) for each in curve(f"model{i}", [(0.2, 0.1 + i / 1000)], 0.1, checkpoint=str(i))]
    spots = re.findall(r'label" x="([\d.]+)" y="([-\d.]+)"', tradeoff_svg(lines))
    heights = sorted(float(y) for _, y in spots)
    assert len(spots) == 6
    assert min(b - a for a, b in pairwise(heights)) >= 14


@pytest.mark.parametrize("with_pictures", [False, True])
def test_a_page_is_whole_and_loads_nothing(with_pictures):
    text = page(results() + results("oxford102"), gallery=gallery() if with_pictures else None)
    found = Page(text)
    assert all(link.startswith(("#", "data:image/jpeg;base64,")) for link in found.links)
    assert not re.search(r"https?://|@import|url\(", text)
    assert found.tags.count("img") == (4 + 6 if with_pictures else 0)
    assert found.tags.count("table") == len(section_tables(results() + results("oxford102")))
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text


def test_a_page_shows_every_figure_of_its_lines():
    lines = results()
    words = " ".join(Page(page(lines)).words)
    for each in lines:
        assert written(each.metric, each.value) in words, each
    for fact in ("1" * 16, "c" * 16, "c" * 40, "judge-birds:" + "f" * 16):
        assert fact in words


def test_nothing_from_a_file_becomes_markup():
    evil = {"judge": EVIL, "extractor": EVIL, "content": EVIL, "split": EVIL, "commit": EVIL, "torch": EVIL}
    lines = [*results(), *curve(EVIL, [(0.1, 0.1)], 0.2), line(EVIL, EVIL, EVIL, 0.1, machine=EVIL, tgim=EVIL, **evil)]
    lines += [line("b@1", EVIL + "'\"", "rmse", 0.1, kind=kind) for kind in ("baseline", "reference")]
    text = page(lines, gallery=gallery(EVIL + "\" onerror='x'"), title=EVIL)
    found = Page(text)
    assert found.tags.count("script") == 1  # the page's own
    assert not any(name.startswith("on") for name in found.names)
    assert "<script>alert" not in text


def test_pictures_stay_within_their_budget():
    torch.manual_seed(0)
    noisy = [torch.rand(3, 160, 200) * 2 - 1 for _ in range(3)]
    uris = within_budget(noisy, budget=20_000)
    assert sum(map(len, uris)) <= 20_000 < sum(map(len, within_budget(noisy, budget=BUDGET)))
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in uris)


def test_small_pictures_are_not_enlarged():
    import base64
    import io

    from PIL import Image

    uri = data_uri(torch.zeros(3, 20, 40), side=176, quality=80)
    assert Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size == (40, 20)


def test_full_strength_is_what_is_picked():
    lines = list(curve("birds", [(0.1, 0.2), (0.2, 0.3)], 0.1))
    assert pick(lines, "rmse").value == 0.2
    assert pick(lines, "rmse", strength=0.5).value == 0.1
    assert pick(lines, "rmse", model="tagan") is None


@pytest.fixture(scope="module")
def small_gallery(tmp_path_factory, tagrid_file):
    """Six drawn birds of three classes, edited by an untrained model and ranked by an untrained judge."""
    import json

    from PIL import Image

    from support.small import CAPTIONS, VOCABULARY, model_of
    from tgim.checkpoints import checkpoint
    from tgim.data.config import DataConfig
    from tgim.data.synthetic.pairs import sample_picture
    from tgim.reporting import gallery_of

    home = tmp_path_factory.mktemp("birds")
    (home / "images").mkdir()
    with (home / "metadata.jsonl").open("w") as file:
        for i in range(6):
            Image.fromarray(sample_picture("birds", seed=i, size=(40, 50))).save(home / "images" / f"{i}.png")
            fact = {"file_name": f"{i}.png", "captions": [CAPTIONS[i % 3], "zebra quux"], "class": str(i % 3)}
            file.write(json.dumps(fact) + "\n")
    judge = checkpoint.save(home / "judge.safetensors", model_of("dual_encoder"), vocabulary=VOCABULARY)
    data = DataConfig(name="folder", root=str(home), split="all")
    lines = list(retrieval("tagrid", 0.5, size=32))
    options = {"data": data, "judge": str(judge), "cache": home / "cache", "columns": 3, "count": 2}
    return gallery_of(str(tagrid_file), lines=lines, **options), lines, options


@pytest.mark.slow
def test_the_gallery_shows_the_worst_and_the_best_of_what_was_measured(small_gallery):
    found, _, _ = small_gallery
    assert {len(row) for row in found.rows} == {3}
    assert len(found.rows) == len(found.captions)
    assert (len(found.worst), len(found.best)) == (2, 2)
    keys = [[(each.rank, each.rmse_own) for each in part] for part in (found.best, found.worst[::-1])]
    assert keys[0] == sorted(keys[0])
    assert keys[1] == sorted(keys[1])
    assert keys[0][-1] <= keys[1][0]
    assert all(1 <= each.rank <= each.candidates for each in (*found.best, *found.worst))
    assert Page(page(results(), gallery=found)).tags.count("img") == 3 * len(found.rows) + 2 * 4


@pytest.mark.slow
def test_the_gallery_says_what_its_figures_were_not_made_with(small_gallery):
    found, _, _ = small_gallery
    for what in ("data", "judge", "checkpoint"):
        assert any(note.startswith(f"the {what} of the pictures") for note in found.notes)


def test_the_gallery_needs_a_judge(small_gallery, tagrid_file):
    from tgim.reporting import gallery_of

    _, _, options = small_gallery
    with pytest.raises(UserError, match="--judge"):
        gallery_of(str(tagrid_file), lines=[line("l2-edit@1", "tagrid", "rmse", 0.1)], **{**options, "judge": None})


def test_the_gallery_of_a_text_to_image_model_is_captions_by_noises(tmp_path, small_gallery):
    from support.toy_generator import save_toy
    from tgim.checkpoints import checkpoint
    from tgim.reporting import gallery_of

    file = save_toy(tmp_path / "generator.safetensors")
    data = small_gallery[2]["data"]
    known = list(generation("generator", 0.1, 1.0, 0.1, checkpoint=checkpoint.fingerprint(file)))
    found = gallery_of(str(file), data=data, lines=known, captions=["a small red bird", "a blue bird"], columns=3)
    assert found.generated
    assert [len(row) for row in found.rows] == [3, 3]
    assert len({uri for row in found.rows for uri in row}) == 6
    assert not found.notes
    (note,) = gallery_of(str(file), data=data, lines=generations(), captions=["a red bird"], columns=1).notes
    assert note.startswith("the checkpoint of the pictures")


def test_the_published_order_is_read_from_the_longest_trained_of_each_system():
    lines = [
        *l2("l2-own-caption@1", "tagan-birds", 0.2, 0.04),
        *l2("l2-own-caption@1", "tagan_small", 0.1, 0.01),
        *l2("l2-own-caption@1", "style_attngan", 0.3, 0.09),
        *l2("l2-own-caption@1", "sisgan-birds", 0.4, 0.16),
    ]
    hours = {"tagan-birds": 2.0, "tagan_small": 0.2, "sisgan-birds": 1.5}
    (table,) = l2_tables(lines, hours=hours)
    told = table.notes[-1]
    assert "TAGAN < AttnGAN < SISGAN, comes out: TAGAN 0.200" in told
    assert "tagan_small" not in told
    assert table.columns[-1] == "core-hours"
    assert [row_of(table, name).cells[-1].text for name in ("tagan-birds", "style_attngan")] == ["2.0", "–"]
    swapped = [*lines[:-4], *l2("l2-own-caption@1", "sisgan-birds", 0.15, 0.02)]
    (table,) = l2_tables(swapped, hours=hours)
    assert "does not come out: SISGAN 0.150" in table.notes[-1]
    (without,) = l2_tables(lines[:8])
    assert not any("published order" in note for note in without.notes)
