"""AttnGAN's release (taoxugit/AttnGAN), turned into ours: generator, text encoder, image encoder, discriminators.

Sizes are read off the files. The words are not in them: the release keeps them in a pickle, ``captions.pickle``, which
tgim does not open. Whoever trusts it writes them out as text, one a line, in the order of their numbers:

    import pickle
    words = pickle.load(open("captions.pickle", "rb"))[2]
    open("words.txt", "w").write("\\n".join(words[i] for i in range(len(words))))
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from tgim import checkpoint
from tgim.convert import AFFINE, Names, State, check_names, load_part, normalised, read_state, renamed
from tgim.convert_stackgan import count, discriminator_files, halvings, residual_blocks, residual_names
from tgim.errors import CheckpointError, UserError
from tgim.matching.damsm import DAMSMConfig
from tgim.models.attngan import AttnGAN, AttnGANConfig
from tgim.text import Vocabulary

GAMMAS: dict[str, Any] = {"gamma1": 4.0, "gamma2": 5.0, "gamma3": 10.0}  # the release's, for birds
LSTM = tuple(f"{kind}_l0{way}" for way in ("", "_reverse") for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
PADDING_WORD = "<end>"  # number 0 of the release's words

log = logging.getLogger(__name__)


def convert(
    system: str,
    source: str | Path,
    out: str | Path,
    *,
    text_encoder: str | Path | None = None,
    words: str | Path | None = None,
    image_encoder: str | Path | None = None,
    discriminator: str | Path | None = None,
    image_size: int | None = None,
    template: str = "{}",
    config: Mapping[str, Any] | None = None,
    half: bool = False,
) -> Path:
    """Turn a released generator and the encoders that it was trained with into a checkpoint that draws.

    Args:
        system: "attngan".
        source: the authors' generator, ``netG_epoch_*.pth``.
        out: the ``.safetensors`` file to write.
        text_encoder: ``text_encoder*.pth``; the generator reads nothing else.
        words: the text encoder's words, one a line in the order of their numbers, with or without the first, "<end>".
        image_encoder: ``image_encoder*.pth``, Inception-v3 within, to train on with the DAMSM's loss.
        discriminator: ``netD0.pth``, to train on from there; the others are looked for beside it.
        image_size: side of the pictures in pixels; only checked, the file says it.
        template: completes a bare phrase, see `tgim.checkpoint.save`.
        config: further keys of `AttnGANConfig`.
        half: store 16-bit weights.

    Raises:
        CheckpointError: a file that cannot be read, is another network, lacks tensors, has surplus or misshapen ones.
        UserError: the text encoder or its words are not given, or sizes that cannot be.
    """
    if text_encoder is None or words is None:
        raise UserError("an AttnGAN generator needs text_encoder and words, those that it was trained with; give both")
    state, text = read_state(source), read_state(text_encoder, part="text encoder")
    seen = None if image_encoder is None else read_state(image_encoder, part="image encoder")
    check_names(text_names(), text, path=text_encoder, what="AttnGAN text encoder")
    vocabulary = read_words(words, rows=len(text["encoder.weight"]))
    options = {**sizes(state), **(config or {})}
    encoder = encoder_sizes(text, options.get("image_size", 256), image_encoder)
    judges = discriminator_files(discriminator, options.get("scales", 3))
    judged = [read_state(path, part="discriminator") for path in judges]
    if judged and (first := judged[0].get("img_code_s16.0.weight")) is not None:
        options["discriminator_width"] = len(first)
    try:
        settings = AttnGANConfig(**{**options, "encoder": encoder})
    except ValidationError as error:
        fault = error.errors()[0]
        raise UserError(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}, got {fault['input']!r}") from None
    check_names(generator_names(settings), state, path=source, what="AttnGAN generator")
    if image_size not in (None, settings.image_size):
        raise UserError(f"image_size is {image_size}, but {source} draws {settings.image_size} px; leave it out")
    model = build(settings, len(vocabulary))
    table = text["encoder.weight"]
    text["encoder.weight"] = torch.cat([table.new_zeros(2, table.shape[1]), table[1:]])  # padding and unknown words
    parts: list[tuple[str, str | Path, Names, State]] = [
        ("generator", source, generator_names(settings), state),
        ("text encoder", text_encoder, text_names(), text),
    ]
    if image_encoder is not None and seen is not None:
        parts.append(("image encoder", image_encoder, image_names(model), seen))
    for i, (judge, tensors) in enumerate(zip(judges, judged, strict=True)):
        parts.append(("discriminator", judge, discriminator_names(settings, i), tensors))
    for part, file, names, tensors in parts:
        load_part(model, names, tensors, path=file, what=f"AttnGAN {part}")
    card = {
        "title": f"attngan, converted from the authors' release ({Path(source).name})",
        "licence": "that of the release",
        "limits": limits(settings, image_encoder=image_encoder is not None, discriminator=discriminator is not None),
    }
    return checkpoint.save(out, model, vocabulary=vocabulary, template=template, card=card, half=half)


def build(settings: AttnGANConfig, vocabulary_size: int) -> AttnGAN:
    """A model of these sizes; what the files do not fill is drawn from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AttnGAN(settings, vocabulary_size=vocabulary_size)


def limits(settings: AttnGANConfig, *, image_encoder: bool, discriminator: bool) -> list[str]:
    """What the model card must say of a converted checkpoint."""
    found = [f"pictures of {settings.image_size} px; unknown words are read as empty ones, the release drops them"]
    if not image_encoder:
        found.append("no image encoder was given: convert it too before training on, the DAMSM's loss says nothing")
    if not discriminator:
        found.append("the discriminators are untrained; convert the authors' too before training on")
    return found


def read_words(path: str | Path, *, rows: int) -> Vocabulary:
    """The vocabulary of a text encoder of `rows` words, the padding among them.

    Raises:
        CheckpointError: a file that cannot be read, or of another number of words.
    """
    try:
        words = Path(path).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"words {path} cannot be read ({error}); give a text of one word a line") from None
    own = words[1:] if words[:1] == [PADDING_WORD] else words
    if len(own) != rows - 1:
        raise CheckpointError(f"words {path} are {len(own)}, but the text encoder has {rows - 1} and {PADDING_WORD}")
    return Vocabulary(own)


# Sizes


def sizes(state: State) -> dict[str, Any]:
    """Sizes of a generator, by its file; nothing where it is another network, as `check_names` will say."""
    try:
        condition = state["ca_net.fc.weight"].shape[0] // 4
        rows, inputs = state["h_net1.fc.0.weight"].shape
    except (KeyError, ValueError):
        return {}
    doublings, scales = count(state, "h_net1.upsample{}.1.weight"), count(state, "img_net{}.img.0.weight")
    found = {
        "image_size": 4 * 2**doublings << max(0, scales - 1),
        "scales": scales,
        "width": rows // 32 // 2**doublings,
        "noise_size": inputs - condition,
        "condition_size": condition,
    }
    return found | ({"residual_blocks": residual_blocks(state, "h_net2.residual")} if scales > 1 else {})


def encoder_sizes(text: State, image_size: int, image_encoder: str | Path | None) -> DAMSMConfig:
    """Sizes of the DAMSM, by the file of its text encoder."""
    sees: dict[str, Any] = {}
    if image_encoder is not None:
        sees = {"backbone": "inception_v3", "backbone_weights": Path(image_encoder).name, "image_size": image_size}
    word_size, half = text["encoder.weight"].shape[1], text["rnn.weight_hh_l0"].shape[1]
    return DAMSMConfig(**{"word_size": word_size, "embedding_size": 2 * half, **sees, **GAMMAS})


# Names


def generator_names(config: AttnGANConfig) -> Names:
    """Our generator's tensors and the authors' names of them."""
    us = "generator"
    names = renamed(f"{us}.augment.linear", "ca_net.fc", AFFINE) | normalised(f"{us}.first.0", "h_net1.fc", 0)
    for i in range(1, halvings(config.sizes[0]) + 1):
        names |= normalised(f"{us}.first.{i}", f"h_net1.upsample{i}", 1, at=1)
    for i in range(config.scales):
        names |= renamed(f"{us}.paint.{i}.0", f"img_net{i + 1}.img.0", ("weight",))
    for i in range(config.scales - 1):
        ours, theirs = f"{us}.refine.{i}", f"h_net{i + 2}"
        names |= renamed(f"{ours}.attend.project", f"{theirs}.att.conv_context", ("weight",))
        for k in range(config.residual_blocks):
            names |= residual_names(f"{ours}.residual.{k}", f"{theirs}.residual.{k}")
        names |= normalised(f"{ours}.up", f"{theirs}.upsample", 1, at=1)
    return names


def discriminator_names(config: AttnGANConfig, number: int) -> Names:
    """The tensors of our discriminator of scale `number` and the authors' names of them."""
    us, halved = f"discriminator.{number}", halvings(config.sizes[number])
    places = [("img_code_s16", 3 * i - 1) for i in range(1, min(halved, 4))]
    places += [(f"img_code_s{2 ** (i + 1)}", 0) for i in range(4, halved)]
    places += [(f"img_code_s{2**halved}_{i + 1}", 0) for i in range(halved - 4)]
    names = renamed(f"{us}.encoder.0.0", "img_code_s16.0", ("weight",))
    for i, (theirs, at) in enumerate(places, 1):
        names |= normalised(f"{us}.encoder.{i}", theirs, at)
    names |= normalised(f"{us}.join", "COND_DNET.jointConv", 0)
    for ours, theirs in (("joint", "COND_DNET"), ("single", "UNCOND_DNET")):
        names |= renamed(f"{us}.{ours}", f"{theirs}.outlogits.0", AFFINE)
    return names


def text_names() -> Names:
    """The text encoder of our DAMSM and the authors' names; their table has one reserved word, ours two."""
    us = "matching.encoders"
    return renamed(f"{us}.table.embed", "encoder", ("weight",)) | renamed(f"{us}.caption.rnn", "rnn", LSTM)


def image_names(model: AttnGAN) -> Names:
    """The image encoder of our DAMSM and the authors' names: two layers of their own, Inception's are torchvision's."""
    us, backbone = "matching.encoders", model.matching.encoders.backbone
    names = renamed(f"{us}.region", "emb_features", ("weight",)) | renamed(f"{us}.picture", "emb_cnn_code", AFFINE)
    return names | {f"{us}.backbone.{name}": (name.removeprefix("net."),) for name in backbone.state_dict()}
