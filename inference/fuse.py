"""A network that answers the same with less work, on any number of threads: what batch normalisation does is put into the convolutions before it. For prediction only.

In evaluation mode it multiplies and adds numbers that are known beforehand (Markuš 2018, "Fusing batch normalization and convolution in runtime").
Which of the two follow one another is seen from one small pass, so any network will do, and what was fused has to answer that pass as before.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any, TypeGuard

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.network import Upscale

SIDE_PX = 128
ENLARGING = (Upscale, nn.Upsample)
TOLERANCE = 1e-4
"""Largest difference of two answers, in shares of the largest of them: what float32 may round."""


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """What is calculated inside comes out the same however many threads there are; for what is soon done."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class OnOneThread(nn.Module):
    """Runs `module` on one thread."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        with one_thread():
            made: Tensor = self.module(x)
        return made


def on_any_threads(network: nn.Module) -> nn.Module:
    """A copy of `network` that sums up in the same order on one thread as on several; `network` itself where there is nothing to be done.

    PyTorch hands 1x1 convolutions to oneDNN, except on one thread; dilated ones it hands over always, and in a window of one pixel there is nothing to dilate.
    It enlarges three channels (a logit for each of three outputs) otherwise on one thread than on several, so this, at the end of a network, is done on one.
    """
    if not any(_of_one_pixel(module) or isinstance(module, ENLARGING) for module in network.modules()):
        return network
    made = _sharing_numbers(network)
    for name, module in list(made.named_modules()):
        if _of_one_pixel(module):
            module.dilation = (2, 2)
        elif isinstance(module, ENLARGING):
            made.set_submodule(name, OnOneThread(module))
    return made


def _of_one_pixel(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.padding == (0, 0)


def _sharing_numbers(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network, {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())})


def fused(network: nn.Module, bands: int) -> nn.Module:
    """A copy of `network` without the batch normalisations that follow a convolution; `network` itself where there are none.

    Args:
        network: In evaluation mode, float32; takes (n, bands, rows, columns). Not changed.
        bands: Of its input.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        return network
    first = next(network.parameters())
    made = _sharing_numbers(network)
    image = torch.randn((1, bands, SIDE_PX, SIDE_PX), generator=torch.Generator().manual_seed(0)).to(first.device)
    with torch.inference_mode(False), torch.no_grad():
        before, pairs = _followed(made, image)
        names = {module: name for name, module in made.named_modules()}
        for conv, norm in pairs:
            made.set_submodule(names[conv], fuse_conv_bn_eval(conv, norm).to(memory_format=torch.channels_last))
            made.set_submodule(names[norm], nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity())
        after = made(image)
    close = bool((after - before).abs().max() <= TOLERANCE * before.abs().max())
    return made if close else network


def _followed(network: nn.Module, image: Tensor) -> tuple[Tensor, list[tuple[nn.Conv2d, nn.BatchNorm2d]]]:
    """What the network answers, and which convolutions are followed by which normalisations; both ran once only."""
    given: list[tuple[nn.Conv2d, Tensor]] = []
    taken: list[tuple[nn.BatchNorm2d, Tensor]] = []

    def listen(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(module, nn.Conv2d):
            given.append((module, output))
        elif isinstance(module, nn.BatchNorm2d):
            taken.append((module, inputs[0]))

    hooks = [module.register_forward_hook(listen) for module in network.modules()]
    answer: Tensor = network(image)
    for hook in hooks:
        hook.remove()
    runs = [module for module, _ in given + taken]
    pairs = [(conv, norm) for norm, its_input in taken for conv, its_output in given if its_input is its_output]
    return answer, [(conv, norm) for conv, norm in pairs if runs.count(conv) == runs.count(norm) == 1]
