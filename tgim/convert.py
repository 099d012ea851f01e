"""Checkpoints of the authors' PyTorch releases, turned into ours.

Known here are TAGAN (woozzu/tagan) and SISGAN (woozzu/dong_iccv_2017, the trained encoder). Their files hold networks
alone: the word vectors that they were trained on (fastText, 300 wide) are given beside them, SISGAN's sentence encoder
too. Other families have a module each, see `CONVERTERS`.
"""

from __future__ import annotations

import importlib
import logging
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from tgim import checkpoint
from tgim.encoders import read_word_vectors
from tgim.errors import CheckpointError, UserError
from tgim.model import Editing, Model
from tgim.models.sisgan import SISGAN, SISGANConfig
from tgim.models.tagan import TAGAN, TAGANConfig

CONVERTERS = {  # other systems -> the module whose `convert` knows their files; it is given all that is not of words
    "stackgan1": "tgim.convert_stackgan",
    "stackgan2": "tgim.convert_stackgan",
    "stackgan_v2": "tgim.convert_stackgan",
    "attngan": "tgim.convert_attngan",
}
Names = dict[str, tuple[str, ...]]  # our tensor -> the authors' tensors, joined along their first dimension
State = dict[str, Tensor]

log = logging.getLogger(__name__)

AFFINE = ("weight", "bias")
NORM = (*AFFINE, "running_mean", "running_var", "num_batches_tracked")
GRU = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
NESTS = {
    "generator": ("generator", "G", "netG", "state_dict", "model", "model_state_dict", "params"),
    "discriminator": ("discriminator", "D", "netD", "state_dict", "model", "model_state_dict", "params"),
    "text encoder": ("text_encoder", "txt_encoder", "state_dict", "model", "model_state_dict", "params"),
    "image encoder": ("image_encoder", "img_encoder", "state_dict", "model", "model_state_dict", "params"),
}
MARKS = {  # a tensor that only this file has -> what the file is
    "GAP_1.0.weight": "a TAGAN discriminator",
    "residual_branch.0.weight": "a SISGAN discriminator",
    "txt_encoder_f.weight_ih": "a TAGAN generator",
    "encoder.30.weight": "a SISGAN generator with VGG encoder, which is not supported",
    "encoder.24.weight": "a SISGAN generator with VGG encoder, which is not supported",
    "decoder.8.weight": "a SISGAN generator",
    "txt_encoder.weight_ih_l0": "a visual-semantic embedding",
    "STAGE1_G.fc.0.weight": "a StackGAN stage-II generator",
    "fc.0.weight": "a StackGAN stage-I generator",
    "get_uncond_logits.outlogits.0.weight": "a StackGAN stage-II discriminator",
    "get_cond_logits.outlogits.0.weight": "a StackGAN stage-I discriminator",
    "h_net2.jointConv.0.weight": "a StackGAN-v2 generator",
    "jointConv.0.weight": "a StackGAN-v2 discriminator",
    "h_net2.att.conv_context.weight": "an AttnGAN generator",
    "COND_DNET.jointConv.0.weight": "an AttnGAN discriminator",
    "rnn.weight_hh_l0_reverse": "an AttnGAN text encoder",
    "emb_cnn_code.weight": "an AttnGAN image encoder",
}


def convert(
    system: str,
    source: str | Path,
    out: str | Path,
    *,
    word_vectors: str | Path | None = None,
    words: str | Path | None = None,
    text_encoder: str | Path | None = None,
    image_encoder: str | Path | None = None,
    discriminator: str | Path | None = None,
    image_size: int | None = None,
    template: str = "{}",
    config: Mapping[str, Any] | None = None,
    half: bool = False,
) -> Path:
    """Turn a released generator into a checkpoint that edits or draws.

    Args:
        system: "tagan", "sisgan", or one of `CONVERTERS`, whose module says what it makes of the other arguments.
        source: the authors' ``.pth``: a state dict, bare or nested under a usual key.
        out: the ``.safetensors`` file to write.
        word_vectors: ``.vec`` (fastText text) or ``.npy``; see `tgim.encoders.read_word_vectors`. TAGAN and SISGAN
            need them, and no other system takes them.
        words: words of the ``.npy`` table, or those to keep of a ``.vec``; AttnGAN's; one a line.
        text_encoder: SISGAN's visual-semantic embedding. Without it sentences are mean word vectors, which the
            generator was not trained on: pictures come out, and they follow the text poorly.
        image_encoder: AttnGAN's, to train on with its matching loss.
        discriminator: the authors' file, to train on from there; otherwise it starts anew.
        image_size: side of the pictures in pixels; the release's by default (128, 64).
        template: completes a bare phrase, see `tgim.checkpoint.save`.
        config: other sizes than the paper's, as keys of `TAGANConfig` or `SISGANConfig`.
        half: store 16-bit weights.

    Returns:
        `out`.

    Raises:
        CheckpointError: a file that cannot be read, is another network, lacks tensors, has surplus or misshapen ones.
    """
    if system in CONVERTERS:
        own = {"words": words, "image_encoder": image_encoder} if system == "attngan" else {}
        if word_vectors is not None or (words is not None and not own):
            raise UserError(f"files of {system} need no word vectors; leave them out")
        other = importlib.import_module(CONVERTERS[system])
        given = {"text_encoder": text_encoder, "discriminator": discriminator, "image_size": image_size, **own}
        written: Path = other.convert(system, source, out, template=template, config=config, half=half, **given)
        return written
    if system not in ("tagan", "sisgan"):
        known = ", ".join(("tagan", "sisgan", *CONVERTERS))
        raise UserError(f"system is {system!r}, expected one of: {known}")
    if word_vectors is None:
        raise UserError(f"the files of {system} hold no word vectors; give those that it was trained on, too")
    vectors = read_word_vectors(word_vectors, words=words)
    options: dict[str, Any] = {"word_vectors": Path(word_vectors).name, "word_size": vectors.table.shape[1]}
    if system == "sisgan":
        options |= {"text_size": options["word_size"], "sentence": "gru" if text_encoder else "mean"}
    options |= {} if image_size is None else {"image_size": image_size}
    try:
        model = build(system, {**options, **(config or {})}, len(vectors.vocabulary))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}") from None
    parts: list[tuple[str, str | Path | None, Names]] = [
        ("generator", source, generator_names(model)),
        ("discriminator", discriminator, discriminator_names(model)),
    ]
    if isinstance(model, SISGAN):
        parts.append(("text encoder", text_encoder, gru_names("text.caption.onward", "txt_encoder", "_l0")))
    for part, path, names in parts:
        if path is not None:
            load_part(model, names, read_state(path, part=part), path=path, what=f"{system} {part}")
    model.fill_words(vectors.table)
    if isinstance(model, SISGAN) and text_encoder is None:
        log.warning("no text encoder given: sentences are mean word vectors, and edits will follow the text poorly")
    card = {
        "title": f"{model.name}, converted from the authors' release ({Path(source).name})",
        "licence": "that of the release and of the word vectors",
        "limits": limits(model, discriminator=discriminator is not None, text_encoder=text_encoder is not None),
    }
    return checkpoint.save(out, model, vocabulary=vectors.vocabulary, template=template, card=card, half=half)


def build(system: str, options: Mapping[str, Any], vocabulary_size: int) -> TAGAN | SISGAN:
    """A model of these sizes; what the files do not fill is drawn from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if system == "tagan":
            return TAGAN(TAGANConfig(**options), vocabulary_size=vocabulary_size)
        return SISGAN(SISGANConfig(**options), vocabulary_size=vocabulary_size)


def limits(model: TAGAN | SISGAN, *, discriminator: bool, text_encoder: bool) -> list[str]:
    """What the model card must say of a converted checkpoint."""
    found = [f"pictures of {model.image_size} px; words without a vector are ignored"]
    if not discriminator:
        found.append("the discriminator is untrained; convert the authors' too before training on")
    if isinstance(model, SISGAN):
        found.append("the picture side of the text's ranking loss is untrained")
        if not text_encoder:
            found.append("no text encoder was given: sentences are mean word vectors, edits follow the text poorly")
    return found


# Files


def read_state(path: str | Path, *, part: str = "generator") -> State:
    """The state dict of `part` ("generator", "discriminator", "text encoder") in a PyTorch file, "module." stripped.

    Nothing but tensors is unpickled.

    Raises:
        CheckpointError: missing, unreadable, holding code, or without tensors.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, ValueError, KeyError, AttributeError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise CheckpointError(f"{path} cannot be read ({error.strerror}); give the authors' .pth file") from None
        raise CheckpointError(
            f"{path} is not a plain PyTorch state dict (truncated, foreign, or a whole pickled model); "
            "save model.state_dict() with torch.save"
        ) from None
    while isinstance(found, Mapping) and not any(isinstance(value, Tensor) for value in found.values()):
        inner = next((found[key] for key in NESTS[part] if key in found), None)
        if not isinstance(inner, Mapping):
            held = listed(map(str, found)) if found else "nothing"
            raise CheckpointError(f"{path} has no {part} under {', '.join(NESTS[part])}; it holds {held}")
        found = inner
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path} holds a {type(found).__name__}, expected a state dict of named tensors")
    state = {str(k).removeprefix("module."): v for k, v in found.items() if isinstance(v, Tensor)}
    if part == "text encoder" and "weight_ih_l0" in state:  # its GRU alone
        return {f"txt_encoder.{k}": v for k, v in state.items()}
    return state


def check_names(names: Names, state: State, *, path: str | Path, what: str, use: str = "drawing") -> None:
    """Raise CheckpointError, which says what is missing or surplus and what the file looks like, unless all is there.

    Args:
        names: of the tensors of ours that the file is to fill.
        state: the file's tensors.
        path: of the file, for the error.
        what: it is to hold.
        use: what its generator is for.
    """
    needed = {theirs for sources in names.values() for theirs in sources}
    optional = {name for name in needed if name.endswith("num_batches_tracked")}  # torch 0.3 wrote none
    missing = sorted(needed - optional - state.keys())
    is_embedding = what == "sisgan text encoder"  # whose file holds VGG-16 too
    surplus = [] if is_embedding else sorted(state.keys() - needed)
    if missing or surplus:
        looks = next((is_what for mark, is_what in MARKS.items() if mark in state), None)
        hint = ""
        if looks and what.replace("tagan", "TAGAN").replace("sisgan", "SISGAN") not in looks:
            hint = f"; this looks like {looks}"
        if "discriminator" in hint and what.endswith("generator"):
            hint += f", and {use} needs the generator"
        faults = [f"lacks {listed(missing)}"] * bool(missing) + [f"has surplus {listed(surplus)}"] * bool(surplus)
        raise CheckpointError(f"{path} is not a {what}: it {' and '.join(faults)}{hint}")


def load_part(model: Model, names: Names, state: State, *, path: str | Path, what: str) -> None:
    """Copy the authors' tensors into `model`.

    Raises:
        CheckpointError: says what is missing, surplus or misshapen, and what the file looks like instead.
    """
    check_names(names, state, path=path, what=what, use="editing" if isinstance(model, Editing) else "drawing")
    own = model.state_dict()
    for ours, sources in names.items():
        if not all(theirs in state for theirs in sources):
            continue
        values = [state[theirs] for theirs in sources]
        shape = tuple(own[ours].shape)
        expected = (shape[0] // len(sources), *shape[1:]) if shape else shape
        for theirs, value in zip(sources, values, strict=True):
            if tuple(value.shape) != expected:
                raise CheckpointError(
                    f"{path}: {theirs} is {tuple(value.shape)}, a {what} of these sizes has {expected}; "
                    "check --system, and that the word vectors have the release's width"
                )
        with torch.no_grad():
            own[ours].copy_(torch.cat(values) if len(values) > 1 else values[0])


def listed(names: Iterable[str], *, most: int = 3) -> str:
    """A few of `names`, and how many more.

    >>> listed(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


# Names


def generator_names(model: TAGAN | SISGAN) -> Names:
    """Our generator's tensors and the authors' names of them."""
    tagan = isinstance(model, TAGAN)
    scales = 3 if tagan else 2  # halvings
    before = 3 if tagan else 2  # layers before the residual blocks: TAGAN has a ReLU there
    names = renamed("generator.encoder.0.0", "encoder.0", AFFINE)
    for i in range(scales):
        names |= normalised(f"generator.encoder.{i + 1}", "encoder", 3 * i + 2)
        names |= normalised(f"generator.decoder.{i}", "decoder", 4 * i + 1, at=1)
    names |= renamed(f"generator.decoder.{scales}.0", f"decoder.{4 * scales}", AFFINE)
    names |= normalised("generator.residual.0", "residual_blocks", 0)
    for i in range(model.config.residual_blocks):
        for at in (0, 3):
            theirs = f"residual_blocks.{i + before}.encoder"
            names |= normalised(f"generator.residual.{i + 1}.body", theirs, at, at=at)
    for kind in AFFINE if tagan else ("weight",):
        names[f"generator.augment.linear.{kind}"] = (f"mu.0.{kind}", f"log_sigma.0.{kind}")
    return names | (reader_names("generator") if tagan else {})


def discriminator_names(model: TAGAN | SISGAN) -> Names:
    """Our discriminator's tensors and the authors' names of them."""
    us = "discriminator"
    if isinstance(model, SISGAN):
        names = renamed(f"{us}.encoder.0.0", "encoder.0", AFFINE)
        for i in range(3):
            names |= normalised(f"{us}.encoder.{i + 1}", "encoder", 3 * i + 2)
            names |= normalised(f"{us}.residual.{i}", "residual_branch", 3 * i)
        names |= normalised(f"{us}.classify.0", "classifier", 0) | renamed(f"{us}.classify.1", "classifier.3", AFFINE)
        return names | renamed(f"{us}.compress.0", "compression.0", AFFINE)
    names = renamed(f"{us}.encoder.0.0.0", "encoder_1.0", AFFINE)
    for i in (1, 2):
        names |= normalised(f"{us}.encoder.0.{i}", "encoder_1", 3 * i - 1)
        names |= normalised(f"{us}.encoder.{i}", f"encoder_{i + 1}", 0)
    for i in range(3):
        names |= normalised(f"{us}.pool.{i}", f"GAP_{i + 1}", 0)
        names |= renamed(f"{us}.word_filter.{i}", f"gen_filter.{i}", AFFINE)
    names |= renamed(f"{us}.scale_weight", "gen_weight.0", AFFINE) | renamed(f"{us}.classify", "classifier", AFFINE)
    return names | reader_names(us)


def reader_names(network: str) -> Names:
    """TAGAN's bidirectional text encoder."""
    ours = f"{network}.read.gru"
    return {**gru_names(f"{ours}.onward", "txt_encoder_f"), **gru_names(f"{ours}.inward", "txt_encoder_b")}


def gru_names(ours: str, theirs: str, suffix: str = "") -> Names:
    """One GRU; the authors' is a cell, or a layer with `suffix`."""
    return {f"{ours}.{kind}_l0": (f"{theirs}.{kind}{suffix}",) for kind in GRU}


def renamed(ours: str, theirs: str, kinds: Iterable[str]) -> Names:
    """One layer of ours is one of theirs."""
    return {f"{ours}.{kind}": (f"{theirs}.{kind}",) for kind in kinds}


def normalised(ours: str, theirs: str, first: int, *, at: int = 0) -> Names:
    """A convolution without bias and its normalisation: at `at` of our block, from `first` of theirs on."""
    convolution = renamed(f"{ours}.{at}", f"{theirs}.{first}", ("weight",))
    return convolution | renamed(f"{ours}.{at + 1}", f"{theirs}.{first + 1}", NORM)
