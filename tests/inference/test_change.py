"""Two rasters and a change model -> a map of what is new."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
from typer.testing import CliRunner

from errors import InputMismatchError
from inference.change import detect_change
from inference.objects.change_areas import changed_areas
from models.architecture import Architecture
from models.bundle import load_bundle, save_bundle
from models.card import ModelCard, ModelInput, paired
from models.network import build_network
from tests.imagery.test_views import write
from workspace.classes import ClassDef

ONE = ModelInput(band_names=("gray",), mean=(0,), std=(1,), resolution_m=None, tile_size=64)


@pytest.fixture
def bundle(tmp_path):
    """Says 'changed' where the two differ much: the features are the pixels themselves, the head a threshold."""
    architecture = Architecture(encoder="resnet10t", encoder_levels=2, decoder_channels=8, output_stride=2, images=2)
    card = ModelCard(name="c", title="Changes", architecture=architecture, input=paired(ONE), classes=(ClassDef(value=3, name="Changed", colour="#e63946"),))
    torch.manual_seed(0)
    network = build_network(architecture, 2, 2)
    head = network.head[0]
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        still = network.eval().decoder(network.encode(torch.zeros(1, 2, 64, 64)))[0, :, 0, 0]
        moved = network.decoder(network.encode(torch.cat([torch.zeros(1, 1, 64, 64), torch.full((1, 1, 64, 64), 200.0)], 1)))[0, :, 16, 16]
        way = moved - still
        head.weight[1, :, 0, 0] = way
        head.bias[1] = -(way @ (still + moved)) / 2
    save_bundle(tmp_path / "c", network, card)
    return load_bundle(tmp_path / "c")


def test_what_is_new_is_mapped_where_both_have_imagery(tmp_path, bundle):
    before = np.full((1, 128, 128), 10, np.uint8)
    after = before.copy()
    after[0, 32:96, 32:96] = 210
    paths = write(tmp_path / "a.tif", before), write(tmp_path / "b.tif", after[:, :, :120])
    detect_change(bundle, *paths, tmp_path / "change.tif", tmp_path / "confidence.tif")
    with rasterio.open(tmp_path / "change.tif") as file:
        found = file.read(1)
    assert (found[:, 120:] == 255).all()
    assert (found[44:84, 44:84] == 3).all()
    assert (found[:16, :100] == 0).all() and (found[112:, :100] == 0).all()
    assert not list(tmp_path.glob(".pair-*")), "nothing is left behind"


def test_the_command_says_what_is_missing(tmp_path, bundle):
    import typer

    from inference.change import main  # the command

    app = typer.Typer()
    app.command()(main)
    one = write(tmp_path / "a.tif", np.ones((1, 64, 64), np.uint8))
    far = write(tmp_path / "b.tif", np.ones((1, 64, 64), np.uint8), x=5000)
    said = CliRunner().invoke(app, ["--model", str(bundle.folder), "--earlier", one, "--later", far, "--out", str(tmp_path / "o.tif")])
    assert said.exit_code == 1 and "nowhere in the same place" in said.output
    assert not (tmp_path / "o.tif").exists()


def test_a_model_of_single_pictures_is_refused(tmp_path, bundle):
    card = bundle.card.model_copy(update={"architecture": bundle.card.architecture.model_copy(update={"images": 1}), "input": ONE})
    save_bundle(tmp_path / "single", build_network(card.architecture, 1, 2), card)
    with pytest.raises(InputMismatchError, match="one picture at a time"):
        detect_change(load_bundle(tmp_path / "single"), "a.tif", "b.tif", tmp_path / "o.tif")


def test_each_changed_area_is_an_object(tmp_path, bundle):
    before = np.full((1, 128, 192), 10, np.uint8)
    after = before.copy()
    after[0, 16:64, 16:64] = 210
    after[0, 64:112, 112:176] = 210
    paths = write(tmp_path / "a.tif", before), write(tmp_path / "b.tif", after)
    assert changed_areas(bundle, *paths, tmp_path / "objects.gpkg") == {3: 2}
    found = gpd.read_file(tmp_path / "objects.gpkg", layer="objects")
    assert set(found["Classname"]) == {"Changed"}
    assert found["Confidence"].between(0.5, 1).all()
    assert sorted(found["area_m2"]) == pytest.approx([48 * 48, 48 * 64], rel=0.3)
    assert (tmp_path / "change.tif").exists()
