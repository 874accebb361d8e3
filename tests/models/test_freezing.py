import torch

from models.architecture import Architecture
from models.freezing import freeze, is_frozen, learnable_parameters, unfreeze
from models.network import build_network


def a_network():
    torch.manual_seed(0)
    return build_network(Architecture(encoder="resnet10t", decoder_channels=16), 3, 2)


def train_a_little(network):
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        network(torch.randn(2, 3, 64, 64) * 5 + 3).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()


def test_frozen_encoder_does_not_move_in_any_bit():
    network = a_network()
    freeze(network.encoder)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    train_a_little(network)
    after = network.state_dict()
    for name, tensor in before.items():
        if name.startswith("encoder."):
            assert torch.equal(tensor, after[name]), name
    moved = [n for n in before if not torch.equal(before[n], after[n])]
    assert any(n.startswith("decoder.") and "running_mean" in n for n in moved)
    assert any(n.startswith("head.") for n in moved)


def test_unfreeze_lets_it_learn_again():
    network = a_network()
    freeze(network.encoder)
    assert is_frozen(network.encoder)
    unfreeze(network.encoder)
    assert not is_frozen(network.encoder)
    before = {k: v.clone() for k, v in network.encoder.state_dict().items()}
    train_a_little(network)
    moved = [n for n, t in network.encoder.state_dict().items() if not torch.equal(t, before[n])]
    assert any("running_mean" in n for n in moved)
    assert any("weight" in n for n in moved)


def test_learnable_parameters_leave_the_frozen_out():
    network = a_network()
    freeze(network.encoder)
    frozen = {id(p) for p in network.encoder.parameters()}
    learning = learnable_parameters(network)
    assert learning
    assert not frozen & {id(p) for p in learning}
