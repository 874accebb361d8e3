"""The normalisation contract: a network sees the very same numbers of a place from a tile in training and from the raster in prediction."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from rasterio.enums import ColorInterp
from shapely.geometry import LineString
from torch import nn

from errors import InputMismatchError
from inference.predict import predict_raster
from labeling.export import export_tiles
from labeling.export.settings import ExportSettings, ImageSource
from models.architecture import Architecture
from models.bundle import ModelBundle
from models.card import ModelCard, ModelInput, read_card, write_card
from tests.imagery.rasters import write_raster
from tiles.reader import read_tile
from tiles.tile_set import TileSet
from tiles.windows import tile_windows
from training.dataset import TileData
from training.inputs import input_for
from workspace.classes import starter_schema

SIDE, WIDTH, HEIGHT = 64, 640, 192
AT = Affine(1.0, 0, 500_000.0, 0, -1.0, 4_000_000.0)
LIMITS = {"uint8": (0, 255), "uint16": (0, 65535), "int16": (-32768, 32767), "float32": (-1e6, 1e6)}


def noise(dtype: str, bands: int = 3) -> np.ndarray:
    """Values over the whole range of the type, its ends included."""
    low, high = LIMITS[dtype]
    values = np.random.default_rng(0).uniform(low, high, (bands, HEIGHT, WIDTH)).astype(dtype)
    values[:, 1, 1], values[:, 1, 2] = low, high
    return values


def exported(path: Path, folder: Path, *more: Path, **settings) -> TileSet:
    """Tiles of a scene that is labelled at both ends."""
    tracks = [LineString([(500_005, 3_999_970), (500_060, 3_999_970)]), LineString([(500_580, 3_999_970), (500_635, 3_999_970)])]
    labels = gpd.GeoDataFrame({"class_value": [2, 2]}, geometry=tracks, crs="EPSG:26911")
    chosen = ExportSettings(tile_size=SIDE, stride=SIDE, tiles="all", **settings)
    sources = [ImageSource(name=p.stem, source=str(p)) for p in (path, *more)]
    return export_tiles(sources, labels, starter_schema(), chosen, folder)


def card_for(tile_set: TileSet, bands: tuple[str, ...]) -> ModelCard:
    """What training from a base model of photographs would write."""
    seen = ModelInput(band_names=bands, mean=(100.0,) * len(bands), std=(50.0,) * len(bands), tile_size=SIDE)
    base = ModelCard(name="base", title="Base", architecture=Architecture(), input=seen, classes=())
    made = input_for(base, tile_set, frozen=True)
    return base.model_copy(update={"input": made, "classes": starter_schema().learnt[:1]})


class Listening(nn.Module):
    """Says background everywhere and keeps what it was shown."""

    stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[np.ndarray] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen += list(image.float().numpy())
        return torch.zeros(len(image), 2, *image.shape[-2:])


def shown_by_prediction(path: Path, card: ModelCard, out: Path, **more) -> dict[tuple[int, int], np.ndarray]:
    """(column, row) of each window -> what the network was shown."""
    network = Listening()
    predict_raster(ModelBundle(network, card, out), str(path), out / "map.tif", window_px=SIDE, overlap_px=0, device="cpu", **more)
    windows = sorted(tile_windows(WIDTH, HEIGHT, SIDE, SIDE), key=lambda w: w[::-1])
    assert len(network.seen) == len(windows)
    return dict(zip(windows, network.seen, strict=True))


def shown_by_training(tile_set: TileSet, card: ModelCard) -> dict[tuple[int, int], np.ndarray]:
    data = TileData(tile_set, tile_set.record.tiles, card.input, np.zeros(256, np.uint8))
    images = data.batch(range(len(data))).image.numpy()
    return {(tile.column, tile.row): image for tile, image in zip(tile_set.record.tiles, images, strict=True)}


def assert_the_same(trained: dict[tuple[int, int], np.ndarray], predicted: dict[tuple[int, int], np.ndarray]) -> None:
    assert len(trained) == len(predicted)
    for place, image in trained.items():
        np.testing.assert_array_equal(image.view(np.uint32), predicted[place].view(np.uint32))  # bit by bit


def raster(path: Path, dtype: str, gaps: str) -> Path:
    """A scene with a hole that is marked in one way or another, and values of the nodata number in one band only."""
    values, options = noise(dtype), {}
    hole = np.s_[:, 20:60, 30:90]
    if gaps == "nodata":
        fill = -9999 if dtype in {"int16", "float32"} else 0
        values[hole], options = fill, {"nodata": fill}
        if dtype != "float32":
            values[0, 100:120, 100:120] = fill  # a value like any other: not in all bands
    elif gaps == "nan":
        values[hole] = np.nan
        values[1, 100:120, 100:120] = np.inf  # one band spoils the pixel
    elif gaps in {"alpha", "mask"}:
        inside = np.full((HEIGHT, WIDTH), 255, np.uint8)
        inside[hole[1:]] = 0
        options = {"mask": inside}
        if gaps == "alpha":
            alpha = np.where(inside > 0, LIMITS[dtype][1], 0).astype(dtype)
            values = np.concatenate([values, alpha[None]])
            options = {"colorinterp": [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]}
    return write_raster(path, values, transform=AT, descriptions=("red", "green", "blue"), **options)


@pytest.mark.parametrize(
    ("dtype", "gaps"),
    [
        *((dtype, gaps) for dtype in LIMITS for gaps in ("none", "nodata")),
        ("float32", "nan"),
        ("uint8", "alpha"),
        ("uint16", "alpha"),
        ("uint8", "mask"),
        ("int16", "mask"),
    ],
)
def test_training_and_prediction_see_the_same_numbers(tmp_path, dtype, gaps):
    path = raster(tmp_path / "scene.tif", dtype, gaps)
    tile_set = exported(path, tmp_path / "tiles")
    with rasterio.open(path) as file:
        raw = file.read([1, 2, 3])
    for tile in tile_set.record.tiles:
        pixels = read_tile(tile_set, tile)
        assert pixels.image.dtype == dtype
        here = raw[:, tile.row : tile.row + SIDE, tile.column : tile.column + SIDE]
        np.testing.assert_array_equal(pixels.image[:, pixels.valid], here[:, pixels.valid])
    card = card_for(tile_set, ("red", "green", "blue"))
    assert card.input.dtype == dtype
    trained = shown_by_training(tile_set, card)
    assert_the_same(trained, shown_by_prediction(path, card, tmp_path))
    hole = trained[0, 0][:, 20:60, 30:]
    assert (hole == 0).all() == (gaps != "none")


def test_bands_in_another_order_and_ones_that_the_model_does_not_read(tmp_path):
    """Four bands, of which the model reads three, in its own order; where the three hold 0 and the fourth does not, there is imagery."""
    values = noise("uint16", 4)
    values[:3, 10:20, 10:20] = 0
    values[3] = np.maximum(values[3], 1)
    path = write_raster(tmp_path / "scene.tif", values, transform=AT, nodata=0, descriptions=("B02", "B03", "B04", "B08"))
    tile_set = exported(path, tmp_path / "tiles")
    card = card_for(tile_set, ("red", "green", "blue"))
    trained = shown_by_training(tile_set, card)
    assert_the_same(trained, shown_by_prediction(path, card, tmp_path))
    mean, std = card.input.mean[0], card.input.std[0]
    np.testing.assert_allclose(trained[0, 0][0, 30], (values[2, 30, :SIDE] - mean) / std, atol=1e-4)
    assert trained[0, 0][0, 15, 15] == pytest.approx(-mean / std)


def test_names_that_a_person_gave_count_from_the_export_to_the_prediction(tmp_path):
    path = write_raster(tmp_path / "scene.tif", noise("uint16"), transform=AT)
    names = ("blue", "green", "red")
    labelled = exported(path, tmp_path / "unnamed")
    assert labelled.record.band_names == ("band_1", "band_2", "band_3")
    tracks = gpd.GeoDataFrame({"class_value": [2]}, geometry=[LineString([(500_005, 3_999_970), (500_635, 3_999_970)])], crs="EPSG:26911")
    image = ImageSource(name="scene", source=str(path), band_names=names)
    tile_set = export_tiles([image], tracks, starter_schema(), ExportSettings(tile_size=SIDE, stride=SIDE, tiles="all"), tmp_path / "named")
    assert tile_set.record.band_names == names
    card = card_for(tile_set, ("red", "green", "blue"))
    assert_the_same(shown_by_training(tile_set, card), shown_by_prediction(path, card, tmp_path, band_names=names))


def test_images_with_their_bands_in_another_order_are_cut_in_that_of_the_first(tmp_path):
    values = noise("uint8")
    first = write_raster(tmp_path / "first.tif", values, transform=AT, descriptions=("red", "green", "blue"))
    turned = write_raster(tmp_path / "turned.tif", values[::-1], transform=AT, descriptions=("Blue", "Green", "Red"), photometric="minisblack")
    tile_set = exported(first, tmp_path / "tiles", turned)
    tiles = {(t.raster, t.column, t.row): read_tile(tile_set, t).image for t in tile_set.record.tiles}
    for (name, column, row), image in tiles.items():
        np.testing.assert_array_equal(image, tiles["first", column, row], err_msg=name)
    infrared = write_raster(tmp_path / "cir.tif", values, transform=AT, descriptions=("nir", "red", "green"), photometric="minisblack")
    with pytest.raises(InputMismatchError, match="Band 1 of cir is nir, but of first it is red"):
        exported(first, tmp_path / "refused", infrared)


def test_the_card_carries_the_facts_and_older_cards_still_load(tmp_path):
    tile_set = exported(raster(tmp_path / "scene.tif", "int16", "nodata"), tmp_path / "tiles")
    card = card_for(tile_set, ("red", "green", "blue"))
    assert card.input.statistics == tile_set.record.band_statistics
    assert (card.input.nodata, card.input.crs, card.input.dtype) == (-9999, "EPSG:26911", "int16")
    assert card.input.resolution_m == pytest.approx(1.0, rel=1e-3)
    write_card(tmp_path, card)
    assert read_card(tmp_path) == card
    older = card.model_dump(mode="json", by_alias=True)
    for fact in ("statistics", "nodata", "crs"):
        del older["input"][fact]
    assert ModelCard.model_validate(older).input.statistics == ()


def test_tiles_of_other_programs_keep_the_same_rule(tmp_path):
    """One missing value spoils a pixel of floats, also where only nodata and NaN in the chip say so."""
    tile_set = exported(raster(tmp_path / "scene.tif", "float32", "none"), tmp_path / "tiles")
    tile = tile_set.record.tiles[0].model_copy(update={"ignore": None})
    with rasterio.open(tile_set.folder / tile.image, "r+") as file:
        values = file.read()
        values[1, 5, 5], values[2, 6, 6] = np.nan, -9999
        file.write(values)
        file.nodata = -9999
    foreign = TileSet(tile_set.folder, tile_set.record.model_copy(update={"made_elsewhere": True, "tiles": (tile,)}))
    pixels = read_tile(foreign, tile)
    assert np.argwhere(~pixels.valid).tolist() == [[5, 5], [6, 6]]
    assert pixels.label[5, 5] == pixels.label[6, 6] == 255
    image = shown_by_training(foreign, card_for(tile_set, ("red", "green", "blue")))[tile.column, tile.row]
    assert (image[:, 5, 5] == 0).all() and np.isfinite(image).all()
