"""Tiny rasters and hand-set models with known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from torch import nn

from models.architecture import Architecture
from models.bundle import ModelBundle, load_bundle, save_bundle
from models.card import ModelCard, ModelInput
from models.network import build_network
from workspace.classes import ClassDef

UTM = Affine(0.5, 0, 500_000, 0, -0.5, 3_700_000)
PAVED = ClassDef(value=1, name="Paved road", colour="#4361ee")
UNPAVED = ClassDef(value=2, name="Unpaved road", colour="#ff9f1c")


def write_raster(path: Path, values: np.ndarray, *, crs: str = "EPSG:32611", transform: Affine = UTM, nodata: float | None = None, **options) -> Path:
    """values: (bands, rows, columns)."""
    bands, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=bands, dtype=values.dtype, crs=crs, transform=transform, nodata=nodata, **options
    ) as file:
        file.write(values)
    return path


def card(classes: tuple[ClassDef, ...], bands: tuple[str, ...] = ("red", "green", "blue"), dtype: str = "uint8") -> ModelCard:
    return ModelCard(
        name="tiny",
        title="Tiny",
        architecture=Architecture(encoder_levels=2, decoder_channels=8, output_stride=4),
        input=ModelInput(band_names=bands, dtype=dtype, mean=(128.0,) * len(bands), std=(64.0,) * len(bands), resolution_m=0.5, tile_size=64),
        classes=classes,
    )


class BrightAbove(nn.Module):
    """Class 1 where red is above the threshold, class 2 where blue is; logits by a 1x1 convolution, so no pixel sees another."""

    stride = 1

    def __init__(self, threshold: float, classes: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, classes + 1, 1)
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.bias.zero_()
            for output, band in zip(range(1, classes + 1), (0, 2), strict=False):
                self.conv.weight[output, band, 0, 0] = 10.0
                self.conv.bias[output] = -10.0 * (threshold - 128.0) / 64.0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.conv(image)


def bright_bundle(threshold: float = 128.0, classes: tuple[ClassDef, ...] = (PAVED,)) -> ModelBundle:
    return ModelBundle(BrightAbove(threshold, len(classes)), card(classes), Path("tiny"))


def saved_bundle(
    folder: Path, classes: tuple[ClassDef, ...], always: int | None = None, bands: tuple[str, ...] = ("red", "green", "blue"), dtype: str = "uint8"
) -> Path:
    """A real (random) network saved as a bundle; with `always`, its head says that output everywhere."""
    made = card(classes, bands, dtype)
    torch.manual_seed(0)
    network = build_network(made.architecture, len(bands), made.outputs).eval()
    if always is not None:
        last = [m for m in network.head.modules() if isinstance(m, nn.Conv2d)][-1]
        with torch.no_grad():
            last.weight.zero_()
            last.bias.zero_()
            last.bias[always] = 5.0
    save_bundle(folder, network, made)
    return folder


def waves(height: int, width: int) -> np.ndarray:
    """(3, height, width): a picture with something at every scale."""
    rows, columns = np.mgrid[0:height, 0:width]
    smooth = np.stack([np.sin(rows / 19), np.cos(columns / 23), np.sin((rows + columns) / 31)]) * 90 + 128
    return (smooth + np.random.default_rng(5).normal(0, 10, smooth.shape)).clip(1, 255).astype(np.uint8)


def lively_bundle(folder: Path) -> ModelBundle:
    """A random network that was saved; its last layer is fitted so that it says every class somewhere, and is sure here and there."""
    bundle = load_bundle(saved_bundle(folder / "random", (PAVED, UNPAVED)))
    last = [m for m in bundle.network.head.modules() if isinstance(m, nn.Conv2d)][-1]
    with torch.no_grad():
        logits = bundle.network(torch.from_numpy((waves(256, 256)[None].astype(np.float32) - 128) / 64))
        deviation, mean = torch.std_mean(logits, dim=(0, 2, 3))
        last.weight.mul_(2 / deviation[:, None, None, None])
        last.bias.copy_((last.bias - mean) * 2 / deviation)
    save_bundle(folder / "lively", bundle.network, bundle.card)
    return load_bundle(folder / "lively")
