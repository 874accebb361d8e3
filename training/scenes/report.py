"""What a run on whole tiles learnt, as one HTML file: see `training.report`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.bundle import load_bundle
from models.network import SceneNetwork
from tiles.preview import picture
from tiles.reader import read_labelled
from training.loop import Tick
from training.report import WORST, centre, charts, png, render, shares
from training.run_folder import MODEL
from training.scenes.learner import SceneLearner
from training.scenes.scores import accuracy, accuracy_ranges, chosen, mix_ups
from workspace.jobs import events


@dataclass(frozen=True)
class WrongTile:
    """A held-out tile that is given a class it does not have."""

    name: str
    place: str
    lon_lat: tuple[float, float] | None
    """Of its centre, degrees."""
    labelled: str
    said: str
    sure: float
    """Probability of what is said."""
    picture: str
    """PNG as a data address."""


def write_report(folder: Path, ready: SceneLearner, tick: Tick) -> None:
    """Write report.html of a finished run into its folder.

    Args:
        folder: With the best model, result.json and the events of the epochs.
        ready: The run: its tiles, and what it began with.
        tick: Called after each batch; may raise to stop.
    """
    network = load_bundle(folder / MODEL, SceneNetwork).network
    ready.compute.place(network)
    probabilities, _ = ready.look(network, ready.validation, tick)
    truth, found = ready.validation.truth > 0, chosen(probabilities, several=network.several)
    known = ready.base_said if set(ready.old_classes) == set(ready.class_names) else None
    ranges = accuracy_ranges(ready.blocks, truth, found, known)
    epochs = [e for e in events(folder) if e["kind"] == "epoch"]
    render(
        folder,
        ready,
        "scenes.html.j2",
        charts=charts(
            epochs, {name: [e["by_class"].get(name) for e in epochs] for e in epochs for name in e["by_class"]}, "F1 on held-out tiles"
        ),
        names=ready.class_names,
        confusion=shares(mix_ups(truth, found)),
        accuracy=accuracy(truth, found),
        several=network.several,
        accuracy_range=ranges.get("accuracy_range"),
        accuracy_gain_range=ranges.get("accuracy_gain_range"),
        worst=[_wrong_tile(ready, i, output, probabilities) for i, output in worst_tiles(truth, probabilities)[:WORST]],
    )


def worst_tiles(truth: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> list[tuple[int, int]]:
    """(tile, class given) where the likeliest class is not one of the tile's, the surest first."""
    likeliest = probabilities.argmax(axis=1)
    wrong = [i for i, output in enumerate(likeliest) if not truth[i, output]]
    return [(i, int(likeliest[i])) for i in sorted(wrong, key=lambda i: -probabilities[i].max())]


def _wrong_tile(ready: SceneLearner, index: int, output: int, probabilities: NDArray[np.float32]) -> WrongTile:
    tile, record = ready.validation.tiles[index], ready.tile_set.record
    pixels, _ = read_labelled(ready.tile_set, tile)
    labelled = [name for name, has in zip(ready.class_names, ready.validation.truth[index], strict=True) if has]
    return WrongTile(
        name=tile.name,
        place=tile.place,
        lon_lat=centre(tile, record.size_of(tile)),
        labelled=" and ".join(labelled),
        said=ready.class_names[output],
        sure=float(probabilities[index, output]),
        picture=png(picture(pixels.image, pixels.valid, record)),
    )
