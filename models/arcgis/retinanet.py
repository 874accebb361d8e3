"""ArcGIS's RetinaNet (Lin et al. 2017), after fastai's: a ResNet, a feature pyramid of five levels, two heads that all levels share.

Boxes are told by centre row, centre column, height and width. Their sizes belong to the grid of a level: four of its cells, times scale and ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import box_iou, sigmoid_focal_loss

from models.arcgis.boxes import ArcGISDetector, corners, settled
from models.arcgis.resnet import resnet_children, stage_channels
from models.architecture import ArcGISDetectorArchitecture
from models.detection import Targets

WIDTH = 256
CELLS = 4
"""Cells of a level's grid that the side of its plain boxes spans."""
SPREAD = (0.1, 0.1, 0.2, 0.2)
"""What an answer of 1 means: shares of the box's size for its centre, and of the logarithm of the size."""
LARGEST = math.log(1000 / 16)
"""Boxes grow by no more than this, in logarithms: torchvision's bound."""
FOUND, NOTHING = 0.5, 0.4
"""Overlap from which a box stands for an object, and below which it stands for none."""
RARE = -4.0
"""Logit of every class before anything is learnt."""
FOCUS, POSITIVE = 2.0, 0.75
"""Focal loss: gamma, and the weight of what is there against what is not."""


class Merge(nn.Module):
    """A level of the encoder joins the coarser level of the pyramid, twice as fine."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_lat = nn.Conv2d(channels, WIDTH, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        up = F.interpolate(coarse, scale_factor=2.0)
        return up + F.interpolate(self.conv_lat(fine), size=up.shape[-2:])


class RetinaNet(nn.Module):
    """Named as ArcGIS has it; asked as torchvision's detectors are."""

    def __init__(self, backbone: str, bands: int, classes: int, scales: Sequence[float], ratios: Sequence[float]) -> None:
        super().__init__()
        self.encoder = resnet_children(backbone, bands)
        fine, middle, deep = stage_channels(self.encoder)[1:]
        self.c5top5 = nn.Conv2d(deep, WIDTH, 1)
        self.c5top6 = nn.Conv2d(deep, WIDTH, 3, stride=2, padding=1)
        self.p6top7 = nn.Sequential(nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1))
        self.merges = nn.ModuleList([Merge(middle), Merge(fine)])
        self.smoothers = nn.ModuleList([nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(3)])
        self.classes = classes
        self.shapes = [(scale * math.sqrt(ratio), scale / math.sqrt(ratio)) for ratio in ratios for scale in scales]
        self.classifier = _head(classes * len(self.shapes), RARE)
        self.box_regressor = _head(4 * len(self.shapes), 0.0)

    @property
    def seeing(self) -> nn.Module:
        return self.encoder

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """Five levels of (n, 256, rows, columns), finest first."""
        seen, x = [], image
        for part in self.encoder:
            x = part(x)
            seen.append(x)
        top = self.c5top6(x)
        levels = [self.c5top5(x), top, self.p6top7(top)]
        for merge, fine in zip(self.merges, (seen[6], seen[5]), strict=True):
            levels.insert(0, merge(levels[0], fine))
        return [smooth(level) for smooth, level in zip(self.smoothers, levels[:3], strict=True)] + levels[3:]

    def answers(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of every box that is looked at: logits (n, k, classes), changes (n, k, 4), and the boxes (k, 4) in pixels."""
        levels = self.pyramid(image)
        logits, changes = (
            torch.cat([head(level).permute(0, 2, 3, 1).reshape(len(image), -1, size) for level in levels], dim=1)
            for head, size in ((self.classifier, self.classes), (self.box_regressor, 4))
        )
        boxes = [_boxes(self.shapes, level.shape[-2:], image.shape[-2:]) for level in levels]
        return logits.float(), changes.float(), torch.cat(boxes).to(image.device)

    def forward(self, images: Sequence[Tensor], targets: Targets | None = None) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """As torchvision's detectors: losses by name while it learns, else what is in each image; all images have one size."""
        image = torch.stack(list(images))
        logits, changes, boxes = self.answers(image)
        if self.training:
            assert targets is not None
            found = [_losses(*one, boxes) for one in zip(logits, changes, targets, strict=True)]
            return {"classification": torch.stack([c for c, _ in found]).mean(), "bbox_regression": torch.stack([b for _, b in found]).mean()}
        likeliest = [one.sigmoid().max(dim=1) for one in logits]
        return [
            settled(corners(changed(boxes, change)), score, label + 1, image.shape[-2:])
            for change, (score, label) in zip(changes, likeliest, strict=True)
        ]


def build_retinanet(architecture: ArcGISDetectorArchitecture, bands: int, outputs: int) -> ArcGISDetector:
    """A detector with fresh weights."""
    detector = RetinaNet(architecture.backbone, bands, outputs - 1, architecture.scales, architecture.ratios)
    return ArcGISDetector(detector, bands=bands, outputs=outputs)


def changed(boxes: Tensor, change: Tensor) -> Tensor:
    """(k, 4) boxes, centre and size, moved and resized as the network says."""
    change = change * change.new_tensor(SPREAD)
    centre = boxes[:, :2] + change[:, :2] * boxes[:, 2:]
    return torch.cat([centre, boxes[:, 2:] * change[:, 2:].clamp(max=LARGEST).exp()], dim=1)


def change_to(boxes: Tensor, wanted: Tensor) -> Tensor:
    """The change that makes (k, 4) boxes the wanted ones: what the network has to say."""
    change = torch.cat([(wanted[:, :2] - boxes[:, :2]) / boxes[:, 2:], (wanted[:, 2:] / boxes[:, 2:]).log()], dim=1)
    return change / change.new_tensor(SPREAD)


def _head(channels: int, bias: float) -> nn.Sequential:
    """Four convolutions, each with ReLU and then a normalisation, and one that answers."""
    parts = [nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU(inplace=True), nn.BatchNorm2d(WIDTH)) for _ in range(4)]
    last = nn.Conv2d(WIDTH, channels, 3, padding=1)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, bias)  # type: ignore[arg-type]
    return nn.Sequential(*parts, last)


def _boxes(shapes: Sequence[tuple[float, float]], grid: Sequence[int], size: Sequence[int]) -> Tensor:
    """(rows x columns x shapes, 4) centre row, centre column, height, width in pixels, for each cell of a grid laid over the image."""
    cell = torch.tensor([size[0] / grid[0], size[1] / grid[1]])
    centres = torch.cartesian_prod(torch.arange(grid[0]) + 0.5, torch.arange(grid[1]) + 0.5) * cell
    sides = CELLS * torch.tensor(shapes) * cell
    return torch.cat([centres[:, None].expand(-1, len(shapes), -1), sides[None].expand(len(centres), -1, -1)], dim=-1).reshape(-1, 4)


def _losses(logits: Tensor, changes: Tensor, target: dict[str, Tensor], boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Of one image: how wrong the classes are, and the boxes of those that stand for an object."""
    objects = target["boxes"]
    if not len(objects):
        return _focal(logits, torch.zeros_like(logits)), changes.sum() * 0
    overlap, which = box_iou(corners(boxes), objects).max(dim=1)
    stands = overlap >= FOUND
    wanted = torch.zeros_like(logits)
    wanted[stands, target["labels"][which[stands]] - 1] = 1.0
    sure = stands | (overlap < NOTHING)
    classes = _focal(logits[sure], wanted[sure]) / max(int(stands.sum()), 1)
    if not stands.any():
        return classes, changes.sum() * 0
    left, top, right, bottom = objects[which[stands]].unbind(-1)
    right_box = torch.stack([(top + bottom) / 2, (left + right) / 2, bottom - top, right - left], dim=-1)
    return classes, F.smooth_l1_loss(changes[stands], change_to(boxes[stands], right_box))


def _focal(logits: Tensor, wanted: Tensor) -> Tensor:
    return sigmoid_focal_loss(logits, wanted, alpha=POSITIVE, gamma=FOCUS, reduction="sum")
