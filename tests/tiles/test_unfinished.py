"""What is noted of a half-written set is what is there."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from errors import TileSetError
from tiles.objects import TileObject
from tiles.unfinished import FinishedTile, Progress, UnfinishedSet, WrittenTile, clear_away

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""SHA-256 of nothing."""


def tile(number):
    outline = shapely.Polygon([(0.1, 0.2), (1 / 3, 0), (7, 9.000000001)])
    written = WrittenTile(f"{number:09d}", f"images/{number}", "", {3: "m"}, None, {0: 5, 7: 2}, 4, {7: 1})
    return FinishedTile(written, (TileObject(7, (0.1, 0.0, 7.0, 9.000000001), outline, None, 1 / 7),))


def note(unfinished, count, state):
    """A set of so many empty files."""
    (unfinished.path / "images").mkdir(exist_ok=True)
    for number in range(count):
        (unfinished.path / f"images/{number}").touch()
    unfinished.note(Progress([tile(n) for n in range(count)], {f"images/{n}": EMPTY for n in range(count)}, state))


@pytest.fixture
def left(tmp_path):
    """What a process leaves that is killed after it noted two tiles, and then three."""
    unfinished = UnfinishedSet(tmp_path / "set", "key")
    unfinished.path.mkdir()
    note(unfinished, 2, {"a": np.arange(3)})
    note(unfinished, 3, {"a": np.arange(4), "b": np.array("text")})
    return unfinished.path


def test_it_is_taken_up(tmp_path, left):
    with UnfinishedSet(tmp_path / "set", "key") as unfinished:
        progress = unfinished.taken_up()
        assert [t.written for t in progress.tiles] == [tile(n).written for n in range(3)]
        for found, wanted in zip(progress.tiles, map(tile, range(3)), strict=True):
            (one,), (two,) = found.objects, wanted.objects
            assert (one.value, one.box, one.area) == (two.value, two.box, two.area)
            assert shapely.to_wkb(one.outline) == shapely.to_wkb(two.outline)
        assert list(progress.checksums) == ["images/0", "images/1", "images/2"]
        assert progress.state["a"].tolist() == [0, 1, 2, 3]
        assert str(progress.state["b"]) == "text"
        note(unfinished, 4, {})
        assert len((left / "progress/tiles.jsonl").read_text().splitlines()) == 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "images/1").write_bytes(b"x"),
        lambda folder: (folder / "images/1").unlink(),
        lambda folder: (folder / "progress/tiles.jsonl").write_text("{"),
        lambda folder: (folder / "progress/tiles.jsonl").write_text(""),
        lambda folder: (folder / "progress/checksums.jsonl").unlink(),
        lambda folder: (folder / "progress/state.npz").write_bytes(b"PK\x03\x04"),
    ],
)
def test_what_is_damaged_is_begun_anew(tmp_path, left, damage):
    damage(left)
    with UnfinishedSet(tmp_path / "set", "key") as unfinished:
        assert unfinished.taken_up() is None
        assert [p.name for p in left.iterdir()] == ["lock"]
        note(unfinished, 1, {})
        assert len(unfinished.taken_up().tiles) == 1


def test_lines_after_the_last_state_are_cut_off(tmp_path, left):
    """Killed between the list and the state."""
    with (left / "progress/tiles.jsonl").open("a") as file:
        file.write('{"written":')
    with UnfinishedSet(tmp_path / "set", "key") as unfinished:
        assert len(unfinished.taken_up().tiles) == 3
        assert len((left / "progress/tiles.jsonl").read_text().splitlines()) == 3


def test_only_one_process_makes_a_set(tmp_path):
    with (
        UnfinishedSet(tmp_path / "set", "key"),
        pytest.raises(TileSetError, match="being made at this moment"),
        UnfinishedSet(tmp_path / "set", "key"),
    ):
        pass


def test_leftovers_of_this_set_alone_are_cleared_away(tmp_path, left):
    names = [".set.0123abcd.part", ".set.0123abcd.old", ".set.two.0123abcd.part", ".other.0123abcd.part", "set.0123abcd.part"]
    for name in names:
        (tmp_path / name / "images").mkdir(parents=True)
    with UnfinishedSet(tmp_path / "set", "another key"), UnfinishedSet(tmp_path / "set", "third key"):
        assert not left.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names[1:])
    (tmp_path / "set").mkdir()
    with UnfinishedSet(tmp_path / "set", "key"):
        assert not (tmp_path / ".set.0123abcd.old").exists(), "the set that was to take its place is there"


def test_what_was_left_can_be_cleared_away_but_not_what_is_at_work(tmp_path, left):
    (tmp_path / ".other.0123abcd.part").mkdir()
    (tmp_path / "set").mkdir()
    with UnfinishedSet(tmp_path / "set", "key") as at_work:
        clear_away(tmp_path / "set")
        assert at_work.path.exists()
        (tmp_path / ".set.0123abcd.part").mkdir()
        clear_away(tmp_path / "set")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.0123abcd.part", "set"]
