"""The nodes for ComfyUI, loaded and called as ComfyUI does; ComfyUI itself is not needed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from support import ROOT
from tgim import Editor
from tgim._version import __version__
from tgim.data.synthetic.pairs import sample_picture
from tgim.images.photo import open_image
from tgim.inference.part_overlay import locate, mask_of, open_localiser

FOLDER = ROOT / "integrations" / "comfyui"
TEXT = "a bird with a red head and breast"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """The module, in a folder of a name that no package could have, under a name like ComfyUI gives it."""
    home = tmp_path_factory.mktemp("custom_nodes") / "tgim-nodes-1.0"
    shutil.copytree(FOLDER, home, ignore=shutil.ignore_patterns("__pycache__"))
    name = str(home).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, home / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[name]


@pytest.fixture(scope="module")
def birds():
    """Two pictures as an IMAGE (2, 90, 120, 3)."""
    pictures = [sample_picture("birds", seed=seed, size=(90, 120)) for seed in (0, 1)]
    return torch.from_numpy(np.stack(pictures)).float() / 255


def run(nodes, name, **given):
    """Call a node as ComfyUI does: a new object, the function by its name, in inference mode."""
    kind = nodes.NODE_CLASS_MAPPINGS[name]
    known = {**kind.INPUT_TYPES()["required"], **kind.INPUT_TYPES().get("optional", {})}
    assert set(given) <= set(known)
    with torch.inference_mode():
        return getattr(kind(), kind.FUNCTION)(**given)


def edit(nodes, image, **given):
    return run(
        nodes, "TgimEdit", **{"image": image, "text": TEXT, "model": "birds", "strength": 1.0, "seed": 0, **given}
    )


def test_nodes_are_declared_as_comfyui_reads_them(nodes):
    assert set(nodes.NODE_CLASS_MAPPINGS) == set(nodes.NODE_DISPLAY_NAME_MAPPINGS)
    for kind in nodes.NODE_CLASS_MAPPINGS.values():
        assert callable(getattr(kind, kind.FUNCTION))
        assert len(kind.RETURN_TYPES) == len(kind.RETURN_NAMES)
        assert kind.CATEGORY == "tgim"
        assert set(kind.INPUT_TYPES()) <= {"required", "optional", "hidden"}
    models = nodes.TgimEdit.INPUT_TYPES()["required"]["model"][0]
    assert models[:2] == ["birds", "flowers"]
    assert {"birds-1", "birds-2", "tagan-birds", "attngan-birds"} <= set(models)
    assert not [name for name in models if "judge" in name]
    assert nodes.TgimParts.INPUT_TYPES()["required"]["model"][0] == ["birds", "flowers", "birds-2"]


@pytest.mark.slow
def test_loading_the_nodes_imports_no_tgim_and_lists_import_no_torch():
    code = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('n', {str(FOLDER / '__init__.py')!r})\n"
        "m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m)\n"
        "print('tgim' in sys.modules, 'torch' in sys.modules)\n"
        "m.TgimEdit.INPUT_TYPES(); m.TgimParts.INPUT_TYPES()\n"
        "print('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert found.stdout.split() == ["False", "False", "False"]


@pytest.mark.slow
def test_an_edit_is_that_of_the_editor_and_the_input_stays(nodes, birds):
    before = birds.clone()
    image, mask = edit(nodes, birds)
    assert torch.equal(birds, before)
    assert (image.shape, image.dtype, mask.shape) == (birds.shape, torch.float32, birds.shape[:3])
    assert image.min() >= 0
    assert image.max() <= 1
    editor = Editor.from_pretrained("birds")
    for given, edited, changed in zip(birds, image, mask, strict=True):
        picture = (given * 255).round().byte().numpy()
        expected = torch.from_numpy(np.asarray(editor(picture, TEXT)).copy()).float() / 255
        assert (edited - expected).abs().max() <= 1 / 255 + 1e-6
        assert torch.equal(edited[changed == 0], given[changed == 0])  # to the bit
        assert 0.02 < changed.mean() < 0.8
        assert set(changed.unique().tolist()) == {0.0, 1.0}
    halved, _ = edit(nodes, birds[:1], strength=0.5)
    assert 0 < (halved - birds[:1]).abs().sum() < (image[:1] - birds[:1]).abs().sum()
    assert torch.equal(edit(nodes, birds[:1], strength=0.0)[0], birds[:1])


@pytest.mark.slow
@pytest.mark.parametrize("form", ["one", "of a batch", "flat", "with a channel"])
def test_under_a_mask_white_may_change_and_black_stays(nodes, birds, form):
    mask = torch.zeros(90, 120)
    mask[:, 60:] = 1
    forms = {"one": mask[None], "of a batch": mask.expand(2, -1, -1), "flat": mask, "with a channel": mask[None, None]}
    given = forms[form]
    image, changed = edit(nodes, birds, mask=given, text="a red bird")
    assert torch.equal(image[:, :, :60], birds[:, :, :60])
    assert changed[:, :, :60].sum() == 0
    assert all(each.sum() > 50 for each in changed)
    other, _ = edit(nodes, birds, mask=1 - given, text="a red bird")
    assert torch.equal(other[:, :, 60:], birds[:, :, 60:])


@pytest.mark.slow
def test_a_part_is_edited_alone_and_found(nodes, birds):
    (head,) = run(nodes, "TgimParts", image=birds, part="head", model="birds")
    assert (head.shape, head.dtype) == (birds.shape[:3], torch.float32)
    localiser = open_localiser("birds")
    for given, found in zip(birds, head, strict=True):
        expected = mask_of(*locate(open_image((given * 255).round().byte().numpy()), localiser), "head")
        assert np.abs(found.numpy() * 255 - expected).max() <= 1
    image, _ = edit(nodes, birds, part="head", text="a red bird")
    assert torch.equal(image[head == 0], birds[head == 0])
    assert not torch.equal(image, birds)


@pytest.mark.slow
def test_a_model_of_ones_own_is_opened_once_and_again_when_it_has_changed(nodes, birds, tagrid_file, tmp_path):
    file = tmp_path / "mine.safetensors"
    shutil.copy(tagrid_file, file)
    edit(nodes, birds, model_file=str(file))
    one = nodes._opened("editor", "birds", str(file))
    assert nodes._opened("editor", "birds", str(file)) is one
    assert not any(weight.is_inference() for weight in one.model.parameters())
    stamp = nodes.TgimEdit.IS_CHANGED(model_file=str(file), text="")
    os.utime(file, ns=(1, 1))
    assert nodes.TgimEdit.IS_CHANGED(model_file=str(file), text="") != stamp
    assert nodes._opened("editor", "birds", str(file)) is not one
    assert len(nodes._open) <= nodes.KEPT
    assert nodes.TgimEdit.IS_CHANGED(image=None, text="x") == ""


def test_what_is_wrong_is_a_value_error_of_one_line(nodes, birds, tmp_path):
    faults = {
        "pictures of one size": {"image": [birds[0], birds[1, :50]]},
        r"got \(2, 3, 90, 120\)": {"image": birds.permute(0, 3, 1, 2)},
        "black everywhere": {"mask": torch.zeros(1, 64, 64)},
        r"one for each of 2, got \(3, 9, 9\)": {"mask": torch.ones(3, 9, 9)},
        "strength is 2": {"strength": 2.0},
        "no embedded weights": {"model": "nonsense"},
        "caption|text": {"text": " "},
    }
    for told, given in faults.items():
        with pytest.raises(ValueError, match=told) as error:
            edit(nodes, **{"image": birds, **given})
        assert type(error.value) is ValueError
        assert len(str(error.value).splitlines()) == 1
    with pytest.raises(ValueError, match="is unknown"):
        run(nodes, "TgimParts", image=birds, part="wheels", model="birds")
    with pytest.raises(ValueError, match="no subject"):
        run(nodes, "TgimParts", image=torch.full((1, 60, 60, 3), 0.5), part="head", model="birds")


def test_some_faults_are_told_before_anything_runs(nodes, tmp_path):
    check = nodes.TgimEdit.VALIDATE_INPUTS
    assert check(text="a red bird") is True
    assert check() is True  # all inputs are linked
    assert "text is empty" in check(text="  ")
    assert "is not there" in check(model_file=str(tmp_path / "none.safetensors"))
    assert "part is empty" in nodes.TgimParts.VALIDATE_INPUTS(part="")


def test_the_registry_knows_the_nodes_by_their_names():
    lines = (FOLDER / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    assert {f'version = "{__version__}"', 'license = { text = "Apache-2.0" }', "[tool.comfy]"} <= set(lines)
    assert {"PublisherId", "DisplayName", "Repository", "name"} <= {line.split(" = ")[0] for line in lines}
