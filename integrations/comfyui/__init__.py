"""Nodes for ComfyUI: edit pictures by a caption, and find the parts of a bird or a flower.

ComfyUI's conventions: an IMAGE is (B, H, W, 3) float in [0, 1], a MASK (B, H, W) or (H, W) float in [0, 1], white where
something may happen. tgim is imported when a node is used, or asked for its lists, not when ComfyUI starts.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict

CATEGORY = "tgim"
KEPT = 2  # models that stay in memory
OWN = "runs/mine/model.safetensors"
EDITING = ("editor", "generator", "parsing")  # roles of models that edit
LOCALISING = ("part_localiser", "part_curves")  # systems that find parts

_turn = threading.Lock()
_open = OrderedDict()  # (kind, file, stamp) -> editor or localiser; the last used one is the last


def _names(wanted):
    """Names of the models that come with tgim and that are `wanted`, birds first; their headers alone are read."""
    try:
        from tgim.checkpoints.checkpoint import list_embedded, read_header
    except ImportError:
        return ["birds"]  # the node says what is missing when it is used
    found = [name for name in list_embedded() if wanted(read_header(name))]
    return sorted(found, key=lambda name: (name not in ("birds", "flowers"), name))


def _stamp(file):
    """Another one whenever the file of a model has changed; None for a model that comes with tgim."""
    try:
        found = os.stat(file)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size


def _opened(kind, model, model_file):
    """The editor or localiser of a model, opened once."""
    from tgim.environment import pick_device

    source = model_file.strip() or model
    key = (kind, source, _stamp(source))
    with _turn:
        if key not in _open:
            if kind == "editor":
                from tgim import Editor

                _open[key] = Editor.from_pretrained(source, device=pick_device("auto"))
            else:
                from tgim.inference.part_overlay import open_localiser

                _open[key] = open_localiser(source, device=pick_device("auto"))
        _open.move_to_end(key)
        while len(_open) > KEPT:
            _open.popitem(last=False)
        return _open[key]


def _photos(image):
    """A photograph of each picture of a batch, whose pixels are a copy."""
    from tgim.images.photo import Photo

    shape = tuple(getattr(image, "shape", ()))
    if len(shape) != 4 or shape[3] not in (3, 4) or 0 in shape:
        what = shape or type(image).__name__
        raise ValueError(f"an IMAGE is (B, H, W, 3), pictures of one size, got {what}; batch pictures of one size")
    pixels = image[..., :3].detach().to("cpu").float().clamp(0, 1) * 2 - 1
    return [Photo(each.permute(2, 0, 1).contiguous(), name=f"picture {i}") for i, each in enumerate(pixels, 1)]


def _masks(mask, count):
    """For each of `count` pictures its mask (H, W) as an array, or None."""
    if mask is None:
        return [None] * count
    if not hasattr(mask, "ndim"):
        raise ValueError(f"a MASK is a tensor (H, W) or (B, H, W), got a {type(mask).__name__}")
    if mask.ndim == 4 and 1 in (mask.shape[1], mask.shape[3]):
        mask = mask[:, 0] if mask.shape[1] == 1 else mask[..., 0]
    mask = mask[None] if mask.ndim == 2 else mask
    if mask.ndim != 3 or mask.shape[0] not in (1, count):
        raise ValueError(
            f"a MASK is (H, W), or (B, H, W) with one for all pictures or one for each of {count}, "
            f"got {tuple(mask.shape)}"
        )
    found = mask.detach().to("cpu").float().clamp(0, 1)
    for i, each in enumerate(found, 1):
        if not each.any():
            raise ValueError(
                f"mask {i} is black everywhere, so nothing may change: draw white where the edit may act, or leave the "
                "mask unconnected (ComfyUI's Load Image gives such a mask for a picture without transparency)"
            )
    return [each.numpy() for each in found.expand(count, -1, -1)]


def _in_one_line(function):
    """A node's function whose errors are a ValueError of one line, and which may use gradients.

    ComfyUI runs nodes in inference mode, whose tensors a search for a photograph's noise could not use.
    """

    def run(self, **given):
        try:
            import torch

            import tgim  # noqa: F401
        except ImportError as error:
            raise ValueError(
                f"{error.name} is missing in ComfyUI's Python; install tgim there, as the README of these nodes says"
            ) from error
        from tgim.errors import UserError

        try:
            with torch.inference_mode(False):
                copies = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in given.items()}
                return function(self, **copies)
        except UserError as error:
            raise ValueError(f"tgim: {error}") from None

    return run


class TgimEdit:
    """Edits pictures by a caption of the wanted result; what it does not mention stays as it was."""

    CATEGORY = CATEGORY
    FUNCTION = "edit"
    RETURN_TYPES = ("IMAGE", "MASK")
    RETURN_NAMES = ("image", "changed")
    DESCRIPTION = "Edit birds and flowers, or what a model of your own knows, by a caption: red head and breast."

    @classmethod
    def INPUT_TYPES(cls):
        """Inputs, their kinds and defaults."""
        models = _names(lambda header: header["role"] in EDITING)
        return {
            "required": {
                "image": ("IMAGE",),
                "text": ("STRING", {"default": "red head and breast", "multiline": True}),
                "model": (models,),
                "strength": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.05}),
                "seed": ("INT", {"default": 0, "min": 0, "max": 2**63 - 1}),
            },
            "optional": {
                "mask": ("MASK", {"tooltip": "White may change, black stays as it is."}),
                "part": ("STRING", {"default": "", "tooltip": "This part alone may change: head, wings, petals, ..."}),
                "model_file": ("STRING", {"default": "", "tooltip": f"A checkpoint of your own instead, as {OWN}."}),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, text=None, model_file=None):
        """Tell before anything runs that there is no text, or no such file; None stands for a linked input."""
        if text is not None and not text.strip():
            return "text is empty; say what is to be seen, as red head and breast"
        return _known_file(model_file)

    @classmethod
    def IS_CHANGED(cls, model_file="", **_):
        """Run again where the file of the model has changed; all else ComfyUI sees by itself."""
        return str(_stamp(model_file)) if model_file else ""

    @_in_one_line
    def edit(self, image, text, model, strength, seed, mask=None, part="", model_file=""):
        """The edited pictures, and masks that are 1 where they differ from the given ones."""
        import torch

        from tgim.inference.masking import changed

        photos = _photos(image)
        masks = _masks(mask, len(photos))
        editor = _opened("editor", model, model_file)
        results, differences = [], []
        for before, own, source in zip(photos, masks, image, strict=True):
            after = editor.edit_photo(before, text, strength=strength, seed=seed, mask=own, part=part.strip() or None)
            new, old = after.tensor.permute(1, 2, 0), before.tensor.permute(1, 2, 0)
            source = source[..., :3].to("cpu").float().clamp(0, 1)
            results.append(torch.where(new == old, source, ((new + 1) / 2).clamp(0, 1)))
            differences.append(torch.from_numpy(changed(before, after)).float() / 255)
        return torch.stack(results), torch.stack(differences)


class TgimParts:
    """Finds a part of the bird or flower in each picture."""

    CATEGORY = CATEGORY
    FUNCTION = "find"
    RETURN_TYPES = ("MASK",)
    RETURN_NAMES = ("mask",)
    DESCRIPTION = (
        "A mask of a part: head, throat, breast, belly, back, wings, tail, beak, legs; petals, center; subject."
    )

    @classmethod
    def INPUT_TYPES(cls):
        """Inputs, their kinds and defaults."""
        return {
            "required": {
                "image": ("IMAGE",),
                "part": ("STRING", {"default": "head"}),
                "model": (_names(lambda header: header["name"] in LOCALISING),),
            },
            "optional": {
                "model_file": ("STRING", {"default": "", "tooltip": f"A checkpoint of your own instead, as {OWN}."}),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, part=None, model_file=None):
        """Tell before anything runs that no part is named, or there is no such file."""
        if part is not None and not part.strip():
            return "part is empty; name one, as head, or subject for all of it"
        return _known_file(model_file)

    @classmethod
    def IS_CHANGED(cls, model_file="", **_):
        """Run again where the file of the model has changed."""
        return str(_stamp(model_file)) if model_file else ""

    @_in_one_line
    def find(self, image, part, model, model_file=""):
        """Masks (B, H, W), 1 where the part surely is."""
        import torch

        from tgim.inference.masking import part_weight

        finder = _opened("parts", model, model_file)
        masks = [torch.from_numpy(part_weight(photo, finder, part.strip())) for photo in _photos(image)]
        return (torch.stack(masks),)


def _known_file(model_file):
    """True, or a line on a file that is not there."""
    if not model_file or not model_file.strip() or os.path.isfile(model_file.strip()):
        return True
    return f"{model_file.strip()} is not there; give model_file the path of a checkpoint, or leave it empty"


NODE_CLASS_MAPPINGS = {"TgimEdit": TgimEdit, "TgimParts": TgimParts}
NODE_DISPLAY_NAME_MAPPINGS = {"TgimEdit": "tgim edit", "TgimParts": "tgim parts"}
__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
