"""Of each task and network: a batch is learnt from, and the frozen encoder's weights and normalisation statistics stay bit for bit."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from models.arcgis.roads import RoadNetwork
from models.architecture import (
    ArcGISArchitecture,
    Architecture,
    Decoder,
    Detector,
    DetectorArchitecture,
    SceneArchitecture,
)
from models.detection import DetectionNetwork
from models.freezing import freeze
from models.network import SceneNetwork, build_network
from training.compute import choose_compute
from training.dataset import Batch
from training.losses import loss_of
from training.pixels import pixel_loss
from training.roads import road_loss

CPU = choose_compute("cpu")
ENCODER = {"encoder": "resnet10t", "encoder_levels": 5}
KINDS = [
    *(Architecture(decoder=decoder, **ENCODER) for decoder in get_args(Decoder)),
    Architecture(images=2, **ENCODER),
    *(DetectorArchitecture(detector=detector, **ENCODER) for detector in get_args(Detector)),
    SceneArchitecture(**ENCODER),
    *(ArcGISArchitecture(model=model, backbone="resnet18") for model in ("UnetClassifier", "DeepLab", "MultiTaskRoadExtractor")),
    ArcGISArchitecture(model="ConnectNet", roads="hourglass"),
]


def name_of(architecture):
    told = architecture.model_dump(include={"kind", "decoder", "detector", "model", "roads", "images"})
    return "-".join(map(str, told.values()))


def loss(network, images, target):
    if isinstance(network, DetectionNetwork):
        boxes = torch.tensor([[8.0, 8.0, 30.0, 30.0]])
        one = {"boxes": boxes, "labels": torch.tensor([1]), "masks": (target[:1] > 0).to(torch.uint8)}
        return torch.stack(list(network.losses(images, [one] * len(images)).values())).sum()
    if isinstance(network, SceneNetwork):
        return torch.nn.functional.cross_entropy(network(images), torch.tensor([0, 1, 1, 0]))
    batch = Batch(images, torch.ones(len(images), 1, 64, 64, dtype=torch.bool), target)
    of = road_loss if isinstance(network, RoadNetwork) else pixel_loss
    return of(network, loss_of("cross_entropy_dice", torch.ones(2)), CPU)(batch, slice(None))


@pytest.mark.parametrize("architecture", KINDS, ids=name_of)
def test_statistics_of_a_frozen_encoder_do_not_move(architecture):
    torch.manual_seed(0)
    bands = 6 if getattr(architecture, "images", 1) == 2 else 3
    network = build_network(architecture, bands, 2)
    freeze(network.encoder)
    encoder, whole = ({name: value.clone() for name, value in part.state_dict().items()} for part in (network.encoder, network))
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.1)
    target = torch.zeros(4, 64, 64, dtype=torch.int64)
    target[:, 8:30, 8:30] = 1
    loss(network, torch.randn(4, bands, 64, 64) * 5 + 3, target).backward()
    optimiser.step()
    assert any("running_mean" in name for name in encoder)
    assert all(torch.equal(value, encoder[name]) for name, value in network.encoder.state_dict().items())
    assert any(not torch.equal(value, whole[name]) for name, value in network.state_dict().items())
