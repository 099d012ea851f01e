"""StackGAN-Pytorch (both stages) and StackGAN-v2 (hanzhanggit).

Sizes are read off the file. What it does not hold is the char-CNN-RNN that captions were read by; a structured joint
embedding of ours (`sje`) of the same width takes its place, and must have been the one that the generator was trained
with for its pictures to mean what the captions say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tgim.checkpoints import checkpoint
from tgim.conversion.files import ReleaseFile, State, count, read_state
from tgim.conversion.names import (
    WEIGHT,
    Names,
    doublings,
    halvings,
    joined,
    joint_discriminator,
    normalised,
    renamed,
    residual,
    tree_places,
)
from tgim.conversion.plan import (
    NO_TEXT_ENCODER,
    UNTRAINED_DISCRIMINATOR,
    Inputs,
    Plan,
    check_size,
    checked_config,
    discriminator_files,
)
from tgim.errors import CheckpointError
from tgim.models.base import Model
from tgim.models.generation.sentences import SentenceEncoder
from tgim.models.generation.stackgan import StackGAN1, StackGAN1Config, StackGAN2, StackGAN2Config
from tgim.models.generation.stackgan_v2 import StackGANv2, StackGANv2Config
from tgim.models.matching.sje import SJE, SJEConfig
from tgim.text.vocabulary import Alphabet

StackGAN = StackGAN1 | StackGAN2 | StackGANv2
StackGANConfig = StackGAN1Config | StackGAN2Config | StackGANv2Config
WHAT = {"stackgan1": "StackGAN stage-I", "stackgan2": "StackGAN stage-II", "stackgan_v2": "StackGAN-v2"}


def plan(given: Inputs) -> Plan:
    """Plan the conversion: sizes but the discriminator's are in the generator's file; stage II holds stage I."""
    system, what = given.system, WHAT[given.system]
    state = read_state(given.source)
    found = sizes(system, state)
    discriminators = discriminator_files(given.discriminator, found.get("branches", 1))
    if discriminators and (first := discriminators[0][1].get(FIRST_OF_JUDGE[system])) is not None:
        found["discriminator_width"] = len(first)
    embedding = trained_text_encoder(given)
    config = checked(system, state, found, None if embedding is None else embedding.config, given.config)
    files = [ReleaseFile(f"{what} generator", given.source, generator_names(config), state)]
    for i, (path, tensors) in enumerate(discriminators):
        files.append(ReleaseFile(f"{what} discriminator", path, discriminator_names(config, i), tensors))
    if found:
        check_size(given, config.image_size)
    if embedding is not None and found and (width := sentence_width(state)) != embedding.config.embedding_size:
        raise CheckpointError(
            f"{given.text_encoder} makes sentences of {embedding.config.embedding_size} numbers, {given.source} reads "
            f"{width}; train an sje with embedding_size {width}"
        )

    def read_as_trained(model: Model) -> None:
        own = text_encoder_of(model).characters
        if embedding is not None and own is not None:
            own.load_state_dict(embedding.encoders.caption.state_dict())

    silent = embedding is None and getattr(config, "conditional", True)  # no text encoder
    limits = [f"pictures of {config.image_size} px"] + [UNTRAINED_DISCRIMINATOR] * (not discriminators)
    return Plan(
        build=lambda: untrained(config),
        files=files,
        vocabulary=Alphabet(),
        title=what,
        limits=limits + [NO_TEXT_ENCODER] * silent,
        warning=NO_TEXT_ENCODER if silent else None,
        finish=read_as_trained,
    )


def trained_text_encoder(given: Inputs) -> SJE | None:
    """The embedding that reads captions, if one is given; CheckpointError when it is none."""
    if given.text_encoder is None:
        return None
    found = checkpoint.load(given.text_encoder).model
    if not isinstance(found, SJE):
        raise CheckpointError(f"{given.text_encoder} is a {found.name!r}; the text encoder must be a trained 'sje'")
    return found


def untrained(config: StackGANConfig) -> StackGAN:
    """The model that a config is of."""
    words = len(Alphabet())
    if isinstance(config, StackGAN1Config):
        return StackGAN1(config, vocabulary_size=words)
    if isinstance(config, StackGAN2Config):
        return StackGAN2(config, vocabulary_size=words)
    return StackGANv2(config, vocabulary_size=words)


def text_encoder_of(model: Model) -> SentenceEncoder:
    """Text encoder of a generator; that of stage I in stage II, too."""
    found: SentenceEncoder = model.first.read if isinstance(model, StackGAN2) else model.generator.read  # type: ignore[union-attr, assignment]
    return found


# Sizes


def checked(
    system: str, state: State, found: Mapping[str, Any], embedding: SJEConfig | None, given: Mapping[str, Any] | None
) -> StackGANConfig:
    """The config that a file shows, with an embedding of its width; UserError where the caller's keys make none."""
    encoder = (embedding or SJEConfig.model_validate({})).model_copy(update={"embedding_size": sentence_width(state)})
    given = given or {}
    if system == "stackgan2":
        first = {**given.get("first", {}), "encoder": encoder}
        values = {**found, **given, "first": {**found.get("first", {}), **first}}
        return checked_config(StackGAN2Config, values, {**given, "first": first})
    values, wanted = {**found, **given, "encoder": encoder}, {**given, "encoder": encoder}
    if values.get("conditional") is False:  # StackGAN-v2 without captions
        values, wanted = {**values, "encoder": None}, {**wanted, "encoder": None}
    if system == "stackgan1":
        return checked_config(StackGAN1Config, values, wanted)
    return checked_config(StackGANv2Config, values, wanted)


def sentence_width(state: State) -> int:
    """Width of the sentences of a generator; the release's where the file does not say."""
    layer = state.get("ca_net.fc.weight")
    return int(layer.shape[1]) if layer is not None and layer.ndim == 2 else 1024


def sizes(system: str, state: State) -> dict[str, Any]:
    """Sizes of a generator by its file; none where it is another network, as `ReleaseFile.check` will say."""
    try:
        return SIZES[system](state)
    except (KeyError, ValueError, IndexError):
        return {}


def sizes1(state: State, prefix: str = "") -> dict[str, Any]:
    """Sizes of stage I."""
    condition = state[f"{prefix}ca_net.fc.weight"].shape[0] // 2
    rows, inputs = state[f"{prefix}fc.0.weight"].shape
    doubled = count(state, f"{prefix}upsample")
    return {
        "image_size": 4 * 2**doubled,
        "width": rows // 8 // 2**doubled,
        "noise_size": inputs - condition,
        "condition_size": condition,
    }


def sizes2(state: State) -> dict[str, Any]:
    """Sizes of stage II with its stage I."""
    first = sizes1(state, "STAGE1_G.")
    return {
        "image_size": first["image_size"] // 4 * 2 ** count(state, "upsample"),
        "first": first,
        "width": len(state["encoder.0.weight"]),
        "residual_blocks": count(state, "residual."),
        "condition_size": state["ca_net.fc.weight"].shape[0] // 2,
    }


def sizes_v2(state: State) -> dict[str, Any]:
    """Sizes of StackGAN-v2; a file without conditioning augmentation is of one that reads no captions."""
    tree: dict[str, Any] = tree_sizes(state, conditional="ca_net.fc.weight" in state)
    found = {"base_size": tree.pop("first_size"), "branches": tree.pop("scales"), **tree}
    return found | ({"residual_blocks": count(state, "h_net2.residual.")} if found["branches"] > 1 else {})


def tree_sizes(state: State, *, conditional: bool = True) -> dict[str, int]:
    """Sizes that the generators of StackGAN-v2 and AttnGAN have in common."""
    condition = len(state["ca_net.fc.weight"]) // 4 if conditional else 0
    rows, inputs = state["h_net1.fc.0.weight"].shape
    doubled = count(state, "h_net1.upsample")
    return {
        "first_size": 4 * 2**doubled,
        "scales": count(state, "img_net"),
        "width": rows // 32 // 2**doubled,
        "noise_size": inputs - condition,
        **({"condition_size": condition} if conditional else {"conditional": False}),
    }


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


def generator_names(config: StackGANConfig) -> Names:
    """Our tensors, stage I's in stage II among them, and the authors' names of them."""
    if isinstance(config, StackGAN1Config):
        return names1(config, "generator", "")
    return names2(config) if isinstance(config, StackGAN2Config) else names_v2(config)


def names1(config: StackGAN1Config, ours: str, theirs: str) -> Names:
    """Stage I."""
    doubled = halvings(config.image_size)
    names = renamed(f"{ours}.augment.linear", f"{theirs}ca_net.fc") | normalised(f"{ours}.paint.0", f"{theirs}fc", 0)
    names |= doublings(f"{ours}.paint", f"{theirs}upsample", doubled)
    return names | renamed(f"{ours}.paint.{doubled + 1}.0", f"{theirs}img.0", WEIGHT)


def names2(config: StackGAN2Config) -> Names:
    """Stage II, and stage I within."""
    first = config.first or StackGAN1Config.model_validate({})
    us, doubled = "generator", halvings(config.image_size) - halvings(first.image_size) + 2
    names = names1(first, "first", "STAGE1_G.") | renamed(f"{us}.augment.linear", "ca_net.fc")
    names |= renamed(f"{us}.encoder.0.0", "encoder.0", WEIGHT) | normalised(f"{us}.residual.0", "hr_joint", 0)
    names |= joined(normalised(f"{us}.encoder.{i}", "encoder", 3 * i - 1) for i in (1, 2))
    for i in range(config.residual_blocks):
        names |= residual(f"{us}.residual.{i + 1}.body", f"residual.{i}.block")
    for i in range(doubled):
        names |= normalised(f"{us}.decoder.{i}", f"upsample{i + 1}", 1, at=1)
    return names | renamed(f"{us}.decoder.{doubled}.0", "img.0", WEIGHT)


def names_v2(config: StackGANv2Config) -> Names:
    """StackGAN-v2."""
    us, blocks = "generator", config.residual_blocks
    names = normalised(f"{us}.start.0", "h_net1.fc", 0)
    names |= renamed(f"{us}.augment.linear", "ca_net.fc") if config.conditional else {}
    names |= doublings(f"{us}.start", "h_net1.upsample", halvings(config.base_size))
    for i in range(config.branches):
        names |= renamed(f"{us}.paint.{i}.0", f"img_net{i + 1}.img.0", WEIGHT)
    for i in range(config.branches - 1):
        ours, theirs = f"{us}.branches.{i}.body", f"h_net{i + 2}"
        names |= normalised(f"{ours}.0", f"{theirs}.jointConv", 0)
        for k in range(blocks):
            names |= residual(f"{ours}.{k + 1}.body", f"{theirs}.residual.{k}.block")
        names |= normalised(f"{ours}.{blocks + 1}", f"{theirs}.upsample", 1, at=1)
    return names


def discriminator_names(config: StackGANConfig, number: int = 0) -> Names:
    """Our discriminator's tensors, of StackGAN-v2 the `number`-th one's, and the authors' names of them."""
    if isinstance(config, StackGANv2Config):
        ours, alone = f"discriminator.{number}", "uncond_logits.0" if config.unconditional_weight > 0 else None
        places = tree_places(halvings(config.image_sizes[number]))
        if not config.conditional:  # the release names the only head as the joint one
            return joint_discriminator(ours, "img_code_s16.0", places, join=None, joint=None, single="logits.0")
        return joint_discriminator(ours, "img_code_s16.0", places, join="jointConv", joint="logits.0", single=alone)
    halved = halvings(config.image_size)
    return joint_discriminator(
        "discriminator",
        "encode_img.0",
        [("encode_img", 3 * i - 1) for i in range(1, halved + max(0, halved - 4))],
        join="get_cond_logits.outlogits",
        joint="get_cond_logits.outlogits.3",
        single="get_uncond_logits.outlogits.0" if isinstance(config, StackGAN2Config) else None,
    )
