from __future__ import annotations

import errno
from pathlib import Path

import pytest

from errors import DiskFullError
from workspace.files import folder_name, replaced_on_success, write_json


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(RuntimeError), replaced_on_success(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == '{\n  "old": 1\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match="Free some space"), replaced_on_success(tmp_path / "a.tif"):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(("title", "name"), [("Fire roads (2024)", "fire-roads-2024"), ("Straße ü", "strae-u"), ("../..", "untitled")])
def test_folder_names_are_safe(title: str, name: str) -> None:
    assert folder_name(title) == name
