"""Laws of the data config: keys of older recipes mean what their new ones mean, and none is taken twice."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tgim.data.config import RENAMED, DataConfig, current_key, in_sections, key_hints

OLD: dict[str, Any] = {
    "margin": 8, "flip": True, "rotate": 10.0, "zoom": (0.8, 1.2), "aspect": (0.9, 1.1), "brightness": 0.1,
    "contrast": 0.2, "context": 0.25, "captions": "first", "phrases": 0.3, "altered": True, "changes": True,
    "min_word_count": 2, "max_tokens": 18, "drawn": 12, "drawn_kind": "flowers", "drawn_task": "changes",
    "drawn_pool": 60, "seed": 3,
}  # fmt: skip


def test_the_example_has_every_old_key():
    assert OLD.keys() == RENAMED.keys()


@pytest.mark.parametrize("key", OLD)
def test_an_old_key_is_the_new_one(key):
    section, _, name = RENAMED[key].partition(".")
    old, new = DataConfig(**{key: OLD[key]}), DataConfig(**{section: {name: OLD[key]}})
    assert old == new
    assert old != DataConfig()
    assert getattr(getattr(old, section), name) == OLD[key]
    assert old.model_fields_set == {section}


def test_old_and_new_keys_may_stand_beside_each_other():
    mixed = DataConfig(name="synthetic", flip=True, augment={"margin": 4}, captions="first", phrases=0.5)
    assert (mixed.augment.flip, mixed.augment.margin, mixed.captions.pick, mixed.captions.phrases) == (
        *(True, 4),
        *("first", 0.5),
    )
    assert DataConfig(**DataConfig(**OLD).model_dump()) == DataConfig(**OLD)
    assert in_sections(in_sections(OLD)) == in_sections(OLD)


def test_a_value_under_both_keys_is_refused():
    with pytest.raises(ValidationError, match=r"flip and augment\.flip are the same key"):
        DataConfig(flip=True, augment={"flip": False})


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"flip": "perhaps"}, ("augment", "flip")),
        ({"augment": 3, "flip": True}, ("augment",)),
        ({"flpi": 1}, ("flpi",)),
    ],
)
def test_faults_are_told_where_the_value_goes(wrong, place):
    with pytest.raises(ValidationError) as caught:
        DataConfig(**wrong)
    assert place in [fault["loc"] for fault in caught.value.errors()]


def test_every_key_has_one_place():
    flat = [key for name in ("augment", "captions", "synthetic") for key in DataConfig().model_dump()[name]]
    assert len(flat) == len(set(flat)) == len(RENAMED)
    assert current_key("captions", {"pick": "first"}) == "captions"
    assert key_hints()["drawn_pool"] == "synthetic.pool"


def test_a_section_is_replaced_alone():
    config = DataConfig(margin=4, flip=True)
    moved = config.with_section("augment", margin=0)
    assert (moved.stored_size, config.stored_size, moved.augment.flip) == (64, 68, True)
