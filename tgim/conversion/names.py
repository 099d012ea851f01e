"""Tables from our tensors to the authors', put together layer by layer; what the systems' tables have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Names = dict[str, tuple[str, ...]]  # our tensor -> the authors' tensors, joined along their first dimension

AFFINE = ("weight", "bias")
WEIGHT = ("weight",)
NORM = (*AFFINE, "running_mean", "running_var", "num_batches_tracked")
RECURRENT = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
LSTM = tuple(f"{kind}_l0{way}" for way in ("", "_reverse") for kind in RECURRENT)


def renamed(ours: str, theirs: str, kinds: Iterable[str] = AFFINE) -> Names:
    """Map a layer of ours to a layer of theirs.

    >>> renamed("paint.0", "img.0", WEIGHT)
    {'paint.0.weight': ('img.0.weight',)}
    """
    return {f"{ours}.{kind}": (f"{theirs}.{kind}",) for kind in kinds}


def normalised(ours: str, theirs: str, first: int, *, at: int = 0) -> Names:
    """Map a layer without bias and its normalisation: at `at` of our block, from `first` of theirs on."""
    convolution = renamed(f"{ours}.{at}", f"{theirs}.{first}", WEIGHT)
    return convolution | renamed(f"{ours}.{at + 1}", f"{theirs}.{first + 1}", NORM)


def residual(ours: str, theirs: str) -> Names:
    """Map both convolutions of a residual block; those of all five releases stand at 0 and 3."""
    return normalised(ours, theirs, 0) | normalised(ours, theirs, 3, at=3)


def doublings(ours: str, theirs: str, count: int) -> Names:
    """Map upsampling blocks: ours from `ours`.1 on, theirs from `theirs`1 on."""
    return joined(normalised(f"{ours}.{i}", f"{theirs}{i}", 1, at=1) for i in range(1, count + 1))


def gru(ours: str, theirs: str, suffix: str = "") -> Names:
    """Map a GRU; the authors' is a cell, or a layer with `suffix`."""
    return {f"{ours}.{kind}_l0": (f"{theirs}.{kind}{suffix}",) for kind in RECURRENT}


def joined(tables: Iterable[Names]) -> Names:
    """Join `tables` to one."""
    return {ours: theirs for table in tables for ours, theirs in table.items()}


def joint_discriminator(
    ours: str, first: str, places: Sequence[tuple[str, int]], *, join: str | None, joint: str | None, single: str | None
) -> Names:
    """Map a `JointDiscriminator`, that of StackGAN and of its successors.

    Args:
        ours: our name of it.
        first: the authors' name of the first convolution.
        places: of each further convolution, as `normalised` takes them.
        join: theirs of the block that puts picture and condition together; None: there is none, nor `joint`.
        joint: theirs of the last convolution for both.
        single: and for the picture alone; None: there is none.
    """
    names = renamed(f"{ours}.encoder.0.0", first, WEIGHT) | (normalised(f"{ours}.join", join, 0) if join else {})
    names |= joined(normalised(f"{ours}.encoder.{i}", *place) for i, place in enumerate(places, 1))
    names |= renamed(f"{ours}.joint", joint) if joint else {}
    return names | (renamed(f"{ours}.single", single) if single else {})


def tree_places(halved: int) -> list[tuple[str, int]]:
    """List the convolutions of a StackGAN-v2 or AttnGAN discriminator that halves its picture so often.

    >>> tree_places(5)[2:]
    [('img_code_s16', 8), ('img_code_s32', 0), ('img_code_s32_1', 0)]
    """
    shallow = [("img_code_s16", 3 * i - 1) for i in range(1, min(halved, 4))]
    deep = [(f"img_code_s{2 ** (i + 1)}", 0) for i in range(4, halved)]
    return shallow + deep + [(f"img_code_s{2**halved}_{i + 1}", 0) for i in range(halved - 4)]


def halvings(side: int) -> int:
    """Count the halvings of a side down to 4.

    >>> halvings(64)
    4
    """
    return side.bit_length() - 3
