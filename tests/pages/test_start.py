"""The start page and what an address with a project in it opens, as a person meets them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from errors import DiskFullError
from ui import frame
from workspace.project import create_project

PAGES = Path(__file__).resolve().parents[2] / "pages"


@pytest.fixture
def projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TERRATUNE_DATA", str(tmp_path))
    frame.settings.cache_clear()
    yield tmp_path / "projects"
    frame.settings.cache_clear()


def open_page(name: str, project_id: str | None = None) -> AppTest:
    page = AppTest.from_file(str(PAGES / f"{name}.py"), default_timeout=60)
    if project_id is not None:
        page.query_params["project"] = project_id
    page.run()
    assert not page.exception, page.exception
    return page


@pytest.mark.parametrize("page_name", ["start", "export_tiles"])
def test_a_link_to_an_archived_project_says_so_and_never_opens_another(projects: Path, page_name: str) -> None:
    old = create_project(projects, "Old roads")
    old.save(archived=True)
    create_project(projects, "New roads")
    page = open_page(page_name, old.id)
    assert "'Old roads' is archived" in page.error[0].value
    assert page.query_params["project"] in (old.id, [old.id])


@pytest.mark.parametrize("page_name", ["start", "export_tiles"])
def test_a_link_to_a_project_that_is_not_there_says_so(projects: Path, page_name: str) -> None:
    create_project(projects, "New roads")
    page = open_page(page_name, "../../etc")
    assert "There is no project" in page.error[0].value


def test_without_a_name_in_the_address_the_newest_project_opens(projects: Path) -> None:
    only = create_project(projects, "New roads")
    page = open_page("start")
    assert not page.error
    assert page.query_params["project"] in (only.id, [only.id])


def test_a_taken_name_is_refused_and_stays_in_the_box(projects: Path) -> None:
    create_project(projects, "Roads")
    page = open_page("start")
    page.text_input[0].set_value("ROADS")
    page.button(key="FormSubmitter:new-Create project").click().run()
    assert "already a project called" in page.error[0].value
    assert page.text_input[0].value == "ROADS"


def test_names_are_shown_as_typed(projects: Path) -> None:
    create_project(projects, "A *bold* $x$ [link](http://a)")
    page = open_page("start")
    shown = next(m.value for m in page.markdown if "bold" in m.value)
    assert r"A \*bold\* \$x\$ \[link\](http\://a)" in shown


def test_pages_open_on_a_full_disk(projects: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_project(projects, "Roads")

    def full(path: Path, text: str) -> None:
        raise DiskFullError(f"The disk is full: {path.name} was not written.", "Free some space.")

    monkeypatch.setattr(frame, "write_text", full)
    page = open_page("start")
    assert any("Roads" in m.value for m in page.markdown)


def test_a_project_that_cannot_be_read_does_not_take_the_start_page_with_it(projects: Path) -> None:
    project = create_project(projects, "Roads")
    project.imagery_file.write_text("{")
    page = open_page("start", project.id)
    assert "imagery list of this project cannot be read" in page.error[0].value
    assert page.button(key=f"open:{project.id}")
