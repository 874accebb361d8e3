"""A model trained here goes out in each format, comes into an empty folder, and makes the same map of the same raster to the last pixel."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import torch
from typer.testing import CliRunner

from inference.predict import predict_raster
from models.architecture import ArcGISArchitecture, Architecture
from models.bundle import load_bundle
from models.packages.__main__ import app
from models.packages.formats import SUFFIXES
from tests.imagery.rasters import write_raster
from tests.training.tile_sets import a_tile, make_base, make_tile_set
from training.run import run
from training.settings import TrainingSettings
from workspace.files import write_json


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A U-Net that ArcGIS can open, trained over the frozen ResNet of another kind of model; and a raster."""
    folder = tmp_path_factory.mktemp("travels")
    make_tile_set(folder / "tiles", train=4, validation=1)
    make_base(folder / "base", architecture=Architecture(encoder="resnet18", encoder_levels=5, decoder_channels=16))
    network = {"network": "arcgis_unet", "epochs": 5, "batch_size": 2, "learning_rate": 3e-3, "device": "cpu"}
    chosen = {"tiles": str(folder / "tiles"), "base": str(folder / "base")} | network
    write_json(folder / "run" / "settings.json", TrainingSettings.model_validate(chosen).model_dump())
    assert run(folder / "run") == 0
    write_raster(folder / "scene.tif", np.concatenate([a_tile(seed, size=160)[0] for seed in (7, 8)], axis=2))
    return folder


def mapped(folder, bundle):
    out = folder / f"{bundle.folder.name}.tif"
    predict_raster(bundle, str(folder / "scene.tif"), out, window_px=128, device="cpu")
    with rasterio.open(out) as dataset:
        return dataset.read(1)


@pytest.mark.parametrize("form", SUFFIXES)
def test_the_same_map_to_the_last_pixel(place, form):
    """By the commands, as a person would."""
    file, ours = place / f"roads{SUFFIXES[form]}", load_bundle(place / "run")
    for words in (["export", str(place / "run"), "--format", form, "--out", str(file)], ["import", str(file), "--out", str(place / "theirs" / form)]):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
    theirs = load_bundle(place / "theirs" / form)
    assert [c.name for c in theirs.card.classes] == [c.name for c in ours.card.classes] == ["Unpaved road", "Paved road"]
    expected = mapped(place, ours)
    assert len(np.unique(expected)) > 1, "a map of one class alone would prove nothing"
    assert np.array_equal(mapped(place, theirs), expected)


def test_the_backbone_came_from_the_base_model_and_stayed(place):
    base, made = load_bundle(place / "base").network.encoder.state_dict(), load_bundle(place / "run")
    assert made.card.architecture == ArcGISArchitecture(backbone="resnet18")
    after = made.network.encoder.state_dict()
    assert torch.equal(after["body.0.weight"], base["conv1.weight"])
    assert torch.equal(after["body.7.1.bn2.running_var"], base["layer4.1.bn2.running_var"])
