"""What the road networks of ArcGIS have in common: they tell roads, and while they learn, which way each road leads (Batra et al. 2019)."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

from models.network import SegmentationNetwork

EVERY = 4
"""Between the stacks there is an answer for every fourth pixel, down and across."""


class Seen(NamedTuple):
    """What an encoder says of an image."""

    road: list[Tensor]
    """Features for the decoder of roads."""
    direction: list[Tensor]
    """Features for the decoder of directions."""
    between: list[tuple[Tensor, Tensor]]
    """Logits of road or not (n, 2, rows / 4, columns / 4) and of directions that stand between the stacks; none in networks without stacks."""


class RoadEncoder(Protocol):
    """The part that is frozen when a road model is fine-tuned."""

    def look(self, image: Tensor) -> Seen: ...


class RoadDecoder(nn.Module):
    """Tells roads. `orientation` tells their direction: it is asked in training only, which makes roads hang together."""

    def __init__(self, road: nn.Module, orientation: nn.Module, orientation_head: nn.Conv2d) -> None:
        super().__init__()
        self.road = road
        self.orientation = orientation
        self.orientation_head = orientation_head

    def forward(self, features: list[Tensor]) -> Tensor:
        return cast(Tensor, self.road(features))


class Answers(NamedTuple):
    """All that a road network says of an image while it learns, logits."""

    road: Tensor
    """(n, outputs, rows, columns)"""
    direction: Tensor
    """(n, orientations, rows, columns); the last output is "no road"."""
    between: list[tuple[Tensor, Tensor]]
    """The same at every fourth pixel, as `Seen.between`."""


class RoadNetwork(SegmentationNetwork):
    """Predicts like any other; answers for directions, too, while it learns."""

    def answers(self, image: Tensor, *, frozen: bool) -> Answers:
        """Both decoders' answers to (n, bands, rows, columns) of any size.

        Args:
            image: Normalised.
            frozen: The encoder keeps nothing for gradients. What stands between its stacks is left out then.
        """
        rows, columns = image.shape[-2:]
        with torch.no_grad() if frozen else contextlib.nullcontext():
            seen = cast(RoadEncoder, self.encoder).look(self.pad(image))
        decoder = cast(RoadDecoder, self.decoder)
        direction = decoder.orientation_head(decoder.orientation(seen.direction)).float()
        part = (..., slice(-(-rows // EVERY)), slice(-(-columns // EVERY)))
        between = [] if frozen else [(road.float()[part], angle.float()[part]) for road, angle in seen.between]
        return Answers(self.decode(seen.road, (rows, columns)), direction[..., :rows, :columns], between)

    @property
    def orientations(self) -> int:
        """How many answers there are to which way a road leads, "no road" included."""
        return cast(RoadDecoder, self.decoder).orientation_head.out_channels


@torch.no_grad()
def read_raw_values(network: RoadNetwork, mean: Sequence[float], std: Sequence[float]) -> None:
    """Let a LinkNet, whose ResNet learnt from (x - mean) / std, read x: the first convolution and the normalisation after it take that in, in place.

    They answer the same, but for the rim of the image, beyond which there now is the value 0 instead of the mean.
    """
    first, norm = network.get_submodule("encoder.body.0"), network.get_submodule("encoder.body.1")
    assert isinstance(first, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None
    first.weight /= torch.tensor(std, dtype=torch.float32)[:, None, None]
    norm.running_mean += (first.weight * torch.tensor(mean, dtype=torch.float32)[:, None, None]).sum(dim=(1, 2, 3))
