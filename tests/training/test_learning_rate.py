import pytest
import torch
from torch import nn

from models.architecture import Architecture
from models.freezing import freeze
from models.network import build_network
from training.compute import Compute
from training.dataset import Batch
from training.learning_rate import LEAST, MOST, chosen_rate, find_learning_rate
from training.losses import loss_of
from training.memory import Pieces
from training.pixels import pixel_loss

SMALL = Architecture(encoder="resnet10t", decoder_channels=16, encoder_levels=3)
FLOAT = Compute(torch.device("cpu"), None)


def endless():
    random = torch.Generator().manual_seed(0)
    while True:
        image = torch.randn(2, 3, 32, 32, generator=random)
        yield Batch(image, torch.ones(2, 1, 32, 32, dtype=torch.bool), (image[:, 0] > 0).long())


def test_a_tenth_of_where_the_loss_was_lowest():
    assert chosen_rate([1e-4, 1e-3, 1e-2, 1e-1], [1.0, 0.8, 0.5, 3.0]) == pytest.approx(1e-3)
    assert chosen_rate([1e-4, 1e-3], [1.0, 2.0]) == pytest.approx(1e-4), "never below what was tried"


def test_the_sweep_rises_stops_when_it_breaks_and_leaves_the_network_alone():
    torch.manual_seed(0)
    network = build_network(SMALL, 3, 2)
    freeze(network.encoder)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    drawn = torch.get_rng_state()
    sweep = find_learning_rate(network, endless(), pixel_loss(network, loss_of("cross_entropy_dice", torch.ones(2)), FLOAT), Pieces(), lambda: None)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert torch.equal(drawn, torch.get_rng_state())
    assert list(sweep.rates) == sorted(sweep.rates) and LEAST <= sweep.rates[0] < sweep.rates[-1] <= MOST * 1.001
    assert len(sweep.rates) == len(sweep.losses)
    assert min(sweep.losses) < sweep.losses[0], "somewhere it learns"
    assert 1e-5 <= sweep.chosen <= MOST / 10


def test_a_loss_that_is_no_number_ends_the_sweep():
    network = build_network(SMALL, 3, 2)
    given = iter([1.0, 0.5, float("nan")])

    def loss(logits, target):
        return logits.mean() * 0 + next(given)

    sweep = find_learning_rate(network, endless(), pixel_loss(network, loss, FLOAT), Pieces(), lambda: None)
    assert len(sweep.rates) == 2
    assert isinstance(network, nn.Module)
