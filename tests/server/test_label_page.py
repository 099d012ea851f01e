"""The labelling page in a real browser: what is clicked there is what `tgim` reads."""

from __future__ import annotations

import json

import pytest
from PIL import Image

expect = pytest.importorskip("playwright.sync_api", reason="needs the extra dev").expect
pytest.importorskip("starlette", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")

from tgim.data import folder as own_folder  # noqa: E402
from tgim.data.labels import Labels  # noqa: E402
from tgim.data.points import read_points  # noqa: E402
from tgim.data.synthetic.pairs import sample_picture  # noqa: E402
from tgim.server.labelling import build  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture
def birds(tmp_path):
    """Three rendered birds, the second one stored upside down, and a line with a caption."""
    (tmp_path / "images").mkdir()
    for seed in range(3):
        picture = Image.fromarray(sample_picture("birds", seed=seed, size=(300, 400)))
        exif = Image.Exif()
        if seed == 1:
            exif[0x0112] = 3
            picture = picture.transpose(Image.Transpose.ROTATE_180)
        picture.save(tmp_path / "images" / f"bird-{seed}.jpg", quality=92, exif=exif)
    (tmp_path / "metadata.jsonl").write_text('{"file_name":"bird-1.jpg",  "captions": "a bird"}\n')
    return tmp_path


def rows(root):
    return [json.loads(line) for line in (root / "metadata.jsonl").read_text().splitlines()]


def points_of(root, name):
    return next((row.get("points") for row in rows(root) if row["file_name"] == name), None)


def click(page, x, y, **options):
    """Click at a place of the picture, in fractions of its size."""
    frame = page.locator("#picture").bounding_box()
    page.mouse.click(frame["x"] + x * frame["width"], frame["y"] + y * frame["height"], **options)


def saved(page):
    expect(page.locator("#sign")).to_have_text("saved")  # the page's policy forbids what would wait for an expression


def ready(page, name):
    page.wait_for_selector(f'#stage[data-shown="{name}"]')


def test_points_are_clicked_moved_undone_and_read(birds, serving, browser_page):
    labels = Labels(birds)
    labels.keep_parts(["head", "tail"])
    page = browser_page(serving(build(labels)))
    ready(page, "bird-0.jpg")
    assert page.locator("#progress").inner_text() == "1 of 3, 0 with points"
    click(page, 0.25, 0.5)
    click(page, 0.75, 0.25)  # the next part is chosen by itself
    saved(page)
    found = points_of(birds, "bird-0.jpg")
    assert set(found) == {"head", "tail"}
    assert found["head"][0] == pytest.approx([0.25, 0.5], abs=0.003)
    assert found["tail"][0] == pytest.approx([0.75, 0.25], abs=0.003)

    frame = page.locator("#picture").bounding_box()  # drag the head
    page.mouse.move(frame["x"] + 0.25 * frame["width"], frame["y"] + 0.5 * frame["height"])
    page.mouse.down()
    page.mouse.move(frame["x"] + 0.5 * frame["width"], frame["y"] + 0.6 * frame["height"], steps=5)
    page.mouse.up()
    saved(page)
    assert points_of(birds, "bird-0.jpg")["head"] == [pytest.approx([0.5, 0.6], abs=0.003)]
    page.keyboard.press("0")
    click(page, 0.05, 0.05)
    click(page, 0.95, 0.95)
    saved(page)
    assert len(points_of(birds, "bird-0.jpg")["background"]) == 2

    page.keyboard.press("ArrowRight")  # the one that is stored upside down
    ready(page, "bird-1.jpg")
    page.keyboard.press("x")
    click(page, 0.1, 0.9)
    saved(page)
    assert points_of(birds, "bird-1.jpg") == {"head": [], "tail": [pytest.approx([0.1, 0.9], abs=0.003)]}
    assert (birds / "metadata.jsonl").read_text().startswith('{"file_name":"bird-1.jpg",  "captions": "a bird", "po')
    click(page, 0.1, 0.9, button="right")
    saved(page)
    assert points_of(birds, "bird-1.jpg") == {"head": []}

    for name in ("bird-1.jpg", "bird-1.jpg", "bird-1.jpg", "bird-0.jpg"):  # removal, tail, head, the other picture
        page.keyboard.press("Control+z")
        ready(page, name)
        saved(page)
    assert points_of(birds, "bird-1.jpg") is None
    assert len(points_of(birds, "bird-0.jpg")["background"]) == 1
    page.keyboard.press("Control+Shift+z")
    saved(page)
    page.reload()
    ready(page, "bird-1.jpg")  # the first without points
    assert page.locator("#progress").inner_text() == "2 of 3, 1 with points"

    page.keyboard.press("n")
    ready(page, "bird-2.jpg")
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    for _ in range(6):
        page.mouse.wheel(0, -120)
    click(page, 0.5, 0.5)  # in the middle of what is zoomed
    saved(page)
    data = own_folder.load(birds, split="all", captions=False)
    read = {path.name: points.spots for path, points in read_points(data).items()}
    assert set(read) == {"bird-0.jpg", "bird-2.jpg"}
    assert (read["bird-2.jpg"]["head"][0].x, read["bird-2.jpg"]["head"][0].y) == pytest.approx((0.5, 0.5), abs=0.003)
    assert len(read["bird-0.jpg"]["background"]) == 2
    assert not [problem for problem in data.problems if "points" in problem.kind or "line" in problem.kind]


def test_the_page_asks_for_parts_and_tells_what_is_wrong(birds, serving, browser_page):
    (birds / "images" / "bird-0.jpg").write_bytes(b"\xff\xd8\xff no picture")
    page = browser_page(serving(build(Labels(birds))))
    page.locator("#naming-text").fill("head, head , ")
    page.get_by_role("button", name="Use these").click()
    page.wait_for_selector("#naming", state="hidden")
    assert page.locator(".chip .word").all_inner_texts() == ["head", "background"]
    assert "damaged JPEG" in page.locator("#notice").inner_text()
    page.keyboard.press("ArrowRight")
    ready(page, "bird-1.jpg")
    assert not page.locator("#notice").is_visible()
    (birds / "metadata.jsonl").write_text('{"file_name": "bird-1.jpg", "points": {"head": [[0, 0]]}}\n')
    click(page, 0.5, 0.5)
    page.wait_for_selector("#sign.failed")
    assert "not saved: the points of bird-1.jpg in metadata.jsonl were changed" in page.locator("#sign").inner_text()
    assert points_of(birds, "bird-1.jpg") == {"head": [[0, 0]]}
    page.faults[:] = [fault for fault in page.faults if "422" not in fault and "409" not in fault]


def test_a_finger_places_points_on_a_phone(birds, serving, browser_page):
    labels = Labels(birds)
    labels.keep_parts(["head", "tail"])
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    page = browser_page(serving(build(labels)), **phone)
    ready(page, "bird-0.jpg")
    frame = page.locator("#picture").bounding_box()
    page.touchscreen.tap(frame["x"] + 0.3 * frame["width"], frame["y"] + 0.4 * frame["height"])
    saved(page)
    assert points_of(birds, "bird-0.jpg") == {"head": [pytest.approx([0.3, 0.4], abs=0.005)]}
    page.touchscreen.tap(frame["x"] + 0.3 * frame["width"], frame["y"] + 0.4 * frame["height"])  # choose it
    page.get_by_role("button", name="Remove").tap()
    saved(page)
    assert points_of(birds, "bird-0.jpg") is None
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    fingers = page.context.new_cdp_session(page)  # two, which move apart: a closer look, and no point
    middle = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2
    for kind, apart in (("touchStart", 30), ("touchMove", 60), ("touchMove", 90), ("touchEnd", None)):
        places = [] if apart is None else [{"x": middle[0] + s * apart, "y": middle[1], "id": s + 1} for s in (-1, 1)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})
    larger = page.locator("#picture").bounding_box()
    assert larger["width"] == pytest.approx(3 * frame["width"], rel=0.05)
    assert points_of(birds, "bird-0.jpg") is None
    page.touchscreen.tap(*middle)
    saved(page)
    assert points_of(birds, "bird-0.jpg") == {"head": [pytest.approx([0.5, 0.5], abs=0.005)]}


def test_a_point_that_could_not_be_saved_is_told_and_saved_later(birds, serving, browser_page):
    labels = Labels(birds)
    labels.keep_parts(["head"])
    page = browser_page(serving(build(labels)))
    ready(page, "bird-0.jpg")
    page.route("**/api/pictures/0", lambda route: route.abort())
    click(page, 0.5, 0.5)
    expect(page.locator("#sign")).to_contain_text("not saved: the server does not answer")
    click(page, 0.9, 0.9)
    page.unroute("**/api/pictures/0")
    saved(page)  # by itself, after three seconds
    assert set(points_of(birds, "bird-0.jpg")) == {"head", "background"}
    page.faults[:] = [fault for fault in page.faults if "ERR_FAILED" not in fault]
