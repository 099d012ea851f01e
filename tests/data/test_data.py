"""Reading data sets: what is kept, what is counted as a fault, and who sees which class."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tgim.data import cub, folder, oxford102
from tgim.data.base import Problem, held_out, read_captions
from tgim.data.cache import PixelCache, decode
from tgim.errors import DataError
from tgim.text.lexicon.colours import CAPTION_COLOURS as COLOURS
from tgim.text.lexicon.parts import CAPTION_PARTS as PARTS
from tgim.text.phrases import phrases

CLASSES = [f"{i:03d}.Bird_{i}" for i in range(1, 13)]


def picture(path: Path, *, colour: tuple[int, int, int] = (200, 40, 30), size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def make_cub(root: Path, *, each: int = 2, size: tuple[int, int] = (40, 30)) -> Path:
    """Twelve classes, ten of them for training; ten captions a picture."""
    names = [f"{label}/p_{k}.jpg" for label in CLASSES for k in range(each)]
    for i, name in enumerate(names):
        picture(root / "images" / name, colour=(20 * (i % 12), 100, 50), size=size)
        text = root / "text" / Path(name).with_suffix(".txt")
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text("\n".join(f"a bird with a red belly number {i} {k}" for k in range(10)) + "\n")
    (root / "images.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(names, 1)))
    (root / "bounding_boxes.txt").write_text("".join(f"{i} 10.0 5.0 20.0 10.0\n" for i in range(1, len(names) + 1)))
    (root / "trainvalclasses.txt").write_text("\n".join(CLASSES[:10]))
    (root / "testclasses.txt").write_text("\n".join(CLASSES[10:]))
    return root


def make_oxford(root: Path) -> Path:
    for i in range(1, 9):
        label = f"class_{(i + 1) // 2:05d}"
        picture(root / "jpg" / f"image_{i:05d}.jpg")
        text = root / "text" / label / f"image_{i:05d}.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text("this flower has pink petals\nthe petals are pink")
    (root / "trainvalclasses.txt").write_text("class_00001\nclass_00002\nclass_00003\n")
    (root / "testclasses.txt").write_text("class_00004\n")
    return root


def make_folder(root: Path, *, classes: bool = True, count: int = 20) -> Path:
    rows = []
    for i in range(count):
        picture(root / "images" / f"{i}.png")
        rows.append({"file_name": f"{i}.png", "captions": ["a red bird", f"bird number {i}"]})
        if classes:
            rows[-1]["class"] = f"kind {i // 2}"
    (root / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return root


def kinds(problems: tuple[Problem, ...] | list[Problem]) -> Counter[str]:
    return Counter(problem.kind for problem in problems)


def parts(load, root: Path) -> dict[str, object]:
    return {split: load(root, split=split) for split in ("train", "val", "trainval", "test", "all")}


@pytest.mark.parametrize(("module", "make"), [(cub, make_cub), (oxford102, make_oxford), (folder, make_folder)])
def test_splits_are_disjoint_in_classes_and_complete(module, make, tmp_path):
    data = parts(module.load, make(tmp_path))
    train, val, test = ({*data[name].classes} for name in ("train", "val", "test"))
    assert train
    assert val
    assert test
    assert len(train | val | test) == len(train) + len(val) + len(test)
    assert train | val == {*data["trainval"].classes}
    assert len(data["train"]) + len(data["val"]) + len(data["test"]) == len(data["all"])


def test_folder_without_classes_is_split_by_picture(tmp_path):
    data = parts(folder.load, make_folder(tmp_path, classes=False))
    paths = [{item.path for item in data[name].items} for name in ("train", "val", "test")]
    assert sum(map(len, paths)) == len(set.union(*paths)) == 20
    assert len(paths[2]) == 4
    assert data["all"].classes == []


def test_the_seed_alone_decides_which_classes_tune(tmp_path):
    names = [f"class {i}" for i in range(50)]
    assert held_out(names, fraction=0.1, seed=3) == held_out(names[::-1], fraction=0.1, seed=3)
    assert held_out(names, fraction=0.1, seed=3) != held_out(names, fraction=0.1, seed=4)
    assert len(held_out(names, fraction=0.1)) == 5


def test_cub_counts_faults_and_goes_on(tmp_path):
    root = make_cub(tmp_path)
    train = cub.load(root, split="trainval")
    assert not train.problems
    first, second, third = train.items[0].path, train.items[2].path, train.items[4].path
    first.unlink()
    (root / "text" / second.relative_to(root / "images")).with_suffix(".txt").unlink()
    (root / "text" / third.relative_to(root / "images")).with_suffix(".txt").write_text("\n\n")
    picture(root / "images" / CLASSES[0] / "stranger.jpg")
    left = cub.load(root, split="trainval")
    assert len(left) == len(train) - 3
    assert kinds(left.problems) == {
        "missing picture": 1,
        "missing captions": 1,
        "empty captions": 1,
        "unlisted picture": 1,
    }
    assert f"images/{CLASSES[0]}/p_0.jpg" in {problem.path for problem in left.problems}


def test_captions_are_cleaned_and_faults_told(tmp_path):
    file = tmp_path / "text" / "x.txt"
    file.parent.mkdir()
    file.write_bytes("a red bird\nA red, bird!\nflower\n\na caf\xe9 au lait bird\n".encode("latin-1"))
    captions, problems = read_captions(file, tmp_path)
    assert captions == ("a red bird", "a café au lait bird")
    assert kinds(problems) == {"not UTF-8": 1, "duplicate caption": 1, "one-word caption": 1}
    assert {problem.path for problem in problems} == {"text/x.txt"}


def test_a_repeated_caption_is_not_also_a_lack(tmp_path):
    root = make_cub(tmp_path)
    files = sorted((root / "text" / CLASSES[0]).iterdir())
    files[0].write_text("\n".join(["a red bird"] * 10))
    files[1].write_text("a blue bird\na red bird")
    assert kinds(cub.load(root, split="all").problems) == {"duplicate caption": 9, "few captions": 1}


def test_oxford_classes_come_from_the_mat_for_pictures_without_captions(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    root = make_oxford(tmp_path)
    scipy_io.savemat(root / "imagelabels.mat", {"labels": np.array([[1, 1, 2, 2, 3, 3, 4, 4, 1]])})
    picture(root / "jpg" / "image_00009.jpg")
    data = oxford102.load(root, split="trainval")
    assert kinds(data.problems) == {"missing captions": 1}
    (root / "imagelabels.mat").write_bytes(b"not a mat file")
    with pytest.raises(DataError, match=r"imagelabels\.mat cannot be read"):
        oxford102.load(root)


def test_folder_lines_that_are_no_use_are_told_of(tmp_path):
    root = make_folder(tmp_path, count=4)
    lines = ["{", "[]", '{"captions": []}', '{"file_name": "../x.png"}', '{"file_name": "gone.png"}']
    lines += ['{"file_name": "0.png", "captions": "a red bird", "colour": 1}', '{"file_name": "1.png", "captions": 3}']
    with (root / "metadata.jsonl").open("a") as file:
        file.write("\n" + "\n".join(lines))
    picture(root / "images" / "unlisted.png")
    data = folder.load(root, split="all")
    assert len(data) == 4
    assert kinds(data.problems) == {
        "broken line": 5,
        "missing picture": 1,
        "unknown key": 1,
        "listed twice": 1,
        "missing captions": 1,
    }


@pytest.mark.parametrize(
    "fault", ["nowhere", "file", "no images", "no lists", "both lists", "no pictures", "bad boxes"]
)
def test_a_set_of_no_use_is_one_clear_line(fault, tmp_path):
    root, options = make_cub(tmp_path / "cub"), {}
    if fault == "nowhere":
        root = tmp_path / "nowhere"
    elif fault == "file":
        root = root / "images.txt"
    elif fault == "no images":
        (root / "images").rename(root / "pictures")
    elif fault == "no lists":
        (root / "testclasses.txt").unlink()
    elif fault == "both lists":
        (root / "testclasses.txt").write_text(CLASSES[0])
    elif fault == "no pictures":
        (root / "images").rename(root / "pictures")
        (root / "images").mkdir()
    else:
        (root / "bounding_boxes.txt").write_text("1 2 3\n")
        options = {"crop": "box"}
    with pytest.raises(DataError) as caught:
        cub.load(root, **options)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value) or fault == "both lists"


def test_cache_holds_the_picture_and_is_made_once(tmp_path):
    items = cub.load(make_cub(tmp_path / "cub"), split="all").items
    calls = []
    cache = PixelCache.open(items, size=16, folder=tmp_path / "c", progress=lambda done, total: calls.append(done))
    assert calls == list(range(1, len(items) + 1))
    assert cache.pixels.shape == (len(items), 16, 16, 3)
    for row, item in enumerate(items):
        with Image.open(item.path) as image:
            assert np.abs(cache.pixels[row].astype(int) - np.asarray(image)[0, 0]).max() <= 3
    again = PixelCache.open(items, size=16, folder=tmp_path / "c", progress=lambda *_: pytest.fail("built again"))
    assert np.array_equal(again.pixels, cache.pixels)
    assert cache.images(slice(0, 3)).shape == (3, 3, 16, 16)
    assert not list((tmp_path / "c").glob(".*"))


@pytest.mark.slow
def test_cache_is_another_when_a_picture_the_size_or_the_box_changes(tmp_path):
    root = make_cub(tmp_path / "cub")
    items = cub.load(root, split="all").items

    def files() -> int:
        return len(list((tmp_path / "c").glob("*.npy")))

    PixelCache.open(items, size=16, folder=tmp_path / "c")
    picture(items[0].path, colour=(0, 0, 255))
    os.utime(items[0].path, ns=(1, 1))
    assert (PixelCache.open(items, size=16, folder=tmp_path / "c").pixels[0, ..., 2] > 240).all()
    assert files() == 2
    PixelCache.open(items, size=20, folder=tmp_path / "c")
    PixelCache.open(items, size=16, fit="crop", folder=tmp_path / "c")
    PixelCache.open(cub.load(root, split="all", crop="box").items, size=16, folder=tmp_path / "c")
    assert files() == 5


def test_cache_leaves_out_what_cannot_be_read_and_mends_itself(tmp_path):
    items = cub.load(make_cub(tmp_path / "cub"), split="all").items
    items[1].path.write_bytes(items[1].path.read_bytes()[:200])
    items[3].path.write_bytes(b"GIF89a")
    for _ in range(2):  # built, then read
        cache = PixelCache.open(items, size=16, folder=tmp_path / "c")
        assert sorted(set(range(len(items))) - set(cache.rows.tolist())) == [1, 3]
        assert kinds(cache.problems) == {"unreadable picture": 2}
    file = next((tmp_path / "c").glob("*.npy"))
    file.write_bytes(file.read_bytes()[:1000])
    assert len(PixelCache.open(items, size=16, folder=tmp_path / "c").rows) == len(items) - 2


def test_a_cache_that_cannot_be_written_names_the_remedy(tmp_path):
    (tmp_path / "c").write_text("a file")
    items = folder.load(make_folder(tmp_path / "data"), split="all").items
    with pytest.raises(DataError, match="TGIM_CACHE"):
        PixelCache.open(items, size=16, folder=tmp_path / "c")


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "I;16"])
def test_every_mode_decodes_to_the_same_white(mode, tmp_path):
    path = tmp_path / ("x.tif" if mode in ("CMYK", "I;16") else "x.png")
    white = Image.new("L", (20, 10), 255)
    if mode == "I;16":
        image = Image.fromarray(np.full((10, 20), 65535, np.uint16))
    else:
        image = white.convert("RGB").convert(mode) if mode in ("P", "CMYK", "RGBA") else white.convert(mode)
    image.save(path)
    assert decode(path, size=16).shape == (16, 16, 3)
    assert decode(path, size=16).min() >= 254


@pytest.mark.parametrize("size", [16, 100])
def test_box_and_centre_crops_show_their_part(size, tmp_path):
    pixels = np.zeros((400, 800, 3), np.uint8)
    pixels[100:300, 500:700] = 255  # the subject
    path = tmp_path / "x.jpg"
    Image.fromarray(pixels).save(path, quality=95)
    boxed = decode(path, size=size, box=(500, 100, 200, 200))
    share = (boxed > 128).mean()
    assert abs(share - 1 / 1.5**2) < 0.09
    middle = decode(path, size=size, fit="crop")  # columns 200 to 600
    assert abs((middle > 128).mean() - 0.5 * 0.25) < 0.03
    assert abs((decode(path, size=size) > 128).mean() - 0.125) < 0.03


def test_exif_orientation_is_obeyed(tmp_path):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise: what was at the top is at the right
    Image.fromarray(pixels).save(tmp_path / "x.jpg", exif=exif)
    turned = decode(tmp_path / "x.jpg", size=16)
    assert turned[:, 9:].min() > 200
    assert turned[:, :7].max() < 60


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("this bird has a red head and breast", ("red head and breast",)),
        ("a black and white bird with bright orange legs", ("black and white bird", "bright orange legs")),
        ("its wings are dark brown and its belly is white", ("dark brown wings", "white belly")),
        ("white and yellow", ()),
        ("the red of the sunset", ()),
        ("a bird", ()),
    ],
)
def test_phrases_by_hand(caption, expected):
    assert phrases(caption) == expected
    for phrase in expected:
        assert COLOURS & set(phrase.split())
        assert PARTS & set(phrase.split())


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif("TGIM_DATA" not in os.environ, reason="TGIM_DATA is not set")
def test_the_real_sets_have_what_their_readme_says():
    home = Path(os.environ["TGIM_DATA"])
    birds, flowers = parts(cub.load, home / "cub"), parts(oxford102.load, home / "oxford102")
    assert (len(birds["all"]), len(birds["all"].classes), len(birds["test"].classes)) == (5693, 97, 17)
    assert (len(flowers["all"]), len(flowers["all"].classes), len(flowers["test"].classes)) == (7543, 95, 13)
    for data in (birds, flowers):
        assert not {*data["trainval"].classes} & {*data["test"].classes}
        assert not {*data["train"].classes} & {*data["val"].classes}
    found = sum(bool(phrases(caption)) for caption in birds["test"].captions)
    assert found > 0.8 * len(birds["test"].captions)
