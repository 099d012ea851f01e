"""AttnGAN (taoxugit/AttnGAN): generator, text encoder, image encoder, discriminators.

Sizes are read off the files. The words are not in them: the release keeps them in a pickle, ``captions.pickle``, which
tgim does not open. Whoever trusts it writes them out as text, one a line, in the order of their numbers:

    import pickle
    words = pickle.load(open("captions.pickle", "rb"))[2]
    open("words.txt", "w").write("\\n".join(words[i] for i in range(len(words))))
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch

from tgim.conversion.files import ReleaseFile, State, count, read_state
from tgim.conversion.names import (
    LSTM,
    WEIGHT,
    Names,
    doublings,
    halvings,
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
from tgim.conversion.stackgan import tree_sizes
from tgim.errors import CheckpointError, UserError
from tgim.models.generation.attngan import AttnGAN, AttnGANConfig
from tgim.models.matching.backbone import TorchvisionNet
from tgim.models.matching.damsm import DAMSMConfig
from tgim.text import word_vectors
from tgim.text.vocabulary import Vocabulary

GAMMAS: dict[str, Any] = {"gamma1": 4.0, "gamma2": 5.0, "gamma3": 10.0}  # the release's, for birds
PADDING_WORD = "<end>"  # number 0 of the release's words


def plan(given: Inputs) -> Plan:
    """Plan the conversion: all sizes are in the files; words are in the order of the text encoder's numbers."""
    if given.words is None:
        raise UserError(
            "an AttnGAN generator reads words by the text encoder it was trained with; give text_encoder and words, "
            "one word a line in the order of captions.pickle (tgim opens no pickle: python -m pydoc "
            "tgim.conversion.attngan shows how to write them out)"
        )
    state = read_state(given.source)
    text = None if given.text_encoder is None else read_state(given.text_encoder, "text encoder")
    found, words = sizes(state), read_words(given.words)
    discriminators = discriminator_files(given.discriminator, found.get("scales", 1))
    if discriminators and (first := discriminators[0][1].get("img_code_s16.0.weight")) is not None:
        found["discriminator_width"] = len(first)
    own = dict(given.config or {})
    encoder = encoder_sizes(state, text or {}, {**found, **own}.get("image_size", 256), given.image_encoder)
    config = checked_config(AttnGANConfig, {**found, **own, "encoder": encoder}, {**own, "encoder": encoder})
    if found:
        check_size(given, config.image_size)
    files = [ReleaseFile("AttnGAN generator", given.source, generator_names(config), state)]
    if given.text_encoder is not None and text is not None:
        files.append(ReleaseFile("AttnGAN text encoder", given.text_encoder, text_names(), two_reserved(text)))
        if (table := text.get("encoder.weight")) is not None and len(table) != len(words) + 1:
            raise CheckpointError(
                f"words {given.words} are {len(words)}, but the text encoder has {len(table) - 1} and {PADDING_WORD}"
            )
    if given.image_encoder is not None:
        image_state = read_state(given.image_encoder, "image encoder")
        files.append(ReleaseFile("AttnGAN image encoder", given.image_encoder, image_names(), image_state))
    for i, (path, tensors) in enumerate(discriminators):
        files.append(ReleaseFile("AttnGAN discriminator", path, discriminator_names(config, i), tensors))
    vocabulary = Vocabulary(words)
    return Plan(
        build=lambda: AttnGAN(config, vocabulary_size=len(vocabulary)),
        files=files,
        vocabulary=vocabulary,
        title="attngan",
        limits=limits(given, config),
        warning=NO_TEXT_ENCODER if given.text_encoder is None else None,
    )


def limits(given: Inputs, config: AttnGANConfig) -> list[str]:
    """List the limits of a converted checkpoint for its model card."""
    found = [f"pictures of {config.image_size} px; unknown words are read as empty ones, the release drops them"]
    if given.text_encoder is None:
        found.append(NO_TEXT_ENCODER)
    if given.image_encoder is None:
        found.append("no image encoder was given: convert it too before training on, the DAMSM's loss says nothing")
    return found + [UNTRAINED_DISCRIMINATOR] * (given.discriminator is None)


def read_words(path: Path) -> list[str]:
    """The words of a text encoder, "<end>", its padding, left out; CheckpointError for a file that cannot be read."""
    words = [word for line in word_vectors.read_words(path) for word in line.split(" ") if word.strip()]
    return words[1:] if words[:1] == [PADDING_WORD] else words


def two_reserved(text: State) -> State:
    """A text encoder whose table begins with our two reserved words, padding and unknown, both empty."""
    table = text.get("encoder.weight")
    if table is None or table.ndim != 2:
        return text
    return {**text, "encoder.weight": torch.cat([table.new_zeros(2, table.shape[1]), table[1:]])}


# Sizes


def sizes(state: State) -> dict[str, Any]:
    """Sizes of a generator by its file; none where it is another network, as `ReleaseFile.check` will say."""
    try:
        found: dict[str, Any] = dict(tree_sizes(state))
    except (KeyError, ValueError, IndexError):
        return {}
    found["image_size"] = found.pop("first_size") << max(0, found["scales"] - 1)
    return found | ({"residual_blocks": count(state, "h_net2.residual.")} if found["scales"] > 1 else {})


def encoder_sizes(state: State, text: State, image_size: int, image_encoder: Path | None) -> DAMSMConfig:
    """Sizes of the DAMSM, by the files of the generator and of its text encoder; the defaults where they do not say."""
    options: dict[str, Any] = {**GAMMAS, "image_size": image_size} if image_encoder is not None else {**GAMMAS}
    if image_encoder is not None:
        options |= {"backbone": "inception_v3", "backbone_weights": image_encoder.name}
    if (layer := state.get("ca_net.fc.weight")) is not None and layer.ndim == 2:
        options["embedding_size"] = layer.shape[1]
    if (table := text.get("encoder.weight")) is not None and table.ndim == 2:
        options["word_size"] = table.shape[1]
    return checked_config(DAMSMConfig, options, {})


# Names


def generator_names(config: AttnGANConfig) -> Names:
    """Our generator's tensors and the authors' names of them."""
    us = "generator"
    names = renamed(f"{us}.augment.linear", "ca_net.fc") | normalised(f"{us}.first.0", "h_net1.fc", 0)
    names |= doublings(f"{us}.first", "h_net1.upsample", halvings(config.sizes[0]))
    for i in range(config.scales):
        names |= renamed(f"{us}.paint.{i}.0", f"img_net{i + 1}.img.0", WEIGHT)
    for i in range(config.scales - 1):
        ours, theirs = f"{us}.refine.{i}", f"h_net{i + 2}"
        names |= renamed(f"{ours}.attend.project", f"{theirs}.att.conv_context", WEIGHT)
        for k in range(config.residual_blocks):
            names |= residual(f"{ours}.residual.{k}.body", f"{theirs}.residual.{k}.block")
        names |= normalised(f"{ours}.up", f"{theirs}.upsample", 1, at=1)
    return names


def discriminator_names(config: AttnGANConfig, number: int) -> Names:
    """The tensors of our discriminator of scale `number` and the authors' names of them."""
    return joint_discriminator(
        f"discriminator.{number}",
        "img_code_s16.0",
        tree_places(halvings(config.sizes[number])),
        join="COND_DNET.jointConv",
        joint="COND_DNET.outlogits.0",
        single="UNCOND_DNET.outlogits.0",
    )


def text_names() -> Names:
    """The text encoder of our DAMSM and the authors' names; their table has one reserved word, ours two."""
    us = "matching.encoders"
    return renamed(f"{us}.table.embed", "encoder", WEIGHT) | renamed(f"{us}.caption.rnn", "rnn", LSTM)


@cache
def image_names() -> Names:
    """The image encoder of our DAMSM and the authors' names: two layers of their own, Inception's are torchvision's."""
    us = "matching.encoders"
    with torch.device("meta"):
        inner = TorchvisionNet("inception_v3", frozen=True).state_dict()
    names = renamed(f"{us}.region", "emb_features", WEIGHT) | renamed(f"{us}.picture", "emb_cnn_code")
    return names | {f"{us}.backbone.{name}": (name.removeprefix("net."),) for name in inner}
