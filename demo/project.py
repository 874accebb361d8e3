"""The demo project: the generated scene, its exact truth, and example labels for those who would rather not draw."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS

from demo.scene import Scene, demo_scene, road_mask
from errors import DiskFullError, ProjectExistsError
from imagery.grid import Grid
from imagery.library import add_copy, list_rasters
from imagery.write import open_tiled_gtiff, to_cog
from workspace.classes import ClassSchema, starter_schema
from workspace.files import replaced_on_success
from workspace.project import Project, create_project, list_projects

TITLE = "Demo: desert edge"
SCENE_FILE = "demo_scene.tif"
TRUTH_FILE = Path("truth") / "demo_roads.tif"
TRUTH_LINES = Path("truth") / "demo_roads.gpkg"
_SURFACE_NAME = {"paved": "Paved road", "unpaved": "Unpaved road"}


def demo_project(projects_folder: Path) -> Project:
    """A demo project to start with: one that nobody has worked in yet, else a new one. Pressing the button twice makes one.

    Raises:
        DiskFullError: no room.
    """
    for project in list_projects(projects_folder):
        if project.file.demo and _whole(project) and not _worked_in(project):
            return project
    return create_demo_project(projects_folder)


def create_demo_project(projects_folder: Path) -> Project:
    """A new demo project with the scene in its imagery list and the truth in truth/ (class values of the starter schema).

    Raises:
        DiskFullError: no room.
    """
    scene = demo_scene()
    project = _unused_project(projects_folder)
    try:
        add_demo_imagery(project, scene)
        with _named_if_full():
            write_truth(project, scene)
    except BaseException:
        shutil.rmtree(project.folder, ignore_errors=True)  # half a demo would only mislead
        raise
    return project


def add_demo_imagery(project: Project, scene: Scene | None = None) -> None:
    """Add the demo scene to a project's imagery list."""
    scene = scene or demo_scene()
    upload = project.folder / f".{secrets.token_hex(4)}.tif"
    try:
        with _named_if_full():
            write_scene(upload, scene.rgb, grid_of(scene))
            add_copy(project, upload, SCENE_FILE)
    finally:
        upload.unlink(missing_ok=True)


def write_truth(project: Project, scene: Scene) -> None:
    """Write the exact road classes (raster) and centrelines (GeoPackage) into truth/."""
    grid, schema = grid_of(scene), starter_schema()
    write_scene(project.folder / TRUTH_FILE, road_mask(scene)[None], grid, {c.value: c.rgb for c in schema.learnt})
    with replaced_on_success(project.folder / TRUTH_LINES) as temporary:
        lines = scene.roads.assign(classvalue=class_values(scene.roads, schema))
        lines.to_file(temporary, layer="roads", driver="GPKG")


def example_labels(project: Project, count: int = 12) -> gpd.GeoDataFrame:
    """Unpaved centrelines from the truth, spread over the scene, as a person might have drawn them.

    Returns:
        LineStrings in the scene's CRS with `classvalue` and `width_m`; the longest line of each cell of a coarse grid, at most `count`.
    """
    lines = gpd.read_file(project.folder / TRUTH_LINES).query("surface == 'unpaved'")
    middle = lines.geometry.interpolate(0.5, normalized=True)
    west, south, east, north = lines.total_bounds
    column = np.minimum((middle.x - west) / (east - west) * 4, 3).astype(int)
    row = np.minimum((middle.y - south) / (north - south) * 3, 2).astype(int)
    best = lines.assign(cell=row * 4 + column, length=lines.length).sort_values("length", ascending=False).drop_duplicates("cell")
    return best.head(count)[["classvalue", "width_m", "geometry"]].reset_index(drop=True)


def class_values(roads: gpd.GeoDataFrame, schema: ClassSchema) -> NDArray[np.int64]:
    """The class value of each centreline by its surface."""
    found = {surface: schema.by_name(name) for surface, name in _SURFACE_NAME.items()}
    return np.array([c.value if (c := found[s]) else 0 for s in roads["surface"]], dtype=np.int64)


def grid_of(scene: Scene) -> Grid:
    """The scene's pixels on the ground."""
    return Grid(scene.rgb.shape[2], scene.rgb.shape[1], scene.transform, CRS.from_epsg(scene.epsg))


def write_scene(path: Path, values: NDArray[np.uint8], grid: Grid, colours: dict[int, tuple[int, int, int]] | None = None) -> None:
    """Write (bands, rows, columns) as a cloud-optimised GeoTIFF; with `colours`, a classified one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = path.with_name(f".{path.stem}.raw.tif")
    try:
        with open_tiled_gtiff(raw, grid, len(values), "uint8", None) as dataset:
            dataset.write(values)
        to_cog(raw, path, overview_resampling="nearest" if colours else "average", colours=colours)
    finally:
        raw.unlink(missing_ok=True)


@contextlib.contextmanager
def _named_if_full() -> Iterator[None]:
    """Speak of the demo scene where the disk is full, not of its temporary files."""
    try:
        yield
    except DiskFullError as error:
        raise DiskFullError("The disk is full: there is no room for the demo scene (about 25 MB).", error.remedy) from error


def _whole(project: Project) -> bool:
    """The scene is listed and its truth is there: nobody reloaded the page or pulled the plug halfway, nobody took the scene out."""
    listed = any(raster.name == SCENE_FILE for raster in list_rasters(project))
    return listed and (project.folder / TRUTH_FILE).exists() and (project.folder / TRUTH_LINES).exists()


def _worked_in(project: Project) -> bool:
    made = (project.tiles_folder, project.models_folder, project.runs_folder, project.predictions_folder)
    return project.journal_file.exists() or any(any(folder.iterdir()) for folder in made if folder.exists())


def _unused_project(projects_folder: Path) -> Project:
    number = 1
    while True:
        try:
            return create_project(projects_folder, TITLE if number == 1 else f"{TITLE} {number}", demo=True)
        except ProjectExistsError:
            number += 1
