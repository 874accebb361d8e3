"""MobileSAM's picture encoder (Zhang et al. 2023, https://arxiv.org/abs/2306.14289): timm's TinyViT that ends at stride 16, below SAM's own decoder.

Its checkpoint keeps the encoder under names of its own; here they become timm's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from segment_anything.modeling.common import LayerNorm2d
from timm.models.tiny_vit import TinyVit
from torch import Tensor, nn

from labeling.prompt.model import Progress

PREFIX = "image_encoder."
MARK = f"{PREFIX}patch_embed.seq.0.c.weight"
"""A weight that only MobileSAM's checkpoint has."""
STRIDE = 16
SIDE_PX = 1024
STAGES = 4
_UNUSED = ("head.", "norm_head.")
"""Left over from TinyViT's classes."""


class MobileEncoder(nn.Module):
    """(1, 3, 1024, 1024) -> (1, channels, 64, 64)."""

    img_size = SIDE_PX

    def __init__(self, widths: tuple[int, ...], depths: tuple[int, ...], heads: tuple[int, ...], windows: tuple[int, ...], channels: int) -> None:
        super().__init__()
        tiny = TinyVit(embed_dims=widths, depths=depths, num_heads=heads, window_sizes=windows, num_classes=0, drop_path_rate=0.0)
        self.patch_embed, self.stages = tiny.patch_embed, tiny.stages
        self.stages[-1].downsample.conv2.conv.stride = (1, 1)  # type: ignore[union-attr, method-assign]
        self.neck = nn.Sequential(
            nn.Conv2d(widths[-1], channels, 1, bias=False), LayerNorm2d(channels), nn.Conv2d(channels, channels, 3, padding=1, bias=False), LayerNorm2d(channels)
        )

    def look(self, x: Tensor, progress: Progress) -> Tensor:
        """The features; `progress` is called after every stage."""
        x = self.patch_embed(x)
        for number, stage in enumerate(self.stages, 1):
            x = stage(x)
            progress(number / (STAGES + 1))
        features: Tensor = self.neck(x)
        return features


def mobile_encoder(state: Mapping[str, Tensor]) -> MobileEncoder:
    """The encoder that the weights of a checkpoint belong to, whatever its size; without their values.

    Raises:
        KeyError: a part is missing.
    """

    def blocks(stage: int) -> int:
        return 1 + max(int(name.split(".")[4]) for name in state if name.startswith(f"{PREFIX}layers.{stage}.blocks."))

    biases = [state[f"{PREFIX}layers.{i}.blocks.0.attn.attention_biases"].shape for i in range(1, STAGES)]
    return MobileEncoder(
        widths=(
            state[f"{PREFIX}patch_embed.seq.2.c.weight"].shape[0],
            *(state[f"{PREFIX}layers.{i}.downsample.conv1.c.weight"].shape[0] for i in range(STAGES - 1)),
        ),
        depths=tuple(blocks(i) for i in range(STAGES)),
        heads=(1, *(shape[0] for shape in biases)),  # the first stage has no attention
        windows=(1, *(math.isqrt(shape[1]) for shape in biases)),
        channels=state[f"{PREFIX}neck.0.weight"].shape[0],
    )


def with_timm_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The checkpoint's weights under the names that `MobileEncoder` has; the decoder's stay."""
    found = {}
    for name, tensor in state.items():
        if not name.startswith(PREFIX):
            found[name] = tensor
        elif not name.removeprefix(PREFIX).startswith(_UNUSED):
            found[PREFIX + _in_timm(name.removeprefix(PREFIX))] = tensor
    return found


def _in_timm(name: str) -> str:
    name = name.replace(".c.weight", ".conv.weight").replace("patch_embed.seq.0.", "patch_embed.conv1.").replace("patch_embed.seq.2.", "patch_embed.conv2.")
    # MobileSAM makes maps smaller at the end of a stage, timm at the beginning of the next
    name = re.sub(r"^layers\.(\d+)\.downsample\.", lambda found: f"stages.{int(found[1]) + 1}.downsample.", name)
    return re.sub(r"^layers\.", "stages.", name)
