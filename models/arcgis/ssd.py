"""ArcGIS's SingleShotDetector, after the one of fastai's course: grids of ever larger cells over the picture, a few boxes for each cell.

Boxes belong to the cells, so the network is made for pictures of one size; others are resampled to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import box_iou

from models.arcgis.boxes import STRIDE, ArcGISDetector, corners, settled
from models.arcgis.resnet import resnet_children, stage_channels
from models.architecture import ArcGISDetectorArchitecture
from models.detection import LEAST_SCORE, Targets

WIDTH = 256
DROPPED = 0.3
RARE = -4.0
"""Logit of every class before anything is learnt."""
FOUND = 0.4
"""Overlap (intersection over union) from which a box stands for an object; the best one of each object does in any case."""
FAR, SHALLOW = 4, 8
"""A grid finer than SHALLOW whose size differs from the last stage's by more than FAR stands on the stage before."""


class Step(NamedTuple):
    """From one grid to the next: a convolution, perhaps after an enlargement."""

    side: int
    stride: int
    padding: int
    enlarged: int = 0
    """To how many cells; 0: not at all."""


class Convolved(nn.Module):
    """Convolution, ReLU, normalisation."""

    def __init__(self, channels: int, step: Step) -> None:
        super().__init__()
        self.enlarged = step.enlarged
        self.conv = nn.Conv2d(channels, WIDTH, step.side, stride=step.stride, padding=step.padding)
        self.bn = nn.BatchNorm2d(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        if self.enlarged:
            x = F.interpolate(x, size=(self.enlarged, self.enlarged))
        return F.dropout(self.bn(F.relu(self.conv(x))), DROPPED, self.training)


class Answers(nn.Module):
    """What one grid says of each box: `oconv1` its class, background first; `oconv2` how it is moved and resized."""

    def __init__(self, boxes: int, outputs: int) -> None:
        super().__init__()
        self.oconv1 = nn.Conv2d(WIDTH, outputs * boxes, 3, padding=1)
        self.oconv2 = nn.Conv2d(WIDTH, 4 * boxes, 3, padding=1)
        self.outputs = outputs
        nn.init.constant_(self.oconv1.bias, RARE)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 256, cells, cells) -> logits (n, k, outputs) and changes (n, k, 4), row by row, the boxes of a cell together."""
        logits, changes = (
            conv(x).permute(0, 2, 3, 1).reshape(len(x), -1, size) for conv, size in ((self.oconv1, self.outputs), (self.oconv2, 4))
        )
        return logits, changes


class Head(nn.Module):
    """One grid after the other."""

    def __init__(self, channels: int, steps: Sequence[Step], boxes: int, outputs: int) -> None:
        super().__init__()
        first = Convolved(channels, Step(3, 1, 1))
        self.sconvs = nn.ModuleList([first, *(Convolved(WIDTH, step) for step in steps)])
        self.oconvs = nn.ModuleList([Answers(boxes, outputs) for _ in steps])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.sconvs[0](F.dropout(F.relu(x), DROPPED, self.training))
        found = []
        for convolve, answer in zip(list(self.sconvs)[1:], self.oconvs, strict=True):
            x = convolve(x)
            found.append(answer(x))
        logits, changes = zip(*found, strict=True)
        return torch.cat(logits, dim=1), torch.cat(changes, dim=1)


class SingleShot(nn.Sequential):
    """Named as ArcGIS has it (0 the ResNet, 1 the head); asked as torchvision's detectors are."""

    def __init__(self, body: nn.Module, head: Head, architecture: ArcGISDetectorArchitecture) -> None:
        super().__init__(body, head)
        self.side = architecture.side
        boxes, cells = _boxes(architecture)
        self.register_buffer("boxes", boxes, persistent=False)
        self.register_buffer("cells", cells, persistent=False)

    @property
    def seeing(self) -> nn.Module:
        return self[0]

    def answers(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(n, bands, side, side) -> logits (n, k, outputs) and boxes (n, k, 4) xmin, ymin, xmax, ymax as shares of the side."""
        logits, changes = self[1](self[0](image))
        return logits.float(), corners(changed(self.get_buffer("boxes"), self.get_buffer("cells"), changes.float()))

    def forward(self, images: Sequence[Tensor], targets: Targets | None = None) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """As torchvision's detectors: losses by name while it learns, else what is in each image; all images have one size."""
        image = torch.stack(list(images))
        rows, columns = image.shape[-2:]
        if (rows, columns) != (self.side, self.side):
            image = F.interpolate(image, (self.side, self.side), mode="bilinear", antialias=max(rows, columns) > self.side)
        logits, boxes = self.answers(image)
        size = boxes.new_tensor([columns, rows, columns, rows])
        if self.training:
            assert targets is not None
            looked = corners(self.get_buffer("boxes"))
            found = [_losses(one, box, target, looked, size) for one, box, target in zip(logits, boxes, targets, strict=True)]
            return {"classification": torch.stack([c for c, _ in found]).mean(), "bbox_regression": torch.stack([b for _, b in found]).mean()}
        answers = []
        for one, box in zip(logits, boxes, strict=True):
            scores = one[:, 1:].sigmoid()
            which, label = (scores >= LEAST_SCORE).nonzero(as_tuple=True)
            answers.append(settled(box[which] * size, scores[which, label], label + 1, (rows, columns)))
        return answers


def build_ssd(architecture: ArcGISDetectorArchitecture, bands: int, outputs: int) -> ArcGISDetector:
    """A detector with fresh weights.

    Raises:
        ValueError: no convolution leads from one of its grids to the next.
    """
    stages, steps = layout(architecture)
    body = resnet_children(architecture.backbone, bands)
    head = Head(stage_channels(body)[stages - 1], steps, architecture.boxes_per_cell, outputs)
    return ArcGISDetector(SingleShot(body[: 4 + stages], head, architecture), bands=bands, outputs=outputs)


def at_side(architecture: ArcGISDetectorArchitecture, side: int) -> ArcGISDetectorArchitecture:
    """The same network for pictures of another size, as ArcGIS would build it; as it is where that one had other weights."""
    found = architecture.model_copy(update={"side": side})
    if architecture.model != "SingleShotDetector":
        return architecture
    try:
        (stages, steps), (before, old) = layout(found), layout(architecture)
    except ValueError:
        return architecture
    return found if stages == before and [step.side for step in steps] == [step.side for step in old] else architecture


def layout(architecture: ArcGISDetectorArchitecture) -> tuple[int, list[Step]]:
    """How many stages of the ResNet there are, and the way from grid to grid.

    Raises:
        ValueError: no convolution leads from one of the grids to the next.
    """
    grids, stages = architecture.grids, 4
    cells = -(-architecture.side // STRIDE)
    newer = architecture.ssd_version == 2
    if newer and grids[0] > SHALLOW and abs(cells - grids[0]) > FAR:
        stages, cells = 3, -(-architecture.side // (STRIDE // 2))
    return stages, [(_newer_step if newer else _older_step)(a, b) for a, b in zip((cells, *grids), grids, strict=False)]


def changed(boxes: Tensor, cells: Tensor, changes: Tensor) -> Tensor:
    """(..., k, 4) boxes, centre and size, moved by at most half a cell and resized to between half and one and a half."""
    change = changes.tanh() / 2
    return torch.cat([boxes[:, :2] + change[..., :2] * cells, boxes[:, 2:] * (1 + change[..., 2:])], dim=-1)


def _newer_step(before: int, after: int) -> Step:
    if after == 1:
        return Step(before, 1, 0)
    for padding in (0, 1):
        for stride in (1, 2):
            if before >= after and (before - 3 + 2 * padding) // stride + 1 == after:
                return Step(3, stride, padding)
    return Step(3, 1, 1, enlarged=after)


def _older_step(before: int, after: int) -> Step:
    if after == 1:
        return Step(before, 1, 0)
    for side in (3, 2, 5, 4):
        for padding in range(4):
            for stride in (1, 2, 3):
                if (after - 1) * stride == before - side + 2 * padding:
                    return Step(side, stride, padding)
    raise ValueError(f"no convolution leads from {before} to {after} cells")


def _boxes(architecture: ArcGISDetectorArchitecture) -> tuple[Tensor, Tensor]:
    """(k, 4) centre row, centre column, height, width, and (k, 1) the side of the cell, as shares of the picture's side."""
    sides = torch.tensor([(zoom * high, zoom * wide) for zoom in architecture.zooms for high, wide in architecture.box_shapes])
    boxes, cells = [], []
    for grid in architecture.grids:
        at = (torch.arange(grid) + 0.5) / grid
        centres = torch.cartesian_prod(at, at)
        box = torch.cat([centres[:, None].expand(-1, len(sides), -1), (sides / grid)[None].expand(len(centres), -1, -1)], dim=-1)
        boxes.append(box.reshape(-1, 4))
        cells.append(torch.full((len(boxes[-1]), 1), 1 / grid))
    return torch.cat(boxes), torch.cat(cells)


def _losses(logits: Tensor, boxes: Tensor, target: dict[str, Tensor], looked: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Of one image: how wrong the classes are, and the boxes of those that stand for an object."""
    wanted = torch.zeros_like(logits[:, 1:])
    objects = target["boxes"] / size
    stands = torch.zeros(len(looked), dtype=torch.bool, device=looked.device)
    if len(objects):
        overlaps = box_iou(looked, objects)
        overlap, which = overlaps.max(dim=1)
        best = overlaps.argmax(dim=0)
        which[best] = torch.arange(len(objects), device=which.device)
        stands = overlap > FOUND
        stands[best] = True
        wanted[stands, target["labels"][which[stands]] - 1] = 1.0
    count = max(int(stands.sum()), 1)
    classes = F.binary_cross_entropy_with_logits(logits[:, 1:], wanted, reduction="sum") / count
    if not stands.any():
        return classes, boxes.sum() * 0
    return classes, (boxes[stands] - objects[which[stands]]).abs().sum() / count
