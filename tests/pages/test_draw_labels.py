"""The Label page around the map: what it shows, refuses and stores. The map itself is tested in tests/browser."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from shapely import Point, box
from streamlit.testing.v1 import AppTest

from imagery.library import add_copy, list_rasters
from inference.suggest import Square
from labeling.journal import Label, Operation, open_journal
from ui import frame
from ui.label_next import touched
from ui.maps import map_document
from workspace.classes import FULLY_LABELLED_VALUE, without_class
from workspace.files import write_json
from workspace.project import Project, create_project

PAGE = Path(__file__).resolve().parents[2] / "pages" / "draw_labels.py"
LON, LAT = -117.0, 36.1443
INSIDE = {"type": "LineString", "coordinates": [[LON + 0.0002, LAT - 0.0005], [LON + 0.0008, LAT - 0.0005]]}
OUTSIDE = {"type": "Point", "coordinates": [10.0, 50.0]}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.setenv("TERRATUNE_DATA", str(tmp_path))
    frame.settings.cache_clear()
    yield create_project(tmp_path / "projects", "One")
    frame.settings.cache_clear()


@pytest.fixture
def scene(project: Project, tmp_path: Path) -> Project:
    """The project with an image of 128 pixels of 1 m."""
    path = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "width": 128, "height": 128, "count": 3, "dtype": "uint8", "crs": "EPSG:32611"}
    with rasterio.open(path, "w", **profile, transform=Affine(1, 0, 500_000, 0, -1, 4_000_000)) as file:
        file.write(np.random.default_rng(0).integers(0, 255, (3, 128, 128)).astype(np.uint8))
    add_copy(project, path, "scene.tif")
    return project


def add(project: Project, geometry: dict, class_value: int = 2) -> None:
    operation = Operation(uuid.uuid4().hex, "upsert", uuid.uuid4().hex, Label(geometry, class_value))
    open_journal(project.journal_file).append([operation])


def open_page(project: Project, **address: str) -> AppTest:
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    page.query_params["project"] = project.id
    for name, value in address.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception, page.exception
    return page


def words(page: AppTest) -> str:
    return " ".join(str(element.value) for kind in (page.markdown, page.caption, page.info, page.warning, page.error) for element in kind)


def test_without_imagery_the_page_says_where_to_go(project: Project):
    page = open_page(project)
    assert "no imagery" in page.info[0].value
    assert not page.warning


def test_labels_outside_all_imagery_are_pointed_out(scene: Project):
    add(scene, INSIDE)
    add(scene, OUTSIDE)
    assert "1 label lies outside all imagery" in open_page(scene).warning[0].value


def test_labels_of_a_removed_class_are_pointed_out(scene: Project):
    add(scene, INSIDE, 1)
    scene.save_classes(without_class(scene.classes(), 1, 0))
    page = open_page(scene)
    assert "a class that was removed" in page.warning[0].value


def test_the_map_of_a_comparison_is_shown_to_who_comes_from_it(scene: Project, monkeypatch: pytest.MonkeyPatch):
    layers: list[list[str]] = []
    monkeypatch.setattr("ui.canvas.label_map", lambda m, **_: layers.append([one["name"] for one in map_document(m)["layers"]]))
    job = scene.predictions_folder / "mine"
    [raster] = list_rasters(scene)
    write_json(job / "settings.json", {})
    (job / raster.id).mkdir()
    (job / raster.id / "after.tif").touch()
    open_page(scene)
    open_page(scene, over="mine")
    open_page(scene, over="gone")
    assert ["New model's map: scene.tif" in names for names in layers] == [False, True, False]


AREA = {"type": "Polygon", "coordinates": [[[LON, LAT - 0.0006], [LON + 0.0006, LAT - 0.0006], [LON + 0.0006, LAT], [LON, LAT], [LON, LAT - 0.0006]]]}


def test_a_fully_labelled_area_is_no_label_of_a_removed_class(scene: Project):
    add(scene, INSIDE)
    add(scene, AREA, FULLY_LABELLED_VALUE)
    assert not open_page(scene).warning


def test_how_much_is_labelled_is_told(scene: Project):
    add(scene, INSIDE)
    page = open_page(scene)
    page.button(key="coverage").click().run()
    assert "taken as background" in words(page) and "Fully labelled area" in words(page)
    add(scene, AREA, FULLY_LABELLED_VALUE)
    page.run()
    assert "of the imagery is fully labelled" in words(page)
    pictures, classes = (table.value for table in page.dataframe)
    assert pictures["Objects"].tolist() == [1] and 10 < pictures["Fully labelled"].iloc[0] < 90
    assert classes[["Class", "Objects"]].to_numpy().tolist() == [["Unpaved road", 1]]


def test_who_comes_from_a_comparison_is_led_from_square_to_square(scene: Project, monkeypatch: pytest.MonkeyPatch):
    shown: list[tuple[float, ...]] = []
    monkeypatch.setattr("ui.canvas.map_document", lambda m: (shown.append(map_document(m)["bounds"]), map_document(m))[1])
    raster = list_rasters(scene)[0]
    job = scene.predictions_folder / "mine"
    write_json(job / "settings.json", {"title": "Mine", "base": "b", "new": "n", "rasters": [{"id": raster.id, "name": "scene.tif", "source": "x"}]})
    squares = [
        {"raster": raster.id, "unsure": share, "corners": [[LON + dx + x * 2e-4, LAT - 3e-4 + y * 2e-4] for x, y in ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))]}
        for share, dx in ((0.5, 1e-4), (0.4, 5e-4), (0.3, 9e-4))
    ]  # fmt: skip
    write_json(job / "label_next.json", {"squares": [*squares, {**squares[0], "raster": "taken0away"}]})
    add(scene, {"type": "Point", "coordinates": [LON + 6e-4, LAT - 2e-4]})  # in the second square: passed over
    page = open_page(scene, over="mine")
    assert "1 of 2" in words(page) and "50 %" in words(page)
    assert shown[-1][0] == pytest.approx(LON + 0.5e-4) and shown[-1][2] == pytest.approx(LON + 3.5e-4)
    add(scene, {"type": "Point", "coordinates": [LON + 2e-4, LAT - 2e-4]})
    page.run()
    assert "1 of 2" in words(page) and "labelled." in words(page)  # it stays while it is being labelled
    page.button(key="label_next:mine::next").click().run()
    assert "2 of 2" in words(page) and "30 %" in words(page)
    page.button(key="label_next:mine::next").click().run()
    assert "1 of 2" in words(page)
    page.button(key="label_next:mine::close").click().run()
    assert "Label here next" not in words(page) and shown[-1][2] > LON + 1e-3
    assert "Label here next" not in words(open_page(scene))


def test_a_square_is_labelled_by_an_object_in_it_or_by_an_area_over_half_of_it():
    def square(x: float) -> Square:
        return Square(raster="aaaa", unsure=0.5, corners=((x, 0), (x + 1, 0), (x + 1, 1), (x, 1), (x, 0)))

    rows = [(1, Point(0.5, 0.5)), (FULLY_LABELLED_VALUE, box(2.4, 0, 3, 1)), (FULLY_LABELLED_VALUE, box(4.7, 0, 5, 1))]
    labels = gpd.GeoDataFrame({"class_value": [value for value, _ in rows]}, geometry=[shape for _, shape in rows], crs=4326)
    assert touched([square(0), square(2), square(4), square(6)], labels) == [True, True, False, False]
    assert touched([square(0)], labels[:0]) == [False] and touched([], labels) == []


def test_squares_that_are_written_later_are_shown_then(scene: Project):
    raster = list_rasters(scene)[0]
    job = scene.predictions_folder / "mine"
    write_json(job / "settings.json", {"title": "Mine", "base": "b", "new": "n", "rasters": [{"id": raster.id, "name": "scene.tif", "source": "x"}]})
    page = open_page(scene, over="mine")
    assert "Label here next" not in words(page)
    corners = [[LON + x, LAT - y] for x, y in ((1e-4, 1e-4), (3e-4, 1e-4), (3e-4, 3e-4), (1e-4, 1e-4))]
    write_json(job / "label_next.json", {"squares": [{"raster": raster.id, "unsure": 0.5, "corners": corners}]})
    page.run()
    assert "Label here next" in words(page)
