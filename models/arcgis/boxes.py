"""What ArcGIS's detectors that are not torchvision's have in common: boxes around which they look, and what is left of what they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms, clip_boxes_to_image

from models.detection import LEAST_SCORE, MOST_BOXES, DetectionNetwork

STRIDE = 32
MOST_LOOKED_AT = 1000
"""Boxes of an image, the surest, among which duplicates are looked for."""
SAME = 0.5
"""Two boxes of one class that overlap by more (intersection over union) are one object."""


class ArcGISDetector(DetectionNetwork):
    """A detector under whose names in ArcGIS `detector.` stands."""

    def __init__(self, detector: Any, *, bands: int, outputs: int) -> None:
        super().__init__(detector, stride=STRIDE, bands=bands, outputs=outputs)

    @property
    def encoder(self) -> nn.Module:  # type: ignore[override]
        return self.detector.seeing


def corners(boxes: Tensor) -> Tensor:
    """(..., 4) centre row, centre column, height, width -> xmin, ymin, xmax, ymax."""
    row, column, height, width = boxes.unbind(-1)
    return torch.stack([column - width / 2, row - height / 2, column + width / 2, row + height / 2], dim=-1)


def settled(boxes: Tensor, scores: Tensor, labels: Tensor, size: Sequence[int]) -> dict[str, Tensor]:
    """One box for each object, the surest first.

    Args:
        boxes: (k, 4) xmin, ymin, xmax, ymax in pixels.
        scores: (k,) 0..1.
        labels: (k,) from 1.
        size: Rows and columns of the image.
    """
    chosen = scores.topk(min(MOST_LOOKED_AT, len(scores))).indices
    chosen = chosen[scores[chosen] >= LEAST_SCORE]
    boxes, scores, labels = clip_boxes_to_image(boxes[chosen], (size[0], size[1])), scores[chosen], labels[chosen]
    there = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(dim=1)
    boxes, scores, labels = boxes[there], scores[there], labels[there]
    kept = batched_nms(boxes, scores, labels, SAME)[:MOST_BOXES]
    return {"boxes": boxes[kept], "scores": scores[kept], "labels": labels[kept]}
