"""Which demo project a newcomer gets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from affine import Affine

from demo import project as demo
from demo.project import SCENE_FILE, TITLE, TRUTH_FILE, TRUTH_LINES, demo_project
from errors import DiskFullError
from imagery.grid import Grid
from imagery.library import add_copy
from workspace.project import Project, create_project, list_projects


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo project without the ten seconds of painting."""
    monkeypatch.setattr(demo, "create_demo_project", made)


def made(projects_folder: Path) -> Project:
    number = len(list_projects(projects_folder)) + 1
    project = create_project(projects_folder, f"{TITLE} {number}", demo=True)
    raw = project.folder / ".raw.tif"
    grid = Grid(64, 64, Affine(1, 0, 500_000, 0, -1, 4_000_000), demo.CRS.from_epsg(32611))
    demo.write_scene(raw, np.zeros((3, 64, 64), np.uint8), grid)
    add_copy(project, raw, SCENE_FILE)
    for file in (TRUTH_FILE, TRUTH_LINES):
        (project.folder / file).parent.mkdir(exist_ok=True)
        (project.folder / file).touch()
    return project


def test_pressing_twice_makes_one_project(tmp_path: Path) -> None:
    assert demo_project(tmp_path) == demo_project(tmp_path)
    assert len(list_projects(tmp_path)) == 1


@pytest.mark.parametrize("left", ["labels.journal", "tiles/one", "runs/one", "truth gone"])
def test_a_demo_that_was_worked_in_or_is_not_whole_is_left_alone(tmp_path: Path, left: str) -> None:
    first = demo_project(tmp_path)
    if left == "truth gone":
        (first.folder / TRUTH_FILE).unlink()
    else:
        (first.folder / left).touch()
    assert demo_project(tmp_path) != first


def test_another_project_is_never_taken_for_the_demo(tmp_path: Path) -> None:
    create_project(tmp_path, "Fire roads")
    assert demo_project(tmp_path).file.demo


def test_a_full_disk_leaves_no_half_demo_and_names_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(demo, "demo_scene", lambda: SimpleNamespace(rgb=np.zeros((3, 8, 8), np.uint8), transform=Affine.identity(), epsg=32611))

    def full(path: Path, *_: object) -> None:
        path.write_bytes(b"half")
        raise DiskFullError(f"The disk is full: {path.name} was not written.", "Free some space.")

    monkeypatch.setattr(demo, "write_scene", full)
    with pytest.raises(DiskFullError, match="no room for the demo scene"):
        demo_project(tmp_path)
    assert list(tmp_path.iterdir()) == []
