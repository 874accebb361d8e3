"""The Import dialog of the Label page, without a browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from streamlit.testing.v1 import AppTest

from imagery.library import add_copy
from labeling.label_set import current_labels
from ui import frame
from ui.import_classes import ONE_CLASS
from workspace.classes import ClassSchema
from workspace.project import Project, create_project

PAGE = Path(__file__).resolve().parents[2] / "pages" / "draw_labels.py"
LON, LAT = -117.0, 36.1443
INSIDE = [[LON + 0.0002, LAT - 0.0005], [LON + 0.0008, LAT - 0.0005]]
FAR = [[10.0, 50.0], [10.1, 50.0]]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project with an image of 128 pixels of 1 m in UTM zone 11."""
    monkeypatch.setenv("TERRATUNE_DATA", str(tmp_path))
    frame.settings.cache_clear()
    project = create_project(tmp_path / "projects", "One")
    path = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "width": 128, "height": 128, "count": 3, "dtype": "uint8", "crs": "EPSG:32611"}
    with rasterio.open(path, "w", **profile, transform=Affine(1, 0, 500_000, 0, -1, 4_000_000)) as file:
        file.write(np.random.default_rng(0).integers(0, 255, (3, 128, 128)).astype(np.uint8))
    add_copy(project, path, "scene.tif")
    yield project
    frame.settings.cache_clear()


def line(steps: int, **properties: object) -> dict:
    """A feature inside the image, a metre further north with each step."""
    shape = {"type": "LineString", "coordinates": [[x, y + steps * 1e-5] for x, y in INSIDE]}
    return {"type": "Feature", "properties": properties, "geometry": shape}


def geojson(*features: dict) -> bytes:
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def with_file(project: Project, name: str, content: bytes) -> AppTest:
    """The page with this file in the open Import dialog."""
    page = AppTest.from_file(str(PAGE), default_timeout=120)
    page.query_params["project"] = project.id
    page.run()
    page.button(key="import_open").click().run()
    page.file_uploader(key="import_file:0").upload(name, content).run()
    assert not page.exception, page.exception
    return page


def labels_of(project: Project):
    return current_labels(project.journal_file)


def box_of(page: AppTest, key: str):
    return next(one for one in page.selectbox if str(one.key).startswith(key))


def test_values_become_the_classes_chosen_and_new_ones(scene: Project):
    features = [line(0, surface="dirt", width_m=7.5), line(1, surface="unpaved"), line(2, surface="dirt"), line(3, surface="trail")]
    page = with_file(scene, "roads.geojson", geojson(*features))
    box_of(page, "import_field").set_value("surface").run()
    assert [str(one.value) for one in page.selectbox if str(one.key).startswith("import_value")] == ["New class", "2", "New class"]
    page.selectbox(key="import_value:surface:0").set_value(1)
    page.button(key="import").click().run()
    assert not page.error
    assert "4 labels imported from 4 shapes. New\\: trail." in page.success[0].value
    assert not page.file_uploader  # the dialog has closed
    labels = labels_of(scene)
    assert labels["class_value"].tolist() == [1, 2, 1, 4]
    assert labels["width_m"].fillna(0).tolist() == [7.5, 0, 0, 0]
    assert set(labels["origin"]) == {"imported"}
    assert [c.name for c in scene.classes().classes][3:] == ["trail"]


def test_a_file_without_a_class_field_asks_for_the_class(scene: Project):
    page = with_file(scene, "roads.geojson", geojson(line(0), line(1)))
    assert page.button(key="import").disabled
    page.selectbox(key="import_one_class").set_value(1).run()
    page.button(key="import").click().run()
    assert labels_of(scene)["class_value"].tolist() == [1, 1]


def test_with_one_class_the_likely_field_is_chosen_and_what_it_holds_is_shown(scene: Project):
    (only,) = (c for c in scene.classes().classes if c.name == "Unpaved road")
    scene.save_classes(ClassSchema(classes=(only,)))
    features = [line(i, id=i, surface=surface) for i, surface in enumerate(["uncertain", "paved", "unpaved", "unpaved"])]
    page = with_file(scene, "roads.geojson", geojson(*features))
    assert box_of(page, "import_field").value == "surface"
    assert [str(one.value) for one in page.selectbox if str(one.key).startswith("import_value")] == [str(only.value), "New class", "New class"]
    box_of(page, "import_field").set_value(ONE_CLASS).run()
    assert "**surface**: unpaved :gray[· 2], uncertain :gray[· 1], paved :gray[· 1]" in " ".join(one.value for one in page.markdown)
    assert page.selectbox(key="import_one_class").value == only.value
    page.button(key="import").click().run()
    assert labels_of(scene)["class_value"].tolist() == [only.value] * 4


def test_importing_twice_adds_nothing(scene: Project):
    content = geojson(line(0, surface="paved"), line(1, surface="paved"))
    with_file(scene, "roads.geojson", content).button(key="import").click().run()
    page = with_file(scene, "roads.geojson", content)
    page.button(key="import").click().run()
    assert "already among the labels" in page.error[0].value
    assert len(labels_of(scene)) == 2


def test_shapes_outside_the_imagery_are_left_out_unless_wanted(scene: Project):
    far = {"type": "Feature", "properties": {"surface": "paved"}, "geometry": {"type": "LineString", "coordinates": FAR}}
    content = geojson(line(0, surface="paved"), far)
    page = with_file(scene, "roads.geojson", content)
    assert "Leave out 1 shape of 2" in page.checkbox(key="import_within").label
    page.button(key="import").click().run()
    assert "1 label imported from 2 shapes, 1 left out." in page.success[0].value
    assert "1 left out (outside the imagery)" in " ".join(one.value for one in page.markdown)
    page = with_file(scene, "roads.geojson", content)
    page.checkbox(key="import_within").uncheck()
    page.button(key="import").click().run()
    assert "1 label lies outside all imagery" in page.success[0].value
    page.button(key="import_undo").click().run()
    assert page.session_state["map_command"]["kind"] == "delete"
    assert len(page.session_state["map_command"]["object_ids"]) == 1


def test_a_missing_coordinate_system_is_guessed_with_a_reason(scene: Project):
    metres = {"type": "LineString", "coordinates": [[500_010, 3_999_950], [500_060, 3_999_950]]}
    content = geojson({"type": "Feature", "properties": {"surface": "paved"}, "geometry": metres})
    page = with_file(scene, "roads.geojson", content)
    assert box_of(page, "import_crs").value == "EPSG:32611"
    assert any("100% of the shapes lie on the imagery" in one.value for one in page.caption)
    page.button(key="import").click().run()
    assert labels_of(scene).to_crs(32611).total_bounds[0] == pytest.approx(500_010, abs=0.01)


def test_a_coordinate_system_nobody_can_guess_is_asked_for(scene: Project):
    metres = {"type": "LineString", "coordinates": [[9e6, 9e6], [9e6, 9.1e6]]}
    page = with_file(scene, "roads.geojson", geojson({"type": "Feature", "properties": {}, "geometry": metres}))
    assert "are not longitudes and latitudes" in page.error[0].value
    assert not [one for one in page.button if one.key == "import"]


def test_boxes_find_their_picture(scene: Project):
    xml = """<annotation><filename>scene.tif</filename><size><width>128</width><height>128</height></size><object><name>tree</name>
    <bndbox><xmin>10</xmin><ymin>20</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>"""
    page = with_file(scene, "scene.xml", xml.encode())
    page.button(key="import").click().run()
    assert labels_of(scene).to_crs(32611).total_bounds == pytest.approx([500_010, 3_999_960, 500_030, 3_999_980], abs=0.01)
    assert scene.classes().by_value(3).name == "tree"
    page = with_file(scene, "other.xml", xml.replace("scene.tif", "other.tif").encode())
    assert "not in this project\\: other.tif" in page.error[0].value


def test_a_bad_file_is_explained_and_nothing_stored(scene: Project):
    page = with_file(scene, "roads.geojson", b'{"type": "FeatureCollection", "features": [')
    assert "damaged" in page.error[0].value
    assert labels_of(scene).empty
