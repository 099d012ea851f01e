"""Config of training data and their augmentation: the section `data` of a recipe, in sections of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tgim.data.base import Split
from tgim.data.cache import Fit
from tgim.data.views import ViewConfig
from tgim.errors import DataError

Range = tuple[float, float]
RENAMED = {  # keys of recipes and run states written before there were sections
    "margin": "augment.margin",
    "flip": "augment.flip",
    "rotate": "augment.rotate",
    "zoom": "augment.zoom",
    "aspect": "augment.aspect",
    "brightness": "augment.brightness",
    "contrast": "augment.contrast",
    "context": "augment.context",
    "captions": "captions.pick",  # unless its value is a section
    "phrases": "captions.phrases",
    "altered": "captions.altered",
    "changes": "captions.changes",
    "min_word_count": "captions.min_word_count",
    "max_tokens": "captions.max_tokens",
    "drawn": "synthetic.pairs",
    "drawn_kind": "synthetic.kind",
    "drawn_task": "synthetic.task",
    "drawn_pool": "synthetic.pool",
    "seed": "synthetic.seed",
}


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AugmentConfig(_Section):
    """Augmentation of pictures; the defaults leave them as they are."""

    margin: int = Field(default=0, ge=0)  # pixels: pictures are kept this much larger and cut out at a random place
    flip: bool = False  # mirror half of the pictures
    rotate: float = Field(default=0.0, ge=0, le=180)  # degrees, up to this much either way
    zoom: Range = (1.0, 1.0)  # below 1 shows the picture smaller, its border continued outwards
    aspect: Range = (1.0, 1.0)  # width over height, times this
    brightness: float = Field(default=0.0, ge=0, le=1)  # added, up to this much either way, of a range of 2
    contrast: float = Field(default=0.0, ge=0, lt=1)  # times 1 - c .. 1 + c about the picture's mean
    context: float = Field(default=0.0, ge=0, le=1)  # share of pictures shown small within a scene; for tight cut-outs

    @model_validator(mode="after")
    def _ranges(self) -> AugmentConfig:
        for name, (low, high) in (("zoom", self.zoom), ("aspect", self.aspect)):
            if not 0.1 <= low <= high <= 10:
                raise ValueError(f"{name} must be [low, high] with 0.1 <= low <= high <= 10, got [{low}, {high}]")
        return self


class CaptionConfig(_Section):
    """Choice and encoding of captions."""

    pick: Literal["random", "first", "none"] = "random"  # none: a folder's pictures with points need no caption
    phrases: float = Field(default=0.0, ge=0, le=1)  # how often a caption gives way to a phrase cut from it
    altered: bool = False  # add to each caption one that an attribute makes false
    changes: bool = False  # add to each picture another one, and a text that says what it has and the other lacks
    min_word_count: int = Field(default=1, ge=1)  # rarer words of the training captions are unknown
    max_tokens: int | None = Field(
        default=None, ge=1
    )  # longer captions are cut; by default at 60 words or 201 characters


class SyntheticConfig(_Section):
    """Rendered pairs of pictures with a known edit: the data set `synthetic`, or an addition to photographs."""

    pairs: int = Field(default=0, ge=0)  # added to each batch
    kind: Literal["birds", "flowers"] = "birds"
    task: Literal["edits", "changes"] = "edits"  # target captions, or what is to change (`tgim.data.synthetic.triples`)
    pool: int = Field(default=4000, ge=1)  # how many different ones are rendered
    seed: int = Field(default=0, ge=0)  # of what is rendered


class DataConfig(_Section):
    """Training data and their augmentation; the defaults vary nothing but the caption.

    Keys of `RENAMED` are taken, too: `DataConfig(flip=True)` is `DataConfig(augment={"flip": True})`.
    """

    name: Literal["cub", "oxford102", "folder", "synthetic"] = "cub"
    root: str | None = None  # the data set's folder; $TGIM_DATA/<name> when not given
    split: Split = "train"
    split_seed: int = Field(default=0, ge=0)  # of the classes held out as "val"
    crop: Literal["none", "box"] = "none"  # cub: 1.5 times the bounding box, or the picture as it is
    fit: Fit = "squash"  # to a square: scale both sides, or cut the centre
    image_size: int = Field(default=64, ge=16, le=1024)  # pixels, square
    subject: bool = False  # add a guess at where the subject is (GrabCut) to each batch
    augment: AugmentConfig = AugmentConfig()
    captions: CaptionConfig = CaptionConfig()
    synthetic: SyntheticConfig = SyntheticConfig()
    views: ViewConfig = ViewConfig()  # of a part localiser

    @model_validator(mode="before")
    @classmethod
    def _sections(cls, values: Any) -> Any:
        return in_sections(values) if isinstance(values, Mapping) else values

    @property
    def folder(self) -> Path:
        """The data set's folder; DataError when neither `root` nor TGIM_DATA says."""
        if self.root:
            return Path(os.path.expanduser(self.root))
        if home := os.environ.get("TGIM_DATA"):
            return Path(home) / self.name
        raise DataError(
            f"data.root is not given for {self.name!r}; set it, or TGIM_DATA to the folder above {self.name}/"
        )

    @property
    def stored_size(self) -> int:
        """Side in pixels at which pictures are kept, from which `image_size` is cut out."""
        return self.image_size + self.augment.margin

    def with_section(self, name: str, **values: Any) -> DataConfig:
        """A copy whose section `name` has other `values`; they are not checked."""
        return self.model_copy(update={name: getattr(self, name).model_copy(update=values)})


def in_sections(values: Mapping[str, Any]) -> dict[str, Any]:
    """Unchecked values of a `DataConfig`, those under old keys (`RENAMED`) moved into their sections.

    Raises:
        ValueError: a value is given under its old and its new key.

    >>> in_sections({"name": "cub", "flip": True, "captions": "first", "augment": {"margin": 4}})
    {'name': 'cub', 'augment': {'margin': 4, 'flip': True}, 'captions': {'pick': 'first'}}
    """
    found = {key: value for key, value in values.items() if not _is_old(key, value)}
    for key, value in values.items():
        if not _is_old(key, value):
            continue
        section, _, name = RENAMED[key].partition(".")
        own = found.get(section)
        if isinstance(own, BaseModel):
            own = own.model_dump(exclude_unset=True)
        if own is not None and not isinstance(own, Mapping):
            continue  # no section: said when it is checked
        if own and name in own:
            raise ValueError(f"{key} and {RENAMED[key]} are the same key; give it once")
        found[section] = {**(own or {}), name: value}
    return found


def current_key(key: str, value: Any) -> str:
    """The dotted key of today for one of `data` that may be of `RENAMED`.

    >>> current_key("drawn_pool", 40), current_key("captions", "first"), current_key("captions.phrases", 0.1)
    ('synthetic.pool', 'captions.pick', 'captions.phrases')
    """
    return RENAMED[key] if _is_old(key, value) else key


def _is_old(key: Any, value: Any) -> bool:
    return key in RENAMED and not (key == "captions" and (value is None or isinstance(value, Mapping | BaseModel)))


def key_hints() -> dict[str, str]:
    """Names that a mistyped key of `data` may stand for, with the dotted key of each."""
    sections: dict[str, type[BaseModel]] = {
        "augment": AugmentConfig,
        "captions": CaptionConfig,
        "synthetic": SyntheticConfig,
        "views": ViewConfig,
    }
    inner = {key: f"{name}.{key}" for name, model in reversed(sections.items()) for key in model.model_fields}
    return {**inner, **RENAMED, **{key: key for key in DataConfig.model_fields}}
