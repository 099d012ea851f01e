"""Names and shapes in AttnGAN's release at any width, and what its networks compute, written out from the facts.

Names are held against the full list by a test marked `golden`; weights follow from them by `release.weights`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from golden.release import Shapes, block, layer

State = dict[str, Tensor]


def shapes(
    width: int = 32,
    judge: int = 64,
    text: int = 256,
    condition: int = 100,
    noise: int = 100,
    word: int = 300,
    words: int = 500,
    doublings: int = 4,
    scales: int = 3,
) -> dict[str, Shapes]:
    """Generator, discriminators and text encoder; the first picture has 4 * 2^doublings pixels a side."""
    w = [width * 2**i for i in range(doublings, -1, -1)]
    seed = 32 * w[0]
    g: Shapes = layer("ca_net.fc", [4 * condition, text]) | block("h_net1.fc", 0, [seed, noise + condition])
    for i in range(doublings):
        g |= block(f"h_net1.upsample{i + 1}", 1, [2 * w[i + 1], w[i], 3, 3])
    for i in range(scales):
        g |= {f"img_net{i + 1}.img.0.weight": [3, width, 3, 3]}
    for i in range(2, scales + 1):
        g |= {f"h_net{i}.att.conv_context.weight": [width, text, 1, 1]}
        for k in range(2):
            g |= block(f"h_net{i}.residual.{k}.block", 0, [4 * width, 2 * width, 3, 3])
            g |= block(f"h_net{i}.residual.{k}.block", 3, [2 * width, 2 * width, 3, 3])
        g |= block(f"h_net{i}.upsample", 1, [2 * width, 2 * width, 3, 3])
    found = {"generator": g, "text_encoder": {"encoder.weight": [words, word]}}
    half = text // 2
    for way in ("", "_reverse"):
        of_word, of_state = {f"weight_ih_l0{way}": [4 * half, word]}, {f"weight_hh_l0{way}": [4 * half, half]}
        biases = {f"bias_{kind}_l0{way}": [4 * half] for kind in ("ih", "hh")}
        found["text_encoder"] |= {f"rnn.{k}": v for k, v in (of_word | of_state | biases).items()}
    for i in range(scales):
        found[f"discriminator{i}"] = discriminator(judge, text, i)
    return found


def discriminator(width: int, text: int, more: int) -> Shapes:
    """That of 64 px, or of `more` doublings of it."""
    w = [width * 2**i for i in range(4 + more)]
    d: Shapes = {"img_code_s16.0.weight": [width, 3, 4, 4]}
    for i in range(1, 4):
        d |= block("img_code_s16", 3 * i - 1, [w[i], w[i - 1], 4, 4])
    for i in range(4, 4 + more):
        d |= block(f"img_code_s{2 ** (i + 1)}", 0, [w[i], w[i - 1], 4, 4])
    for i in range(more):
        at = 3 + more - i
        d |= block(f"img_code_s{2 ** (4 + more)}_{i + 1}", 0, [w[at - 1], w[at], 3, 3])
    d |= block("COND_DNET.jointConv", 0, [w[3], w[3] + text, 3, 3])
    return d | layer("COND_DNET.outlogits.0", [1, w[3], 4, 4]) | layer("UNCOND_DNET.outlogits.0", [1, w[3], 4, 4])


# What the networks compute, in training mode (`batch`: statistics of the batch) or in evaluation mode


def normalised(state: State, name: str, first: int, x: Tensor, batch: bool, **how: int) -> Tensor:
    """A convolution or linear layer without bias and its batch normalisation."""
    weight = state[f"{name}.{first}.weight"]
    x = F.conv2d(x, weight, **how) if weight.ndim == 4 else x @ weight.T
    scale, shift = (state[f"{name}.{first + 1}.{kind}"] for kind in ("weight", "bias"))
    over = [i for i in range(x.ndim) if i != 1]
    like = (1, -1) + (1,) * (x.ndim - 2)
    mean, variance = (state[f"{name}.{first + 1}.running_{kind}"].view(like) for kind in ("mean", "var"))
    if batch:
        mean, variance = x.mean(over, keepdim=True), x.var(over, keepdim=True, correction=0)
    return (x - mean) / (variance + 1e-5).sqrt() * scale.view(like) + shift.view(like)


def gate(x: Tensor) -> Tensor:
    half = x.shape[1] // 2
    return x[:, :half] * torch.sigmoid(x[:, half:])


def up(state: State, name: str, x: Tensor, batch: bool) -> Tensor:
    return gate(normalised(state, name, 1, x.repeat_interleave(2, 2).repeat_interleave(2, 3), batch, padding=1))


def attend(keys: Tensor, x: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """One map (C, H, W) and one caption's projected words (C, T), word by word: the context and the weights."""
    scores = torch.stack([(x * keys[:, t, None, None]).sum(0).exp() for t in range(length)])
    weights = torch.zeros(keys.shape[1], *x.shape[1:])
    weights[:length] = scores / scores.sum(0)
    return sum(weights[t] * keys[:, t, None, None] for t in range(length)), weights


def generator(
    state: State, sentence: Tensor, words: Tensor, lengths: list[int], noise: Tensor, batch: bool = True
) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """Pictures, attentions, mean and log variance; the condition is its mean. `words` are (B, T, E)."""
    mean, log_var = gate(sentence @ state["ca_net.fc.weight"].T + state["ca_net.fc.bias"]).chunk(2, 1)
    x = gate(normalised(state, "h_net1.fc", 0, torch.cat([mean, noise], 1), batch))
    x, i = x.view(len(x), -1, 4, 4), 1
    while f"h_net1.upsample{i}.1.weight" in state:
        x, i = up(state, f"h_net1.upsample{i}", x, batch), i + 1
    images, maps = [torch.tanh(F.conv2d(x, state["img_net1.img.0.weight"], padding=1))], []
    i = 2
    while (name := f"h_net{i}") and f"{name}.upsample.1.weight" in state:
        keys = torch.einsum("ce,bte->bct", state[f"{name}.att.conv_context.weight"][:, :, 0, 0], words)
        found = [attend(k, h, length) for k, h, length in zip(keys, x, lengths, strict=True)]
        context, weights = (torch.stack(kind) for kind in zip(*found, strict=True))
        x = torch.cat([x, context], 1)
        for k in range(2):
            inner = gate(normalised(state, f"{name}.residual.{k}.block", 0, x, batch, padding=1))
            x = x + normalised(state, f"{name}.residual.{k}.block", 3, inner, batch, padding=1)
        x = up(state, f"{name}.upsample", x, batch)
        images.append(torch.tanh(F.conv2d(x, state[f"img_net{i}.img.0.weight"], padding=1)))
        maps.append(weights)
        i += 1
    return images, maps, mean, log_var


def judge(state: State, image: Tensor, sentence: Tensor, batch: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Logits alone and with the sentence, and with the next row's sentence for all rows but the last."""
    x = F.leaky_relu(F.conv2d(image, state["img_code_s16.0.weight"], stride=2, padding=1), 0.2)
    for i in (2, 5, 8):
        x = F.leaky_relu(normalised(state, "img_code_s16", i, x, batch, stride=2, padding=1), 0.2)
    for name in ("img_code_s32", "img_code_s64"):
        if f"{name}.0.weight" in state:
            x = F.leaky_relu(normalised(state, name, 0, x, batch, stride=2, padding=1), 0.2)
    for name in ("img_code_s32_1", "img_code_s64_1", "img_code_s64_2"):
        if f"{name}.0.weight" in state:
            x = F.leaky_relu(normalised(state, name, 0, x, batch, padding=1), 0.2)

    def answer(part: str, seen: Tensor) -> Tensor:
        return F.conv2d(seen, state[f"{part}.outlogits.0.weight"], state[f"{part}.outlogits.0.bias"], stride=4).view(-1)

    def match(seen: Tensor, condition: Tensor) -> Tensor:
        both = torch.cat([seen, condition[:, :, None, None].repeat(1, 1, 4, 4)], 1)
        joint = F.leaky_relu(normalised(state, "COND_DNET.jointConv", 0, both, batch, padding=1), 0.2)
        return answer("COND_DNET", joint)

    return answer("UNCOND_DNET", x), match(x, sentence), match(x[:-1], sentence[1:])
