"""The road network of ArcGIS's MultiTaskRoadExtractor and ConnectNet, kind "hourglass": stacked hourglasses with two branches that exchange what
they see, one for roads, one for their direction (Batra et al. 2019).

The published code also scores roads at stride 2 while it trains (`decoder1_score`, four tensors); ArcGIS's files have four tensors fewer than it, so
these are left out here, and passed over where a file has them: what is scored while it trains is each stack, and the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from models.arcgis.linknet import DecoderBlock, Finish, last_convolution
from models.arcgis.roads import RoadDecoder, RoadNetwork, Seen

STRIDE = 32
STEM, WIDTH = 64, 128
STACKS, DEPTH, BLOCKS = 2, 3, 3
ROAD_OUTPUTS = 2
"""Of the scores between the stacks: always background and road."""


class Block(nn.Module):
    """Two 3x3 convolutions around which the input is added."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = None if channels == out_channels else nn.Sequential(nn.Conv2d(channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def blocks(channels: int, out_channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(Block(channels, out_channels), *(Block(out_channels, out_channels) for _ in range(count - 1)))


class Hourglass(nn.Module):
    """Down by halves and up again, in two branches: each level of `hg` holds the parts around, down, up of either branch, and the bottom of both."""

    def __init__(self) -> None:
        super().__init__()
        self.hg = nn.ModuleList(
            nn.ModuleList(blocks(WIDTH, WIDTH, BLOCKS) for _ in range(6 if level == 0 else 4)) for level in range(DEPTH)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._level(DEPTH - 1, x)

    def _level(self, level: int, x: Tensor) -> tuple[Tensor, Tensor]:
        parts = self.hg[level]
        assert isinstance(parts, nn.ModuleList)
        around, low = parts[0](x), parts[1](F.max_pool2d(x, 2))
        road, angle = self._level(level - 1, low) if level else (parts[4](low), parts[5](low))
        return around + _twice(parts[2](road)), around + _twice(parts[3](angle))


class Stacks(nn.Module):
    """The stem and the hourglasses: what is frozen when a road model is fine-tuned."""

    def __init__(self, bands: int, orientations: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(bands, STEM, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.layer1 = blocks(STEM, STEM, 1)
        self.layer2 = blocks(STEM, STEM, 1)
        self.layer3 = blocks(STEM, WIDTH, 1)
        self.hg = nn.ModuleList(Hourglass() for _ in range(STACKS))
        for branch, outputs in ((1, ROAD_OUTPUTS), (2, orientations)):
            self.add_module(f"res_{branch}", nn.ModuleList(blocks(WIDTH, WIDTH, BLOCKS) for _ in range(STACKS)))
            self.add_module(f"fc_{branch}", nn.ModuleList(_connected() for _ in range(STACKS)))
            self.add_module(f"score_{branch}", nn.ModuleList(nn.Conv2d(WIDTH, outputs, 1) for _ in range(STACKS)))
            self.add_module(f"_fc_{branch}", nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 1) for _ in range(STACKS - 1)))
            self.add_module(f"_score_{branch}", nn.ModuleList(nn.Conv2d(outputs, WIDTH, 1) for _ in range(STACKS - 1)))

    def forward(self, image: Tensor) -> list[Tensor]:
        """(n, bands, height, width) -> what the last hourglass says of roads, at stride 4."""
        return self._look(image, everything=False).road

    def look(self, image: Tensor) -> Seen:
        """What the last hourglass says of roads and of directions, and the scores of every stack."""
        return self._look(image, everything=True)

    def _look(self, image: Tensor, *, everything: bool) -> Seen:
        """Without `everything` what only training needs is left out."""
        x = F.relu(self.bn1(self.conv1(image)))
        x = self.layer3(self.layer2(F.max_pool2d(self.layer1(x), 2)))
        said: dict[int, Tensor] = {}
        between = []
        for stack, hourglass in enumerate(self.hg):
            passed, last, scores = x, stack == STACKS - 1, []
            for branch, y in zip((1, 2), hourglass(x), strict=True):
                if last and branch == 2 and not everything:
                    break
                said[branch] = y = self._part("fc", branch, stack)(self._part("res", branch, stack)(y))
                if everything or not last:
                    scores.append(self._part("score", branch, stack)(y))
                if not last:
                    passed = passed + self._part("_fc", branch, stack)(y) + self._part("_score", branch, stack)(scores[-1])
            if everything:
                between.append((scores[0], scores[1]))
            x = passed
        return Seen([said[1]], [said[2]], between)

    def _part(self, name: str, branch: int, stack: int) -> nn.Module:
        return self.get_submodule(f"{name}_{branch}.{stack}")


class HourglassBranch(nn.Module):
    """From stride 4 to the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder1 = DecoderBlock(WIDTH, WIDTH)
        self.final = Finish(WIDTH, slope=0.0)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.final(self.decoder1(features[-1]))


def build_hourglass(bands: int, outputs: int, orientations: int) -> RoadNetwork:
    """Stacked hourglasses with fresh weights; `orientations`: outputs of the second branch."""
    decoder = RoadDecoder(HourglassBranch(), HourglassBranch(), last_convolution(orientations))
    head = nn.Sequential(last_convolution(outputs))
    return RoadNetwork(Stacks(bands, orientations), decoder, head, stride=STRIDE, bands=bands, outputs=outputs)


def _connected() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 1), nn.BatchNorm2d(WIDTH), nn.ReLU())


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
