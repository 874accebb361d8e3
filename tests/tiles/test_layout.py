"""Side files byte for byte as ArcGIS writes them, and read back."""

import json

import pytest
from affine import Affine

from models.values import BandStatistics
from tiles import layout
from tiles.layout import SideContent, SideFacts
from tiles.objects import TileObject
from tiles.tile_set import SecondImages, TileClass, TileRecord, TileSetRecord


def genuine_record() -> TileSetRecord:
    """Two 400 px tiles whose numbers make the layout of the genuine stats.txt."""
    tile = TileRecord(
        name="000000000",
        raster="a",
        column=0,
        row=0,
        crs="EPSG:32615",
        transform=(0.3, 0, 100.0, 0, -0.3, 200.0),
        place="place 1",
        split="train",
        pixels={0: 5, 1: 96568, 2: 63432},
        image="images/000000000.tif",
        label="labels/000000000.tif",
    )
    other = tile.model_copy(
        update={"name": "000000001", "pixels": {1: 160000}, "image": "images/000000001.tif", "label": "labels/000000001.tif"}
    )
    band = BandStatistics(min=20, max=219, mean=94.5, std=38.8, p2=30, p98=200, count=320000)
    return TileSetRecord(
        classes=(TileClass(value=1, name="1", colour="#ff0000"), TileClass(value=2, name="2", colour="#0000ff")),
        band_names=("red", "green", "nir"),
        dtype="uint8",
        band_statistics=(band, band, band.model_copy(update={"min": 7, "max": 7, "std": 0.0})),
        resolution_m=0.3,
        crs="EPSG:32615",
        tile_size=400,
        stride=400,
        seed=0,
        tiles=(tile, other),
    )


def content(record: TileSetRecord, facts: SideFacts | None = None, objects=()) -> SideContent:
    """As the writer gives it to the side files; pixels, unless other facts are given."""
    facts = facts or SideFacts("ImageClassification", counts_pixels=True)
    return SideContent(record, facts, record.classes, {c.value: c.name for c in record.classes}, objects)


def test_map_lines_have_backslashes_two_spaces_and_a_trailing_one():
    assert layout.map_text(genuine_record().tiles).split("\n")[0] == "images\\000000000.tif  labels\\000000000.tif "


def test_map_is_read_with_either_slash_and_line_end():
    text = "images\\000000019.tif  labels\\000000019.tif \r\nimages/1.tif labels/1.png\n\n"
    assert layout.parse_map(text) == [("images/000000019.tif", "labels/000000019.tif"), ("images/1.tif", "labels/1.png")]


def test_stats_text_has_the_columns_of_the_genuine_file():
    lines = layout.stats_text(content(genuine_record())).splitlines()
    assert lines[0] == "images = 2 *3*400*400"
    assert lines[1] == "classes = 2"
    assert lines[2] == "classes per image = [min = 1, mean = 1.50, max = 2]"
    assert lines[3] == "cls name              cls value     images   pixels      min size   mean size    max size"
    assert lines[4] == "1                             1          2     256568    96568.00   128284.00   160000.00"
    assert lines[5] == "2                             2          1      63432        0.00    31716.00    63432.00"


@pytest.mark.shared_data
def test_stats_of_the_genuine_set_are_written_as_it_has_them(shared_data):
    genuine = (shared_data / "arcgis_artefacts/classified_tiles_buildings/stats.txt").read_text().splitlines()
    ours = layout.stats_text(content(genuine_record())).splitlines()
    assert [len(line) for line in ours[3:]] == [len(line) for line in genuine[3:]]
    assert ours[3] == genuine[3]
    pairs = layout.parse_map((shared_data / "arcgis_artefacts/classified_tiles_buildings/map.txt").read_text())
    assert len(pairs) == 3382
    assert pairs[0] == ("images/000000019.tif", "labels/000000019.tif")


@pytest.mark.shared_data
@pytest.mark.parametrize("genuine_set", ["classified_tiles_buildings", "export_tiles_roads"])
def test_our_side_files_have_the_keys_of_genuine_ones(shared_data, genuine_set):
    folder = shared_data / "arcgis_artefacts" / genuine_set
    record = genuine_record()
    accumulated = json.loads((folder / layout.ACCUMULATED_FILE).read_text())
    only_elsewhere = {"NextTileIndex", "FeatureStats", "InputRastersProps2", "BandStatsState2"}
    assert set(accumulated) - only_elsewhere <= set(layout.accumulated_stats(content(record)))
    if "ClassPixelStats" in accumulated:
        ours = layout.accumulated_stats(content(record))["ClassPixelStats"]
        assert list(ours) == list(accumulated["ClassPixelStats"])
        assert list(ours["PixelsPerClass"][0]) == list(accumulated["ClassPixelStats"]["PixelsPerClass"][0])
    else:
        assert set(accumulated["BandStatsState"][0]) == set(layout.accumulated_stats(content(record))["BandStatsState"][0])


def test_class_statistics_follow_the_order_of_the_classes():
    stats = layout.accumulated_stats(content(genuine_record()))["ClassPixelStats"]
    assert stats["NumImagesPerClass"] == [2, 1]
    assert stats["NumPixelsPerClass"] == [256568, 63432]
    assert stats["NumClassesPerImage"] == {"Min": 1, "Max": 2, "Mean": 1.5, "Sum": 3, "Count": 2}
    assert stats["PixelsPerClass"][1] == {"Min": 0, "Max": 63432, "Mean": 31716.0, "Sum": 63432, "Count": 2}


def test_definition_holds_what_the_reader_needs():
    definition = layout.model_definition(content(genuine_record()))
    assert definition["MetaDataMode"] == "Classified_Tiles"
    assert definition["Classes"][0] == {"Value": 1, "Name": "1", "Color": [255, 0, 0]}
    assert definition["InputRastersProps"]["BandNames"] == ["Red", "Green", "NearInfrared"]
    assert definition["MinCellSize"] == {"x": 0.3, "y": 0.3, "spatialReference": {"wkid": 32615, "latestWkid": 32615}}
    assert definition["ImageHeight"] == 400
    stats = definition["AllTilesStats"]
    assert stats[0] == {"BandName": "Red", "Min": 20, "Max": 219, "Mean": 94.5, "StdDev": 38.8}
    assert all(band["Max"] > band["Min"] for band in stats), "readers drop a band without a range"
    assert json.loads(layout.json_text(definition)) == definition


def test_band_state_gives_back_the_deviation():
    state = layout.accumulated_stats(content(genuine_record()))["BandStatsState"][0]
    assert (state["M2"] / state["Num"]) ** 0.5 == pytest.approx(38.8)


def test_world_file_tells_the_centre_of_the_first_pixel():
    lines = layout.world_file(Affine(0.5, 0.0, 100.0, 0.0, -0.5, 200.0)).splitlines()
    assert lines == ["0.5000000000", "0.0000000000", "0.0000000000", "-0.5000000000", "100.2500000000", "199.7500000000"]
    degrees = layout.world_file(Affine(2.7e-6, 0.0, -115.0, 0.0, -2.7e-6, 36.0)).splitlines()
    assert float(degrees[0]) == pytest.approx(2.7e-6, rel=1e-9)


def test_band_names_are_translated_both_ways():
    assert layout.our_band_names(["Red", "NearInfrared", "Band_1", "Band 1", ""]) == ("red", "nir", "band_1", "band_4", "band_5")
    assert layout.arcgis_band_names(["red", "nir", "band_4"]) == ["Red", "NearInfrared", "band_4"]


BOXES = SideFacts("ObjectDetection", counts_features=True)


def palms() -> tuple[TileSetRecord, list[tuple[TileObject, ...]]]:
    """Two tiles with three palms, whose numbers make the layout of the genuine stats.txt."""
    box = (0.0, 0.0, 1.0, 1.0)
    record = genuine_record().model_copy(
        update={"metadata_format": "PASCAL_VOC_rectangles", "classes": (TileClass(value=1, name="Palm", colour="#ff0000"),)}
    )
    return record, [(TileObject(1, box, area=0.0029),), (TileObject(1, box, area=40.8), TileObject(1, box, area=5.5))]


@pytest.mark.shared_data
def test_side_files_of_boxes_are_as_arcgis_writes_them(shared_data):
    folder = shared_data / "arcgis_artefacts/pascal_voc_palms"
    record, objects = palms()
    genuine = json.loads((folder / layout.ACCUMULATED_FILE).read_text())
    ours = layout.accumulated_stats(content(record, BOXES, objects))
    assert set(genuine) <= set(ours)
    assert "ClassPixelStats" not in ours
    for key in ("OutputFeatures", "MetaDataMode", "Classes", "Version"):
        assert ours[key] == genuine[key]
    assert list(ours["FeatureStats"]) == list(genuine["FeatureStats"])
    assert list(ours["FeatureStats"]["FeatureAreaPerClass"][0]) == list(genuine["FeatureStats"]["FeatureAreaPerClass"][0])
    stats = layout.stats_text(content(record, BOXES, objects)).splitlines()
    theirs = (folder / layout.STATS_FILE).read_text().splitlines()
    assert [line.split(" = ")[0] for line in stats] == [line.split(" = ")[0] for line in theirs[:-1]] + [stats[-1]]
    assert stats[4] == theirs[4]
    assert len(stats[5]) == len(theirs[5])
    definition = json.loads((folder / layout.DEFINITION_FILE).read_text())
    assert set(definition) - set(layout.model_definition(content(record, BOXES, objects))) == {
        "DataRange",
        "ModelPadding",
        "BatchSize",
        "PerProcessGPUMemoryFraction",
        "WellKnownBandNames (FYI, these band names can be used in ExtractBands)",
    } - {k for k in definition if k.startswith("WellKnown")}


def test_features_are_counted_per_tile_and_class():
    record, objects = palms()
    stats = layout.accumulated_stats(content(record, BOXES, objects))["FeatureStats"]
    assert stats == {
        "NumClasses": 1,
        "NumImagesTotal": 2,
        "NumFeaturesTotal": 3,
        "NumImagesPerClass": [2],
        "NumFeaturesPerClass": [3],
        "NumFeaturesPerImage": {"Min": 1, "Max": 2, "Mean": 1.5, "Sum": 3, "Count": 2},
        "FeatureAreaPerClass": [{"Min": 0.0029, "Max": 40.8, "Mean": pytest.approx(15.4343), "Sum": pytest.approx(46.3029), "Count": 3}],
    }
    lines = layout.stats_text(content(record, BOXES, objects)).splitlines()
    assert lines[1:4] == ["features = 3", "features per image = [min = 1, mean = 1.50, max = 2]", "classes = 1"]
    assert lines[5] == "Palm                          1          2          3        0.00       15.43       40.80"


def test_class_names_become_folders_without_blanks_and_without_twins():
    named = [
        TileClass(value=v, name=n, colour="#000000") for v, n in ((1, "Paved road"), (2, "paved/road"), (3, "..."), (4, "Wege & Straßen"))
    ]
    assert layout.folder_names(named) == {1: "Paved_road", 2: "paved_road_2", 3: "class_3", 4: "Wege_Straßen"}


@pytest.mark.parametrize(
    ("named", "folders"),
    [
        (["A B", "A_B", "A_B_2"], ["A_B", "A_B_2", "A_B_2_3"]),
        (["x_3", "x", "X"], ["x_3", "x", "X_3_3"]),
        (["CON", "aux.tif", "..", "Nul", "communal"], ["class_1", "class_2", "class_3", "class_4", "communal"]),
        (["Cafe\u0301", "Caf\u00e9"], ["Caf\u00e9", "Caf\u00e9_2"]),
        (["\u9053\u8def", "\u0414\u043e\u0440\u043e\u0433\u0430 / 1"], ["\u9053\u8def", "\u0414\u043e\u0440\u043e\u0433\u0430_1"]),
        (["<b>&amp;</b>", "a\\b"], ["b_amp_b", "a_b"]),
    ],
)
def test_odd_names_become_folders_that_any_system_can_hold(named, folders):
    classes = [TileClass(value=v, name=n, colour="#000000") for v, n in enumerate(named, 1)]
    assert list(layout.folder_names(classes).values()) == folders


def test_second_images_have_statistics_of_their_own():
    record = genuine_record()
    band = BandStatistics(min=0, max=9, mean=4.5, std=2.0, p2=1, p98=8, count=320000)
    second = SecondImages(band_names=("nir",), dtype="uint16", band_statistics=(band,))
    tiles = [t.model_copy(update={"image2": f"images2/{t.name}.tif"}) for t in record.tiles]
    pair = content(record.model_copy(update={"second": second, "tiles": tuple(tiles)}))
    assert layout.model_definition(pair)["AllTilesStats2"] == [{"BandName": "NearInfrared", "Min": 0, "Max": 9, "Mean": 4.5, "StdDev": 2.0}]
    assert layout.model_definition(pair)["InputRastersProps2"]["BandNames"] == ["NearInfrared"]
    assert layout.accumulated_stats(pair)["BandStatsState2"][0]["M2"] == 4.0 * 320000
    assert layout.map_text(tiles).splitlines()[0] == "images\\000000000.tif  labels\\000000000.tif "
    bare = [t.model_copy(update={"label": ""}) for t in tiles]
    assert layout.map_text(bare).splitlines()[0] == "images\\000000000.tif images2\\000000000.tif ", "as in the genuine set"
