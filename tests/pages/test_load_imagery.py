"""The imagery page under Streamlit's AppTest: states and forms; the map and the drop zone are the browser tests' business."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from imagery.library import Raster, add_references, get_raster, list_rasters
from tests.imagery.rasters import rgb, write_raster
from ui import frame
from workspace.project import create_project
from workspace.settings import Settings

PAGE = Path(__file__).resolve().parents[2] / "pages" / "load_imagery.py"


@pytest.fixture
def settings(tmp_path, monkeypatch):
    root = tmp_path / "server"
    root.mkdir()
    settings = Settings(tmp_path / "data", (root,), False, 10**9, "cpu")
    monkeypatch.setattr(frame, "settings", lambda: settings)
    return settings


@pytest.fixture
def project(settings):
    return create_project(settings.projects_folder, "Fire roads")


def page(monkeypatch) -> AppTest:
    monkeypatch.setattr("ui.frame.next_step_link", lambda key: None)  # a link needs the navigation of ui/main.py
    app = AppTest.from_file(str(PAGE), default_timeout=60)
    return app.run()


def test_an_empty_project_offers_the_demo_and_names_the_files(project, settings, monkeypatch):
    write_raster(settings.imagery_roots[0] / "a.tif", rgb())
    app = page(monkeypatch)
    assert not app.exception
    assert "Use the demo scene" in [button.label for button in app.button]
    assert app.dataframe[0].value["File"].tolist() == ["a.tif"]


def test_the_list_shows_the_facts(project, settings, monkeypatch):
    paths = [write_raster(settings.imagery_roots[0] / "a.tif", rgb(), photometric="RGB", nodata=0)]
    assert all(isinstance(result, Raster) for result in add_references(project, paths, settings))
    app = page(monkeypatch)
    assert not app.exception
    facts = app.dataframe[-1].value.iloc[0].to_dict()
    assert facts["Pixel (m)"] == pytest.approx(0.5, rel=1e-3)
    assert {k: facts[k] for k in ("Picture", "Size", "Bands", "Type", "CRS", "No data", "Overviews")} == {
        "Picture": "a.tif",
        "Size": "60 × 40",
        "Bands": 3,
        "Type": "uint8",
        "CRS": "EPSG:26911",
        "No data": "0",
        "Overviews": "no",
    }


def test_choosing_bands_is_stored_at_once(project, settings, monkeypatch):
    (raster,) = add_references(project, [write_raster(settings.imagery_roots[0] / "a.tif", rgb())], settings)
    app = page(monkeypatch)
    next(box for box in app.selectbox if box.label == "Red").set_value(3).run()
    assert not app.exception
    assert get_raster(project, raster.id).bands == (3, 2, 3)
    assert get_raster(project, raster.id).percentiles is None


def test_a_missing_file_is_said_with_the_way_out(project, settings, monkeypatch):
    path = write_raster(settings.imagery_roots[0] / "a.tif", rgb())
    list(add_references(project, [path], settings))
    path.unlink()
    app = page(monkeypatch)
    assert not app.exception
    assert any("cannot be found any more" in error.value for error in app.error)


def test_a_private_address_is_refused_on_the_page(project, monkeypatch):
    app = page(monkeypatch)
    app.text_input[[field.label for field in app.text_input].index("Address of a cloud-optimised GeoTIFF")].set_value(
        "http://127.0.0.1/a.tif"
    )
    next(button for button in app.button if button.label == "Add from this address").click().run()
    assert not app.exception
    assert any("private address" in error.value for error in app.error)
    assert list_rasters(project) == []


def test_bands_are_named_by_a_preset_and_shown_in_their_colours(project, settings, monkeypatch):
    (raster,) = add_references(project, [write_raster(settings.imagery_roots[0] / "a.tif", rgb().astype("uint16"))], settings)
    app = page(monkeypatch)
    assert any("Not all files name their bands" in caption.value for caption in app.caption)
    next(box for box in app.selectbox if box.label == "The bands are").set_value("Blue, green, red").run()
    next(button for button in app.button if button.label == "Use these names").click().run()
    assert not app.exception
    stored = get_raster(project, raster.id)
    assert stored.info.band_names == ("blue", "green", "red") and stored.bands == (3, 2, 1)
    assert [box.value for box in app.selectbox if box.label in {"Red", "Green", "Blue"}] == [3, 2, 1]
    assert not any("Not all files name their bands" in caption.value for caption in app.caption)


def test_bands_are_named_one_by_one_each_once(project, settings, monkeypatch):
    (raster,) = add_references(project, [write_raster(settings.imagery_roots[0] / "a.tif", rgb().astype("uint16"))], settings)
    app = page(monkeypatch)
    next(box for box in app.selectbox if box.label == "The bands are").set_value("One by one").run()
    for label, name in (("Band 1", "nir"), ("Band 2", "nir")):
        next(box for box in app.selectbox if box.label == label).set_value(name).run()
    assert any("cannot both be nir" in caption.value for caption in app.caption)
    assert next(button for button in app.button if button.label == "Use these names").disabled
    next(box for box in app.selectbox if box.label == "Band 2").set_value("red").run()
    next(button for button in app.button if button.label == "Use these names").click().run()
    assert get_raster(project, raster.id).info.band_names == ("nir", "red", "band_3")
