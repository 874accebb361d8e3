import pytest
import torch

from models.adapters import add_adapters, attention_layers, has_adapters, hold, merged
from models.architecture import Architecture, SceneArchitecture, is_transformer
from models.freezing import freeze, learnable_parameters
from models.network import build_network

PVT = Architecture(encoder="pvt_v2_b0", decoder_channels=8)


def network(architecture=PVT):
    torch.manual_seed(0)
    return build_network(architecture, 3, 2).eval()


@pytest.mark.parametrize("encoder", ["pvt_v2_b0", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256"])
@pytest.mark.parametrize("side", [64, 100])
def test_transformers_are_built_for_images_of_any_size(encoder, side):
    made = network(Architecture(encoder=encoder, decoder_channels=8))
    with torch.no_grad():
        assert made(torch.randn(1, 3, side, side)).shape == (1, 2, side, side)
    assert attention_layers(made.encoder)
    assert is_transformer(Architecture(encoder=encoder))
    assert is_transformer(SceneArchitecture(encoder=encoder))


def test_other_encoders_have_no_attention():
    made = network(Architecture(encoder="resnet10t", decoder_channels=8))
    assert not is_transformer(Architecture(encoder="resnet10t"))
    with pytest.raises(ValueError, match="no attention"):
        add_adapters(made.encoder)


def test_adapters_begin_with_nothing_and_only_they_learn():
    made, image = network(), torch.randn(1, 3, 64, 64)
    freeze(made.encoder)
    with torch.no_grad():
        before = made(image)
        add_adapters(made.encoder)
        assert torch.equal(made(image), before)
    learning = learnable_parameters(made.encoder)
    assert len(learning) == 2 * len(attention_layers(made.encoder))
    assert sum(p.numel() for p in learning) < 0.05 * sum(p.numel() for p in made.encoder.parameters())


def test_frozen_weights_stay_until_the_merge_and_the_merged_model_is_an_ordinary_one():
    made, image = network(), torch.randn(4, 3, 64, 64)
    there = {name: value.clone() for name, value in made.state_dict().items()}
    hold(made.encoder, adapters=True)
    made.train()
    optimiser = torch.optim.AdamW(learnable_parameters(made.encoder), lr=1e-2)
    for _ in range(3):
        optimiser.zero_grad()
        made(image).square().mean().backward()
        optimiser.step()
    kept = {name.replace("parametrizations.weight.original", "weight"): value for name, value in made.encoder.state_dict().items()}
    assert all(torch.equal(kept[name.removeprefix("encoder.")], value) for name, value in there.items() if name.startswith("encoder."))
    ordinary = merged(made)
    assert has_adapters(made)
    assert not has_adapters(ordinary)
    fresh = network()
    fresh.load_state_dict(ordinary.state_dict())
    made.eval()
    with torch.no_grad():
        torch.testing.assert_close(fresh(image), made(image), atol=1e-4, rtol=1e-4)
        assert not torch.allclose(fresh(image), network()(image))


def test_a_network_without_adapters_is_what_it_was():
    made = network()
    assert merged(made) is made
