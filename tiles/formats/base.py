"""What every metadata format can do."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioIOError

from errors import TileSetFormatError
from tiles import layout
from tiles.layout import SideFacts
from tiles.objects import TileObject, pixels_in
from tiles.tile_set import TileClass, TileSetRecord

IMAGE_SUFFIXES = (".tif", ".tiff", ".jpg", ".jpeg", ".png", ".mrf")


Harm = Literal["grave", "leak", "elsewhere", "none"]
"""What comes of a finding: training here would fail or learn what is wrong; scores would say too much; only ArcGIS or another program
stumbles over it; nothing.
"""


@dataclass(frozen=True)
class Finding:
    """One thing in a folder that is not as its format asks, or that is worth knowing."""

    file: str
    expected: str
    found: str
    remedy: str = "Export the tiles again."
    harm: Harm = "grave"

    @property
    def fact(self) -> str:
        return f"{self.file}: expected {self.expected}, found {self.found}."

    def __str__(self) -> str:
        return f"{self.fact} {self.remedy}"


@dataclass(frozen=True)
class TileContent:
    """One tile, ready to be labelled."""

    name: str
    """Nine digits."""
    image: str
    """Path of its image below the folder."""
    bands: int
    label: NDArray[np.uint8]
    """(rows, columns) class values; 0 for what must not be learnt, too."""
    objects: Sequence[TileObject]
    """With outlines, in drawing order; none where the format asks for none."""
    instances: Mapping[int, NDArray[np.integer]]
    """By class value: (rows, columns), 1 + place of the object among those of its class in `objects`, 0 elsewhere."""
    classes: Sequence[TileClass]
    label_suffix: str = ".tif"
    """Of rasters of labels."""


@dataclass(frozen=True)
class LabelFiles:
    """Where the labels of a tile lie, below the folder, with forward slashes."""

    label: str = ""
    """The one file; empty where there is none."""
    masks: Mapping[int, str] = field(default_factory=dict)
    """By class value: the instance masks of one class."""


@dataclass(frozen=True, eq=False)
class TileLabels:
    """The labels of a tile, as read."""

    pixels: NDArray[np.uint8] | None
    """(rows, columns) class values, 0 background; None where the format does not say a class for each pixel."""
    objects: tuple[TileObject, ...] = ()
    classes: tuple[int, ...] = ()
    """Class values of the tile as a whole, where the format has such."""


class LabelSink(Protocol):
    """Where a format writes."""

    def raster(self, path: str, values: NDArray[Any]) -> None:
        """Write (rows, columns) as the ending of `path` says, where the tile lies, with its world file."""

    def text(self, path: str, text: str) -> None:
        """Write UTF-8 text."""


class TileFormat(abc.ABC):
    """One metadata format. Stateless."""

    name: ClassVar[str]
    """As MetaDataMode says it."""
    title: ClassVar[str]
    """In plain words."""
    description: ClassVar[str]
    """What it is for, in plain words."""
    has_objects: ClassVar[bool] = True
    """Single objects are written; else only pixels."""
    has_outlines: ClassVar[bool] = False
    """Objects are written with their shape; else with a box."""
    has_instances: ClassVar[bool] = False
    """Objects are written as numbered pixels."""
    has_pixels: ClassVar[bool] = False
    """The class of each pixel can be read back, so that a model of Terratune can learn from it."""
    has_classes: ClassVar[bool] = True
    """Labels have classes; else there are only images."""
    named_folders: ClassVar[bool] = False
    """Folders are named by class, so names have to be fit for folders."""
    label_folder: ClassVar[str | None] = layout.LABELS
    """The folder of labels, None where there is none."""
    per_object: ClassVar[bool] = False
    """A tile is cut around each object; else in rows and columns."""
    may_blacken: ClassVar[bool] = False
    """What lies around the object may be made black."""
    needs_class: ClassVar[bool] = False
    """A tile that shows no class cannot be written, so it is left out."""
    label_needed: ClassVar[bool] = True
    """Every image has a label file, even where nothing is labelled."""
    pairs: ClassVar[bool] = False
    """A second image of the same place may lie beside each."""
    parts: ClassVar[tuple[str, ...]] = ()
    """Folders that each hold images and side files of their own, the second from the second raster; empty where there is one set of them."""
    chooses_instances: ClassVar[bool] = False
    """A person may choose which classes have single objects."""
    side: ClassVar[SideFacts]

    def class_names(self, classes: Sequence[TileClass]) -> dict[int, str]:
        """Names as they stand in the side files, by class value."""
        return layout.folder_names(classes) if self.named_folders else {c.value: c.name for c in classes}

    def listed(self, classes: Sequence[TileClass]) -> Sequence[TileClass]:
        """The classes that the side files list."""
        return classes if self.has_classes else ()

    def definition(self, classes: Sequence[Mapping[str, Any]], instance_classes: Sequence[int] = ()) -> dict[str, Any]:
        """Further keys of the .emd; `classes` as its key Classes holds them, and the values chosen to have single objects (none: all)."""
        return {}

    def image_path(
        self, name: str, label: NDArray[np.uint8], objects: Sequence[TileObject], classes: Sequence[TileClass], suffix: str = ".tif"
    ) -> str:
        """Where the image of a tile belongs, below the folder."""
        return f"{layout.IMAGES}/{name}{suffix}"

    def images(self, folder: Path) -> list[Path]:
        """The images that lie in a folder."""
        return images_in(folder / layout.IMAGES)

    @abc.abstractmethod
    def write(self, sink: LabelSink, tile: TileContent) -> tuple[LabelFiles, tuple[TileObject, ...]]:
        """Write the labels of one tile; returns where, and the objects that are in them."""

    def more_files(self, record: TileSetRecord, objects: Sequence[Sequence[TileObject]]) -> dict[str, str]:
        """Further text files of a whole set (path, text); `objects` for each tile of the record."""
        return {}

    @abc.abstractmethod
    def find(self, folder: Path, classes: Sequence[TileClass]) -> dict[str, LabelFiles]:
        """The labels that lie in a folder, by the stem of their image."""

    @abc.abstractmethod
    def read(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], classes: Sequence[TileClass]) -> TileLabels:
        """Read the labels of one tile.

        Args:
            folder: Of the set.
            image: Path of the tile's image below the folder.
            files: From `find`, or from the record.
            shape: (rows, columns) of the image.
            classes: Of the set.

        Raises:
            TileSetFormatError: a file is missing, damaged, or does not fit.
        """

    @abc.abstractmethod
    def check(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], values: Mapping[int, str]) -> Iterator[Finding]:
        """What is wrong with the labels of one tile; `values`: class names, by value, as the side files say them."""

    def check_set(self, folder: Path, values: Mapping[int, str]) -> Iterator[Finding]:
        """What is wrong with a set beyond its single tiles."""
        return iter(())


def images_in(folder: Path) -> list[Path]:
    """Pictures in a folder, by name."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)


def twin_of(folder: Path, image: str) -> str:
    """The second image of the same place, as a path below the folder; "" where there is none."""
    stem = PurePosixPath(image).stem
    return next((path for s in IMAGE_SUFFIXES if (folder / (path := f"{layout.IMAGES2}/{stem}{s}")).is_file()), "")


def check_twin(folder: Path, image: str, shape: tuple[int, int]) -> Iterator[Finding]:
    """The second image of a place, of the size of the first, where there is a folder of second images."""
    if not (folder / layout.IMAGES2).is_dir():
        return
    path = twin_of(folder, image)
    if not path:
        yield Finding(image, f"a second image of the same name in {layout.IMAGES2}", "none", "Bring it back, or delete this one.")
        return
    try:
        with rasterio.open(folder / path) as file:
            file.read()
            found = file.shape
    except RasterioIOError:
        yield Finding(path, "a readable raster", "a damaged file, or no raster")
        return
    if found != shape:
        yield Finding(path, f"{shape[1]} x {shape[0]} pixels, as the first image", f"{found[1]} x {found[0]}")


def read_band(folder: Path, path: str) -> NDArray[Any]:
    """(rows, columns) of the first band.

    Raises:
        TileSetFormatError: it is missing or damaged.
    """
    try:
        with rasterio.open(folder / path) as file:
            return file.read(1)
    except RasterioIOError as error:
        raise unreadable(folder, path) from error


def same_shape(path: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raises: TileSetFormatError: a label of another size than its image."""
    if found != expected:
        raise TileSetFormatError(
            f"{path} is {found[1]} x {found[0]} pixels, but its image is {expected[1]} x {expected[0]}.", "Export the tiles again."
        )


def unreadable(folder: Path, path: str) -> TileSetFormatError:
    """The error for a file that is not there or cannot be decoded."""
    what = "is damaged" if (folder / path).exists() else "is missing"
    return TileSetFormatError(f"The file {path} of the tile set '{folder.name}' {what}.", "Export the tiles again.")


def strange_value(path: str, value: object, classes: Sequence[TileClass]) -> TileSetFormatError:
    """The error for a label that names no class of the set."""
    known = ", ".join(str(c.value) for c in sorted(classes, key=lambda c: c.value))
    return TileSetFormatError(
        f"{path} holds the value {value}, which is not a class in {layout.DEFINITION_FILE} (classes: {known}; background: 0).",
        "Add the class to that file, or export the tiles again.",
    )


def check_raster(folder: Path, path: str, shape: tuple[int, int]) -> tuple[NDArray[Any] | None, list[Finding]]:
    """One band of the image's size; the pixels are None where they cannot be read."""
    try:
        with rasterio.open(folder / path) as file:
            pixels, bands = file.read(1), file.count
    except RasterioIOError:
        return None, [Finding(path, "a readable raster", "a damaged file, or no raster")]
    findings = []
    if pixels.shape != shape:
        found = f"{pixels.shape[1]} x {pixels.shape[0]}"
        findings.append(Finding(path, f"{shape[1]} x {shape[0]} pixels, as its image", found))
    if bands != 1:
        findings.append(Finding(path, "one band", str(bands)))
    return pixels, findings


def rough_pixels(labels: TileLabels, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """(rows, columns) class values where the format does not say them: those of the boxes that touch a pixel, the last one above.

    Where only the tile as a whole has classes, each gets an equal share of the pixels.
    """
    if labels.classes and not labels.objects:
        return np.resize(np.array(labels.classes, dtype=np.uint8), shape)
    label = np.zeros(shape, dtype=np.uint8)
    for one in labels.objects:
        label[pixels_in(one.box, shape)] = one.value
    return label
