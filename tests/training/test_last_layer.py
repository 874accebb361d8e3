"""The last layer alone, fitted at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from models.architecture import Architecture
from models.card import ModelInput
from models.network import SegmentationNetwork, Upscale, build_network
from tests.training.tile_sets import SMALL, make_tile_set
from training.compute import Compute
from training.dataset import TileData
from training.last_layer import fit_last_layer, last_layer
from training.pixels import evaluate

FLOAT = Compute(torch.device("cpu"), None)


class Finest(nn.Module):
    """Decoder that hands on the finest features, every second pixel."""

    def forward(self, features):
        return features[0][..., ::2, ::2]


class Whole(nn.Module):
    """Encoder that hands on the image."""

    def forward(self, image):
        return [image]


def colours_only(outputs: int) -> SegmentationNetwork:
    """A network that sees nothing but the colour of a pixel."""
    torch.manual_seed(0)
    return SegmentationNetwork(Whole(), Finest(), nn.Sequential(nn.Conv2d(3, outputs, 1), Upscale(2)), stride=2, bands=3, outputs=outputs)


@pytest.fixture
def data(tmp_path) -> tuple[TileData, TileData]:
    made = make_tile_set(tmp_path / "tiles")
    seen = ModelInput(band_names=("red", "green", "blue"), mean=(70, 70, 70), std=(40, 40, 40), resolution_m=0.5, tile_size=64)
    lookup = np.zeros(256, np.uint8)
    lookup[[2, 1, 255]] = 1, 2, 255
    return TileData(made, made.train, seen, lookup), TileData(made, made.validation, seen, lookup)


def fitted(network: SegmentationNetwork, data: TileData, **changes) -> SegmentationNetwork:
    settings = {"weights": torch.ones(network.outputs), "random": torch.Generator().manual_seed(0), "tick": lambda: None} | changes
    fit_last_layer(network, [data], settings["weights"], FLOAT, settings["random"], settings["tick"])
    return network


def iou(network: SegmentationNetwork, data: TileData) -> np.ndarray:
    matrix = evaluate(network, data, lambda logits, target: logits.mean(), FLOAT, lambda: None).drawn
    return np.diag(matrix) / (matrix.sum(0) + matrix.sum(1) - np.diag(matrix))


def test_classes_that_differ_in_colour_are_told_apart_on_tiles_not_seen(data):
    train, validation = data
    network = colours_only(3)
    assert iou(network, validation).min() < 0.3
    assert iou(fitted(network, train), validation).min() > 0.7  # what the network sees is two pixels wide


def test_it_is_the_best_layer_for_the_loss_and_nothing_else_moves(data):
    """No small step in any direction makes the training loss smaller by more than the ridge accounts for."""
    train, _ = data
    torch.manual_seed(0)
    network = build_network(SMALL, 3, 3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fitted(network, train)
    moved = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"head.0.weight", "head.0.bias"}
    layer = last_layer(network)
    batch = train.batch(range(len(train)))

    def loss() -> float:
        with torch.no_grad():
            logits = network.head[0](network.decoder(network.encode(batch.image)))
            return float(nn.functional.cross_entropy(logits, batch.target[:, ::2, ::2], ignore_index=255))

    best, random = loss(), torch.Generator().manual_seed(1)
    found = layer.weight.detach().clone()
    for _ in range(10):
        step = torch.randn(found.shape, generator=random) * found.std() * 0.5
        with torch.no_grad():
            layer.weight.copy_(found + step)
        assert loss() > best - 0.01


def test_a_heavier_class_is_said_more_often(data):
    train, _ = data
    said = []
    for weight in (1.0, 30.0):
        network = fitted(build_once(), train, weights=torch.tensor([1.0, weight, 1.0]))
        with torch.no_grad():
            said.append(int((network(train.batch(range(4)).image).argmax(1) == 1).sum()))
    assert said[1] > said[0]


def build_once() -> SegmentationNetwork:
    torch.manual_seed(0)
    return build_network(SMALL, 3, 3)


def test_the_same_seed_gives_the_same_layer(data):
    one, two = (fitted(build_once(), data[0]).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_stopping_leaves_the_network_as_it_was(data):
    network = build_once()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    ticks = iter(range(4))

    def stop() -> None:
        if next(ticks) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(network, data[0], tick=stop)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_network_that_ends_in_another_layer_has_none():
    assert last_layer(build_network(Architecture(encoder="resnet10t", decoder="unet"), 3, 2)) is None
