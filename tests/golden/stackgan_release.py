"""StackGAN's PyTorch release and StackGAN-v2's: names and shapes at any width, and what their networks compute.

Facts, held against the full lists of the releases by the tests marked `golden`; the computation is written out by
functions over named tensors, after the papers, and knows nothing of the library's blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from golden.release import Shapes, block, layer

State = dict[str, Tensor]


# Names and shapes


def stage1(
    width: int = 128, text: int = 1024, condition: int = 128, noise: int = 100, doublings: int = 4, under: str = ""
) -> Shapes:
    w = [width // 2 * 2**i for i in range(doublings, -1, -1)]
    found = layer(f"{under}ca_net.fc", [2 * condition, text]) | block(f"{under}fc", 0, [16 * w[0], noise + condition])
    for i in range(doublings):
        found |= block(f"{under}upsample{i + 1}", 1, [w[i + 1], w[i], 3, 3])
    return found | {f"{under}img.0.weight": [3, w[-1], 3, 3]}


def stage2(
    first: Shapes, width: int = 128, text: int = 1024, condition: int = 128, blocks: int = 4, doublings: int = 4
) -> Shapes:
    w = [4 * width // 2**i for i in range(doublings + 1)]
    found = first | layer("ca_net.fc", [2 * condition, text]) | {"encoder.0.weight": [width, 3, 3, 3]}
    found |= block("encoder", 2, [2 * width, width, 4, 4]) | block("encoder", 5, [4 * width, 2 * width, 4, 4])
    found |= block("hr_joint", 0, [w[0], w[0] + condition, 3, 3])
    for i in range(blocks):
        found |= block(f"residual.{i}.block", 0, [w[0], w[0], 3, 3]) | block(
            f"residual.{i}.block", 3, [w[0]] * 2 + [3, 3]
        )
    for i in range(doublings):
        found |= block(f"upsample{i + 1}", 1, [w[i + 1], w[i], 3, 3])
    return found | {"img.0.weight": [3, w[-1], 3, 3]}


def judge(width: int = 64, condition: int = 128, halvings: int = 4, alone: bool = False) -> Shapes:
    w = [width * 2**i for i in range(halvings)]
    found: Shapes = {"encode_img.0.weight": [width, 3, 4, 4]}
    for i in range(1, halvings):
        found |= block("encode_img", 3 * i - 1, [w[i], w[i - 1], 4, 4])
    for i in range(halvings, 2 * halvings - 4):
        deep = w[2 * halvings - i - 1]
        found |= block("encode_img", 3 * i - 1, [deep // 2, deep, 3, 3])
    deep = w[min(halvings, 4) - 1]
    head = "get_cond_logits.outlogits"
    found |= block(head, 0, [deep, deep + condition, 3, 3]) | layer(f"{head}.3", [1, deep, 4, 4])
    return found | (layer("get_uncond_logits.outlogits.0", [1, deep, 4, 4]) if alone else {})


def tree(
    width: int = 64,
    text: int = 1024,
    condition: int = 128,
    noise: int = 100,
    blocks: int = 2,
    doublings: int = 4,
    branches: int = 3,
) -> Shapes:
    w = [width * 2**i for i in range(doublings, -1, -1)]
    found = layer("ca_net.fc", [4 * condition, text]) | block("h_net1.fc", 0, [32 * w[0], noise + condition])
    for i in range(doublings):
        found |= block(f"h_net1.upsample{i + 1}", 1, [2 * w[i + 1], w[i], 3, 3])
    for i in range(branches):
        n = width // 2**i
        found |= {f"img_net{i + 1}.img.0.weight": [3, n, 3, 3]}
        if i + 1 < branches:
            name = f"h_net{i + 2}"
            found |= block(f"{name}.jointConv", 0, [2 * n, n + condition, 3, 3])
            for k in range(blocks):
                at = f"{name}.residual.{k}.block"
                found |= block(at, 0, [2 * n, n, 3, 3]) | block(at, 3, [n, n, 3, 3])
            found |= block(f"{name}.upsample", 1, [n, n, 3, 3])
    return found


def tree_judge(width: int = 64, condition: int = 128, halvings: int = 4) -> Shapes:
    w = [width * 2**i for i in range(halvings)]
    found: Shapes = {"img_code_s16.0.weight": [width, 3, 4, 4]}
    for i in range(1, halvings):
        place = ("img_code_s16", 3 * i - 1) if i < 4 else (f"img_code_s{2 ** (i + 1)}", 0)
        found |= block(*place, [w[i], w[i - 1], 4, 4])
    for i in range(halvings - 4):
        deep = w[halvings - 1 - i]
        found |= block(f"img_code_s{2**halvings}_{i + 1}", 0, [deep // 2, deep, 3, 3])
    deep = w[min(halvings, 4) - 1]
    found |= block("jointConv", 0, [deep, deep + condition, 3, 3])
    return found | layer("logits.0", [1, deep, 4, 4]) | layer("uncond_logits.0", [1, deep, 4, 4])


# What they compute, in training mode (`batch`: statistics of the batch) or in evaluation mode


def norm(s: State, name: str, x: Tensor, batch: bool) -> Tensor:
    over = [i for i in range(x.ndim) if i != 1]
    shape = [1, -1] + [1] * (x.ndim - 2)
    mean = x.mean(over) if batch else s[f"{name}.running_mean"]
    variance = x.var(over, unbiased=False) if batch else s[f"{name}.running_var"]
    x = (x - mean.view(shape)) / (variance.view(shape) + 1e-5).sqrt()
    return x * s[f"{name}.weight"].view(shape) + s[f"{name}.bias"].view(shape)


def glu(x: Tensor) -> Tensor:
    half = x.shape[1] // 2
    return x[:, :half] * torch.sigmoid(x[:, half:])


def convolved(s: State, name: str, first: int, x: Tensor, batch: bool, stride: int = 1) -> Tensor:
    """Convolution `name.first` and the normalisation after it."""
    x = F.conv2d(x, s[f"{name}.{first}.weight"], stride=stride, padding=1)
    return norm(s, f"{name}.{first + 1}", x, batch)


def doubled(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def spread(vector: Tensor, x: Tensor) -> Tensor:
    return vector[:, :, None, None].expand(-1, -1, *x.shape[2:])


def run_stage1(s: State, text: Tensor, noise: Tensor, batch: bool, under: str = "") -> tuple[Tensor, Tensor, Tensor]:
    """Picture, mu, log variance."""
    s = {name.removeprefix(under): value for name, value in s.items() if name.startswith(under)}
    mean, log_var = F.relu(F.linear(text, s["ca_net.fc.weight"], s["ca_net.fc.bias"])).chunk(2, 1)
    x = F.relu(norm(s, "fc.1", torch.cat([noise, mean], 1) @ s["fc.0.weight"].T, batch)).view(len(text), -1, 4, 4)
    i = 1
    while f"upsample{i}.1.weight" in s:
        x = F.relu(convolved(s, f"upsample{i}", 1, doubled(x), batch))
        i += 1
    return torch.tanh(F.conv2d(x, s["img.0.weight"], padding=1)), mean, log_var


def run_stage2(s: State, text: Tensor, noise: Tensor, batch: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Picture, mu, log variance of stage II."""
    small, _, _ = run_stage1(s, text, noise, batch, "STAGE1_G.")
    mean, log_var = F.relu(F.linear(text, s["ca_net.fc.weight"], s["ca_net.fc.bias"])).chunk(2, 1)
    x = F.relu(F.conv2d(small, s["encoder.0.weight"], padding=1))
    for first in (2, 5):
        x = F.relu(convolved(s, "encoder", first, x, batch, stride=2))
    x = F.relu(convolved(s, "hr_joint", 0, torch.cat([x, spread(mean, x)], 1), batch))
    i = 0
    while (name := f"residual.{i}.block") + ".0.weight" in s:
        x = F.relu(x + convolved(s, name, 3, F.relu(convolved(s, name, 0, x, batch)), batch))
        i += 1
    i = 1
    while f"upsample{i}.1.weight" in s:
        x = F.relu(convolved(s, f"upsample{i}", 1, doubled(x), batch))
        i += 1
    return torch.tanh(F.conv2d(x, s["img.0.weight"], padding=1)), mean, log_var


def run_judge(s: State, image: Tensor, condition: Tensor, batch: bool) -> tuple[Tensor, Tensor | None]:
    """Logits of pictures with conditions, and alone."""
    x = F.leaky_relu(F.conv2d(image, s["encode_img.0.weight"], stride=2, padding=1), 0.2)
    first = 2
    while f"encode_img.{first}.weight" in s:
        stride = 2 if s[f"encode_img.{first}.weight"].shape[-1] == 4 else 1
        x = F.leaky_relu(convolved(s, "encode_img", first, x, batch, stride), 0.2)
        first += 3
    head, alone = "get_cond_logits.outlogits", "get_uncond_logits.outlogits.0"
    joined = F.leaky_relu(convolved(s, head, 0, torch.cat([x, spread(condition, x)], 1), batch), 0.2)
    logits = F.conv2d(joined, s[f"{head}.3.weight"], s[f"{head}.3.bias"], stride=4).flatten()
    if f"{alone}.weight" not in s:
        return logits, None
    return logits, F.conv2d(x, s[f"{alone}.weight"], s[f"{alone}.bias"], stride=4).flatten()


def run_tree(s: State, text: Tensor, noise: Tensor, batch: bool) -> tuple[list[Tensor], Tensor, Tensor]:
    """Pictures small to large, mu, log variance."""
    mean, log_var = glu(F.linear(text, s["ca_net.fc.weight"], s["ca_net.fc.bias"])).chunk(2, 1)
    return run_branches(s, torch.cat([mean, noise], 1), mean, batch), mean, log_var


def run_tree_without_captions(s: State, noise: Tensor, batch: bool) -> list[Tensor]:
    """Pictures small to large; each branch is told the noise."""
    return run_branches(s, noise, noise, batch)


def run_branches(s: State, start: Tensor, told: Tensor, batch: bool) -> list[Tensor]:
    """Pictures small to large of what the tree starts from, with what stands beside the map of each branch."""
    x = glu(norm(s, "h_net1.fc.1", start @ s["h_net1.fc.0.weight"].T, batch))
    x = x.view(len(start), -1, 4, 4)
    i = 1
    while (name := f"h_net1.upsample{i}") + ".1.weight" in s:
        x = glu(convolved(s, name, 1, doubled(x), batch))
        i += 1
    images = [torch.tanh(F.conv2d(x, s["img_net1.img.0.weight"], padding=1))]
    i = 2
    while (name := f"h_net{i}") + ".jointConv.0.weight" in s:
        x = glu(convolved(s, f"{name}.jointConv", 0, torch.cat([spread(told, x), x], 1), batch))
        k = 0
        while (inner := f"{name}.residual.{k}.block") + ".0.weight" in s:
            x = x + convolved(s, inner, 3, glu(convolved(s, inner, 0, x, batch)), batch)
            k += 1
        x = glu(convolved(s, f"{name}.upsample", 1, doubled(x), batch))
        images.append(torch.tanh(F.conv2d(x, s[f"img_net{i}.img.0.weight"], padding=1)))
        i += 1
    return images


def run_tree_judge(s: State, image: Tensor, condition: Tensor, batch: bool) -> tuple[Tensor, Tensor]:
    """Logits of pictures with conditions, and alone; for pictures of any size whose names are in order."""
    x = F.leaky_relu(F.conv2d(image, s["img_code_s16.0.weight"], stride=2, padding=1), 0.2)
    places = [("img_code_s16", at) for at in (2, 5, 8)]
    places += [(f"img_code_{name}", 0) for name in ("s32", "s32_1", "s64", "s64_1", "s64_2")]
    for name, at in places:
        if f"{name}.{at}.weight" in s:
            stride = 2 if s[f"{name}.{at}.weight"].shape[-1] == 4 else 1
            x = F.leaky_relu(convolved(s, name, at, x, batch, stride), 0.2)
    joined = F.leaky_relu(convolved(s, "jointConv", 0, torch.cat([spread(condition, x), x], 1), batch), 0.2)
    heads = ((joined, "logits.0"), (x, "uncond_logits.0"))
    joint, alone = (F.conv2d(y, s[f"{n}.weight"], s[f"{n}.bias"], stride=4).flatten() for y, n in heads)
    return joint, alone
