"""Batch normalisation that copes with one value per channel: what is pooled over the whole of a single tile."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm


class _Lone(_BatchNorm):
    """As its base, but where a batch has a single value per channel, of which there is no deviation, the stored statistics serve and stay."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.numel() == input.shape[1]:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps)
        return super().forward(input)


class LoneBatchNorm1d(_Lone, nn.BatchNorm1d):
    """For (n, channels)."""


class LoneBatchNorm2d(_Lone, nn.BatchNorm2d):
    """For (n, channels, rows, columns)."""


def learn_from_one(module: nn.Module) -> None:
    """Let the module learn from batches of one tile, too. Weights, names and answers stay as they are."""
    for name, part in list(module.named_modules()):
        if type(part) is nn.BatchNorm2d:
            made = LoneBatchNorm2d(part.num_features, part.eps, part.momentum, part.affine, part.track_running_stats)
            made.load_state_dict(part.state_dict())
            made.train(part.training)
            module.set_submodule(name, made)
