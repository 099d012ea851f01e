"""The verb that steers generators: `tgim steer`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgim.cli.app import check_not_input, check_picture, main, note, progress_bar, warn
from tgim.cli.dissect import JUDGE, LOCALISER, dissect_options, facts, write_dissection
from tgim.cli.generate import check_folder, quiet
from tgim.cli.options import (
    FILE,
    device_option,
    invert_steps_option,
    json_option,
    model_option,
    quality_option,
    seed_option,
    texts_option,
)
from tgim.errors import UserError
from tgim.system.say import say, say_json

if TYPE_CHECKING:
    from tgim.inference.generator import Generator
    from tgim.inference.inversion import Inverter
    from tgim.inference.steer import Direction

WAYS = ("towards", "operation", "direction")  # options of which each names a direction to walk along
ROWS = 4
LEARNING = ("assessor", "judge", "steps", "saved")  # options of what is learned


@main.command()
@model_option("attngan-birds", of="a text-to-image model")
@click.option("--towards", metavar="CAPTION", help="Learn what makes pictures fit this caption better.")
@click.option(
    "--operation", metavar="NAME", help="Learn to copy an edit: brightness, hue, shift-x, shift-y, zoom or rotation."
)
@click.option("--direction", type=FILE, metavar="FILE", help="Take a direction that --save-direction wrote.")
@texts_option
@click.option("--image", type=FILE, help="Steer a photograph: its noise is searched for first.")
@click.option("--n", "count", type=click.IntRange(1), help="Rows of the strip, a noise each.  [default: 4]")
@seed_option("Seed of the rows' noises, and of all that is sampled to learn and to measure.")
@click.option("--steps", type=click.IntRange(1), help="Steps of learning.  [default: 200, and 150 with --towards]")
@click.option("--assessor", metavar="MODEL", help="With --towards: matching model to learn from.  [default: birds-1's]")
@click.option("--judge", metavar="MODEL", help="Matching model that measures.  [default: judge-birds-2]")
@click.option("--out", type=FILE, help="Picture file for the strip.")
@click.option("--save-direction", "saved", type=FILE, metavar="FILE", help="Write the direction, for --direction.")
@dissect_options
@invert_steps_option
@device_option
@quality_option
@json_option
def steer(
    model: str,
    towards: str | None,
    operation: str | None,
    direction: Path | None,
    texts: tuple[str, ...],
    image: Path | None,
    count: int | None,
    seed: int,
    steps: int | None,
    assessor: str | None,
    judge: str | None,
    out: Path | None,
    saved: Path | None,
    dissect: Path | None,
    attributes: tuple[str, ...],
    layers: tuple[str, ...],
    localiser: str | None,
    invert_steps: int | None,
    device: str,
    quality: int | None,
    as_json: bool,
) -> None:
    """Steer a text-to-image model along a direction in its noise.

    \b
    tgim steer --towards "a red bird" --out strip.png
    tgim steer --operation zoom --out strip.png --save-direction zoom.safetensors
    tgim steer --direction zoom.safetensors --text "a yellow bird with black wings" --n 8 --out strip.png
    tgim steer --direction zoom.safetensors --image bird.jpg --text "a yellow bird" --out strip.png
    tgim steer --dissect layers.html --attribute "a red bird / a blue bird" --save-direction red.safetensors

    The caption of a row stays, and its noise walks along the direction: from -3 to 3 steps, the unsteered picture in
    the middle. The last rows go along a random direction of the same length, the control. What a step is depends on
    the direction: a tenth of the range of brightness, 30 degrees of hue, a sixteenth of the side to the right or
    downwards, 1.15 times larger, 10 degrees counter-clockwise; with --towards one standard deviation of the score.

    Printed on stderr: how much of each step is reached on fresh noises, beside the random direction, and how far
    pictures stay plausible. --towards learns from one matching model and is measured by another, too. Captions are
    those of --text, in turns, or some that the model knows. An existing --out is replaced. --json prints one line.

    --dissect stands in place of a direction and --out. It compares units of the layers with the parts that a part
    localiser sees, switches the best ones off and on, and with --attribute asks in which layer the attribute is made;
    --n is the number of pictures then, and --save-direction keeps the attribute's direction in the noise.
    """
    given = {"towards": towards, "operation": operation, "direction": direction}
    ways = [name for name in WAYS if given[name] is not None]
    if dissect is not None:
        others = {**given, "out": out, "image": image, "steps": steps, "assessor": assessor}
        others |= {"invert-steps": invert_steps, "quality": quality}
        if extra := [name for name in others if others[name] is not None]:
            raise click.UsageError(f"--dissect looks into layers, without --{extra[0]}; leave one of them out")
        if saved is not None and len(attributes) != 1:
            raise click.UsageError(f"--save-direction takes one --attribute with --dissect, got {len(attributes)}")
        if saved is not None:
            check_file(saved, other=dissect, name="dissect")
        shown = write_dissection(
            dissect, model=model, texts=texts, attributes=attributes, layers=layers, localiser=localiser or LOCALISER,
            judge=judge or JUDGE, pictures=count, seed=seed, device=device, saved=saved,
        )  # fmt: skip
        told: dict[str, Any] = {
            "out": str(dissect),
            "model": model,
            "saved": saved and str(saved),
            "seed": seed,
            **facts(*shown),
        }
        say_json(told) if as_json else say(dissect)
        return
    if attributes or layers or localiser is not None:
        raise click.UsageError(
            "--attribute, --layer and --localiser are for --dissect; give it a file, or leave them out"
        )
    if out is None:
        raise click.UsageError("there is no --out; name a picture file for the strip")
    if len(ways) != 1:
        what = " and ".join(f"--{name}" for name in ways) or "no direction"
        raise click.UsageError(f"got {what}; give one of {', '.join(f'--{name}' for name in WAYS)}")
    learned = {"assessor": assessor, "judge": judge, "steps": steps, "saved": saved}
    if direction is not None and (extra := [name for name in LEARNING if learned[name] is not None]):
        option = extra[0].replace("saved", "save-direction")
        raise click.UsageError(f"--{option} is for learning, and --direction is learned already; leave one out")
    if assessor is not None and towards is None:
        raise click.UsageError("--assessor is for --towards; leave it out")
    if image is not None and count is not None:
        raise click.UsageError("--n is for sampled noises, and --image has one for each --text; leave one out")

    from tgim.images.photo import check_target, open_image, save_image
    from tgim.inference import batch_edit as jobs
    from tgim.inference import steer as steering

    check_target(out)
    if image is not None:
        check_picture(image)
    for target in (out, saved):
        if target is not None:
            check_not_input(target, *(path for path in (image, direction) if path is not None))
    if saved is not None:
        check_file(saved, other=out)
    generator, inverter = open_generator(model, device=device, invert_steps=invert_steps, wanted=image is not None)
    found = None if direction is None else steering.load_direction(direction, generator.model)
    if not texts or not generator.model.reads:
        texts = steering.default_captions(generator)[: None if image is None else 1]
        if generator.model.reads:
            note(f"captions: {'; '.join(texts)} (--text names others)")
    for message in jobs.check_texts(generator, texts):
        warn(message)
    begun = time.monotonic()
    if found is None:
        found = learn(generator, operation, towards, texts=texts, learned=learned, seed=seed)
    if saved is not None:
        found.save(saved)
    with quiet():
        noise = None
        if image is not None and inverter is not None:
            noise = steering.noise_of(generator, inverter, image, texts)
        drawn = steering.sheet(generator, found, texts=texts, n=count or ROWS, seed=seed, noise=noise)
        captions = [generator.caption(text) for text in texts]
    save_image(open_image(drawn), out, quality=quality)
    if not as_json:
        say(out)
        for line in steering.told(found):
            note(line)
        return
    told = {"out": str(out), "model": model, "kind": found.kind, "of": found.of, "texts": texts}
    told |= {"captions": captions, "image": image and str(image), "saved": saved and str(saved), "seed": seed}
    seconds = round(time.monotonic() - begun, 2)
    say_json(told | {"facts": found.facts, "seconds": seconds, "device": str(generator.device)})


def learn(
    generator: Generator,
    operation: str | None,
    towards: str | None,
    *,
    texts: Sequence[str],
    learned: Mapping[str, Any],
    seed: int,
) -> Direction:
    """Learn and measure the direction that was asked for, an operation or a caption, behind a progress bar."""
    from tgim.inference import batch_edit as jobs
    from tgim.inference import steer as steering
    from tgim.inference.steer import assessor, operations
    from tgim.inference.steer.learning import subjects

    with progress_bar("step") as progress, quiet():
        if operation is not None:
            return steering.operation(
                generator,
                operation,
                texts=texts,
                steps=learned["steps"] or operations.STEPS,
                seed=seed,
                judge=learned["judge"],
                progress=progress,
            )
        teacher = steering.open_assessor(
            learned["assessor"] or assessor.ASSESSORS[subjects(generator)[0]], device=str(generator.device)
        )
        for message in jobs.check_texts(teacher, [str(towards)]):
            warn(message)
        return steering.towards(
            generator,
            str(towards),
            texts=texts,
            assessor=teacher,
            judge=learned["judge"],
            steps=learned["steps"] or assessor.STEPS,
            seed=seed,
            progress=progress,
        )


def open_generator(
    model: str, *, device: str, invert_steps: int | None, wanted: bool
) -> tuple[Generator, Inverter | None]:
    """Open the checkpoint `model` as a generator, and where a photograph is `wanted` what finds its noise.

    The checkpoint of a style encoder counts as its generator, and then needs no search.

    Raises:
        UserError: no generator, or `invert_steps` where no noise is searched for.
    """
    from tgim.checkpoints import checkpoint
    from tgim.environment import pick_device
    from tgim.inference.generator import Generator
    from tgim.inference.inversion import Inverter

    if invert_steps is not None and not wanted:
        raise UserError("--invert-steps is for the noise of a photograph; give --image, or leave it out")
    chosen = pick_device(device)
    source = checkpoint.load(model, device=chosen)
    inside = source.model.text_to_image
    generator = Generator(source if inside is None else replace(source, model=inside), device=chosen)
    inverter = Inverter.of(source.model, steps=invert_steps, progress=True) if wanted else None
    return generator, None if inverter is None else inverter.to(generator.device).eval()


def check_file(path: Path, *, other: Path, name: str = "out") -> None:
    """Refuse a file for the direction that could not be written, before it is learned; UserError."""
    if path.is_dir():
        raise UserError(f"{path} is a folder, but --save-direction must name a file")
    if os.path.abspath(path) == os.path.abspath(other):
        raise UserError(f"--{name} and --save-direction would both write {path}; name two files")
    check_folder(path.parent)
