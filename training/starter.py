"""Make the starter model "Paved roads" from nothing but code and openly licensed imagery.

    python -m training.starter scenes FOLDER                    generated scenes with exact land cover
    python -m training.starter pretrain FOLDER                  encoder and decoder learn land cover from them
    python -m training.starter specialise FOLDER NAIP_ROADS     all weights learn paved roads, on scenes and real chips; writes the bundle

The land-cover head is a teacher only: it makes the encoder describe the ground (soil, washes, roofs, tracks), which is what a frozen
fine-tune later builds on. It is dropped; the bundle knows background and paved roads.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Sequence
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
from models.bundle import save_bundle
from models.card import ModelCard, ModelInput, Score
from models.catalogue import BUNDLES_FOLDER
from models.network import SegmentationNetwork, build_network
from workspace.classes import ClassDef
from workspace.files import replaced_on_success

ARCHITECTURE = Architecture()
MEAN = (122.0, 116.0, 101.0)
"""Red, green, blue, raw 8-bit units: rounded means of NAIP chips and generated scenes."""
STD = (52.0, 47.0, 45.0)
IGNORE = 255
CROP = 256
NAME = "paved-roads-starter"
PRETRAINED = Path(__file__).resolve().parent.parent / "models" / "pretrained" / "ground-cover.safetensors"
"""Encoder, decoder and land-cover head after `pretrain`, in half precision; what `specialise` and the benchmarks start from."""
PRETRAIN_STEPS = 2400
SPECIALISE_STEPS = 160

app = typer.Typer(add_completion=False, help=__doc__)


@dataclass(frozen=True)
class Chip:
    """One real chip: rgb (3, h, w) uint8 and label (h, w) uint8: 0 background, 1 paved, 2 unpaved, 255 ignore."""

    name: str
    rgb: NDArray[np.uint8]
    label: NDArray[np.uint8]


@app.command()
def scenes(folder: Path, count: int = 420, first_seed: int = 1000, size: int = 1024) -> None:
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
def pretrain(
    folder: Path,
    out: Path = PRETRAINED,
    steps: int = PRETRAIN_STEPS,
    batch: int = 16,
    seed: int = 0,
    start: Annotated[Path | None, typer.Option(help="Weights to go on from; without them from nothing.")] = None,
    rate: float = 2e-3,
) -> None:
    """Learn land cover from what lies in FOLDER; the weights are written every 100 steps."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    network = _fast(land_cover_network(start))
    weights = torch.ones(len(Cover))
    weights[[Cover.PAVED_ROAD, Cover.UNPAVED_ROAD, Cover.TRAIL]] = torch.tensor([2.0, 3.0, 3.0])
    pool = ScenePool(folder)

    def step_loss() -> Tensor:
        image, cover = pool.crops(random, batch)
        features = network.decoder(network.encode(_prepared(image, random)))
        return _half_resolution_loss(features, _last_layer(network), cover, weights, random)

    _train(list(network.parameters()), step_loss, steps, rate, every_100=lambda: save_weights(network, out))
    save_weights(network, out)


def land_cover_network(weights: Path | None) -> SegmentationNetwork:
    """The network with the land-cover head, with these weights or fresh."""
    network = build_network(ARCHITECTURE, bands=3, outputs=len(Cover))
    if weights is not None:
        network.load_state_dict({n: t.float() if t.is_floating_point() else t for n, t in load_file(weights).items()})
    return network


@app.command()
def specialise(
    folder: Path,
    chips: Annotated[Path, typer.Argument(help="The naip_roads folder: images/, masks/, pairs.csv.")],
    pretrained: Path = PRETRAINED,
    out: Path = BUNDLES_FOLDER / NAME,
    steps: int = SPECIALISE_STEPS,
    seed: int = 0,
) -> None:
    """Learn paved roads on generated scenes and on the chips without unpaved roads; write the bundle."""
    paved = [chip for chip in read_chips(chips) if not (chip.label == 2).any()]
    network = paved_network(pretrained, paved, folder, steps=steps, seed=seed)
    save_bundle(out, network, starter_card(scores_on_new_scenes(network)))


def starter_card(scores: Sequence[Score] = ()) -> ModelCard:
    """The starter's card, all but what `save_bundle` fills in."""
    return ModelCard(
        name=NAME,
        title="Paved roads (starter)",
        summary="Finds paved roads in natural-colour aerial imagery of about half a metre per pixel. Dirt tracks and trails are background to "
        "it: they are what you teach it.",
        architecture=ARCHITECTURE,
        input=ModelInput(band_names=("red", "green", "blue"), dtype="uint8", mean=MEAN, std=STD, resolution_m=0.6, tile_size=CROP),
        classes=(ClassDef(value=1, name="Paved road", colour="#4361ee"),),
        licence="Weights: CC BY 4.0. Imagery: NAIP 2020 (USDA, public domain) via Ventura et al. 2024, CC BY 4.0.",
        training_data="Trained from nothing, in two steps. First 12 kinds of ground (paved roads, tracks, trails, soil, roofs, washes ...) on generated "
        "scenes (demo/): so the encoder can tell tracks from soil, but the model has no answer for them. Then paved roads, all else "
        "background, on those scenes and on 15 NAIP chips of California (256 x 256, 0.6 m) without unpaved roads, labelled for this project. "
        "Colours and textures of the generator were chosen while looking at NAIP imagery.",
        made_by="python -m training.starter",
        scores=tuple(scores),
    )


def scores_on_new_scenes(network: SegmentationNetwork, first_seed: int = 900_000, count: int = 4) -> list[Score]:
    """How well paved roads are found on generated scenes of seeds that training never used."""
    hit = said = true = 0
    for seed in range(first_seed, first_seed + count):
        scene = make_scene(SceneSettings(seed=seed, width=768, height=768, resolution_m=0.6))
        with torch.inference_mode():
            found = network(normalised(torch.from_numpy(scene.rgb[None]).float())).argmax(1)[0].numpy() == 1
        truth = scene.cover == Cover.PAVED_ROAD
        hit, said, true = hit + int((found & truth).sum()), said + int(found.sum()), true + int(truth.sum())
    return [
        Score.model_validate(
            {"on": f"{count} generated scenes not used in training", "class": "Paved road"}
            | {"iou": hit / (said + true - hit), "precision": hit / max(said, 1), "recall": hit / max(true, 1)}
        )
    ]


def paved_network(pretrained: Path, chips: Sequence[Chip], scenes_folder: Path, *, steps: int, seed: int) -> SegmentationNetwork:
    """The paved-road network (2 outputs) after training all weights on `chips` and generated scenes, half and half.

    The land-cover head goes on learning from the scenes, so that the encoder keeps telling unpaved from paved ground.
    """
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    teacher = _fast(land_cover_network(pretrained))
    network = _fast(build_network(ARCHITECTURE, bands=3, outputs=2))
    network.encoder, network.decoder = teacher.encoder, teacher.decoder
    ground_head, road_head = _last_layer(teacher), _last_layer(network)
    with torch.no_grad():
        road_head.weight.copy_(torch.stack([ground_head.weight.mean(0), ground_head.weight[Cover.PAVED_ROAD]]))
    pool = ScenePool(scenes_folder)

    def step_loss() -> Tensor:
        made, cover = pool.crops(random, 8)
        real, label = chip_crops(chips, random, 8)
        features = network.decoder(network.encode(_prepared(np.concatenate([made, real]), random)))
        paved = np.concatenate([(cover == Cover.PAVED_ROAD).astype(np.uint8), label])
        road = _half_resolution_loss(features, road_head, paved, torch.tensor([1.0, 2.0]), random, dice=True)
        ground = _half_resolution_loss(features[: len(made)], ground_head, cover, torch.ones(len(Cover)), random)
        return road + 0.5 * ground

    _train([*network.parameters(), *ground_head.parameters()], step_loss, steps, rate=8e-4)
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
    return normalised(x).contiguous(memory_format=torch.channels_last)


def normalised(x: Tensor) -> Tensor:
    """(n, 3, h, w) raw 8-bit values -> network input."""
    return (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


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


def _last_layer(network: SegmentationNetwork) -> nn.Conv2d:
    """The 1x1 convolution that gives the logits, before they are enlarged."""
    layer = network.head.get_submodule("0")
    assert isinstance(layer, nn.Conv2d)
    return layer


def _train(
    parameters: Sequence[nn.Parameter],
    step_loss: Callable[[], Tensor],
    steps: int,
    rate: float,
    every_100: Callable[[], None] = lambda: None,
) -> None:
    """AdamW; the rate warms up over 3 % of the steps and falls along a cosine."""
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=1e-2)
    started = time.monotonic()
    for step in range(steps):
        done = step / steps
        for group in optimiser.param_groups:
            group["lr"] = rate * min(done / 0.03 + 0.01, 0.5 * (1 + math.cos(math.pi * done)) + 0.002)
        with torch.autocast("cpu", torch.bfloat16):
            loss = step_loss()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 2.0)
        optimiser.step()
        if step % 20 == 19:
            typer.echo(f"step {step + 1} of {steps}  loss {loss.item():.3f}  {(time.monotonic() - started) / 60:.1f} min")
        if step % 100 == 99:
            every_100()


def save_weights(network: SegmentationNetwork, path: Path) -> None:
    """All tensors in half precision: half the size, and no difference that training would notice."""
    half = {n: t.half().contiguous() if t.is_floating_point() else t.contiguous() for n, t in network.state_dict().items()}
    with replaced_on_success(path) as temporary:
        save_file(half, temporary)


if __name__ == "__main__":
    app()
