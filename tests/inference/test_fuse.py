"""Networks that answer the same without their batch normalisations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from inference.fuse import fused, on_any_threads
from models.architecture import Architecture
from models.network import Upscale, build_network


def normalisations(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def settled(network: nn.Module) -> nn.Module:
    """In evaluation mode, with statistics that are not 0 and 1."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return network.eval()


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(encoder_levels=2, decoder_channels=8, output_stride=4),
        Architecture(encoder="mobilenetv3_small_050", encoder_levels=5, output_stride=4),  # normalisations that bring their activation along
        Architecture(encoder="resnet10t", encoder_levels=5, decoder="unet"),
    ],
)
def test_it_answers_the_same_with_fewer_normalisations_and_the_given_network_stays(architecture):
    network = settled(build_network(architecture, 3, 2))
    image = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        before = network(image)
        count = normalisations(network)
        made = fused(network, 3)
        assert normalisations(made) < count == normalisations(network)
        torch.testing.assert_close(made(image), before, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(network(image), before, atol=0, rtol=0)


class Shared(nn.Module):
    """What the convolution gives is used once more, as it is: nothing may be put into it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 2, 3, padding=1), nn.BatchNorm2d(2)

    def forward(self, image: Tensor) -> Tensor:
        seen = self.conv(image)
        return self.norm(seen) + seen


def test_a_network_that_would_answer_otherwise_is_left_as_it_is():
    network = settled(Shared())
    assert fused(network, 3) is network


def test_a_network_without_normalisations_is_left_as_it_is():
    network = nn.Conv2d(3, 2, 1).eval()
    assert fused(network, 3) is network


def test_one_thread_sums_up_as_several_do():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(64, 32, 1), nn.ReLU(), nn.Conv2d(32, 2, 1)).eval()
    image = torch.randn(1, 64, 160, 176).contiguous(memory_format=torch.channels_last)

    def answers(of: nn.Module) -> list[Tensor]:
        found, before = [], torch.get_num_threads()
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with torch.inference_mode():
                found.append(of(image))
        torch.set_num_threads(before)
        return found

    plain, steady = answers(network), answers(on_any_threads(network))
    assert all(torch.equal(each, steady[0]) for each in steady)
    torch.testing.assert_close(steady[0], plain[0], atol=1e-5, rtol=1e-5)
    assert network[0].dilation == (1, 1)


def test_three_channels_are_enlarged_alike_on_any_number_of_threads():
    network = on_any_threads(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), Upscale(2), nn.UpsamplingBilinear2d(scale_factor=2)).eval())
    image = torch.randn(1, 3, 48, 42, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=torch.channels_last)
    found, before = [], torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        with torch.inference_mode():
            found.append(network(image))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert all(torch.equal(each, found[0]) for each in found)
