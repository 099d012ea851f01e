"""Old keys of recipes and checkpoints are read, and hashes of the renderer are those of the published lines."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tgim.data.synthetic.pool import renderer_hash
from tgim.data.synthetic.triples import triples_hash
from tgim.data.views import ViewConfig
from tgim.models.editing.tagrid import TAGridConfig
from tgim.models.matching.late_interaction import LateInteractionConfig
from tgim.models.retrieval.base import ComposerConfig

RENAMED = [
    (TAGridConfig, "drawn_weight", "synthetic_weight", 3.0),
    (TAGridConfig, "drawn_rest_weight", "synthetic_rest_weight", 4.0),
    (LateInteractionConfig, "drawn_weight", "synthetic_weight", 0.7),
    (ComposerConfig, "drawn_weight", "synthetic_weight", 0.7),
    (ViewConfig, "drawn", "synthetic", 0.2),
    (ViewConfig, "drawn_kind", "synthetic_kind", "flowers"),
]


@pytest.mark.parametrize(("kind", "old", "new", "value"), RENAMED)
def test_an_old_key_means_the_new_one(kind, old, new, value):
    by_old, by_new = kind.model_validate({old: value}), kind.model_validate({new: value})
    assert by_old == by_new
    assert by_new.model_dump()[new] == value
    assert kind.model_validate(by_new.model_dump()) == by_new
    with pytest.raises(ValidationError):
        kind.model_validate({old: value, new: value})


@pytest.mark.slow
def test_the_renderer_is_the_one_of_the_published_lines():
    assert (renderer_hash("birds"), renderer_hash("flowers")) == ("d71375f2859e", "0864568590cf")
    assert triples_hash("birds") == "445f4dcc09e9"
