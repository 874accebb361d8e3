"""Models of a project as files, on the Models page under Streamlit's AppTest."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from models.card import read_card
from models.packages.job import EXPORTS_FOLDER, package_jobs, start_import
from tests.models.cards import a_card
from tests.models.packages.conftest import saved
from ui import frame
from workspace.jobs import job_status
from workspace.project import Project, create_project

PAGE = Path(__file__).resolve().parents[2] / "pages" / "find_model.py"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERRATUNE_DATA", str(tmp_path / "data"))
    frame.settings.cache_clear()
    yield create_project(tmp_path / "data" / "projects", "One")
    frame.settings.cache_clear()


def open_page(project: Project) -> AppTest:
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    page.query_params["project"] = project.id
    return page.run()


def finished(project: Project) -> None:
    until = time.monotonic() + 120
    while any(not job_status(folder).ended for folder in package_jobs(project.models_folder)):
        assert time.monotonic() < until
        time.sleep(0.2)


def words(page: AppTest) -> str:
    return " ".join(element.value for kind in (page.markdown, page.caption, page.info, page.error, page.success) for element in kind)


def test_a_model_is_made_a_file_and_its_link_is_shown(project):
    saved(project.models_folder / "roads", a_card())
    page = open_page(project)
    assert not page.exception
    page.selectbox("packages:form").set_value("bundle").run()
    page.button("packages:make").click().run()
    finished(project)
    page.run()
    assert not page.exception
    file = project.models_folder / EXPORTS_FOLDER / "roads.zip"
    assert file.exists()
    assert f"/files/models/{EXPORTS_FOLDER}/roads.zip" in words(page)
    assert package_jobs(project.models_folder) == []


def test_what_cannot_be_made_is_told(project):
    saved(project.models_folder / "roads", a_card())
    page = open_page(project)
    page.selectbox("packages:form").set_value("dlpk").run()
    page.button("packages:make").click().run()
    finished(project)
    page.run()
    assert "ArcGIS builds its own kinds of networks only" in words(page)
    assert "Export it as ONNX" in words(page)
    (dismiss,) = (button for button in page.button if button.label == "Dismiss")
    dismiss.click().run()
    assert package_jobs(project.models_folder) == []


def test_a_package_that_cannot_be_read_says_why(project, tmp_path):
    (tmp_path / "x.dlpk").write_bytes(b"hello")
    start_import(project.models_folder, "x.dlpk", upload=tmp_path / "x.dlpk")
    finished(project)
    page = open_page(project)
    assert not page.exception
    assert "x.dlpk is not a ZIP archive" in words(page)


def test_models_are_compared_renamed_and_deleted(project):
    saved(project.models_folder / "roads", a_card())
    page = open_page(project)
    assert "Bands" in page.table[0].value.index
    page.text_input("packages:title:roads").set_value("Fire roads").run()
    page.button("packages:rename:roads").click().run()
    assert read_card(project.models_folder / "roads").title == "Fire roads"
    page.button("packages:delete:roads").click().run()
    assert not (project.models_folder / "roads").exists()
    assert not page.exception
    assert "None yet" in words(page)


def test_models_of_one_name_are_told_apart(project):
    for name in ("roads", "roads-2"):
        saved(project.models_folder / name, a_card(name=name))
    page = open_page(project)
    box = next(b for b in page.selectbox if b.label == "Model to rename or delete")
    assert sorted(box.options) == ["Roads (roads)", "Roads (roads-2)"]
    box.set_value("Roads (roads)").run()
    page.text_input("packages:title:roads").set_value("Fire roads").run()
    page.button("packages:rename:roads").click().run()
    box = next(b for b in page.selectbox if b.label == "Model to rename or delete")
    assert sorted(box.options) == ["Fire roads", "Roads"] and not page.exception


def test_the_bundled_model_can_be_taken_away_from_a_new_project(project):
    page = open_page(project)
    assert "Paved roads (starter)" in page.selectbox("packages:out").options
    shutil.rmtree(project.models_folder, ignore_errors=True)
    assert not page.run().exception
