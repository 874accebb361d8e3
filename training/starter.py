"""Make the starter model "Paved roads" from nothing but code and openly licensed imagery.

    python -m training.starter scenes FOLDER --count 160         generated scenes with exact land cover
    python -m training.starter pretrain FOLDER OUT.safetensors   encoder and decoder learn land cover from them
    python -m training.starter specialise FOLDER PRETRAINED --chips NAIP_ROADS --out BUNDLE
                                                                 all weights learn paved roads, on scenes and real chips

The land-cover head is a teacher only: it makes the encoder describe the ground (soil, washes, roofs, tracks), which is what a frozen
fine-tune later builds on. It is dropped; the bundle knows background and paved roads.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import rasterio
import torch
import typer
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from demo.cover import Cover
from demo.scene import SceneSettings, make_scene
from models.architecture import Architecture
from models.network import SegmentationNetwork, build_network
from workspace.files import replaced_on_success

ARCHITECTURE = Architecture()
MEAN = (122.0, 116.0, 101.0)
"""Red, green, blue, raw 8-bit units: rounded means of NAIP chips and generated scenes."""
STD = (52.0, 47.0, 45.0)
IGNORE = 255
CROP = 256
ROAD_RESOLUTION_M = 0.6

app = typer.Typer(add_completion=False, help=__doc__)


@dataclass(frozen=True)
class Chip:
    """One real chip: rgb (3, h, w) uint8 and label (h, w) uint8: 0 background, 1 paved, 2 unpaved, 255 ignore."""

    name: str
    rgb: NDArray[np.uint8]
    label: NDArray[np.uint8]


@app.command()
def scenes(folder: Path, count: int = 160, first_seed: int = 1000, size: int = 1024) -> None:
    """Generate scenes with random looks: <seed>.npy, (4, size, size) uint8, red green blue cover."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first_seed, first_seed + count):
        path = folder / f"{seed}.npy"
        if path.exists():
            continue
        resolution = float(np.random.default_rng(seed).uniform(0.5, 0.7))
        scene = make_scene(SceneSettings(seed=seed, width=size, height=size, resolution_m=resolution))
        with replaced_on_success(path) as temporary:
            np.save(temporary, np.concatenate([scene.rgb, scene.cover[None]]))


@app.command()
def pretrain(folder: Path, out: Path, minutes: float = 40.0, batch: int = 16, seed: int = 0, rate: float = 2e-3) -> None:
    """Learn land cover from generated scenes for a given time; new scenes are picked up as they appear in FOLDER."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    network = _fast(build_network(ARCHITECTURE, bands=3, outputs=len(Cover)))
    weights = torch.ones(len(Cover))
    weights[[Cover.PAVED_ROAD, Cover.UNPAVED_ROAD, Cover.TRAIL]] = torch.tensor([2.0, 3.0, 3.0])
    pool = ScenePool(folder)

    def step_loss(network: SegmentationNetwork) -> Tensor:
        image, cover = pool.crops(random, batch)
        return _half_resolution_loss(network.decoder(network.encode(_prepared(image, random))), network.head[0], cover, weights, random)

    _train_for(network, step_loss, minutes * 60, rate, on_minute=lambda: save_weights(network, out))
    save_weights(network, out)


@app.command()
def specialise(
    folder: Path,
    pretrained: Path,
    chips: Annotated[Path, typer.Option(help="The naip_roads folder: images/, masks/, pairs.csv.")],
    out: Annotated[Path, typer.Option(help="Where the weights go (safetensors).")],
    minutes: float = 8.0,
    seed: int = 0,
) -> None:
    """Learn paved roads on generated scenes and on the chips without unpaved roads."""
    network = paved_network(pretrained, [c for c in read_chips(chips) if not (c.label == 2).any()], folder, minutes=minutes, seed=seed)
    save_weights(network, out)


def paved_network(pretrained: Path, chips: Sequence[Chip], scenes_folder: Path, *, minutes: float, seed: int) -> SegmentationNetwork:
    """The paved-road network (2 outputs) after training all weights on `chips` and generated scenes, half and half.

    The land-cover head goes on learning from the scenes, so that the encoder keeps telling unpaved from paved ground.
    """
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    teacher = _fast(build_network(ARCHITECTURE, bands=3, outputs=len(Cover)))
    teacher.load_state_dict(load_file(pretrained))
    network = _fast(build_network(ARCHITECTURE, bands=3, outputs=2))
    network.encoder, network.decoder = teacher.encoder, teacher.decoder
    with torch.no_grad():
        cover_weight = teacher.head[0].weight
        network.head[0].weight.copy_(torch.stack([cover_weight.mean(0), cover_weight[Cover.PAVED_ROAD]]))
    network.cover_head = teacher.head[0]
    pool = ScenePool(scenes_folder)

    def step_loss(network: SegmentationNetwork) -> Tensor:
        made, cover = pool.crops(random, 8)
        real, label = chip_crops(chips, random, 8)
        features = network.decoder(network.encode(_prepared(np.concatenate([made, real]), random)))
        paved = np.concatenate([(cover == Cover.PAVED_ROAD).astype(np.uint8), label])
        road = _half_resolution_loss(features, network.head[0], paved, torch.tensor([1.0, 2.0]), random, dice=True)
        ground = _half_resolution_loss(features[: len(made)], network.cover_head, cover, torch.ones(len(Cover)), random)
        return road + 0.5 * ground

    _train_for(network, step_loss, minutes * 60, 8e-4)
    del network.cover_head
    return network.eval()


def read_chips(folder: Path) -> list[Chip]:
    """All chips of the naip_roads set, red, green and blue only."""
    chips = []
    with (folder / "pairs.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            with rasterio.open(folder / row["image"]) as image, rasterio.open(folder / row["mask"]) as mask:
                chips.append(Chip(row["chip"], image.read([1, 2, 3]), mask.read(1)))
    return chips


def chip_crops(chips: Sequence[Chip], random: np.random.Generator, count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Random crops of chips, at random scale and turned: image (count, 3, CROP, CROP), label (count, CROP, CROP)."""
    pairs = [_crop(chip.rgb, chip.label, random) for chip in random.choice(np.array(chips, dtype=object), count)]
    return np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])


class ScenePool:
    """Generated scenes on disk, read as memory maps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.maps: dict[Path, NDArray[np.uint8]] = {}

    def crops(self, random: np.random.Generator, count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Random crops: image (count, 3, CROP, CROP) uint8, cover (count, CROP, CROP) uint8."""
        if len(self.maps) < 24 or random.random() < 0.02:
            for path in sorted(self.folder.glob("[0-9]*.npy")):
                self.maps.setdefault(path, np.load(path, mmap_mode="r"))
        every = list(self.maps.values())
        chosen = [every[i] for i in random.integers(len(every), size=count)]
        pairs = [_crop(scene[:3], scene[3], random) for scene in chosen]
        return np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])


def _crop(image: NDArray[np.uint8], label: NDArray[np.uint8], random: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A square of 0.75 to 1.3 times CROP (as far as there is room), turned and mirrored at random, resized to CROP."""
    rows, columns = label.shape
    side = min(int(CROP * math.exp(random.uniform(math.log(0.75), math.log(1.3)))), rows, columns)
    row, column = random.integers(rows - side + 1), random.integers(columns - side + 1)
    pixels = torch.from_numpy(np.ascontiguousarray(image[:, row : row + side, column : column + side]))[None].float()
    codes = torch.from_numpy(np.ascontiguousarray(label[row : row + side, column : column + side]))[None, None].float()
    if side != CROP:
        pixels = F.interpolate(pixels, size=(CROP, CROP), mode="bilinear", align_corners=False)
        codes = F.interpolate(codes, size=(CROP, CROP), mode="nearest-exact")
    turns, mirrored = int(random.integers(4)), bool(random.integers(2))
    out = []
    for array in (pixels[0].byte().numpy(), codes[0].byte().numpy()):
        turned = np.rot90(array, turns, (1, 2))
        out.append(turned[:, :, ::-1] if mirrored else turned)
    return np.ascontiguousarray(out[0]), np.ascontiguousarray(out[1][0])


def _prepared(image: NDArray[np.uint8], random: np.random.Generator) -> Tensor:
    """Normalised network input with random exposure, contrast, colour cast, blur and noise per crop."""
    x = torch.from_numpy(image).float()
    n = len(x)

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.from_numpy(random.uniform(low, high, (n, channels, 1, 1)).astype(np.float32))

    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * draw(0.75, 1.3) + mean * draw(0.75, 1.25)
    x = x * draw(0.92, 1.08, 3) + draw(-6, 6, 3)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * draw(0.5, 1.5)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = x + (soft - x) * draw(-0.4, 0.9)
    x = (x + torch.randn_like(x) * draw(0, 5)).clamp(0, 255)
    x = (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    return x.contiguous(memory_format=torch.channels_last)


def _half_resolution_loss(
    features: Tensor, head: nn.Module, label: NDArray[np.uint8], weights: Tensor, random: np.random.Generator, *, dice: bool = False
) -> Tensor:
    """Cross-entropy (and soft Dice of class 1) at the decoder's own stride 2; which of the four pixels is the label is drawn, so nothing shifts."""
    logits = head(features).float()
    row, column = random.integers(2, size=2)
    target = torch.from_numpy(np.ascontiguousarray(label[:, row::2, column::2])).long()
    loss = F.cross_entropy(logits, target, weight=weights, ignore_index=IGNORE)
    if dice:
        counts = (target != IGNORE).float()
        road = logits.softmax(1)[:, 1] * counts
        truth = (target == 1).float()
        loss = loss + 1 - (2 * (road * truth).sum() + 1) / (road.sum() + truth.sum() + 1)
    return loss


def _fast(network: SegmentationNetwork) -> SegmentationNetwork:
    return network.to(memory_format=torch.channels_last).train()


def _train_for(
    network: SegmentationNetwork,
    step_loss: Callable[[SegmentationNetwork], Tensor],
    seconds: float,
    rate: float,
    on_minute: Callable[[], None] | None = None,
) -> None:
    """AdamW until the time is up; the rate warms up over 3 % of the time and falls along a cosine."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
    started = told = time.monotonic()
    for steps, done in _clock(started, seconds):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(done / 0.03 + 0.01, 0.5 * (1 + math.cos(math.pi * done)) + 0.002)
        with torch.autocast("cpu", torch.bfloat16):
            loss = step_loss(network)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        if time.monotonic() - told > 60:
            told = time.monotonic()
            typer.echo(f"{(told - started) / 60:5.1f} min  step {steps}  loss {loss.item():.3f}")
            if on_minute:
                on_minute()


def _clock(started: float, seconds: float) -> Iterator[tuple[int, float]]:
    """(steps so far, share of the time that is gone) until the time is up."""
    steps = 0
    while (done := (time.monotonic() - started) / seconds) < 1:
        yield steps, done
        steps += 1


def save_weights(network: SegmentationNetwork, path: Path) -> None:
    with replaced_on_success(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, temporary)


if __name__ == "__main__":
    app()
