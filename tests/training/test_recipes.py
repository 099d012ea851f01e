"""Every recipe that comes with the project: it resolves, and the systems have one for each of the two data sets."""

from __future__ import annotations

import pytest
import yaml

from support import ROOT
from tgim.training import recipe

FOLDER = ROOT / "recipes"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
PLAIN = [name for name in NAMES if "stages" not in yaml.safe_load((FOLDER / f"{name}.yaml").read_text())]
PUBLISHED = ["gan_int_cls", "style_encoder", "stackgan1", "stackgan2", "stackgan_v2", "attngan", "tagan", "sisgan"]
PUBLISHED += ["vse", "damsm", "sje"]


@pytest.mark.parametrize("name", PLAIN)
def test_a_recipe_resolves_and_says_what_its_weights_may_be_used_for(name):
    found = recipe.load(FOLDER / f"{name}.yaml")
    assert found.card["title"]
    assert found.train.precision in ("auto", "fp32")  # a processor without bf16 instructions emulates them
    assert found.card.get("licence") or found.data.name == "synthetic"  # what is drawn is nobody's
    for key in ("text", "matching", "generator", "stage1"):  # what is trained first, by a recipe of that name
        needed = found.model.get(key)
        if isinstance(needed, str) and needed.startswith("runs/"):
            assert needed.split("/")[1] in NAMES, f"{name} needs {needed}, which no recipe makes"


@pytest.mark.parametrize("system", PUBLISHED)
@pytest.mark.parametrize(("data", "name"), [("birds", "cub"), ("flowers", "oxford102")])
def test_every_published_system_has_a_recipe_for_each_data_set(system, data, name):
    found = recipe.load(FOLDER / f"{system}_{data}.yaml")
    assert (found.model["name"], found.data.name) == (system, name)


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_has_a_row_in_the_table(name):
    assert f"`{name}`" in (FOLDER / "README.md").read_text()
