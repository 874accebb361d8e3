import json

import pytest

from errors import BundleError, UnsupportedModelError
from models.arcgis.card import (
    BYTE,
    IMAGENET_MEAN,
    IMAGENET_STD,
    architecture_of,
    card_of,
    definition_of,
    describe_definition,
)
from models.arcgis.definition import parse_definition
from models.architecture import ArcGISArchitecture, ArcGISDetectorArchitecture, ArcGISSceneArchitecture, task_of
from tests.models.arcgis.definitions import MASKS, RETINA, RIVER, ROAD, ROADS, SCENES, SSD, definition
from tests.models.cards import a_card

UNET = ArcGISArchitecture(backbone="resnet18")


def parsed(**changes):
    return parse_definition(json.dumps(definition(**changes)).encode(), "model.emd")


def card(**changes):
    found = parsed(**changes)
    return card_of(found, architecture_of(found, {}), "Model")


def test_photographs_are_scaled_as_imagenet_was():
    found, notes = card()
    assert found.input.band_names == ("Red", "Green", "Blue")
    assert found.input.mean == tuple(BYTE * m for m in IMAGENET_MEAN)
    assert found.input.std == tuple(BYTE * s for s in IMAGENET_STD)
    assert (found.input.dtype, found.input.resolution_m, found.input.tile_size) == ("uint8", 0.3, 224)
    assert [(c.value, c.name, c.colour) for c in found.classes] == [(1, "Road", "#ff0000"), (2, "River", "#0000ff")]
    assert [(s.class_name, s.precision, s.recall) for s in found.scores] == [("Road", 0.5, 0.25)]
    assert notes == []


def test_multispectral_values_are_scaled_by_the_packages_statistics():
    """(x - min) / (max - min), then (that - scaled mean) / scaled std."""
    stats = {
        "band_min_values": [100, 0, 0, 200],
        "band_max_values": [1100, 1000, 2000, 4200],
        "scaled_mean_values": [0.5, 0.2, 0.1, 0.25],
        "scaled_std_values": [0.1, 0.2, 0.3, 0.5],
    }
    found, notes = card(IsMultispectral=True, Bands=["r", "g", "b", "nir"], ExtractBands=[0, 1, 2, 3], NormalizationStats=stats)
    assert found.input.band_names == ("r", "g", "b", "nir")
    assert found.input.mean == pytest.approx((600, 200, 200, 1200))
    assert found.input.std == pytest.approx((100, 200, 600, 2000))
    assert found.input.dtype == "uint16"
    assert "uint16" in notes[0]


def test_statistics_of_all_bands_are_taken_for_those_the_model_reads():
    stats = {
        "band_min_values": [0, 0, 0, 0],
        "band_max_values": [100, 200, 300, 400],
        "scaled_mean_values": [0.5] * 4,
        "scaled_std_values": [0.1] * 4,
    }
    found, _ = card(IsMultispectral=True, ExtractBands=[3, 1], NormalizationStats=stats)
    assert found.input.band_names == ("band_4", "band_2")
    assert found.input.mean == pytest.approx((200, 100))


def test_road_models_see_raw_values():
    found, _ = card(**ROADS)
    assert (set(found.input.mean), set(found.input.std)) == ({0.0}, {1.0})
    assert [c.name for c in found.classes] == ["Road"]


@pytest.mark.parametrize(
    ("kind", "task", "outputs"),
    [
        (MASKS, "instance segmentation", 3),
        (MASKS | {"ModelName": "FasterRCNN", "ModelType": "ObjectDetection"}, "object detection", 3),
        (RETINA, "object detection", 3),
        (SSD, "object detection", 3),
        (SCENES, "scene classification", 2),
    ],
)
def test_classes_of_other_tasks_stand_in_the_order_of_the_outputs(kind, task, outputs):
    """By name, not by value; and 0 is a class like others there."""
    found, notes = card(**kind)
    assert (found.task, found.outputs) == (task, outputs)
    assert [(c.value, c.name) for c in found.classes] == [(2, "River"), (1, "Road")]
    assert found.input.mean == tuple(BYTE * m for m in IMAGENET_MEAN)
    assert notes == []
    counted, notes = card(**kind | {"Classes": [RIVER | {"Value": 0}, ROAD]})
    assert [(c.value, c.name) for c in counted.classes] == [(1, "River"), (2, "Road")]
    assert "0, 1" in notes[0]


def test_what_a_detector_is_made_of():
    assert architecture_of(parsed(**SSD), {}) == ArcGISDetectorArchitecture(
        model="SingleShotDetector", backbone="resnet18", grids=(4, 2), zooms=(0.7, 1.0), box_shapes=((1, 1), (1, 0.5)), side=224
    )
    older = architecture_of(parsed(**SSD | {"SSDVersion": None, "backbone": None}), {})
    assert (older.ssd_version, older.backbone) == (1, "resnet34")
    retina = architecture_of(parsed(**RETINA), {})
    assert (retina.scales, retina.ratios) == ((1, 0.5), (0.5, 1, 2))
    assert architecture_of(parsed(**RETINA | {"ModelParameters": {}}), {}).backbone == "resnet50"
    assert architecture_of(parsed(**SCENES | {"MetaDataMode": "MultiLabeled_Tiles"}), {}).several
    psp = architecture_of(parsed(ModelName="PSPNetClassifier", ModelParameters={"pyramid_sizes": [1, 2], "use_unet": False}), {})
    assert (psp.backbone, psp.pyramid, psp.unet_end) == ("resnet50", (1, 2), False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (SSD | {"Grids": []}, "true of a SingleShotDetector .grids"),
        (SSD | {"Grids": [4, 5000]}, "true of a SingleShotDetector .grids.1"),
        (SSD | {"Zooms": [-1]}, "zooms.0"),
        (SSD | {"ImageHeight": None}, "side"),
        (RETINA | {"ModelParameters": {"scales": ["large"]}}, "scales.0"),
        ({"ModelName": "PSPNetClassifier", "ModelParameters": {"pyramid_sizes": [0]}}, "pyramid.0"),
    ],
)
def test_what_cannot_be_true_is_said(changes, words):
    with pytest.raises(BundleError, match=words):
        card(**changes)


@pytest.mark.parametrize(
    ("cell", "metres"),
    [
        ({"x": 0.3, "spatialReference": {"wkid": 102100, "latestWkid": 3857}}, 0.3),
        ({"x": 1.0, "spatialReference": {"wkid": 2227}}, 1200 / 3937),
        ({"x": 1e-5, "spatialReference": {"wkid": 4326}}, 1.1132),
        ({"x": 1.0, "spatialReference": {"wkid": 54009}}, 1.0),
        ({"x": 1.0, "spatialReference": {"wkid": 999999}}, None),
        ({"x": 1.0}, None),
        (None, None),
    ],
)
def test_the_pixel_size_is_in_metres(cell, metres):
    assert card(MinCellSize=cell)[0].input.resolution_m == (None if metres is None else pytest.approx(metres))


def test_classes_that_cannot_keep_their_values_are_numbered():
    found, notes = card(Classes=[ROAD | {"Value": 300}, RIVER | {"Value": 7, "Name": "road", "Color": [-1, -1, -1]}])
    assert [(c.value, c.name) for c in found.classes] == [(1, "Road"), (2, "road 2")]
    assert "300, 7" in notes[0]


def test_what_arcgis_does_besides_is_said():
    _, notes = card(ignore_mapped_class=[1], Preprocessing="LandsatService")
    assert "answers 1 of this model" in notes[0]
    assert "LandsatService" in notes[1]
    _, notes = card(**MASKS | {"MaskRCNNkwargs": {"box_nms_thresh": 0.3}})
    assert "box_nms_thresh" in notes[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ModelName": "YOLOv3"}, "stands on DarkNet"),
        ({"ModelName": "MaskRCNN", "ModelParameters": {"backbone": "timm:convnext_tiny"}}, "timm:convnext_tiny is none"),
        ({"ModelName": "SingleShotDetector", "ModelParameters": {"backend": "tensorflow"}}, "weights are for tensorflow"),
        ({"ModelName": "Wonder"}, "not known here"),
        ({"ModelName": None}, "does not say which network"),
        ({"ModelName": "MyNet", "Framework": "Keras"}, "program code of its own"),
        ({"ModelParameters": {"backbone": "densenet121"}}, "densenet121"),
        ({"ModelName": "DeepLab", "ModelParameters": {"backbone": "resnet50", "pointrend": True}}, "PointRend"),
    ],
)
def test_what_cannot_run_is_described(changes, words):
    found = parsed(**changes)
    with pytest.raises(UnsupportedModelError, match=words) as caught:
        architecture_of(found, {})
    assert "Classes: Road, River" in caught.value.fact
    assert words.split()[0] in describe_definition(found).why_not


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Classes": []}, "lists no class"),
        ({"ExtractBands": None}, "which bands"),
        ({"ExtractBands": [0, 1, 2, 3]}, "how their values are scaled"),
        ({"TerratuneCard": {"name": ""}}, "card in the model definition"),
    ],
)
def test_what_is_missing_is_said(changes, words):
    with pytest.raises(BundleError, match=words):
        card(**changes)


def test_a_definition_says_what_arcgis_asks_for():
    made = definition_of(a_card(architecture=UNET), "roads")
    assert (made["ModelName"], made["ModelConfiguration"], made["ModelFile"]) == ("UnetClassifier", "_unet", "roads.pth")
    assert made["Classes"] == [{"Value": 1, "Name": "Paved road", "Color": [67, 97, 238]}]
    assert made["NormalizationStats"]["scaled_mean_values"] == [1 / 255, 2 / 255, 3 / 255]
    found = parse_definition(json.dumps(made).encode(), "roads.emd")
    assert card_of(found, architecture_of(found, {}), "x")[0] == a_card(architecture=UNET)
    without = parse_definition(json.dumps({k: v for k, v in made.items() if k != "TerratuneCard"}).encode(), "roads.emd")
    again = card_of(without, architecture_of(without, {}), "x")[0]
    assert again.input.mean == pytest.approx((1, 2, 3))
    assert again.classes == a_card().classes


@pytest.mark.parametrize(
    ("architecture", "kind", "keys"),
    [
        (ArcGISArchitecture(model="PSPNetClassifier", pyramid=(1, 4)), ("ImageClassification", "_psp", "ArcGISImageClassifier.py"), {}),
        (ArcGISDetectorArchitecture(), ("InstanceDetection", "_maskrcnn_inferencing", "ArcGISInstanceDetector.py"), {"MaskRCNNkwargs": {}}),
        (ArcGISDetectorArchitecture(model="RetinaNet", scales=(1, 0.5)), ("ObjectDetection", "_RetinaNet_Inference", "ArcGISObjectDetector.py"), {}),
        (
            ArcGISDetectorArchitecture(model="SingleShotDetector", backbone="resnet34", grids=(8,), box_shapes=((1, 0.5),)),
            ("ObjectDetection", "_DynamicSSD", "ArcGISObjectDetector.py"),
            {"Grids": [8], "Zooms": [1.0], "Ratios": [[1.0, 0.5]], "SSDVersion": 2, "backbone": "resnet34"},
        ),
        (
            ArcGISSceneArchitecture(several=True),
            ("ObjectClassification", "_FeatureClassifier", "ArcGISObjectClassifier.py"),
            {"MetaDataMode": "MultiLabeled_Tiles", "CropSizeFixed": 1},
        ),
    ],
    ids=lambda v: getattr(v, "kind", None),
)
def test_definitions_of_other_kinds_come_back_as_they_went(architecture, kind, keys):
    made = definition_of(a_card(architecture=architecture), "x")
    assert (made["ModelType"], made["ModelConfiguration"], made["InferenceFunction"].split("\\")[-1]) == kind
    assert {key: made[key] for key in keys} == keys
    without = parse_definition(json.dumps({k: v for k, v in made.items() if k != "TerratuneCard"}).encode(), "x.emd")
    assert architecture_of(without, {}) == architecture
    assert task_of(architecture) == card_of(without, architecture, "x")[0].task


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": ArcGISDetectorArchitecture(model="FasterRCNN")}, "ModelConfiguration.py"),
        ({"architecture": ArcGISDetectorArchitecture(model="SingleShotDetector", side=224)}, "tiles of 256 pixels as if they had 224"),
    ],
)
def test_what_arcgis_would_run_otherwise_stays_a_bundle(changes, words):
    with pytest.raises(UnsupportedModelError, match=words) as caught:
        definition_of(a_card(**changes), "x")
    assert "bundle" in caught.value.remedy


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "resnet10t"),
        ({"architecture": UNET.model_copy(update={"model": "ConnectNet"})}, "raw values"),
        ({"architecture": UNET.model_copy(update={"model": "ConnectNet"}), "classes": ()}, "exactly one class"),
    ],
)
def test_what_arcgis_cannot_run_is_refused(changes, words):
    with pytest.raises(UnsupportedModelError, match=words) as caught:
        definition_of(a_card(**changes), "x")
    assert "ONNX" in caught.value.remedy


@pytest.mark.shared_data
def test_definitions_that_arcgis_wrote(shared_data):
    models = shared_data / "arcgis_artefacts" / "models"
    roads = parse_definition((models / "RoadsExtraction_NorthAmerica.emd").read_bytes(), "r.emd")
    assert not describe_definition(roads).why_not
    assert architecture_of(roads, {"hg.0.x": ()}).roads == "hourglass"
    unet = parse_definition((models / "unet_buildings_30e.emd").read_bytes(), "u.emd")
    found, _ = card_of(unet, architecture_of(unet, {}), "Buildings")
    assert (found.outputs, found.input.tile_size, found.architecture.backbone) == (3, 400, "resnet34")
    others = sorted((models / "esri_raster_deep_learning").glob("*.emd"))
    assert len(others) == 8
    assert all(describe_definition(parse_definition(file.read_bytes(), file.name)).why_not for file in others)
