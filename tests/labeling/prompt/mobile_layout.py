"""MobileSAM's checkpoint: names and sizes of its weights as its published code makes them, in a small version, with seeded values."""

from __future__ import annotations

import numpy as np
import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor

WIDTHS, HEADS, WINDOWS, CHANNELS = (16, 32, 64, 320), (1, 1, 2, 5), (7, 7, 14, 7), 256
"""320 as published: by this number its code knows where to make maps no smaller any more."""


def conv(name: str, *size: int) -> dict[str, tuple[int, ...]]:
    """A convolution and its normalisation."""
    of_norm = {f"{name}.bn.{part}": (size[0],) for part in ("weight", "bias", "running_mean", "running_var")}
    return {f"{name}.c.weight": size, **of_norm, f"{name}.bn.num_batches_tracked": ()}


def linear(name: str, out: int, into: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def encoder_layout() -> dict[str, tuple[int, ...]]:
    """One block in each of the four stages."""
    first, last = WIDTHS[0], WIDTHS[-1]
    found = {**conv("patch_embed.seq.0", first // 2, 3, 3, 3), **conv("patch_embed.seq.2", first, first // 2, 3, 3)}
    for stage, width in enumerate(WIDTHS):
        block = f"layers.{stage}.blocks.0"
        if stage == 0:
            found |= conv(f"{block}.conv1", 4 * width, width, 1, 1) | conv(f"{block}.conv2", 4 * width, 1, 3, 3) | conv(f"{block}.conv3", width, 4 * width, 1, 1)
        else:
            found |= {f"{block}.attn.attention_biases": (HEADS[stage], WINDOWS[stage] ** 2)}
            found |= norm(f"{block}.attn.norm", width) | linear(f"{block}.attn.qkv", 3 * width, width) | linear(f"{block}.attn.proj", width, width)
            found |= norm(f"{block}.mlp.norm", width) | linear(f"{block}.mlp.fc1", 4 * width, width) | linear(f"{block}.mlp.fc2", width, 4 * width)
            found |= conv(f"{block}.local_conv", width, 1, 3, 3)
        if stage < len(WIDTHS) - 1:
            to, smaller = WIDTHS[stage + 1], f"layers.{stage}.downsample"
            found |= conv(f"{smaller}.conv1", to, width, 1, 1) | conv(f"{smaller}.conv2", to, 1, 3, 3) | conv(f"{smaller}.conv3", to, to, 1, 1)
    found |= norm("norm_head", last) | linear("head", 1000, last)
    found |= {"neck.0.weight": (CHANNELS, last, 1, 1), "neck.2.weight": (CHANNELS, CHANNELS, 3, 3)} | norm("neck.1", CHANNELS) | norm("neck.3", CHANNELS)
    return {f"image_encoder.{name}": size for name, size in found.items()}


def checkpoint() -> dict[str, Tensor]:
    """All of it; the decoder is SAM's own."""
    decoder = MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(depth=2, embedding_dim=CHANNELS, mlp_dim=2048, num_heads=8),
        transformer_dim=CHANNELS,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
    )
    parts = {"mask_decoder": decoder, "prompt_encoder": PromptEncoder(CHANNELS, (64, 64), (1024, 1024), mask_in_chans=16)}
    sizes = {f"{part}.{name}": tuple(value.shape) for part, module in parts.items() for name, value in module.state_dict().items()}
    random = np.random.default_rng(0)
    return {name: _value(name, size, random) for name, size in sorted((encoder_layout() | sizes).items())}


def _value(name: str, size: tuple[int, ...], random: np.random.Generator) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    values = torch.from_numpy(random.standard_normal(size).astype(np.float32))
    if name.endswith("running_var"):
        return 1 + 0.1 * values.abs()
    if len(size) > 1:
        return values / max(1, np.prod(size[1:])) ** 0.5
    return 1 + 0.1 * values if name.endswith("weight") else 0.1 * values
