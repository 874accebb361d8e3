"""What a person chooses for an export; the form and the command read their words from here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tiles.formats import FORMATS, TileFormat
from tiles.pictures import JPEG_QUALITY
from tiles.tile_set import METADATA_FORMAT

LEAST_TURN = 5
"""Degrees."""


class ExportSettings(BaseModel):
    """What a person chooses for an export.

    The form (`ui.settings_fields`) draws a field from its title, description, type and bounds. `json_schema_extra` may say more:

    * `section`: "simple" for what everybody sees; else the field stands under "More choices".
    * `group`: the tab there: "Tiles", "Labels", "Imagery" or "Validation".
    * `options`: {value: plain words}, for a choice among a few; in the order shown.
    * `empty`: what an optional number, text or choice means when it is left empty ("as the imagery").
    * `only_with`: {field: values}: shown only where that field, which stands before it, has one of these values (True: any at all).
    * `choose`: "raster" (the value is a raster's source: an absolute path or address), "class" (a class value) or "classes"
      (a tuple of class values): the form offers those of the project.

    Whether a field means anything for a metadata format says `fields_for`; what does not keeps its default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metadata_format: str = Field(
        default=METADATA_FORMAT,
        title="Kind of labels",
        description="A class for each pixel suits roads, fields and water; boxes and outlines tell single things apart, such as houses and trees.",
        json_schema_extra={"section": "simple", "options": {form.name: form.title for form in FORMATS.values()}},
    )
    tile_size: int = Field(
        default=256,
        ge=32,
        le=1024,
        multiple_of=32,
        title="Tile size (pixels)",
        description="Side of the squares that imagery and labels are cut into. 256 suits most things a few metres wide; "
        "128 gives more, smaller squares when your labels lie close together.",
        json_schema_extra={"section": "simple"},
    )
    tile_size_y: int | None = Field(
        default=None,
        ge=32,
        le=1024,
        multiple_of=32,
        title="Tile height (pixels)",
        description="For tiles that are not square: the tile size is then their width.",
        json_schema_extra={"group": "Tiles", "empty": "square"},
    )
    stride: int = Field(
        default=128,
        ge=16,
        le=1024,
        title="Step (pixels)",
        description="How far the next square starts from the one before. Half the tile size shows the model everything in several "
        "positions; the full tile size makes fewer squares and trains faster.",
        json_schema_extra={"section": "simple"},
    )
    stride_y: int | None = Field(
        default=None,
        ge=16,
        le=1024,
        title="Step downwards (pixels)",
        description="Where tiles are to overlap more, or less, from top to bottom than from left to right. Left empty: the same overlap.",
        json_schema_extra={"group": "Tiles", "empty": "as across"},
    )
    inside_fully_labelled: bool = Field(
        default=False,
        title="Only inside fully labelled areas",
        description="Tiles are cut only where they lie completely inside the areas that you marked as fully labelled.",
        json_schema_extra={"group": "Tiles"},
    )
    rotation_angle: float = Field(
        default=0.0,
        ge=0,
        le=180,
        title="Turn by (degrees)",
        description="Each tile is cut again, turned, at every multiple of this angle: 90 makes four of one, 45 eight. 0: as it lies. "
        "Training here turns tiles by itself, so this is for other programs.",
        json_schema_extra={"group": "Tiles"},
    )
    start_index: int = Field(
        default=0,
        ge=0,
        le=900_000_000,
        title="Number of the first tile",
        description="Tiles are named by nine digits, counted from here: another number lets them be put beside tiles made before.",
        json_schema_extra={"group": "Tiles"},
    )
    cell_size_m: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        title="Ground size of a pixel (metres)",
        description="Tiles show the imagery at this resolution: several of its pixels are averaged into one, or new ones put between them. "
        "Brings images of different resolution to one scale.",
        json_schema_extra={"group": "Imagery", "empty": "as the imagery"},
    )
    processing_mode: Literal["separately", "mosaic"] = Field(
        default="separately",
        title="Several images",
        description="As one picture, tiles go on across the seams between neighbouring images; where images overlap, the first lies on top. "
        "The images need the same bands and one coordinate system.",
        json_schema_extra={"group": "Imagery", "options": {"separately": "Each by itself", "mosaic": "All as one picture"}},
    )
    reference_system: Literal["map_space", "pixel_space"] = Field(
        default="map_space",
        title="Where tiles lie",
        description="Tiles know their place on the map. Programs that work on slanted or raw photographs may want them without it, "
        "in the pixels of the picture alone.",
        json_schema_extra={"group": "Imagery", "options": {"map_space": "On the map", "pixel_space": "In the picture only"}},
    )
    buffer_m: float = Field(
        default=2.0,
        ge=0,
        le=500,
        title="Width to either side of lines and points (metres)",
        description="Only for lines and points without a width of their own: a line becomes a band this wide to its left and to its right, "
        "a point a disc of this radius. For a track 4 m wide give 2. What was drawn or imported with a width keeps that width.",
        json_schema_extra={"section": "simple"},
    )
    tiles: Literal["features_only", "all"] = Field(
        default="features_only",
        title="Which tiles",
        description="Only squares with something labelled, or fully labelled; or all of the imagery. Where no fully labelled area is marked "
        "on the Label page, what is not drawn in a square is taken as background: then take all only if you labelled everything.",
        json_schema_extra={
            "section": "simple",
            "options": {"features_only": "Only where something is labelled", "all": "All of the imagery"},
        },
    )
    min_polygon_overlap_ratio: float = Field(
        default=0.0,
        ge=0,
        le=1,
        title="Least part of an object in a tile",
        description="An object of which less than this part lies in a tile is left out of that tile's labels. 0 keeps every sliver; "
        "0.3 keeps a third of a house and more. What is left out counts as background there.",
        json_schema_extra={"group": "Labels"},
    )
    crop_mode: Literal["fixed_size", "bounding_box"] = Field(
        default="fixed_size",
        title="Size of a tile",
        description="For tiles around single objects: all of the tile size with the object in the middle, or each just as large as its object.",
        json_schema_extra={
            "section": "simple",
            "options": {"fixed_size": "The tile size, object in the middle", "bounding_box": "As large as its object"},
        },
    )
    blacken_around_feature: bool = Field(
        default=False,
        title="Black around the object",
        description="For labelled tiles: what lies around the object is made black, so that only the object itself can be learnt from.",
        json_schema_extra={"group": "Labels"},
    )
    validation_share: float = Field(
        default=0.2,
        ge=0.05,
        le=0.5,
        title="Share kept for validation",
        description="Part of the squares that the model is tested on and never learns from. They are taken from places of their own, "
        "with a gap around them, so that the test is honest.",
        json_schema_extra={"group": "Validation"},
    )
    seed: int = Field(
        default=0,
        ge=0,
        title="Seed",
        description="Another number draws other places for validation.",
        json_schema_extra={"group": "Validation"},
    )
    image_format: Literal["TIFF", "PNG", "JPEG"] = Field(
        default="TIFF",
        title="Image format",
        description="TIFF keeps all bands as they are. PNG, too, but holds at most three bands of 8 or 16 bits. JPEG makes small files of three "
        "bands of 8 bits and changes their pixels a little. Labels never lose anything.",
        json_schema_extra={"group": "Imagery", "options": {"TIFF": "TIFF", "PNG": "PNG", "JPEG": "JPEG"}},
    )
    jpeg_quality: int = Field(
        default=JPEG_QUALITY,
        ge=10,
        le=100,
        title="JPEG quality",
        description="Only for JPEG: the higher, the closer to the imagery and the larger the files.",
        json_schema_extra={"group": "Imagery", "only_with": {"image_format": ["JPEG"]}},
    )
    second_raster: str | None = Field(
        default=None,
        title="Second image",
        description="Another picture of the same place, of another time or kind: each tile then comes as a pair, for programs that find what has "
        "changed or make one kind of picture of another. For CycleGAN: the pictures of the other kind, of any place. Terratune learns from pairs what has changed.",
        json_schema_extra={"group": "Imagery", "empty": "none", "choose": "raster"},
    )
    second_resampling: Literal["smooth", "nearest"] = Field(
        default="smooth",
        title="Fitting the second image",
        description="Where its pixels do not lie on those of the first image, new ones are made between them. For a map of classes or codes "
        "choose the nearest pixel, so that no value is made up.",
        json_schema_extra={
            "group": "Imagery",
            "options": {"smooth": "Between its pixels", "nearest": "Nearest pixel"},
            "only_with": {"second_raster": True},
        },
    )
    instance_classes: tuple[int, ...] = Field(
        default=(),
        title="Classes with single objects",
        description="Of these classes each object is told apart (houses, trees); of the others only the area counts (water, grass).",
        json_schema_extra={"group": "Labels", "empty": "all", "choose": "classes"},
    )

    @field_validator("metadata_format")
    @classmethod
    def _known_format(cls, name: str) -> str:
        if name not in FORMATS:
            raise ValueError(f"'{name}' is not among the metadata formats {', '.join(FORMATS)}.")
        return name

    @model_validator(mode="after")
    def _stride_within_tile(self) -> ExportSettings:
        if "stride" not in fields_for(self.metadata_format):
            return self
        for step, side, what in zip(self.strides, self.tile_sides, ("size", "height"), strict=True):
            if step > side:
                raise ValueError(
                    f"The step ({step}) is larger than the tile {what} ({side}), so parts would be skipped. Choose at most {side}."
                )
        return self

    @model_validator(mode="after")
    def _only_around_objects(self) -> ExportSettings:
        form = FORMATS[self.metadata_format]
        if self.crop_mode == "bounding_box" and not form.per_object:
            raise ValueError(f"{self.metadata_format} tiles are cut in rows, so crop_mode has to be fixed_size.")
        if self.blacken_around_feature and not form.may_blacken:
            raise ValueError(f"Around objects in {self.metadata_format} tiles nothing can be made black; Labeled_Tiles can.")
        return self

    @model_validator(mode="after")
    def _fit_together(self) -> ExportSettings:
        if 0 < self.rotation_angle < LEAST_TURN:
            raise ValueError(f"Turns of {self.rotation_angle:g} degrees make too many tiles of each. Choose {LEAST_TURN} or more, or 0.")
        if self.rotation_angle and self.crop_mode == "bounding_box":
            raise ValueError(
                "Tiles as large as their objects cannot be turned. Choose tiles of one size (fixed_size), or turns of 0 degrees."
            )
        if self.reference_system == "pixel_space" and (self.rotation_angle or self.cell_size_m or self.processing_mode == "mosaic"):
            raise ValueError(
                "Tiles that lie in the picture only (pixel_space) are its own pixels: not turned, not at another resolution, not of several "
                "images as one. Let them lie on the map (map_space), or leave these choices alone."
            )
        return self

    @model_validator(mode="after")
    def _second_image(self) -> ExportSettings:
        form = FORMATS[self.metadata_format]
        if self.second_raster and not (form.pairs or form.parts):
            able = ", ".join(name for name, one in FORMATS.items() if one.pairs or one.parts)
            raise ValueError(f"{self.metadata_format} has no second image. These have one: {able}.")
        if form.parts and not self.second_raster:
            raise ValueError(f"{self.metadata_format} needs a second image: the pictures of the other kind. Choose one.")
        if self.instance_classes and not form.chooses_instances:
            raise ValueError(f"In {self.metadata_format} it is not chosen which classes have single objects; leave instance_classes empty.")
        return self

    @property
    def angles(self) -> tuple[float, ...]:
        """Turns of each tile, degrees clockwise: the multiples of `rotation_angle` below 360."""
        count = math.ceil(360 / self.rotation_angle - 1e-9) if self.rotation_angle else 1
        return tuple(i * self.rotation_angle for i in range(count))

    @property
    def tile_sides(self) -> tuple[int, int]:
        """(columns, rows) of a tile."""
        return self.tile_size, self.tile_size_y or self.tile_size

    @property
    def strides(self) -> tuple[int, int]:
        """Steps across and down, pixels."""
        columns, rows = self.tile_sides
        return self.stride, self.stride_y or max(1, round(self.stride * rows / columns))


_ONLY_FOR: Mapping[str, Callable[[TileFormat], bool]] = {
    "stride": lambda form: not form.per_object,
    "stride_y": lambda form: not form.per_object,
    "tiles": lambda form: not form.per_object,
    "min_polygon_overlap_ratio": lambda form: form.has_objects,
    "crop_mode": lambda form: form.per_object,
    "blacken_around_feature": lambda form: form.may_blacken,
    "second_raster": lambda form: form.pairs or bool(form.parts),
    "second_resampling": lambda form: form.pairs,
    "instance_classes": lambda form: form.chooses_instances,
}
"""Fields that mean something for some formats only."""


def fields_for(metadata_format: str) -> tuple[str, ...]:
    """Names of the settings that mean something for a metadata format, in the order of the form."""
    form = FORMATS[metadata_format]
    return tuple(name for name in ExportSettings.model_fields if name not in _ONLY_FOR or _ONLY_FOR[name](form))


class ImageSource(BaseModel):
    """One raster to cut."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Shown to people."""
    source: str
    """Absolute path, or http(s) URL."""
    band_names: tuple[str, ...] = ()
    """What its bands are, where that is known better than the file does; none: as the file says."""
