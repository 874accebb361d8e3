"""The manifest tells what is no longer as it was written."""

from __future__ import annotations

import subprocess

import pytest

from tiles.manifest import MANIFEST_FILE, check_manifest
from tiles.validate import validate_tile_set


def test_an_untouched_set_is_as_it_was(tile_set):
    assert list(check_manifest(tile_set.folder)) == []
    listed = {line[66:] for line in (tile_set.folder / MANIFEST_FILE).read_text().splitlines()}
    assert listed == {p.relative_to(tile_set.folder).as_posix() for p in tile_set.folder.rglob("*/*") if p.is_file()}


def test_the_validator_tells_it(tile_set):
    label = tile_set.folder / tile_set.record.tiles[1].label
    label.write_bytes(label.read_bytes() + b" ")
    assert [(finding.file, finding.harm) for finding in validate_tile_set(tile_set.folder)] == [(tile_set.record.tiles[1].label, "none")]


def test_what_changed_is_named_without_stopping_anybody(tile_set):
    tile = tile_set.record.tiles[1]
    data = (tile_set.folder / tile.label).read_bytes()
    (tile_set.folder / tile.label).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (tile_set.folder / tile.image).unlink()
    (changed,) = check_manifest(tile_set.folder)
    assert (changed.file, changed.found, changed.harm) == (tile.label, "another content", "none")


@pytest.mark.parametrize("text", ["nonsense\n", "\xff", f"{'0' * 64} images/000000000.tif\n"])
def test_a_damaged_manifest_is_told(tile_set, text):
    (tile_set.folder / MANIFEST_FILE).write_bytes(text.encode("latin-1"))
    assert [finding.file for finding in check_manifest(tile_set.folder)] == [MANIFEST_FILE]


def test_sets_without_one_are_left_alone(tile_set):
    (tile_set.folder / MANIFEST_FILE).unlink()
    assert list(check_manifest(tile_set.folder)) == []


def test_other_programs_read_it(tile_set):
    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", MANIFEST_FILE], check=True, cwd=tile_set.folder)
