"""ArcGIS's FeatureClassifier: a ResNet, and fastai's head of two linear layers over the largest and the mean of what it sees in a picture."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from models.arcgis.resnet import resnet_children, stage_channels
from models.batch_norm import LoneBatchNorm1d
from models.network import SceneNetwork

STRIDE = 32
INNER = 512
DROPPED = (0.25, 0.5)
"""Shares of the features that are left out at random while it learns, before each linear layer."""


class FeatureClassifier(SceneNetwork):
    """One logit for each class; there is no background."""

    def __init__(self, backbone: str, *, several: bool, bands: int, outputs: int) -> None:
        encoder = resnet_children(backbone, bands)
        features = 2 * stage_channels(encoder)[-1]
        super().__init__(encoder, features, several=several, stride=STRIDE, bands=bands, outputs=outputs)
        # numbered as in fastai, where pooling and flattening are 0 and 1
        self.head = nn.Sequential(
            OrderedDict(
                {
                    "2": LoneBatchNorm1d(features),
                    "3": nn.Dropout(DROPPED[0]),
                    "4": nn.Linear(features, INNER),
                    "5": nn.ReLU(inplace=True),
                    "6": LoneBatchNorm1d(INNER),
                    "7": nn.Dropout(DROPPED[1]),
                    "8": nn.Linear(INNER, outputs),
                }
            )
        )

    @property
    def last(self) -> nn.Linear:
        return self.head.get_submodule("8")  # type: ignore[return-value]

    def encode(self, image: Tensor) -> Tensor:
        """The largest and the mean of each feature."""
        seen = self.encoder(image)
        return torch.cat([seen.amax(dim=(-2, -1)), seen.mean(dim=(-2, -1))], dim=1).float()
