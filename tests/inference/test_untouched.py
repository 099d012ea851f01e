"""What an edit does not touch is, in files of every lossless kind, what it was before: pixels, alpha, bits, density."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from support.pictures import encoded
from tgim.data.synthetic.pairs import sample_picture
from tgim.images.photo import Photo, from_uint16, open_image, save_image, to_uint8, to_uint16
from tgim.inference import batch_edit
from tgim.inference.editor import Editor

TEXT = "a small red bird"
BOX = (20, 10, 40, 30)
FILES = ("clear.png", "plain.tif", "clear.webp", "plain.bmp", "colours.gif", "deep.png", "deep.tif")


@pytest.fixture(scope="module", params=["tagrid", "tagan"])
def editor(request: pytest.FixtureRequest) -> Editor:
    return Editor.from_pretrained(request.getfixturevalue(f"{request.param}_file"))


def make(name: str, folder: Path) -> Path:
    """A bird as a file of the kind that the suffix says: with colours where it is transparent, with 16 bits, ..."""
    image, kind = Image.fromarray(sample_picture("birds", seed=2, size=(60, 80))), Path(name).suffix
    path = folder / name
    if name.startswith("deep"):
        levels = torch.from_numpy(np.asarray(image).astype(np.int32)).permute(2, 0, 1) * 257
        levels = (levels + torch.randint(-99, 99, levels.shape)).clamp(0, 65535)
        alpha = torch.randint(0, 65535, levels.shape[1:], dtype=torch.int32)
        return save_image(Photo(from_uint16(levels), alpha=alpha, bits=16), path)
    if name.startswith("clear"):
        image.putalpha(Image.fromarray((np.arange(4800).reshape(60, 80) % 4 * 85).astype(np.uint8)))
    if name.startswith("colours"):
        image = image.quantize(20)
    options = {".webp": {"lossless": True, "exact": True}, ".gif": {}}.get(kind, {"dpi": (300, 300)})
    path.write_bytes(encoded(image, {".tif": "TIFF"}.get(kind, kind[1:].upper()), **options))
    return path


def levels_of(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The numbers of a file, (C, H, W), and its alpha."""
    photo = open_image(path)
    alpha = torch.zeros(photo.height, photo.width) if photo.alpha is None else torch.from_numpy(photo.alpha)
    return (to_uint8 if photo.bits == 8 else to_uint16)(photo.tensor).long(), alpha.long()


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_untouched_pixels_stay_to_the_bit(editor: Editor, tmp_path: Path, name: str, caplog) -> None:
    source, out = make(name, tmp_path), tmp_path / f"out-{name}"
    before, alpha = levels_of(source)
    (done,) = batch_edit.run(editor, [batch_edit.Job(source, TEXT, out)], strength=0)
    assert not done.error
    after, kept = levels_of(out)
    assert torch.equal(after, before)
    assert torch.equal(kept, alpha)
    assert not caplog.records
    assert open_image(out).bits == open_image(source).bits == (16 if name.startswith("deep") else 8)
    assert open_image(out).extras.density == open_image(source).extras.density
    (done,) = batch_edit.run(editor, [batch_edit.Job(source, TEXT, out)], box=BOX)
    assert not done.error
    after, kept = levels_of(out)
    x, y, w, h = BOX
    changed = (after != before).any(0)
    assert changed[y : y + h, x : x + w].any()
    changed[y : y + h, x : x + w] = False
    assert not changed.any() or "GIF holds 256 colours" in caplog.text  # an edit may need more than that
    assert torch.equal(kept, alpha)


@pytest.mark.slow
def test_frames_are_told_once_for_several_texts(editor: Editor, tmp_path: Path, caplog) -> None:
    image = Image.fromarray(sample_picture("birds", size=(30, 40)))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", save_all=True, append_images=[Image.new("RGB", image.size)])
    (tmp_path / "moving.png").write_bytes(buffer.getvalue())
    jobs = batch_edit.plan([tmp_path / "moving.png"], [TEXT, "a blue bird"], out=tmp_path / "out.png")
    assert not any(each.error for each in batch_edit.run(editor, jobs))
    assert [message.rpartition("/")[2] for message in caplog.messages] == [
        "moving.png has several frames; the first is edited, and the others are left out"
    ]
    editor(tmp_path / "moving.png", TEXT)
    assert len(caplog.records) == 2
