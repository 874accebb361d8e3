"""What a run comes to, from its settings and tiles."""

from __future__ import annotations

import pytest

from errors import TileSetFormatError, TrainingError
from models.architecture import ArcGISArchitecture, Architecture, DetectorArchitecture, OnnxArchitecture, SceneArchitecture
from tests.models.cards import a_card
from tests.training.tile_sets import make_tile_set
from tiles.tile_set import TileSet, save_record
from training import prepare
from training.settings import TrainingSettings
from training.tasks import ARCGIS, DECODERS, architecture_for, networks_for, prepared, starting_card, starts_from_nothing, title_of


@pytest.mark.parametrize("augment", ["default", "custom", "none"])
def test_tiles_of_raw_pictures_are_not_turned(tmp_path, monkeypatch, augment):
    made = make_tile_set(tmp_path / "tiles")
    monkeypatch.setattr(prepare, "prepare_pixels", lambda settings, *_: settings)
    settings = TrainingSettings(tiles=str(made.folder), augment=augment)
    assert prepared(settings, lambda *_: None) == settings
    save_record(TileSet(made.folder, made.record.model_copy(update={"settings": {"reference_system": "pixel_space"}})))
    assert prepared(settings, lambda *_: None) == settings.model_copy(update={"augment_turn": False})


def of_format(tmp_path, metadata_format, **changes):
    made = make_tile_set(tmp_path / metadata_format)
    return TileSet(made.folder, made.record.model_copy(update={"metadata_format": metadata_format} | changes))


BOXES = ["fasterrcnn", "retinanet", "fcos", "ssd"]


@pytest.mark.parametrize(
    ("metadata_format", "networks"),
    [
        ("Classified_Tiles", [*DECODERS, *ARCGIS]),
        ("RCNN_Masks", [*DECODERS, *ARCGIS, *BOXES, "maskrcnn"]),
        ("Panoptic_Segmentation", [*DECODERS, *ARCGIS, *BOXES, "maskrcnn"]),
        ("PASCAL_VOC_rectangles", BOXES),
        ("KITTI_rectangles", BOXES),
        ("COCO_rectangles", BOXES),
        ("YOLO_rectangles", BOXES),
        ("Labeled_Tiles", ["scene"]),
        ("Imagenet", ["scene"]),
        ("MultiLabeled_Tiles", ["scene"]),
    ],
)
def test_what_a_format_can_teach(tmp_path, metadata_format, networks):
    assert list(networks_for(of_format(tmp_path, metadata_format))) == networks


@pytest.mark.parametrize("metadata_format", ["Export_Tiles", "CycleGAN"])
def test_images_alone_teach_nothing(tmp_path, metadata_format):
    with pytest.raises(TileSetFormatError, match="A class for each pixel"):
        architecture_for("auto", of_format(tmp_path, metadata_format), Architecture())


ROADS, HOUSES = Architecture(encoder="resnet10t", decoder="unet"), DetectorArchitecture(encoder="resnet10t", detector="ssd", smallest_px=8)


@pytest.mark.parametrize(
    ("wanted", "metadata_format", "base", "architecture"),
    [
        ("auto", "Classified_Tiles", ROADS, ROADS),
        ("auto", "RCNN_Masks", ROADS, ROADS),
        ("auto", "RCNN_Masks", HOUSES, HOUSES),
        ("auto", "PASCAL_VOC_rectangles", HOUSES, HOUSES),
        ("ssd", "PASCAL_VOC_rectangles", HOUSES, HOUSES),
        ("auto", "PASCAL_VOC_rectangles", ROADS, DetectorArchitecture(encoder="resnet10t")),
        ("fcos", "PASCAL_VOC_rectangles", HOUSES, DetectorArchitecture(encoder="resnet10t", detector="fcos")),
        ("maskrcnn", "RCNN_Masks", ROADS, DetectorArchitecture(encoder="resnet10t", detector="maskrcnn")),
        ("fpn", "Classified_Tiles", ROADS, ROADS.model_copy(update={"decoder": "fpn"})),
        ("auto", "Classified_Tiles", HOUSES, Architecture(encoder="resnet10t")),
        ("auto", "Imagenet", ROADS, SceneArchitecture(encoder="resnet10t")),
    ],
)
def test_the_base_model_s_own_network_where_the_tiles_serve_it(tmp_path, wanted, metadata_format, base, architecture):
    assert architecture_for(wanted, of_format(tmp_path, metadata_format), base) == architecture


def test_what_the_tiles_cannot_teach_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="cannot be learnt") as refused:
        architecture_for("maskrcnn", of_format(tmp_path, "PASCAL_VOC_rectangles"), ROADS)
    assert "A box around each object: SSD" in refused.value.remedy
    with pytest.raises(TrainingError, match="ONNX"):
        architecture_for("auto", of_format(tmp_path, "Classified_Tiles"), OnnxArchitecture(size_bytes=1))


def test_where_only_the_backbone_is_taken_no_class_is_known():
    card = a_card(architecture=ROADS)
    assert starting_card(card, ROADS) is card
    assert starting_card(card, HOUSES).classes == ()


WHOLE = Architecture(encoder="resnet34", encoder_levels=5)


@pytest.mark.parametrize(
    ("wanted", "base", "backbone"),
    [
        ("arcgis_unet", WHOLE, "resnet34"),
        ("arcgis_unet", Architecture(encoder="resnet50.a1_in1k", encoder_levels=5), "resnet50"),
        ("arcgis_deeplab", DetectorArchitecture(encoder="resnet18", encoder_levels=5), "resnet18"),
        ("arcgis_deeplab", ArcGISArchitecture(backbone="resnet50"), "resnet50"),
        ("arcgis_unet", WHOLE.model_copy(update={"encoder_levels": 4}), None),
        ("arcgis_unet", Architecture(encoder="resnet18d", encoder_levels=5), None),
        ("arcgis_unet", ArcGISArchitecture(model="ConnectNet", roads="hourglass"), None),
        ("roads_linknet", WHOLE, "resnet34"),
        ("roads_linknet", Architecture(encoder="resnet18d", encoder_levels=5), None),
    ],
)
def test_a_network_for_arcgis_stands_on_the_base_model_s_whole_resnet_or_on_nothing(tmp_path, wanted, base, backbone):
    made = architecture_for(wanted, of_format(tmp_path, "Classified_Tiles"), base)
    assert made == ArcGISArchitecture(**ARCGIS[wanted], backbone=backbone or "resnet18")
    assert starts_from_nothing(base, made) == (backbone is None)
    card = starting_card(a_card(architecture=base, licence="Theirs"), made)
    assert (card.classes, card.licence) == ((), "Theirs" if backbone else "")
    assert "ArcGIS can open" in title_of(made)


def test_stacked_hourglasses_start_from_their_own_kind_or_from_nothing(tmp_path):
    tiles = of_format(tmp_path, "Classified_Tiles")
    for base in (WHOLE, ArcGISArchitecture(model="ConnectNet", backbone="resnet34")):
        assert starts_from_nothing(base, architecture_for("roads_hourglass", tiles, base))
    own = ArcGISArchitecture(model="ConnectNet", roads="hourglass", orientations=37)
    assert architecture_for("roads_hourglass", tiles, own) is own
    assert architecture_for("roads_linknet", tiles, linked := ArcGISArchitecture(model="ConnectNet")) is linked
    assert "which way each leads" in title_of(own)


def test_a_network_for_arcgis_goes_on_from_its_own_kind(tmp_path):
    base = ArcGISArchitecture(backbone="resnet34", narrow_end=False)
    assert architecture_for("arcgis_unet", of_format(tmp_path, "Classified_Tiles"), base) is base
    assert not starts_from_nothing(base, base)


def test_pairs_of_images_are_not_for_arcgis(tmp_path):
    assert not set(ARCGIS) & set(networks_for(of_format(tmp_path, "Classified_Tiles", second="later.tif")))
