"""Checkpoints of the authors' PyTorch releases, turned into ours.

What their files are called, and what stands where in them, is in `tgim.conversion`, a module for each family.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tgim.checkpoints import checkpoint
from tgim.conversion.files import shapes_of
from tgim.conversion.plan import Inputs, Plan, seeded
from tgim.errors import UserError

SYSTEMS = {  # system -> the module whose `plan` knows its files, and what it takes beside them
    "tagan": ("tgim.conversion.editors", {"word_vectors", "words"}),
    "sisgan": ("tgim.conversion.editors", {"word_vectors", "words", "text_encoder"}),
    "stackgan1": ("tgim.conversion.stackgan", {"text_encoder"}),
    "stackgan2": ("tgim.conversion.stackgan", {"text_encoder"}),
    "stackgan_v2": ("tgim.conversion.stackgan", {"text_encoder"}),
    "attngan": ("tgim.conversion.attngan", {"words", "text_encoder", "image_encoder"}),
}

log = logging.getLogger(__name__)


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
    """Turn a released generator into a checkpoint that edits or generates. Tensors that the files lack stay untrained.

    Args:
        system: a key of `SYSTEMS`.
        source: the authors' ``.pth``: a state dict, bare or nested under a usual key. That of StackGAN's stage II holds
            stage I.
        out: the ``.safetensors`` file to write.
        word_vectors: TAGAN's and SISGAN's, ``.vec`` (fastText text) or ``.npy``; see
        `tgim.text.word_vectors.read_word_vectors`.
        words: words of the ``.npy`` table, or those to keep of a ``.vec``; or AttnGAN's, in the order of their numbers,
            with or without the first, "<end>"; one a line.
        text_encoder: what the generator reads by. SISGAN's visual-semantic embedding and AttnGAN's text encoder are the
            authors' files; for StackGAN and StackGAN-v2 it is a checkpoint of our `sje`. Without it pictures come out
            that follow the text poorly or not at all.
        image_encoder: AttnGAN's, Inception-v3 within, to train on with its matching loss.
        discriminator: the authors' file, to train on from there; otherwise it starts anew. Of several (StackGAN-v2,
            AttnGAN) the first one, ``netD0.pth``; the others are looked for beside it.
        image_size: side of the pictures in pixels. TAGAN and SISGAN can work at others than the release's (128, 64);
            for the other systems it is only checked, the file says it.
        template: completes a bare phrase, see `tgim.checkpoints.checkpoint.save`.
        config: other sizes than the paper's, where the files do not say them, as keys of the system's config.
        half: store 16-bit weights.

    Returns:
        `out`.

    Raises:
        CheckpointError: a file that cannot be read, is another network, lacks tensors, has surplus or misshapen ones;
            nothing is written.
        UserError: an unknown system, something that it needs is not given, or something it does not take.
    """
    if system not in SYSTEMS:
        raise UserError(f"system is {system!r}, expected one of: {', '.join(SYSTEMS)}")
    module, takes = SYSTEMS[system]
    beside = {
        "word_vectors": word_vectors,
        "words": words,
        "text_encoder": text_encoder,
        "image_encoder": image_encoder,
    }
    for name, value in beside.items():
        if value is not None and name not in takes:
            raise UserError(f"files of {system} need no {name.replace('_', ' ')}; leave that out")
    files = {name: None if value is None else Path(value) for name, value in beside.items()}
    own = None if discriminator is None else Path(discriminator)
    given = Inputs(system, Path(source), **files, discriminator=own, image_size=image_size, config=config)
    plan: Plan = importlib.import_module(module).plan(given)

    shapes = shapes_of(plan.build)
    for file in plan.files:
        file.check(shapes)
    if plan.warning:
        log.warning(plan.warning)
    model = seeded(plan.build)
    for file in plan.files:
        file.fill(model)
    plan.finish(model)
    card = {
        "title": f"{plan.title}, converted from the authors' release ({given.source.name})",
        "licence": plan.licence,
        "limits": plan.limits,
    }
    return checkpoint.save(out, model, vocabulary=plan.vocabulary, template=template, card=card, half=half)
