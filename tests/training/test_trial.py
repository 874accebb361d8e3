import pytest
import torch

from models.architecture import Architecture
from models.network import build_network
from training import trial
from training.compute import Compute
from training.dataset import Batch
from training.losses import loss_of
from training.memory import Pieces
from training.pixels import pixel_loss
from training.trial import fitting_batch_size, free_bytes, saved_bytes, step_seconds

SMALL = Architecture(encoder="resnet10t", decoder_channels=16, encoder_levels=3)
FLOAT = Compute(torch.device("cpu"), None)
LOSS = loss_of("cross_entropy_dice", torch.ones(2))


def a_batch(count):
    target = torch.zeros(count, 32, 32, dtype=torch.int64)
    target[:, :8] = 1
    return Batch(torch.randn(count, 3, 32, 32), torch.ones(count, 1, 32, 32, dtype=torch.bool), target)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_network(SMALL, 3, 2)


@pytest.mark.parametrize(("tiles", "size"), [(1, 1), (15, 1), (16, 2), (64, 8), (127, 8), (1000, 16)])
def test_an_epoch_keeps_enough_steps(network, tiles, size):
    assert fitting_batch_size(network, tiles, a_batch, pixel_loss(network, LOSS, FLOAT), FLOAT) == size


def test_less_memory_smaller_batches(network, monkeypatch):
    two = trial.OVER_SAVED * saved_bytes(lambda: LOSS(network.train()(a_batch(2).image), a_batch(2).target).backward())
    monkeypatch.setattr(trial, "free_bytes", lambda: 2.5 * two / trial.MEMORY_SHARE)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    assert fitting_batch_size(network, 1000, a_batch, pixel_loss(network, LOSS, FLOAT), FLOAT) == 4
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_what_memory_refuses_is_halved(network, monkeypatch):
    decode = network.decode

    def small_memory(features, size):
        if len(features[0]) > 4:
            raise torch.OutOfMemoryError("out of memory")
        return decode(features, size)

    monkeypatch.setattr(network, "decode", small_memory)
    assert fitting_batch_size(network, 1000, a_batch, pixel_loss(network, LOSS, FLOAT), FLOAT) == 4


def test_measuring_a_step_changes_nothing(network):
    before = {k: v.clone() for k, v in network.state_dict().items()}
    assert step_seconds(network, a_batch(2), pixel_loss(network, LOSS, FLOAT), Pieces()) > 0
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_free_memory_is_known_here():
    assert 1e6 < free_bytes() < 1e14
