from pathlib import Path

import pytest

from workspace.places import noted_path, place_of


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for part in ("tiles/tracks", "runs/one"):
        (tmp_path / "one" / part).mkdir(parents=True)
    return tmp_path / "one"


def test_what_lies_inside_is_noted_relative_the_rest_as_it_is(project: Path) -> None:
    assert noted_path(project, project / "tiles" / "tracks") == "tiles/tracks"
    assert noted_path(project, project.parent / "elsewhere") == str(project.parent / "elsewhere")


def test_a_copied_project_keeps_its_things(project: Path, tmp_path: Path) -> None:
    noted = noted_path(project, project / "tiles" / "tracks")
    copy = project.rename(tmp_path / "copy")
    assert place_of(copy / "runs" / "one", noted) == copy / "tiles" / "tracks"


def test_what_was_noted_absolute_is_found_in_a_project_that_moved(project: Path, tmp_path: Path) -> None:
    old = project / "tiles" / "tracks"
    assert place_of(project / "runs" / "one", str(old)) == old
    moved = project.rename(tmp_path / "moved")
    assert place_of(moved / "runs" / "one", str(old)) == moved / "tiles" / "tracks"


def test_what_is_nowhere_stays_as_noted(project: Path) -> None:
    assert place_of(project / "runs" / "one", "/gone/tiles/forest") == Path("/gone/tiles/forest")
    assert place_of(project / "runs" / "one", "tiles/forest") == project / "tiles" / "forest"
