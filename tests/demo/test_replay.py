from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demo import replay
from tiles.reader import read_tile


def test_reminder_tiles_show_paved_roads_on_both_sides_and_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "SCENES", 2)
    made = replay.replay_tiles(replay.replay_folder(tmp_path))
    assert made.train and made.validation
    for tile in made.record.tiles:
        label = read_tile(made, tile).label
        assert set(np.unique(label)) <= {0, 1}
        assert label.mean() >= replay.LEAST_ROAD
    written = (made.folder / "terratune.json").stat().st_mtime_ns
    assert replay.replay_tiles(replay.replay_folder(tmp_path)).record == made.record
    assert (made.folder / "terratune.json").stat().st_mtime_ns == written
