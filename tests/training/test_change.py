"""Learning what has changed between two images of one place."""

import numpy as np
import pytest
import torch
from affine import Affine
from safetensors.torch import load_file

from models.bundle import load_bundle
from models.network import ChangeNetwork
from tests.training.tile_sets import make_base
from tiles.statistics import RunningStatistics
from tiles.tile_set import SecondImages, TileClass, TileRecord, TileSetRecord
from tiles.writer import SecondImage, TileSetWriter
from training.run import run
from training.settings import TrainingSettings
from workspace.files import write_json
from workspace.jobs import events, job_status

CHANGE = (TileClass(value=1, name="New house", colour="#e63946"),)


def a_pair(seed, size=64, bands=3):
    """Bright squares: one that was there before, one that is new."""
    rng = np.random.default_rng(seed)
    before, label = rng.normal(60, 8, (bands, size, size)), np.zeros((size, size), np.uint8)
    old, new = rng.permutation(4)[:2]
    here = [np.s_[16 + 32 * (k // 2) - 10 : 16 + 32 * (k // 2) + 10, 16 + 32 * (k % 2) - 10 : 16 + 32 * (k % 2) + 10] for k in (old, new)]
    before[(slice(None), *here[0])] += 120
    after = before + rng.normal(0, 8, before.shape)
    after[(slice(None), *here[1])] += 120
    label[here[1]] = 1
    return tuple(np.clip(x, 0, 255).astype(np.uint8) for x in (before, after)), label


def make_pairs(folder, *, train=12, validation=4, bands=("red", "green", "blue"), later=None):
    statistics, records = [RunningStatistics(len(bands), "uint8") for _ in range(2)], []
    with TileSetWriter(folder, classes=CHANGE) as writer:
        for i in range(train + validation):
            images, label = a_pair(i, bands=len(bands))
            valid = np.ones(label.shape, bool)
            for one, image in zip(statistics, images, strict=True):
                one.add(image, valid)
            transform = Affine(0.5, 0, 1000 * i, 0, -0.5, 0)
            written = writer.add(images[0], valid, label, transform, "EPSG:32611", None, second=SecondImage(images[1], None))
            facts = {"name": written.name, "raster": "x", "column": 0, "row": 0, "crs": "EPSG:32611", "transform": tuple(transform)[:6]}
            records.append(
                TileRecord(
                    **facts,
                    place=f"place {i}",
                    split="train" if i < train else "validation",
                    pixels={0: int((label == 0).sum()), 1: int((label == 1).sum())},
                    image=written.image,
                    label=written.label,
                    image2=written.image2,
                )
            )
        return writer.finish(
            TileSetRecord(
                classes=CHANGE,
                band_names=bands,
                dtype="uint8",
                band_statistics=statistics[0].result(),
                second=SecondImages(band_names=later or bands, dtype="uint8", band_statistics=statistics[1].result()),
                resolution_m=0.5,
                crs="EPSG:32611",
                tile_size=64,
                stride=64,
                seed=0,
                tiles=tuple(records),
            )
        )


@pytest.fixture
def place(tmp_path):
    make_pairs(tmp_path / "tiles")
    make_base(tmp_path / "base")
    return tmp_path


def a_run(place, folder="run", /, **changes):
    chosen = {"tiles": str(place / "tiles"), "base": str(place / "base"), "epochs": 20, "batch_size": 4, "learning_rate": 0.01, "device": "cpu"}
    write_json(place / folder / "settings.json", TrainingSettings.model_validate(chosen | changes).model_dump())
    return place / folder


def last_iou(folder):
    return [e for e in events(folder) if e["kind"] == "epoch"][-1]["iou"]["New house"]


def test_what_is_new_is_learnt_and_what_was_there_is_not(place):
    folder = a_run(place)
    assert run(folder) == 0, job_status(folder).error
    bundle = load_bundle(folder / "model")
    assert isinstance(bundle.network, ChangeNetwork)
    assert bundle.card.task == "change detection"
    assert bundle.card.input.band_names == ("red", "green", "blue", "red_later", "green_later", "blue_later")
    before, after = load_file(place / "base" / "model.safetensors"), load_file(folder / "model" / "model.safetensors")
    assert all(torch.equal(value, after[name]) for name, value in before.items() if name.startswith("encoder."))
    assert last_iou(folder) > 0.6


def test_a_change_model_goes_on_from_what_it_knows(place):
    first = a_run(place)
    assert run(first) == 0
    again = a_run(place, "again", base=str(first / "model"), epochs=1, learning_rate=1e-9)
    assert run(again) == 0
    assert last_iou(again) == pytest.approx(max(e["iou"]["New house"] for e in events(first) if e["kind"] == "epoch"), abs=0.01)


def test_where_everything_learns_further_bands_do_too(place):
    make_pairs(place / "four", train=4, validation=1, bands=("red", "green", "blue", "nir"))
    folder = a_run(place, tiles=str(place / "four"), freeze="nothing", epochs=1)
    assert run(folder) == 0, job_status(folder).error
    seen = load_bundle(folder / "model").card.input.band_names
    assert seen == ("red", "green", "blue", "nir", "red_later", "green_later", "blue_later", "nir_later")


def test_pairs_of_different_bands_are_refused(place):
    make_pairs(place / "unlike", train=2, validation=1, later=("red", "green", "nir"))
    folder = a_run(place, tiles=str(place / "unlike"), freeze="nothing")
    assert run(folder) == 1
    assert "different bands" in job_status(folder).error
