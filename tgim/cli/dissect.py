"""Options of `tgim steer` that look into a generator's layers, and the page that they write."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgim.cli.app import note, progress_bar
from tgim.cli.options import FILE, Verb
from tgim.errors import UserError
from tgim.text.lexicon.colours import DISSECTED

if TYPE_CHECKING:
    from tgim.inference.steer.boundaries import Boundaries
    from tgim.inference.steer.units import Dissection
    from tgim.models.base import Localising

LOCALISER, JUDGE = "birds", "judge-birds"  # unless others are named
NOUNS = {"wings": "bird", "petals": "flower"}  # part -> what has it


def dissect_options(verb: Verb) -> Verb:
    """Add the options `--dissect`, `--attribute`, `--layer` and `--localiser` to a verb."""
    options = (
        click.option("--dissect", type=FILE, metavar="FILE", help="Write a page on the model's layers: HTML."),
        click.option(
            "--attribute",
            "attributes",
            multiple=True,
            metavar="'CAPTION / CAPTION'",
            help="With --dissect: find in each layer the boundary between pictures of both; may be repeated.",
        ),
        click.option("--layer", "layers", multiple=True, metavar="NAME", help="With --dissect: these layers alone."),
        click.option(
            "--localiser",
            metavar="MODEL",
            help="With --dissect: part localiser, or an editor with one.  [default: birds]",
        ),
    )
    for option in reversed(options):
        verb = option(verb)
    return verb


def write_dissection(
    out: Path,
    *,
    model: str,
    texts: Sequence[str] = (),
    attributes: Sequence[str] = (),
    localiser: str = LOCALISER,
    judge: str = JUDGE,
    layers: Sequence[str] = (),
    pictures: int | None = None,
    seed: int = 0,
    device: str = "auto",
    saved: Path | None = None,
) -> tuple[Dissection, Boundaries | None]:
    """Dissect a generator, find the boundaries of attributes in it, and write a page on both.

    Args:
        out: the HTML file; it is replaced.
        model: name or file of a text-to-image model.
        texts: captions of the pictures; colours of what the localiser knows unless given.
        attributes: each two captions, such as ``"a red bird / a blue bird"``.
        localiser: name or file of a part localiser, or of an editor with one.
        judge: name or file of the matching model that scores attributes; none that the generator learned by.
        layers: names of layers, all unless given; an unknown one is answered by a list of all.
        pictures: that units are compared in; an eighth of them that units are switched in, at most 32, and half as many
            again that are scored for attributes. 256 unless given.
        seed: of all that is drawn.
        device: "auto", "cpu" or "cuda".
        saved: file for the direction of the attribute in the noise; of one attribute alone.

    Returns:
        What the page shows.

    Raises:
        UserError: a model cannot be used, an attribute is not two captions, or `out` cannot be written.
        TextError: a caption cannot be used.
    """
    pairs = [pair_of(text) for text in attributes]
    check_page(out)

    from tgim.environment import pick_device
    from tgim.inference.generator import Generator
    from tgim.inference.part_overlay import open_localiser
    from tgim.inference.ranking import open_matching
    from tgim.inference.steer.boundaries import NOISE, direction_fields, find_boundaries, preference
    from tgim.inference.steer.direction import Direction, identity
    from tgim.inference.steer.units import PICTURES, SWITCHED_PICTURES, dissect
    from tgim.reporting.dissection import dissection_page
    from tgim.system.files import write_file

    chosen = pick_device(device)
    generator = Generator.from_pretrained(model, device=chosen)
    finder = open_localiser(localiser, device=chosen)
    captions, count = list(texts) or default_texts(finder), pictures or PICTURES
    with progress_bar("picture") as progress:
        found = dissect(
            generator, finder, texts=captions, n=count, seed=seed, layers=layers, names=(model, localiser),
            switched_n=max(2, min(SWITCHED_PICTURES, count // 8)), progress=progress,
        )  # fmt: skip
    lines = None
    if pairs:
        source = open_matching(judge, device=chosen)
        tried = [preference(source, *pair, device=chosen) for pair in pairs]
        with progress_bar("picture") as progress:
            lines = find_boundaries(
                generator, tried, texts=captions, n=count * 3 // 2, seed=seed, layers=layers, names=(model, judge),
                progress=progress,
            )  # fmt: skip
    try:
        write_file(out, dissection_page(found, lines))
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}); name another file") from error
    if saved is not None and lines is not None:
        boundary = next(each for each in lines.found if each.place == NOISE)
        Direction(**direction_fields(boundary, generator=identity(generator.model), facts={"seed": seed})).save(saved)
    share = 100 * found.seen.value
    note(f"{localiser} sees a subject in {share:.0f} % of {found.n} generated pictures; of others no figure tells")
    return found, lines


def facts(found: Dissection, lines: Boundaries | None) -> dict[str, Any]:
    """Convert what a page shows to a few JSON values."""
    told: dict[str, Any] = {"layers": [layer.name for layer in found.layers], "n": found.n, "seen": found.seen.value}
    accuracy = (
        [] if lines is None else [[b.attribute, b.place, b.accuracy.value, b.shuffled.value] for b in lines.found]
    )
    return told | {"boundaries": accuracy}


def pair_of(text: str) -> tuple[str, str]:
    """Split an attribute into its two captions.

    >>> pair_of("a red bird / a blue bird")
    ('a red bird', 'a blue bird')

    Raises:
        UserError: it is not two captions.
    """
    both = [part.strip() for part in text.split("/")]
    if len(both) != 2 or not all(both):
        raise UserError(f"attribute {text!r} is not two captions with a slash between: 'a red bird / a blue bird'")
    return both[0], both[1]


def default_texts(localiser: Localising) -> list[str]:
    """Make captions of every colour for what the localiser has parts of.

    Raises:
        UserError: it is neither birds nor flowers.
    """
    for part, noun in NOUNS.items():
        if part in localiser.parts:
            return [f"a {colour} {noun}" for colour in DISSECTED]
    raise UserError(f"captions are known for birds and flowers, not for {', '.join(localiser.parts[1:])}; give --text")


def check_page(out: Path) -> None:
    """Refuse a page that could not be written, before minutes are spent; UserError."""
    folder = out.absolute().parent
    if out.is_dir():
        raise UserError(f"{out} is a folder, expected a file; give --dissect {out / 'layers.html'}")
    if not folder.is_dir():
        raise UserError(f"{out} cannot be written: there is no folder {folder}; make it, or name another file")
    if not os.access(out if out.exists() else folder, os.W_OK):
        raise UserError(f"{out} cannot be written: it is write-protected; name another file")
