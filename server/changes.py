"""What changed between any two sides that say what the ground is: class maps of comparisons, and the labels.

Classes are the same by `inference.objects.class_change.joint_names`; what is not on the first side's pixels is looked at by the nearest one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from imagery.grid import Grid
from imagery.raster import describe
from imagery.read import open_raster
from inference.compare import Comparison, count_changes
from inference.legend import read_class_names
from inference.objects.class_change import joint_names
from inference.truth import open_truth
from labeling.burn import Shapes, class_values, shapes_on
from labeling.journal import open_journal
from labeling.label_set import current_labels
from workspace.classes import BACKGROUND_VALUE, ClassSchema
from workspace.project import Project

LABELS = "labels"
SIDE = r"labels|[A-Za-z0-9_-]{1,80}~[a-z0-9]{4,32}~(?:before|after)"
"""How a side is named in addresses; see `map_side`."""
_MAP = re.compile(r"([A-Za-z0-9_-]{1,80})~([a-z0-9]{4,32})~(before|after)")


def map_side(job: str, raster_id: str, which: str) -> str:
    """The name of a class map (`before` or `after`) of a comparison for a raster."""
    return f"{job}~{raster_id}~{which}"


@dataclass(frozen=True)
class ClassSide:
    """One side."""

    path: Path
    """Class raster; of labels their journal."""
    version: str
    """Changes with what it holds."""
    becomes: tuple[tuple[int, int], ...] = ()
    """Class values of it that are others in the pair."""
    schema: ClassSchema | None = None
    """Of labels; None: a class raster."""

    def in_pair(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Its class values as those of the pair."""
        table = np.arange(256, dtype=np.uint8)
        for value, other in self.becomes:
            table[value] = other
        return table[values]

    def labelled(self, image: Grid, grid: Grid) -> NDArray[np.uint8]:
        """(rows, columns) class values of the pair as labelled on a window of an image; 255 where it is not known what there is."""
        return self.in_pair(class_values(_shapes(self, image), grid))


@dataclass(frozen=True)
class Pair:
    """Two sides with the same class values."""

    left: ClassSide
    right: ClassSide
    classes: tuple[tuple[int, str], ...]
    """Value and name of each class of either, without background."""

    @property
    def picture(self) -> ClassSide:
        """The side that says which pixels are counted: the first that is a map."""
        return self.left if self.left.schema is None else self.right

    @property
    def version(self) -> str:
        return f"{self.left.version}-{self.right.version}"


def pair_of(project: Project, left: str, right: str) -> Pair | None:
    """Two sides by their names; None where one is not there, or neither is a map."""
    found = _named(project, left), _named(project, right)
    if found[0] is None or found[1] is None or (left == right == LABELS):
        return None
    (first, first_names), (second, second_names) = found[0], found[1]
    names, mapping = joint_names(first_names, second_names)
    classes = tuple((value, name) for value, name in sorted(names.items()) if value != BACKGROUND_VALUE)
    return Pair(first, replace(second, becomes=tuple((int(value), other) for value, other in mapping.items())), classes)


def changed_ground(pair: Pair, classes: Sequence[int]) -> Comparison:
    """Ground by class left (rows) and right (columns), on the pixels of the first map: background first, then the classes of these values.

    Raises:
        ImageryError: a map cannot be read.
        TerratuneError: a label has a class that is gone.
    """
    with open_raster(pair.picture.path) as dataset:
        grid = describe(dataset, pair.picture.path.name, None).grid
    values = [BACKGROUND_VALUE, *classes]
    if pair.left.schema is not None:
        with open_truth(pair.right.path, grid, mapping=_as_words(pair.right)) as right:
            return count_changes(_Labelled(pair.left, grid), right, grid, values)
    with open_truth(pair.left.path, grid) as left:
        if pair.right.schema is not None:
            return count_changes(left, _Labelled(pair.right, grid), grid, values)
        with open_truth(pair.right.path, grid, mapping=_as_words(pair.right)) as right:
            return count_changes(left, right, grid, values)


@dataclass(frozen=True)
class _Labelled:
    """Reads labels as class values on a grid."""

    side: ClassSide
    grid: Grid

    def read(self, window: Window) -> NDArray[np.uint8]:
        part = self.grid.window(int(window.col_off), int(window.row_off), int(window.width), int(window.height))
        return self.side.labelled(self.grid, part)


def _as_words(side: ClassSide) -> Mapping[str, int]:
    return {str(value): other for value, other in side.becomes}


def _named(project: Project, name: str) -> tuple[ClassSide, dict[int, str]] | None:
    """A side, and the names of its classes."""
    if name == LABELS:
        if not project.journal_file.exists():
            return None
        schema = project.classes()
        revision = str(open_journal(project.journal_file).revision())
        return ClassSide(project.journal_file, f"{revision}-{hash(schema)}", schema=schema), {c.value: c.name for c in schema.learnt}
    found = _MAP.fullmatch(name)
    if found is None:
        return None
    path = (project.predictions_folder / found[1] / found[2] / f"{found[3]}.tif").resolve()
    if not path.is_relative_to(project.folder.resolve()) or not path.is_file():
        return None
    state = path.stat()
    return ClassSide(path, f"{state.st_mtime_ns}-{state.st_size}"), read_class_names(path)


@lru_cache(maxsize=8)
def _shapes(side: ClassSide, image: Grid) -> Shapes:
    """Labels as areas in the CRS of an image."""
    assert side.schema is not None
    return shapes_on(image, current_labels(side.path), side.schema, 0.0)
