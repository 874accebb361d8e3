"""ArcGIS packages of boxes, outlines and scenes: in, over a raster, through a frozen fine-tune with other classes, and out again."""

import json
import zipfile

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
from safetensors.torch import load_file

from errors import UnsupportedModelError
from inference.objects.classify import classify_cells
from inference.objects.detect import detect_raster
from models.arcgis.networks import to_arcgis
from models.architecture import ArcGISArchitecture, ArcGISDetectorArchitecture, ArcGISSceneArchitecture
from models.bundle import load_bundle, save_bundle
from models.card import ModelInput, read_card
from models.network import Network, build_network
from models.packages.transfer import export_model, import_model
from tests.models.arcgis.definitions import MASKS, definition
from tests.models.arcgis.test_detectors import lively
from tests.models.cards import a_card
from tests.training.objects.squares import make_squares
from tests.training.scenes.makers import make_scenes
from training.run import run
from training.settings import TrainingSettings
from training.tasks import prepared
from workspace.classes import ClassDef
from workspace.files import write_json
from workspace.jobs import events, job_status

SEEN = ModelInput(band_names=("red", "green", "blue"), mean=(70, 70, 70), std=(40, 40, 40), resolution_m=0.5, tile_size=64)
SSD = ArcGISDetectorArchitecture(model="SingleShotDetector", backbone="resnet18", grids=(4, 2), side=64)
POOL, TREE = (ClassDef(value=1, name="Pool", colour="#4361ee"), ClassDef(value=2, name="Tree", colour="#65a30d"))


def packaged(folder, architecture, classes=(POOL, TREE)):
    """A .dlpk of such a network, out of a bundle, which is there too."""
    torch.manual_seed(2)
    seen = SEEN.model_copy(update={"tile_size": getattr(architecture, "side", SEEN.tile_size)})
    card = a_card(architecture=architecture, input=seen, classes=classes)
    network = lively(build_network(architecture, 3, card.outputs))
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
    save_bundle(folder / "theirs", network, card)
    export_model(folder / "theirs", "dlpk", folder / "theirs.dlpk")
    return folder / "theirs.dlpk"


@pytest.fixture(scope="module")
def raster(tmp_path_factory):
    path = tmp_path_factory.mktemp("raster") / "a.tif"
    values = np.random.default_rng(1).integers(1, 255, (3, 90, 110)).astype(np.uint8)
    facts = {"driver": "GTiff", "width": 110, "height": 90, "count": 3, "dtype": "uint8", "crs": "EPSG:32611"}
    with rasterio.open(path, "w", transform=rasterio.transform.from_origin(5e5, 4e6, 0.5, 0.5), **facts) as file:
        file.write(values)
        file.descriptions = ("red", "green", "blue")
    return str(path)


@pytest.mark.parametrize("model", ["SingleShotDetector", "RetinaNet", "MaskRCNN"])
def test_what_is_found_on_a_raster_is_the_same_after_a_package(model, tmp_path, raster):
    file = packaged(tmp_path, SSD.model_copy(update={"model": model}))
    found = import_model(file, tmp_path / "mine")
    assert found.notes == ()
    before, after = (load_bundle(folder, Network) for folder in (tmp_path / "theirs", tmp_path / "mine"))
    assert after.card.task == ("instance segmentation" if model == "MaskRCNN" else "object detection")
    tables = []
    for bundle, name in ((before, "a.fgb"), (after, "b.fgb")):
        counts = detect_raster(bundle.network, bundle.card, raster, tmp_path / name, threshold=0.06, device="cpu")
        tables.append(gpd.read_file(tmp_path / name))
        assert sum(counts.values()) == len(tables[-1]) > 0
    assert tables[0].drop(columns="id").equals(tables[1].drop(columns="id"))


def test_a_faster_rcnn_is_read_but_not_written(tmp_path):
    """As ArcGIS writes it, with a file of program code that is not looked at."""
    architecture = SSD.model_copy(update={"model": "FasterRCNN"})
    torch.manual_seed(2)
    theirs = build_network(architecture, 3, 3)
    torch.save(to_arcgis(architecture, theirs.state_dict()), tmp_path / "w.pth")
    names = {"ModelName": "FasterRCNN", "ModelType": "ObjectDetection", "ModelConfiguration": "_model_extension_inferencing"}
    emd = definition(**MASKS | names | {"ModelFile": "theirs.pth", "ModelConfigurationFile": "ModelConfiguration.py", "MaskRCNNkwargs": None, "Kwargs": {}})
    with zipfile.ZipFile(tmp_path / "theirs.dlpk", "w") as package:
        package.writestr("theirs.emd", json.dumps(emd))
        package.write(tmp_path / "w.pth", "theirs.pth")
        package.writestr("ModelConfiguration.py", "raise SystemExit('this must never run')")
    bundle = load_bundle(import_model(tmp_path / "theirs.dlpk", tmp_path / "mine").folder, Network)
    assert [c.name for c in bundle.card.classes] == ["River", "Road"]
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in bundle.network.state_dict().items())
    with pytest.raises(UnsupportedModelError, match="program code of ArcGIS's own"):
        export_model(tmp_path / "mine", "dlpk", tmp_path / "x.dlpk")
    assert not (tmp_path / "x.dlpk").exists()


@pytest.mark.parametrize("unet_end", [True, False])
def test_a_pspnet_goes_out_and_comes_in(unet_end, tmp_path):
    file = packaged(tmp_path, ArcGISArchitecture(model="PSPNetClassifier", backbone="resnet18", unet_end=unet_end))
    assert import_model(file, tmp_path / "mine").notes == ()
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before, after = (load_bundle(tmp_path / name).network(image) for name in ("theirs", "mine"))
    assert torch.allclose(before, after, atol=1e-5 * float(before.abs().max()))


def settings_for(place, **changes):
    chosen = {"tiles": str(place / "tiles"), "base": str(place / "base"), "batch_size": 4, "learning_rate": 2e-3, "augment": "none", "device": "cpu"}
    return TrainingSettings.model_validate(chosen | {"stop_early_after": 0} | changes)


def test_boxes_are_fine_tuned_frozen_to_other_classes_and_go_back(tmp_path):
    """Tiles of another size than the package's: the network for those, as ArcGIS would build it."""
    import_model(packaged(tmp_path, SSD.model_copy(update={"side": 96})), tmp_path / "base")
    make_squares(tmp_path / "tiles", train=12, validation=3)
    write_json(tmp_path / "run" / "settings.json", settings_for(tmp_path, epochs=4).model_dump())
    assert run(tmp_path / "run") == 0, job_status(tmp_path / "run").error

    losses = [e["loss"] for e in events(tmp_path / "run") if e["kind"] == "epoch"]
    assert losses[-1] < 0.6 * losses[0]
    card = read_card(tmp_path / "run")
    assert ([c.name for c in card.classes], card.architecture.side) == (["Roof", "Pool"], 64)
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("base", "run/model"))
    frozen = [name for name in before if name.startswith("detector.0.")]
    assert len(frozen) > 100
    assert all(torch.equal(before[name], after[name]) for name in frozen)

    export_model(tmp_path / "run", "dlpk", tmp_path / "ours.dlpk")
    with zipfile.ZipFile(tmp_path / "ours.dlpk") as package:
        emd = json.loads(package.read("ours.emd"))
    assert ([c["Name"] for c in emd["Classes"]], emd["ImageHeight"], emd["Grids"]) == (["Roof", "Pool"], 64, [4, 2])
    again = load_bundle(import_model(tmp_path / "ours.dlpk", tmp_path / "again").folder, Network)
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        found, expected = again.network(image)[0], load_bundle(tmp_path / "run", Network).network(image)[0]
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("model", ["MaskRCNN", "RetinaNet"])
def test_other_detectors_start_a_frozen_fine_tune(model, tmp_path):
    """One step: what is frozen stays, and a class of both lists keeps what is known of it."""
    import_model(packaged(tmp_path, SSD.model_copy(update={"model": model})), tmp_path / "base")
    make_squares(tmp_path / "tiles", "RCNN_Masks" if model == "MaskRCNN" else "PASCAL_VOC_rectangles", train=5, validation=1)
    learner = prepared(settings_for(tmp_path), lambda what, share: None)
    assert [c.name for c in learner.classes] == ["Roof", "Pool"]
    assert learner.old_classes == ("Pool",)
    network = learner.network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 1e-4)
    batch = next(iter(learner.batches(2, torch.Generator().manual_seed(0))))
    learner.batch_loss(batch, slice(None)).backward()
    optimiser.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    encoder = {f"detector.{'backbone' if model == 'MaskRCNN' else 'encoder'}.{name}" for name in network.encoder.state_dict()}
    assert changed
    assert not changed & encoder


def test_scenes_are_fine_tuned_frozen_to_other_classes_and_go_back(tmp_path, raster):
    import_model(packaged(tmp_path, ArcGISSceneArchitecture(backbone="resnet18")), tmp_path / "base")
    make_scenes(tmp_path / "tiles", train=18, validation=6)
    write_json(tmp_path / "run" / "settings.json", settings_for(tmp_path, epochs=8, batch_size=6).model_dump())
    assert run(tmp_path / "run") == 0, job_status(tmp_path / "run").error
    history = [e for e in events(tmp_path / "run") if e["kind"] == "epoch"]
    assert history[-1]["accuracy"] > 0.8
    assert history[-1]["loss"] < history[0]["loss"]
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("base", "run/model"))
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("encoder."))

    export_model(tmp_path / "run", "dlpk", tmp_path / "ours.dlpk")
    again = load_bundle(import_model(tmp_path / "ours.dlpk", tmp_path / "again").folder, Network)
    assert [c.name for c in again.card.classes] == [c.name for c in read_card(tmp_path / "run").classes] != ["Pool", "Tree"]
    tables = []
    for name, bundle in (("a.fgb", load_bundle(tmp_path / "run", Network)), ("b.fgb", again)):
        classify_cells(bundle.network, bundle.card, raster, tmp_path / name, device="cpu")
        tables.append(gpd.read_file(tmp_path / name))
    assert len(tables[0]) == 4
    assert tables[0].equals(tables[1])
