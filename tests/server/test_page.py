"""The editing page in a real browser: the download is the command line's file, and all controls do what they say."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra serve")


from support.commands import tgim
from tgim.images.photo import open_image, save_image
from tgim.server import local
from tgim.server.app import Limits, create_app
from tgim.server.catalog import Catalog

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def catalog():
    return Catalog({name: name for name in ("birds", "birds-1", "flowers", "attngan-birds")})


@pytest.fixture
def page(catalog, serving, browser_page, tmp_path, drawn_bird):
    """The page of a server, with a picture opened."""

    def opened(**options):
        url = serving(local.Guard(create_app(catalog, Limits(workers=1, threads=1))))
        found = browser_page(url, **options)
        found.wait_for_selector("body[data-ready]")
        file = tmp_path / "bird.jpg"
        file.write_bytes(drawn_bird)
        found.set_input_files("#file", file)
        found.wait_for_selector("#chips button")
        return found

    return opened


def edited(page, text: str) -> bytes:
    """The file that a visitor gets: types, presses Enter, waits, downloads."""
    page.fill("#text", text)
    page.press("#text", "Enter")
    page.wait_for_selector("#working", state="hidden")
    with page.expect_download() as download:
        page.click("#download")
    return download.value.path().read_bytes()


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def by_command(folder, *options: str) -> bytes:
    result = tgim("edit", "--image", folder / "bird.jpg", "--out", folder / "o.jpg", *options)
    assert result.exit_code == 0, result.output
    return (folder / "o.jpg").read_bytes()


def test_the_download_is_the_file_of_the_command_line(page, tmp_path):
    shown = page()
    download = edited(shown, "red head and breast")
    assert (pixels(download) == pixels(by_command(tmp_path, "--text", "red head and breast"))).all()
    assert shown.get_attribute("#download", "download") == "bird-edited.jpg"
    assert "red head and breast" in shown.inner_text("#facts")
    shown.click("#chips button:has-text('head')")
    download = edited(shown, "bright red")
    assert (pixels(download) == pixels(by_command(tmp_path, "--text", "bright red", "--part", "head"))).all()
    assert shown.get_attribute("#download", "download") == "bird-edited-2.jpg"


def test_parts_light_up_where_they_are(page):
    shown = page()

    def lit() -> int:
        script = """() => { const canvas = document.querySelector('#overlay');
            const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            let count = 0; for (let i = 3; i < pixels.length; i += 4) count += pixels[i] > 0; return count; }"""
        return shown.evaluate(script)

    assert lit() == 0
    shown.hover("#chips button:has-text('wings')")
    wings = lit()
    shown.hover("#chips button:has-text('beak')")
    assert 0 < lit() < wings
    shown.hover("#text")
    assert lit() == 0


def drag(page, start, end):
    page.locator("#overlay").scroll_into_view_if_needed()
    frame = page.locator("#overlay").bounding_box()
    points = [(frame["x"] + x * frame["width"], frame["y"] + y * frame["height"]) for x, y in (start, end)]
    page.mouse.move(*points[0])
    page.mouse.down()
    page.mouse.move(*points[1], steps=6)
    page.mouse.up()


@pytest.mark.parametrize("tool", ["#box", "#brush"])
def test_what_is_drawn_is_all_that_changes(page, tool, drawn_bird):
    shown = page()
    shown.click(tool)
    drag(shown, (0.5, 0.1), (0.95, 0.6))
    after, before = pixels(edited(shown, "this bird is red")), pixels(drawn_bird)
    changed = abs(after - before).max(-1) > 30  # more than JPEG does
    height, width = changed.shape
    assert changed[:, width // 2 :].any()
    assert not changed[int(0.75 * height) :, : int(0.35 * width)].any()
    shown.click("#clear")
    free = abs(pixels(edited(shown, "this bird is red")) - before).max(-1) > 30
    assert free.sum() > changed.sum()


def test_strength_and_variants_and_history(page):
    shown = page()
    edited(shown, "red head and breast")
    shown.focus("#strength")
    shown.press("#strength", "Home")
    shown.wait_for_selector("#history li:nth-child(2)")
    shown.wait_for_selector("#working", state="hidden")
    assert shown.inner_text("#percent") == "0 %"
    shown.click("#variants")
    shown.wait_for_selector("#working", state="hidden")
    labels = shown.locator("#history li").all_inner_texts()
    assert [label.split("(")[1].rstrip(")") for label in labels] == ["birds", "birds", "birds", "birds-1"]
    shown.click("#history li:nth-child(1) button")
    assert shown.get_attribute("#history li:nth-child(1) button", "aria-current") == "true"


def test_before_and_after_by_keyboard(page):
    shown = page()
    edited(shown, "red head and breast")
    shown.focus("#split")
    shown.press("#split", "End")
    assert shown.evaluate("document.querySelector('#after').style.clipPath").startswith("inset(0px 0px 0px 100%")
    shown.press("#split", "Home")
    assert shown.evaluate("document.querySelector('#divider').style.left") == "0%"


def test_errors_are_sentences(page, tmp_path):
    shown = page()
    shown.fill("#text", "xqzt")
    shown.press("#text", "Enter")
    shown.wait_for_selector("#error:not([hidden])")
    assert shown.inner_text("#error").startswith("This model knows none of the words in 'xqzt'")
    (tmp_path / "notes.txt").write_text("no picture")
    shown.set_input_files("#file", tmp_path / "notes.txt")
    assert "notes.txt is no picture" in shown.inner_text("#error")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no jpeg")
    shown.set_input_files("#file", tmp_path / "broken.jpg")
    shown.wait_for_function("() => document.getElementById('working').hidden")
    assert "The picture" in shown.inner_text("#error")
    assert shown.is_visible("#stage")  # the picture before is still there
    shown.faults[:] = [fault for fault in shown.faults if "422" not in fault]  # the console tells of refused requests


def test_kinds_that_browsers_do_not_show(page, tmp_path, drawn_bird):
    shown = page()
    save_image(open_image(drawn_bird), tmp_path / "bird.tif")
    shown.set_input_files("#file", tmp_path / "bird.tif")
    shown.wait_for_function("() => document.getElementById('facts').textContent.startsWith('bird.tif')")
    download = edited(shown, "red head and breast")
    assert Image.open(io.BytesIO(download)).format == "PNG"


def test_a_drawn_flower_to_try(catalog, serving, browser_page):
    shown = browser_page(serving(local.Guard(create_app(catalog))))
    shown.wait_for_selector("body[data-ready]")
    shown.click("#flower")
    shown.wait_for_selector("#chips button")
    assert shown.input_value("#model") == "flowers"
    shown.click("#ideas button:has-text('purple petals')")
    shown.wait_for_selector("#download:not([hidden])")


def test_a_phone_has_room_for_all_of_it(page):
    shown = page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2)
    edited(shown, "red head and breast")
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shown.tap("#brush")
    assert shown.locator("#overlay").bounding_box()["y"] >= 0  # in view while its tools are
    for name in ("edit", "variants", "box", "download"):
        assert shown.locator(f"#{name}").bounding_box()["height"] >= 36
