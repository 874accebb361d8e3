"""A tile set: a folder in one of ArcGIS's metadata formats and the record of how it came about (`terratune.json`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from affine import Affine
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from errors import TileSetFormatError
from models.bands import pair_names
from models.values import BandStatistics
from workspace.files import write_text

FORMAT_VERSION = 1
RECORD_FILE = "terratune.json"
METADATA_FORMAT = "Classified_Tiles"
IGNORE_LABEL = 255
"""Label of pixels never to be learnt from; only in memory, never in a label file."""

Split = Literal["train", "validation", "gap"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TileClass(_Strict):
    """One learnt class."""

    value: int = Field(ge=1, le=254)
    name: str
    colour: str
    """#rrggbb."""

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green, blue, 0..255."""
        return int(self.colour[1:3], 16), int(self.colour[3:5], 16), int(self.colour[5:7], 16)


class SecondImages(_Strict):
    """What the second images of a set are: of each tile the same place in another raster, or, unpaired, a second folder of tiles (part B)."""

    band_names: tuple[str, ...]
    dtype: str
    nodata: float | None = None
    band_statistics: tuple[BandStatistics, ...]


class TileRecord(_Strict):
    """One tile."""

    name: str
    """Nine digits: the stem of its files."""
    raster: str
    """Name of the raster it was cut from."""
    column: int
    row: int
    """Upper left pixel of the tile in that raster."""
    angle: float = 0.0
    """Degrees clockwise by which it was then turned about its middle."""
    size: tuple[int, int] | None = None
    """(columns, rows) in pixels; None for the set's tile size."""
    crs: str
    """'EPSG:26911', or WKT; empty when the tile does not say where it lies."""
    transform: tuple[float, float, float, float, float, float]
    """Affine (a, b, c, d, e, f): x = a*column + b*row + c, y = d*column + e*row + f, from the outer corner of the tile's first pixel."""
    place: str
    """Tiles of one place lie together; scores are told per place."""
    split: Split
    pixels: dict[int, int]
    """Pixels per class value as burnt; background (0) included, ignored pixels left out. Of a set of boxes made elsewhere: pixels in the boxes."""
    ignored_pixels: int = 0
    """Pixels not to be learnt from: uncertain, or without imagery."""
    objects: dict[int, int] = {}
    """Objects written per class value; empty where the format knows only pixels."""
    image: str
    label: str
    """Paths below the folder, with forward slashes; the label's is empty where the format has no single label file."""
    masks: dict[int, str] = {}
    """Path of the instance masks of each class value that the tile shows, where the format has such."""
    image2: str = ""
    """Path of the second image of the same place; empty where there is none."""
    ignore: str | None = None
    """Path of its ignore mask; None when every pixel counts."""

    @model_serializer(mode="wrap")
    def _without_empty(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What only some formats have is left out for the others."""
        return {k: v for k, v in serialise(self).items() if v or k not in {"objects", "masks", "size", "angle", "image2"}}

    @property
    def affine(self) -> Affine:
        return Affine(*self.transform)


class TileSetRecord(_Strict):
    """What terratune.json holds."""

    format_version: int = FORMAT_VERSION
    metadata_format: str = METADATA_FORMAT
    made_elsewhere: bool = False
    """The record was worked out from a folder that another program wrote."""
    made_division: bool = False
    """Training and validation are told apart as the other program did; else by place, or by number where tiles lie nowhere."""
    created: str = ""
    """ISO 8601, UTC. No longer written, so that two exports of the same are the same to the byte."""
    settings: dict[str, Any] = {}
    """The export's settings, as chosen; of a set made elsewhere at most `reference_system`."""
    fully_labelled: bool = False
    """Fully labelled areas were marked for the export, so what is not drawn in them truly is background. Sets of older releases do not say."""
    classes: tuple[TileClass, ...]
    """Learnt classes in drawing order; background (0) is implied."""
    band_names: tuple[str, ...]
    dtype: str
    nodata: float | None = None
    band_statistics: tuple[BandStatistics, ...]
    second: SecondImages | None = None
    """Of the second images; None where there are none."""
    resolution_m: float | None
    """Ground size of a pixel in metres, the finest of the rasters; None where unknown."""
    crs: str
    """Of the first tile; each tile has its own."""
    tile_size: int
    """Columns of a tile."""
    tile_size_y: int | None = None
    """Rows of a tile; None: as many as columns."""
    stride: int
    stride_y: int | None = None
    """Steps in pixels from one tile to the next, across and down; None: as across."""
    seed: int
    tiles: tuple[TileRecord, ...]

    @property
    def seen_bands(self) -> tuple[str, ...]:
        """Names of all bands of a tile as a model is shown them: of a pair those of both images."""
        return self.band_names if self.second is None else pair_names(self.band_names, self.second.band_names)

    @property
    def seen_statistics(self) -> tuple[BandStatistics, ...]:
        """Of `seen_bands`."""
        return self.band_statistics if self.second is None else (*self.band_statistics, *self.second.band_statistics)

    def size_of(self, tile: TileRecord) -> tuple[int, int]:
        """(columns, rows) of a tile in pixels."""
        return tile.size or self.tile_sides

    @property
    def tile_sides(self) -> tuple[int, int]:
        """(columns, rows) of a tile in pixels, where no tile has a size of its own."""
        return self.tile_size, self.tile_size_y or self.tile_size

    def in_split(self, split: Split) -> list[TileRecord]:
        """The tiles of one side, in order."""
        return [t for t in self.tiles if t.split == split]

    def class_pixels(self, split: Split | None = None) -> dict[int, int]:
        """Pixels per class value (0 too) over the tiles of one side, or over all."""
        chosen: Sequence[TileRecord] = self.tiles if split is None else self.in_split(split)
        return {v: sum(t.pixels.get(v, 0) for t in chosen) for v in (0, *(c.value for c in self.classes))}

    def class_objects(self, split: Split | None = None) -> dict[int, int]:
        """Objects per class value over the tiles of one side, or over all; one that lies in several tiles counts in each."""
        chosen: Sequence[TileRecord] = self.tiles if split is None else self.in_split(split)
        return {c.value: sum(t.objects.get(c.value, 0) for t in chosen) for c in self.classes}


@dataclass(frozen=True)
class TileSet:
    """A tile set on disk."""

    folder: Path
    record: TileSetRecord

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def train(self) -> list[TileRecord]:
        return self.record.in_split("train")

    @property
    def validation(self) -> list[TileRecord]:
        return self.record.in_split("validation")


def open_tile_set(folder: Path) -> TileSet:
    """Open a tile set: ours, or a folder that ArcGIS wrote in a format known here.

    A folder without terratune.json is read through once (every label, a sample of the images); `save_record` keeps the result.

    Raises:
        TileSetFormatError: a side file is missing or wrong; the message names it.
        EmptyTileSetError: it holds no tile.
    """
    path = folder / RECORD_FILE
    if not path.exists():
        from tiles.foreign import derive_record

        return TileSet(folder, derive_record(folder))
    try:
        return TileSet(folder, TileSetRecord.model_validate_json(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, ValidationError, json.JSONDecodeError) as error:
        raise TileSetFormatError(
            f"{RECORD_FILE} in the tile set '{folder.name}' is damaged.",
            "Export the tiles again, or delete that file to have it worked out anew from the tiles.",
        ) from error


def save_record(tile_set: TileSet) -> None:
    """Write terratune.json beside the tiles."""
    write_text(tile_set.folder / RECORD_FILE, tile_set.record.model_dump_json(indent=1) + "\n")


def list_tile_sets(parent: Path) -> list[Path]:
    """Folders below `parent` that hold a finished tile set of ours, newest first; what is being written or deleted is left out."""
    found = [p.parent for p in parent.glob(f"*/{RECORD_FILE}") if not p.parent.name.startswith(".")]
    return sorted(found, key=lambda p: (p / RECORD_FILE).stat().st_mtime, reverse=True)
