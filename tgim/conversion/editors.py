"""TAGAN (woozzu/tagan) and SISGAN (woozzu/dong_iccv_2017, the trained encoder).

Their files hold networks alone: the word vectors that they were trained on (fastText, 300 wide) are given beside them,
SISGAN's sentence encoder, a visual-semantic embedding with VGG-16 in its file, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tgim.conversion.files import ReleaseFile, read_state
from tgim.conversion.names import AFFINE, WEIGHT, Names, gru, joined, normalised, renamed, residual
from tgim.conversion.plan import UNTRAINED_DISCRIMINATOR, Inputs, Plan, checked_config
from tgim.errors import UserError
from tgim.models.base import Model
from tgim.models.editing.sisgan import SISGAN, SISGANConfig
from tgim.models.editing.tagan import TAGAN, TAGANConfig
from tgim.text.word_vectors import read_word_vectors

EditorConfig = TAGANConfig | SISGANConfig

MEAN_READER = "no text encoder given: sentences are mean word vectors, and edits will follow the text poorly"


def plan(given: Inputs) -> Plan:
    """Word vectors say how wide and how many words are; all other sizes are the paper's, or in `given.config`."""
    if given.word_vectors is None:
        raise UserError(
            f"the files of {given.system} hold no word vectors; give those that it was trained on by --word-vectors"
        )
    vectors = read_word_vectors(given.word_vectors, words=given.words)
    options: dict[str, Any] = {"word_vectors": given.word_vectors.name, "word_size": vectors.table.shape[1]}
    if given.system == "sisgan":
        options |= {"text_size": options["word_size"], "sentence": "gru" if given.text_encoder else "mean"}
    if given.image_size is not None:
        options["image_size"] = given.image_size
    config = config_of(given.system, {**options, **(given.config or {})})
    parts = [
        ("generator", given.source, generator_names(config)),
        ("discriminator", given.discriminator, discriminator_names(config)),
        ("text encoder", given.text_encoder, gru("text.caption.onward", "txt_encoder", "_l0")),
    ]
    files = []
    for part, path, names in parts:
        if path is not None:
            state, whole = read_state(path, part), part == "text encoder"
            if whole and "weight_ih_l0" in state:  # its GRU alone
                state = {f"txt_encoder.{name}": value for name, value in state.items()}
            what = f"{given.system.upper()} {part}"
            advice = "check --system, and that the word vectors have the release's width"
            files.append(ReleaseFile(what, path, names, state, use="editing", advice=advice, more=whole))

    def fill_words(model: Model) -> None:
        if isinstance(model, TAGAN | SISGAN):
            model.fill_words(vectors.table)

    return Plan(
        build=lambda: untrained(config, len(vectors.vocabulary)),
        files=files,
        vocabulary=vectors.vocabulary,
        title=given.system,
        limits=limits(given, config),
        finish=fill_words,
        licence="that of the release and of the word vectors",
        warning=MEAN_READER if given.system == "sisgan" and given.text_encoder is None else None,
    )


def limits(given: Inputs, config: EditorConfig) -> list[str]:
    """List the limits of a converted checkpoint for its model card."""
    found = [f"pictures of {config.image_size} px; words without a vector are ignored"]
    found += [UNTRAINED_DISCRIMINATOR] * (given.discriminator is None)
    if isinstance(config, SISGANConfig):
        found.append("the picture side of the text's ranking loss is untrained")
        if given.text_encoder is None:
            found.append(MEAN_READER)
    return found


def config_of(system: str, options: Mapping[str, Any]) -> EditorConfig:
    """The config of "tagan" or "sisgan"; UserError where `options` make none."""
    if system == "tagan":
        return checked_config(TAGANConfig, options, options)
    return checked_config(SISGANConfig, options, options)


def untrained(config: EditorConfig, vocabulary_size: int) -> TAGAN | SISGAN:
    """The model that a config is of."""
    if isinstance(config, TAGANConfig):
        return TAGAN(config, vocabulary_size=vocabulary_size)
    return SISGAN(config, vocabulary_size=vocabulary_size)


# Names


def generator_names(config: EditorConfig) -> Names:
    """Our generator's tensors and the authors' names of them."""
    us, tagan = "generator", isinstance(config, TAGANConfig)
    scales = 3 if tagan else 2  # halvings
    before = 3 if tagan else 2  # layers before the residual blocks: TAGAN has a ReLU there
    names = renamed(f"{us}.encoder.0.0", "encoder.0") | normalised(f"{us}.residual.0", "residual_blocks", 0)
    for i in range(scales):
        names |= normalised(f"{us}.encoder.{i + 1}", "encoder", 3 * i + 2)
        names |= normalised(f"{us}.decoder.{i}", "decoder", 4 * i + 1, at=1)
    names |= renamed(f"{us}.decoder.{scales}.0", f"decoder.{4 * scales}")
    for i in range(config.residual_blocks):
        names |= residual(f"{us}.residual.{i + 1}.body", f"residual_blocks.{i + before}.encoder")
    for kind in AFFINE if tagan else WEIGHT:
        names[f"{us}.augment.linear.{kind}"] = (f"mu.0.{kind}", f"log_sigma.0.{kind}")
    return names | (text_encoder_names(us) if tagan else {})


def discriminator_names(config: EditorConfig) -> Names:
    """Our discriminator's tensors and the authors' names of them."""
    us = "discriminator"
    if isinstance(config, SISGANConfig):
        names = renamed(f"{us}.encoder.0.0", "encoder.0") | renamed(f"{us}.compress.0", "compression.0")
        for i in range(3):
            names |= normalised(f"{us}.encoder.{i + 1}", "encoder", 3 * i + 2)
            names |= normalised(f"{us}.residual.{i}", "residual_branch", 3 * i)
        return names | normalised(f"{us}.classify.0", "classifier", 0) | renamed(f"{us}.classify.1", "classifier.3")
    names = renamed(f"{us}.encoder.0.0.0", "encoder_1.0")
    for i in (1, 2):
        names |= normalised(f"{us}.encoder.0.{i}", "encoder_1", 3 * i - 1)
        names |= normalised(f"{us}.encoder.{i}", f"encoder_{i + 1}", 0)
    for i in range(3):
        names |= normalised(f"{us}.pool.{i}", f"GAP_{i + 1}", 0)
        names |= renamed(f"{us}.word_filter.{i}", f"gen_filter.{i}")
    names |= renamed(f"{us}.scale_weight", "gen_weight.0") | renamed(f"{us}.classify", "classifier")
    return names | text_encoder_names(us)


def text_encoder_names(network: str) -> Names:
    """TAGAN's bidirectional text encoder."""
    ways = (("onward", "f"), ("inward", "b"))
    return joined(gru(f"{network}.read.gru.{ours}", f"txt_encoder_{theirs}") for ours, theirs in ways)
