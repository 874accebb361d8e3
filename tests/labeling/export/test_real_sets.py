"""Real sets in every format: valid, read back as they were written, with and without our record, and the formats say the same of each tile."""

from __future__ import annotations

import csv
import shutil

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.warp import calculate_default_transform, reproject
from shapely.geometry import box

from errors import UnplacedRasterError
from imagery.raster import inspect_raster
from labeling.export import export_tiles
from labeling.export.settings import ExportSettings, ImageSource
from labeling.label_sources import label_sources, read_sources
from tiles.formats import FORMATS
from tiles.reader import read_labelled
from tiles.tile_set import open_tile_set
from tiles.validate import validate_tile_set
from workspace.classes import ClassDef, ClassSchema

TYPING_ERROR = "Tree\\"
"""In one of the annotations, as it came."""
TREES = ClassSchema(classes=(ClassDef(value=1, name="Tree", colour="#2ec4b6"),))


def sources(paths):
    return [ImageSource(name=p.stem, source=str(p)) for p in paths]


def naip_roads(data, folder):
    """Lines with a width of their own, of two classes, and areas that are uncertain; four bands."""
    chips = [
        data / "naip_roads/images" / f"{n}.tif"
        for n in ("claremont_2020_2", "palm_springs_2020_57", "palm_springs_2020_64", "palm_springs_2020_80")
    ]
    labels, schema, _ = read_sources(label_sources([str(data / "naip_roads/roads_wgs84.geojson")], ["surface"]), None, None)
    return sources(chips), labels, schema, {"tile_size": 128, "stride": 128}


def buildings_oam_banepa(data, folder):
    """Footprints; the place of the imagery is told in a file beside it."""
    names = [f"OAM-{x}-{y}-19" for x in (386690, 386692) for y in (220241, 220243)]
    labels = gpd.read_file(data / "buildings_oam_banepa/labels.geojson").assign(class_value=1)
    schema = ClassSchema(classes=(ClassDef(value=1, name="Building", colour="#e71d36"),))
    return sources(data / "buildings_oam_banepa/images" / f"{n}.tif" for n in names), labels, schema, {"tile_size": 256, "stride": 256}


def trees_naip_points(data, folder):
    """Points without a class field, in metres behind an old-style CRS; four bands."""
    chips = ("chico_2020_15", "chico_2020_64", "chico_2020_86", "claremont_2020_55")
    labels, schema, notes = read_sources(label_sources([str(data / f"trees_naip_points/json/{c}.json") for c in chips], []), None, None)
    assert len(notes) == 4
    labels = labels.assign(class_value=1)
    return (
        sources(data / f"trees_naip_points/images/{c}.tif" for c in chips),
        labels,
        schema,
        {"tile_size": 128, "stride": 128, "buffer_m": 3.0},
    )


def trees_neon(data, folder):
    """Boxes in pixels of the picture of the same name (PASCAL VOC)."""
    plots = ("TEAK_043", "TEAK_044", "TEAK_046", "SJER_008", "SJER_025")
    images = sources(data / f"trees_neon/images/{p}.tif" for p in plots)
    files = [str(data / f"trees_neon/annotations/{p}.xml") for p in plots]
    labels, schema, _ = read_sources(label_sources(files, []), None, None, images)
    assert [c.name for c in schema.learnt] == ["Tree", TYPING_ERROR]
    return images, labels.assign(class_value=1), TREES, {"tile_size": 128, "stride": 128}


def scenes_ucmerced(data, folder):
    """A class for each whole picture; they lie nowhere, so they are laid out on a map first, as the refusal advises."""
    with (data / "scenes_ucmerced/labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    classes = sorted({row["class"] for row in rows})
    chosen = [row for name in classes for row in [r for r in rows if r["class"] == name][:1]]
    images, shapes = [], []
    for number, row in enumerate(chosen):
        source = data / "scenes_ucmerced" / row["image"]
        with pytest.raises(UnplacedRasterError, match="does not say where on Earth it lies") as caught:
            inspect_raster(str(source))
        assert "world file" in caught.value.remedy
        place = Affine(0.3, 0, 500_000 + 400 * (number % 6), 0, -0.3, 4_000_000 - 400 * (number // 6))
        copy = folder / source.name
        shutil.copyfile(source, copy)
        with rasterio.open(copy, "r+") as file:
            file.transform, file.crs = place, rasterio.CRS.from_epsg(32611)
        images.append(copy)
        shapes.append(box(*(place @ (0, 256)), *(place @ (256, 0))))
    schema = ClassSchema(classes=tuple(ClassDef(value=v, name=n, colour="#4361ee") for v, n in enumerate(classes, 1)))
    labels = gpd.GeoDataFrame({"class_value": [classes.index(r["class"]) + 1 for r in chosen]}, geometry=shapes, crs="EPSG:32611")
    return sources(images), labels, schema, {"tile_size": 256, "stride": 256}


SETS = [naip_roads, buildings_oam_banepa, trees_naip_points, trees_neon, scenes_ucmerced]
BOXES = ["PASCAL_VOC_rectangles", "KITTI_rectangles", "COCO_rectangles", "YOLO_rectangles"]


def words(tile_set):
    """What the labels of each tile say: classes of the tile, boxes, pixels where the format has them."""
    found = {}
    for tile in tile_set.record.tiles:
        pixels, labels = read_labelled(tile_set, tile)
        boxes = sorted((one.value, *np.round(one.box, 2)) for one in labels.objects)
        known = None if labels.pixels is None else np.where(pixels.label == 255, 0, pixels.label)
        found[tile.image] = boxes, labels.classes, known
    return found


def same_words(ours, theirs, leave_out=0.0):
    assert ours.keys() == theirs.keys()
    for image, (boxes, classes, pixels) in ours.items():
        others = theirs[image]
        assert [b[0] for b in boxes] == [b[0] for b in others[0]]
        assert np.allclose(boxes, others[0], atol=0.02)
        assert classes == others[1]
        assert pixels is None or np.array_equal(pixels, others[2])


@pytest.mark.shared_data
@pytest.mark.parametrize("real_set", SETS)
def test_every_format_from_a_real_set(real_set, shared_data, tmp_path):
    images, labels, schema, layout = real_set(shared_data, tmp_path)
    bands = inspect_raster(images[0].source).count
    said = {}
    for name, form in FORMATS.items():
        more = {"second_raster": images[-1].source} if form.parts else {"image_format": "JPEG"} if name in BOXES and bands == 3 else {}
        settings = ExportSettings(metadata_format=name, **layout, **more)
        made = export_tiles(images, labels, schema, settings, tmp_path / name)
        assert [f for f in validate_tile_set(made.folder) if f.harm != "none"] == [], name
        assert open_tile_set(made.folder) == made
        said[name] = words(made)
        assert sum(made.record.class_objects().values() if form.has_objects else made.record.class_pixels().values()) > 0
        (made.folder / "terratune.json").unlink()
        same_words(said[name], words(open_tile_set(made.folder)))
    for name in ("RCNN_Masks", "Panoptic_Segmentation"):
        assert all(np.array_equal(said[name][i][2], said["Classified_Tiles"][i][2]) for i in said["Classified_Tiles"])
    boxes = [{image.rpartition(".")[0]: one for image, (one, _, _) in said[name].items()} for name in BOXES]
    assert sum(map(len, boxes[0].values())) > 0
    for other in boxes[1:]:
        assert other.keys() == boxes[0].keys()
        assert all(len(other[i]) == len(boxes[0][i]) and np.allclose(other[i], boxes[0][i], atol=0.02) for i in other)


@pytest.mark.shared_data
def test_a_real_pair_and_its_twin_on_another_grid(shared_data, tmp_path):
    """Road chips with themselves, resampled to 1 m in degrees, as the second image."""
    images, labels, schema, _ = naip_roads(shared_data, tmp_path)
    chip = images[2]
    with rasterio.open(chip.source) as file:
        values = file.read([1, 2, 3])
        transform, width, height = calculate_default_transform(
            file.crs, "EPSG:4326", file.width, file.height, *file.bounds, resolution=5e-6
        )
        turned = np.zeros((3, height, width), np.uint8)
        reproject(
            values, turned, src_transform=file.transform, src_crs=file.crs, dst_transform=transform, dst_crs="EPSG:4326", resampling=1
        )
    other = tmp_path / "other.tif"
    with rasterio.open(
        other, "w", driver="GTiff", width=width, height=height, count=3, dtype="uint8", crs="EPSG:4326", transform=transform, nodata=0
    ) as file:
        file.write(turned)
    settings = ExportSettings(metadata_format="Classified_Tiles", second_raster=str(other), tile_size=64, stride=64)
    made = export_tiles([chip], labels, schema, settings, tmp_path / "pair")
    assert [f for f in validate_tile_set(made.folder) if f.harm != "none"] == []
    for tile in made.record.tiles:
        pixels = read_labelled(made, tile)[0]
        mine, theirs = (image[:, pixels.valid].astype(float) for image in (pixels.image[:3], pixels.image2))
        assert np.corrcoef(mine.ravel(), theirs.ravel())[0, 1] > 0.95, "the same place"
