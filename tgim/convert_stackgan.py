"""Generators of the StackGAN releases, turned into ours: StackGAN-Pytorch (both stages) and StackGAN-v2.

Sizes are read off the file. What it does not hold is the char-CNN-RNN that captions were read by; a structured joint
embedding of ours (`sje`) of the same width takes its place, and must have been the one that the generator was trained
with for its pictures to mean what the captions say.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from tgim import checkpoint
from tgim.convert import AFFINE, Names, State, check_names, load_part, normalised, read_state, renamed
from tgim.errors import CheckpointError, UserError
from tgim.matching.sje import SJE, SJEConfig
from tgim.model import Config
from tgim.models.sentences import SentenceReader
from tgim.models.stackgan import StackGAN1, StackGAN1Config, StackGAN2, StackGAN2Config
from tgim.models.stackgan_v2 import StackGANv2, StackGANv2Config
from tgim.text import Alphabet

Drawing = StackGAN1 | StackGAN2 | StackGANv2
WHAT = {
    "stackgan1": "StackGAN stage-I",
    "stackgan2": "StackGAN stage-II",
    "stackgan_v2": "StackGAN-v2",
}
CLASSES: dict[str, type[Drawing]] = {"stackgan1": StackGAN1, "stackgan2": StackGAN2, "stackgan_v2": StackGANv2}

log = logging.getLogger(__name__)


def convert(
    system: str,
    source: str | Path,
    out: str | Path,
    *,
    text_encoder: str | Path | None = None,
    discriminator: str | Path | None = None,
    image_size: int | None = None,
    template: str = "{}",
    config: Mapping[str, Any] | None = None,
    half: bool = False,
) -> Path:
    """Turn a released generator into a checkpoint that draws.

    Args:
        system: "stackgan1", "stackgan2" or "stackgan_v2".
        source: the authors' ``.pth``; that of stage II holds stage I.
        out: the ``.safetensors`` file to write.
        text_encoder: a checkpoint of `sje` whose text side the generator was trained with. Without it that side starts
            anew, and pictures do not follow captions.
        discriminator: the authors' file, to train on from there; of StackGAN-v2 the first one (``netD0``), the others
            are looked for beside it.
        image_size: side of the pictures in pixels; only checked, the file says it.
        template: completes a bare phrase, see `tgim.checkpoint.save`.
        config: further keys of the system's config.
        half: store 16-bit weights.

    Raises:
        CheckpointError: a file that cannot be read, is another network, lacks tensors, has surplus or misshapen ones.
    """
    state, what = read_state(source), f"{WHAT[system]} generator"
    reader = None if text_encoder is None else checkpoint.load(text_encoder).model
    if reader is not None and not isinstance(reader, SJE):
        raise CheckpointError(f"{text_encoder} is a {reader.name!r}; the text encoder must be a trained 'sje'")
    try:
        found = SIZES[system](state)
    except (KeyError, ValueError, IndexError):  # another network, as `check_names` will say
        found = {}
    judges = discriminator_files(discriminator, found.get("branches", 3) if system == "stackgan_v2" else 1)
    judge_states = [read_state(path, part="discriminator") for path in judges]
    if judge_states and (first := judge_states[0].get(FIRST_OF_JUDGE[system])) is not None:
        found["discriminator_width"] = len(first)
    settings = checked(system, state, found, None if reader is None else reader.config, config)
    check_names(generator_names(settings), state, path=source, what=what)
    size = int(settings.image_size)  # type: ignore[attr-defined]  # of each of the three
    if image_size not in (None, size):
        raise UserError(f"image_size is {image_size}, but {source} draws {size} px; leave it out")
    model = build(system, settings)
    load_part(model, generator_names(settings), state, path=source, what=what)
    for i, (path, tensors) in enumerate(zip(judges, judge_states, strict=True)):
        load_part(model, discriminator_names(settings, i), tensors, path=path, what=f"{WHAT[system]} discriminator")
    own = reader_of(model)
    if reader is not None and own.characters is not None:
        if own.size != reader.config.embedding_size:
            raise CheckpointError(
                f"{text_encoder} makes sentences of {reader.config.embedding_size} numbers, {source} reads {own.size}; "
                f"train an sje with embedding_size {own.size}"
            )
        own.characters.load_state_dict(reader.encoders.caption.state_dict())
    else:
        log.warning("no text encoder given: it starts anew, and pictures will not follow captions")
    card = {
        "title": f"{WHAT[system]}, converted from the authors' release ({Path(source).name})",
        "licence": "that of the release",
        "limits": limits(model, discriminator=discriminator is not None, text_encoder=text_encoder is not None),
    }
    return checkpoint.save(out, model, vocabulary=Alphabet(), template=template, card=card, half=half)


def build(system: str, settings: Config) -> Drawing:
    """A model of these sizes; what the files do not fill is drawn from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Drawing = CLASSES[system](settings, vocabulary_size=len(Alphabet()))  # type: ignore[arg-type]
        return model


def reader_of(model: Drawing) -> SentenceReader:
    """What reads captions: stage I's in stage II, too."""
    return model.first.read if isinstance(model, StackGAN2) else model.generator.read


def limits(model: Drawing, *, discriminator: bool, text_encoder: bool) -> list[str]:
    """What the model card must say of a converted checkpoint."""
    found = [f"pictures of {model.image_size} px"]
    if not discriminator:
        found.append("the discriminator is untrained; convert the authors' too before training on")
    if not text_encoder:
        found.append("no text encoder was given: pictures do not follow captions")
    return found


def discriminator_files(first: str | Path | None, count: int) -> list[Path]:
    """The files of `count` discriminators, "0" in the name of the first replaced by the others' number."""
    if first is None:
        return []
    if count > 1 and "netD0" not in Path(first).name:
        raise UserError(f"discriminator {first} must be the first of {count}, named netD0; the others lie beside it")
    return [Path(first).with_name(Path(first).name.replace("netD0", f"netD{i}")) for i in range(count)]


# Sizes


def checked(
    system: str, state: State, found: Mapping[str, Any], reader: SJEConfig | None, given: Mapping[str, Any] | None
) -> Config:
    """The config that a file's sizes make, with a reader of the file's width; UserError when they make none."""
    layer = state.get("ca_net.fc.weight")
    width = int(layer.shape[1]) if layer is not None and layer.ndim == 2 else 1024
    encoder = SJEConfig.model_validate({"embedding_size": width}) if reader is None else reader
    encoder = encoder.model_copy(update={"embedding_size": width})
    options: dict[str, Any] = {**found, **(given or {})}
    if system == "stackgan2":
        options["first"] = {**options.get("first", {}), "encoder": encoder}
    else:
        options["encoder"] = encoder
    try:
        return CLASSES[system].Config(**options)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}") from None


def count(state: State, pattern: str) -> int:
    """How many of pattern.format(1), pattern.format(2), ... a file holds, without a gap."""
    number = 1
    while pattern.format(number) in state:
        number += 1
    return number - 1


def sizes1(state: State, prefix: str = "") -> dict[str, Any]:
    """Sizes of stage I, by its file; KeyError when it is another."""
    condition = state[f"{prefix}ca_net.fc.weight"].shape[0] // 2
    rows, inputs = state[f"{prefix}fc.0.weight"].shape
    doublings = count(state, prefix + "upsample{}.1.weight")
    return {
        "image_size": 4 * 2**doublings,
        "width": rows // 8 // 2**doublings,
        "noise_size": inputs - condition,
        "condition_size": condition,
    }


def sizes2(state: State) -> dict[str, Any]:
    """Sizes of stage II with its stage I, by its file; KeyError when it is another."""
    first = sizes1(state, "STAGE1_G.")
    return {
        "image_size": first["image_size"] // 4 * 2 ** count(state, "upsample{}.1.weight"),
        "first": first,
        "width": len(state["encoder.0.weight"]),
        "residual_blocks": residual_blocks(state, "residual"),
        "condition_size": state["ca_net.fc.weight"].shape[0] // 2,
    }


def sizes_v2(state: State) -> dict[str, Any]:
    """Sizes of StackGAN-v2, by its file; KeyError when it is another."""
    condition = state["ca_net.fc.weight"].shape[0] // 4
    rows, inputs = state["h_net1.fc.0.weight"].shape
    doublings, branches = count(state, "h_net1.upsample{}.1.weight"), count(state, "img_net{}.img.0.weight")
    found = {
        "base_size": 4 * 2**doublings,
        "branches": branches,
        "width": rows // 32 // 2**doublings,
        "noise_size": inputs - condition,
        "condition_size": condition,
    }
    return found | ({"residual_blocks": residual_blocks(state, "h_net2.residual")} if branches > 1 else {})


def residual_blocks(state: State, name: str) -> int:
    """How many residual blocks a file holds under `name`."""
    return len([key for key in state if key.startswith(f"{name}.") and key.endswith(".block.0.weight")])


SIZES: dict[str, Callable[[State], dict[str, Any]]] = {
    "stackgan1": sizes1,
    "stackgan2": sizes2,
    "stackgan_v2": sizes_v2,
}
FIRST_OF_JUDGE = {
    "stackgan1": "encode_img.0.weight",
    "stackgan2": "encode_img.0.weight",
    "stackgan_v2": "img_code_s16.0.weight",
}


# Names


def generator_names(config: Config) -> Names:
    """Our tensors, stage I's in stage II among them, and the authors' names of them."""
    if isinstance(config, StackGAN1Config):
        return names1(config, "generator", "")
    if isinstance(config, StackGAN2Config):
        return names2(config)
    if isinstance(config, StackGANv2Config):
        return names_v2(config)
    raise TypeError(type(config))


def names1(config: StackGAN1Config, ours: str, theirs: str) -> Names:
    """Stage I."""
    doublings = halvings(config.image_size)
    names = renamed(f"{ours}.augment.linear", f"{theirs}ca_net.fc", AFFINE)
    names |= normalised(f"{ours}.paint.0", f"{theirs}fc", 0)
    for i in range(1, doublings + 1):
        names |= normalised(f"{ours}.paint.{i}", f"{theirs}upsample{i}", 1, at=1)
    return names | renamed(f"{ours}.paint.{doublings + 1}.0", f"{theirs}img.0", ("weight",))


def names2(config: StackGAN2Config) -> Names:
    """Stage II, and stage I within."""
    first = config.first or StackGAN1Config.model_validate({})
    us, doublings = "generator", halvings(config.image_size) - halvings(first.image_size) + 2
    names = names1(first, "first", "STAGE1_G.") | renamed(f"{us}.augment.linear", "ca_net.fc", AFFINE)
    names |= renamed(f"{us}.encoder.0.0", "encoder.0", ("weight",))
    for i in (1, 2):
        names |= normalised(f"{us}.encoder.{i}", "encoder", 3 * i - 1)
    names |= normalised(f"{us}.residual.0", "hr_joint", 0)
    for i in range(config.residual_blocks):
        names |= residual_names(f"{us}.residual.{i + 1}", f"residual.{i}")
    for i in range(doublings):
        names |= normalised(f"{us}.decoder.{i}", f"upsample{i + 1}", 1, at=1)
    return names | renamed(f"{us}.decoder.{doublings}.0", "img.0", ("weight",))


def names_v2(config: StackGANv2Config) -> Names:
    """StackGAN-v2."""
    us, blocks = "generator", config.residual_blocks
    names = renamed(f"{us}.augment.linear", "ca_net.fc", AFFINE) | normalised(f"{us}.start.0", "h_net1.fc", 0)
    for i in range(1, halvings(config.base_size) + 1):
        names |= normalised(f"{us}.start.{i}", f"h_net1.upsample{i}", 1, at=1)
    for i in range(config.branches):
        names |= renamed(f"{us}.paint.{i}.0", f"img_net{i + 1}.img.0", ("weight",))
    for i in range(config.branches - 1):
        ours, theirs = f"{us}.branches.{i}.body", f"h_net{i + 2}"
        names |= normalised(f"{ours}.0", f"{theirs}.jointConv", 0)
        for k in range(blocks):
            names |= residual_names(f"{ours}.{k + 1}", f"{theirs}.residual.{k}")
        names |= normalised(f"{ours}.{blocks + 1}", f"{theirs}.upsample", 1, at=1)
    return names


def discriminator_names(config: Config, number: int = 0) -> Names:
    """Our discriminator's tensors, of StackGAN-v2 the `number`-th one's, and the authors' names of them."""
    if isinstance(config, StackGANv2Config):
        us, count = f"discriminator.{number}", halvings(config.image_sizes[number])
        places = [("img_code_s16", 3 * i - 1) for i in range(1, min(count, 4))]
        places += [(f"img_code_s{2 ** (i + 1)}", 0) for i in range(4, count)]
        places += [(f"img_code_s{2**count}_{i + 1}", 0) for i in range(count - 4)]
        first, join, joint, single = "img_code_s16.0", "jointConv", "logits.0", "uncond_logits.0"
        alone = config.unconditional_weight > 0
    else:
        us, count = "discriminator", halvings(int(config.image_size))  # type: ignore[attr-defined]
        places = [("encode_img", 3 * i - 1) for i in range(1, count + max(0, count - 4))]
        first, join, joint = "encode_img.0", "get_cond_logits.outlogits", "get_cond_logits.outlogits.3"
        single, alone = "get_uncond_logits.outlogits.0", isinstance(config, StackGAN2Config)
    names = renamed(f"{us}.encoder.0.0", first, ("weight",))
    for i, (theirs, at) in enumerate(places, 1):
        names |= normalised(f"{us}.encoder.{i}", theirs, at)
    names |= normalised(f"{us}.join", join, 0) | renamed(f"{us}.joint", joint, AFFINE)
    return names | (renamed(f"{us}.single", single, AFFINE) if alone else {})


def residual_names(ours: str, theirs: str) -> Names:
    """Both convolutions of a residual block."""
    return normalised(f"{ours}.body", f"{theirs}.block", 0) | normalised(f"{ours}.body", f"{theirs}.block", 3, at=3)


def halvings(side: int) -> int:
    """How often a side is halved down to 4.

    >>> halvings(64)
    4
    """
    return side.bit_length() - 3
