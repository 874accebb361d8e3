import json
import shutil
import zipfile

import numpy as np
import pystac
import pytest
import rasterio
import torch
from pystac.extensions.mlm import MLMExtension
from typer.testing import CliRunner

from errors import BundleError, UnsupportedModelError
from inference.predict import predict_raster
from models.architecture import SceneArchitecture
from models.bundle import load_bundle, save_bundle
from models.card import read_card
from models.network import build_network
from models.packages.__main__ import app
from models.packages.stac import item_of
from models.packages.transfer import export_model, import_model
from tests.models.cards import a_card

SIDE = 300


@pytest.fixture(scope="session")
def raster(tmp_path_factory):
    """No multiple of any stride, with a hole."""
    path = tmp_path_factory.mktemp("raster") / "a.tif"
    values = np.random.default_rng(1).integers(1, 255, (3, SIDE, SIDE - 50)).astype(np.uint8)
    values[:, :40, :30] = 0
    facts = {"driver": "GTiff", "width": SIDE - 50, "height": SIDE, "count": 3, "dtype": "uint8", "crs": "EPSG:32611", "nodata": 0}
    with rasterio.open(path, "w", transform=rasterio.transform.from_origin(5e5, 4e6, 0.5, 0.5), **facts) as file:
        file.write(values)
        file.descriptions = ("Red", "Green", "Blue")
    return path


def classes(folder, raster, tmp_path):
    out = tmp_path / f"{folder.parent.name}-{folder.name}.tif"
    predict_raster(load_bundle(folder), str(raster), out, device="cpu")
    with rasterio.open(out) as file:
        return file.read(1)


@pytest.mark.parametrize(("start", "file"), [("small", "zip_file"), ("arcgis", "dlpk_file"), ("small", "onnx_file")])
def test_a_model_goes_out_and_comes_in_and_gives_the_same_map(start, file, request, raster, tmp_path):
    """In 32-bit numbers, as with `--precision exact`."""
    start, file = request.getfixturevalue(start), request.getfixturevalue(file)
    found = import_model(file, tmp_path / "new" / "mine")
    before, after = read_card(start), read_card(tmp_path / "new" / "mine")
    assert after == found.card
    assert (after.input, after.classes, after.title, after.licence) == (before.input, before.classes, before.title, before.licence)
    assert (after.name, after.provenance.package, found.notes) == ("mine", file.name, ())
    wanted = classes(start, raster, tmp_path)
    assert len(np.unique(wanted)) == 3  # both classes, and what is no imagery
    assert np.array_equal(classes(found.folder, raster, tmp_path), wanted)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["mine"]


def test_a_loose_definition_finds_its_weights(dlpk_file, arcgis, tmp_path):
    with zipfile.ZipFile(dlpk_file) as package:
        assert sorted(package.namelist()) == ["roads.emd", "roads.pth"]
        package.extractall(tmp_path)
    definition = json.loads((tmp_path / "roads.emd").read_text())
    (tmp_path / "roads.emd").write_text(json.dumps(definition | {"ModelFile": ".\\ROADS.pth"}))
    state = load_bundle(import_model(tmp_path / "roads.emd", tmp_path / "out").folder).network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in load_bundle(arcgis).network.state_dict().items())


def test_the_weights_in_a_package_are_a_bare_state_dict(dlpk_file, tmp_path):
    with zipfile.ZipFile(dlpk_file) as package:
        package.extract("roads.pth", tmp_path)
    state = torch.load(tmp_path / "roads.pth", weights_only=True)
    assert "encoder.0.weight" in state
    assert "o_finalconv3.weight" in state


def test_a_package_with_the_optimiser_and_in_a_folder_of_windows(dlpk_file, tmp_path):
    with zipfile.ZipFile(dlpk_file) as package:
        definition = json.loads(package.read("roads.emd"))
        package.extract("roads.pth", tmp_path)
    torch.save({"model": torch.load(tmp_path / "roads.pth", weights_only=True), "opt": {"state": {}}}, tmp_path / "w.pth")
    with zipfile.ZipFile(tmp_path / "r.dlpk", "w") as package:
        package.writestr("r\\r.emd", json.dumps(definition | {"ModelFile": "weights\\w.pth"}))
        package.write(tmp_path / "w.pth", "r\\weights\\w.pth")
        package.writestr("r\\ArcGISImageClassifier.py", "raise SystemExit('this must never run')")
    assert import_model(tmp_path / "r.dlpk", tmp_path / "out").card.classes == a_card().classes


def test_a_folder_of_arcgis_packed_by_hand(dlpk_file, tmp_path):
    shutil.copy(dlpk_file, tmp_path / "packed.zip")
    assert import_model(tmp_path / "packed.zip", tmp_path / "out").card.classes == a_card().classes


def test_a_light_network_cannot_go_to_arcgis(small, tmp_path):
    with pytest.raises(UnsupportedModelError, match="ArcGIS builds its own kinds") as caught:
        export_model(small, "dlpk", tmp_path / "x.dlpk")
    assert "ONNX" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["dlpk", "onnx"])
def test_models_for_other_tasks_stay_bundles(form, tmp_path):
    architecture = SceneArchitecture(encoder="resnet10t")
    card = a_card(architecture=architecture)
    save_bundle(tmp_path / "scene", build_network(architecture, 3, card.outputs), card)
    with pytest.raises(UnsupportedModelError, match="a class for each pixel"):
        export_model(tmp_path / "scene", form, tmp_path / "x")
    export_model(tmp_path / "scene", "bundle", tmp_path / "x.zip")
    assert import_model(tmp_path / "x.zip", tmp_path / "again").card.task == "scene classification"


def test_a_bundle_without_weights_is_not_packed(small, tmp_path):
    (tmp_path / "roads").mkdir()
    shutil.copy(small / "card.json", tmp_path / "roads")
    with pytest.raises(BundleError, match=r"has no model\.safetensors"):
        export_model(tmp_path / "roads", "bundle", tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def test_what_is_there_is_not_overwritten(zip_file, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match="exists already"):
        import_model(zip_file, tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


def test_a_packed_bundle_brings_a_stac_item(zip_file, small):
    with zipfile.ZipFile(zip_file) as package:
        item = pystac.Item.from_dict(json.loads(package.read("roads/stac-item.json")))
    found = MLMExtension.ext(item)
    assert (found.mlm_name, found.total_parameters) == ("Roads", read_card(small).parameters)
    assert list(found.tasks) == ["semantic-segmentation"]
    assert [band["name"] for band in item.properties["mlm:input"][0]["bands"]] == ["Red", "Green", "Blue"]
    assert [scale["mean"] for scale in item.properties["mlm:input"][0]["value_scaling"]] == [1, 2, 3]
    assert [c["name"] for c in item.properties["mlm:output"][0]["classification:classes"]] == ["background", "Paved road"]
    assert item.assets["model"].href == "./model.safetensors"
    assert "mlm:model" in item.assets["model"].roles


def test_an_item_of_a_card_without_date_is_still_one():
    assert item_of(a_card(created="once"))["properties"]["datetime"]


def test_the_commands(small, dlpk_file, tmp_path):
    def run(*words):
        return CliRunner().invoke(app, [str(word) for word in words])

    done = run("export", small, "--format", "bundle", "--out", tmp_path / "a.zip")
    assert (done.exit_code, done.output.strip()) == (0, str(tmp_path / "a.zip"))
    done = run("import", tmp_path / "a.zip", "--out", tmp_path / "b")
    assert (done.exit_code, done.output.strip()) == (0, str(tmp_path / "b"))
    refused = run("import", tmp_path / "a.zip.part", "--out", tmp_path / "c")
    assert (refused.exit_code, refused.output.strip()) == (1, "There is no file a.zip.part. Check the path.")
    assert "Runs here: yes" in run("describe", dlpk_file).output
