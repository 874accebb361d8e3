from typing import get_args

import pytest
import torch
from torch import nn

from models.architecture import ArcGISArchitecture, Architecture, Decoder, SceneArchitecture
from models.batch_norm import learn_from_one
from models.network import ChangeNetwork, SceneNetwork, build_network


@pytest.mark.parametrize("decoder", list(get_args(Decoder)))
@pytest.mark.parametrize("levels", [4, 5])
@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (70, 45), (5, 9)])
def test_logits_have_the_image_size_whatever_it_is(decoder, levels, rows, columns):
    network = build_network(Architecture(encoder="resnet10t", decoder=decoder, decoder_channels=16, encoder_levels=levels), 4, 3).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 4, rows, columns)).shape == (1, 3, rows, columns)


@pytest.mark.parametrize("decoder", list(get_args(Decoder)))
@pytest.mark.parametrize("levels", [3, 4, 5])
def test_what_is_decoded_covers_the_image_and_no_more(decoder, levels):
    network = build_network(Architecture(encoder="resnet10t", decoder=decoder, decoder_channels=16, encoder_levels=levels), 3, 2).eval()
    with torch.no_grad():
        assert network.head(network.decoder(network.encode(torch.randn(1, 3, 64, 64)))).shape == (1, 2, 64, 64)


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("levels", [3, 5])
def test_light_decoder_ends_where_it_is_told(stride, levels):
    network = build_network(Architecture(encoder="resnet10t", output_stride=stride, encoder_levels=levels), 3, 2)
    assert network.decoder.out_stride == stride
    assert network.stride == 2**levels
    assert network(torch.randn(2, 3, 96, 96)).shape == (2, 2, 96, 96)


def test_padding_does_not_move_the_picture():
    """A one-pixel shift would show as a difference in the top left corner."""
    torch.manual_seed(0)
    network = build_network(Architecture(encoder="resnet10t", encoder_levels=3), 1, 2).eval()
    image = torch.randn(1, 1, 128, 128)
    with torch.no_grad():
        whole, part = network(image), network(image[..., :123, :121])
    assert torch.allclose(whole[..., :32, :32], part[..., :32, :32], atol=1e-4)


def test_default_is_small():
    network = build_network(Architecture(), 3, 3)
    assert sum(p.numel() for p in network.parameters()) < 8e6


def test_scenes_have_one_logit_for_each_class():
    network = build_network(SceneArchitecture(encoder="resnet10t"), 4, 5).eval()
    assert isinstance(network, SceneNetwork)
    assert network(torch.randn(2, 4, 50, 70)).shape == (2, 5)


def test_change_is_nothing_between_equal_images_wherever_they_are():
    torch.manual_seed(0)
    network = build_network(Architecture(encoder="resnet10t", decoder_channels=16, images=2), 6, 2).eval()
    assert isinstance(network, ChangeNetwork)
    one, other = torch.randn(1, 3, 64, 64), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        same, same_too, changed = (network(torch.cat(pair, dim=1)) for pair in ((one, one), (other, other), (one, other)))
    assert torch.allclose(same, same_too)
    assert not torch.allclose(same, changed)


def test_a_pair_needs_an_even_number_of_bands():
    with pytest.raises(ValueError, match="even number"):
        build_network(Architecture(encoder="resnet10t", images=2), 3, 2)


@pytest.mark.parametrize(
    "architecture",
    [
        *(Architecture(encoder="resnet10t", decoder=decoder) for decoder in get_args(Decoder)),
        ArcGISArchitecture(backbone="resnet18", model="DeepLab"),
    ],
    ids=lambda architecture: getattr(architecture, "decoder", architecture.kind),
)
def test_one_tile_alone_can_be_learnt_from(architecture):
    """Pooled to a single value per channel there is nothing to normalise by: the stored statistics serve, as in prediction."""
    network = build_network(architecture, 3, 2).train()
    network(torch.randn(1, 3, 64, 64)).sum().backward()
    assert all(value.isfinite().all() for value in network.decoder.buffers())


def test_what_one_tile_is_pooled_to_is_normalised_as_in_prediction():
    torch.manual_seed(0)
    norm = nn.Sequential(nn.BatchNorm2d(4))
    norm(torch.randn(8, 4, 3, 3))
    learn_from_one(norm)
    alone, before = torch.randn(1, 4, 1, 1), norm[0].running_var.clone()
    assert torch.equal(norm(alone), norm.eval()(alone))
    assert torch.equal(norm[0].running_var, before)
    norm.train()(torch.randn(1, 4, 2, 2))
    assert not torch.equal(norm[0].running_var, before)
