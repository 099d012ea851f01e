"""Search in a folder of pictures by a picture and a text that says what is to be different.

A trained system of `tgim.models.retrieval` composes both. A matching model can do without training: the embeddings of
picture and text are added, the plainest of the baselines of Vo et al. (CVPR 2019); the text is then read as a caption.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tgim.checkpoints import checkpoint
from tgim.checkpoints.checkpoint import Checkpoint
from tgim.data.cache import Progress
from tgim.errors import CheckpointError, ImageError, UserError
from tgim.images.photo import Source, as_array
from tgim.images.resample import Floats
from tgim.inference.embeddings import Embeddings, made_by
from tgim.inference.ranking import check_captions, with_embeddings
from tgim.inference.scoring import Scored, as_batch, read_square, score_pictures
from tgim.models.base import Composing, Matching
from tgim.text.vocabulary import Tokens

SUM = "sum of embeddings"
LEADING = re.compile(
    r"^(?:(?:but|and|now|with|has|have|in|make|give|it|the same(?: \w+)?|the|an?)\b[\s,]*)+(?=\w)", re.IGNORECASE
)


@dataclass(frozen=True, eq=False)
class Found:
    """Pictures and how near they are to what was meant: cosines, -1 to 1, that order what one call compares."""

    images: tuple[str, ...]  # names of the N pictures that could be read, in the order they were given
    scores: NDArray[np.float32]  # (N,)
    query: str  # name of the picture that was given
    text: str
    how: str  # name of the composing system, or `SUM`
    failed: tuple[str, ...] = ()  # one line for each picture that could not be read

    @property
    def order(self) -> NDArray[np.int64]:
        """(N,) rows of the pictures, best first; of equal scores the earlier one."""
        return np.argsort(-self.scores, kind="stable")

    def rows(self, *, top: int | None = None) -> Iterator[dict[str, Any]]:
        """The pictures as JSON values, best first: rank (from 1), image, score, and what was asked."""
        for rank, row in enumerate(self.order[:top].tolist(), 1):
            found = {"rank": rank, "image": self.images[row], "score": round(float(self.scores[row]), 6)}
            yield found | {"query": self.query, "text": self.text, "by": self.how}

    def listed(self, *, top: int) -> str:
        """The pictures for people: place, score and name under a heading."""
        lines = [f"{self.query}: {self.text}"]
        lines += [f"{row['rank']:>6}  {row['score']:6.3f}  {row['image']}" for row in self.rows(top=top)]
        if len(self.images) > top:
            lines.append(f"        and {len(self.images) - top:,} more")
        return "\n".join(lines)


def search(
    images: Sequence[Source],
    *,
    image: Source,
    text: str,
    model: str | Path | Checkpoint = "judge-birds",
    device: str = "cpu",
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> Found:
    """Rank `images` by how near they are to what `image` and `text` together mean.

    The file of `image` itself is left out of `images`; a picture that cannot be read is named in `Found.failed`.

    Args:
        images: paths, bytes, PIL images or arrays.
        image: the picture to start from.
        text: what is to be different, "but with a red head".
        model: name or file of a composing system's or matching model's checkpoint, or what `open_searching` returned.
        device: "cpu" or "cuda".
        cache: folder in which embeddings of files are kept; as of `tgim.inference.ranking.rank`.
        progress: called with (done, total) while pictures are read.

    Raises:
        CheckpointError: no such model, or one that neither composes nor matches.
        TextError: a text that cannot be used.
        ImageError: `image` cannot be read, or no picture is left to rank.
    """
    if isinstance(images, str | os.PathLike | bytes):
        raise UserError("search takes a list of pictures: search(['a.jpg', 'b.jpg'], image='bird.jpg', text='...')")
    source = model if isinstance(model, Checkpoint) else open_searching(model, device=device)
    system = source.model.to(torch.device(device)).eval()
    if not isinstance(system, Composing | Matching):
        raise CheckpointError(f"the checkpoint is a {source.name}, which neither composes nor matches")
    (sentence,) = check_captions(source, [text if isinstance(system, Composing) else as_caption(text)])
    images = [each for each in images if not _same(each, image)]
    if not images:
        raise ImageError("there is no picture to search among, the one that is given aside; name a folder with others")
    with torch.inference_mode():
        start = torch.from_numpy(as_batch([read_square(image, size=system.image_size)])).to(device)
        meant = query(system, start, source.vocabulary.encode([sentence]).to(device))[0]

    @torch.inference_mode()
    def see(pixels: Floats) -> Floats:
        shown = torch.from_numpy(pixels).to(device)
        return as_array(torch.cat([system.embed_images(each[None]) for each in shown]).float())

    @torch.inference_mode()
    def score(seen: Floats) -> Floats:
        return as_array(F.normalize(torch.from_numpy(seen).to(device), dim=1) @ meant)

    def run(kept: Embeddings | None = None) -> Scored:
        return score_pictures(images, see, score, size=system.image_size, kept=kept, progress=progress)

    if cache is None or isinstance(model, Checkpoint):
        found = run()
    else:
        shown = torch.cuda.get_device_name() if torch.device(device).type == "cuda" else "cpu"
        way = made_by("torch embeddings", torch.__version__, shown, threads=torch.get_num_threads())
        found = with_embeddings(cache, run, see, model=model, made_by=way, size=system.image_size)
    asked = os.fsdecode(image) if isinstance(image, str | os.PathLike) else "the picture"
    how = source.model.name if isinstance(system, Composing) else SUM
    return Found(found.names, found.scores, asked, text, how, found.failed)


def query(system: Composing | Matching, image: Tensor, text: Tokens) -> Tensor:
    """Unit embeddings (B, D) of what pictures (B, 3, S, S) and texts mean together: composed, or else added."""
    if isinstance(system, Composing):
        return system.compose(image, text)
    picture, caption = system.embed_images(image).float(), system.embed_captions(text).float()
    return F.normalize(F.normalize(picture, dim=1) + F.normalize(caption, dim=1), dim=1)


def open_searching(name_or_path: str | Path, *, device: str = "cpu") -> Checkpoint:
    """Load a composing or matching model; others are refused by their header, before their weights are read.

    Raises:
        CheckpointError: as `tgim.checkpoints.checkpoint.load`, or a model of another kind.
    """
    header = checkpoint.read_header(name_or_path)
    if header["role"] not in ("retrieval", "matching"):
        raise CheckpointError(
            f"{name_or_path} is a {header['name']}, which neither composes nor matches; train a composing system "
            "(recipes/compose_*.yaml), or name a matching model such as judge-birds"
        )
    return checkpoint.load(name_or_path, device=device)


def as_caption(text: str) -> str:
    """Reduce a text of a change to a bare phrase that a caption's template completes.

    >>> as_caption("but with a red head"), as_caption("a red bird"), as_caption("the same bird")
    ('red head', 'red bird', 'bird')
    """
    return LEADING.sub("", text) if isinstance(text, str) else text


def _same(one: Source, other: Source) -> bool:
    """Test whether both are paths of one file."""
    if not (isinstance(one, str | os.PathLike) and isinstance(other, str | os.PathLike)):
        return False
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
