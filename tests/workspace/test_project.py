from __future__ import annotations

import json
from pathlib import Path

import pytest

from errors import DiskFullError, ProjectDamagedError, ProjectExistsError, ProjectNotFoundError, UnknownClassError
from workspace.classes import ClassDef, ClassSchema, starter_schema
from workspace.project import create_project, damaged_projects, list_projects, open_project, rename_project


def test_a_project_is_found_again_by_its_folder(tmp_path: Path) -> None:
    made = create_project(tmp_path, "  Fire roads,  north ")
    assert made.id == "fire-roads-north"
    again = open_project(tmp_path, made.id)
    assert again.name == "Fire roads, north"
    assert again.classes() == starter_schema()


def test_names_are_taken_whatever_their_case_even_when_archived(tmp_path: Path) -> None:
    create_project(tmp_path, "Roads").save(archived=True)
    with pytest.raises(ProjectExistsError, match="already"):
        create_project(tmp_path, "ROADS")
    assert list_projects(tmp_path) == []
    assert [p.name for p in list_projects(tmp_path, archived=True)] == ["Roads"]


def test_two_names_of_one_folder_name_get_two_folders(tmp_path: Path) -> None:
    assert {create_project(tmp_path, "Täler").id, create_project(tmp_path, "Taler").id} == {"taler", "taler-2"}


def test_renaming_keeps_the_folder(tmp_path: Path) -> None:
    project = create_project(tmp_path, "Old")
    rename_project(project, "New name")
    assert (project.id, open_project(tmp_path, "old").name) == ("old", "New name")


@pytest.mark.parametrize("project_id", ["", ".", "..", "../secret", "nothing"])
def test_ids_do_not_leave_the_projects_folder(tmp_path: Path, project_id: str) -> None:
    create_project(tmp_path / "projects", "A")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "project.json").write_text("{}")
    with pytest.raises(ProjectNotFoundError):
        open_project(tmp_path / "projects", project_id)


def test_a_damaged_project_is_told_and_left_alone(tmp_path: Path) -> None:
    project = create_project(tmp_path, "Broken")
    (project.folder / "project.json").write_text('{"name": ')
    assert list_projects(tmp_path) == []
    assert damaged_projects(tmp_path) == ["broken"]
    with pytest.raises(ProjectDamagedError):
        _ = project.file


def test_schema_refuses_doubles_and_names_unknown_values() -> None:
    one = ClassDef(value=1, name="Road", colour="#FF0000")
    assert one.rgb == (255, 0, 0)
    with pytest.raises(ValueError, match="share the name"):
        ClassSchema(classes=(one, ClassDef(value=2, name="road", colour="#00ff00")))
    with pytest.raises(UnknownClassError, match="1 \\(Road\\)"):
        ClassSchema(classes=(one,)).by_value(7)


@pytest.mark.parametrize("name", ["", " ", " \t\n "])
def test_a_class_name_is_never_only_blanks(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        ClassDef(value=1, name=name, colour="#ff0000")
    assert ClassDef(value=1, name="  Fire   road ", colour="#ff0000").name == "Fire road"


def test_arcgis_classes_leave_uncertain_out() -> None:
    assert [c["Value"] for c in starter_schema().to_arcgis()] == [2, 1]


def test_project_files_are_plain_json(tmp_path: Path) -> None:
    project = create_project(tmp_path, "Plain")
    assert json.loads((project.folder / "classes.json").read_text())["classes"][0]["name"] == "Unpaved road"


def test_a_full_disk_leaves_no_half_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, value: object) -> None:
        raise DiskFullError("The disk is full.", "Free some space.")

    monkeypatch.setattr("workspace.project.write_json", full)
    with pytest.raises(DiskFullError):
        create_project(tmp_path, "Roads")
    assert list(tmp_path.iterdir()) == []
