"""What a run comes to, from its settings and tiles."""

from __future__ import annotations

import pytest

from tests.training.tile_sets import make_tile_set
from tiles.tile_set import TileSet, save_record
from training import prepare
from training.settings import TrainingSettings
from training.tasks import prepared


@pytest.mark.parametrize("augment", ["default", "custom", "none"])
def test_tiles_of_raw_pictures_are_not_turned(tmp_path, monkeypatch, augment):
    made = make_tile_set(tmp_path / "tiles")
    monkeypatch.setattr(prepare, "prepare_pixels", lambda settings, *_: settings)
    settings = TrainingSettings(tiles=str(made.folder), augment=augment)
    assert prepared(settings, lambda *_: None) == settings
    save_record(TileSet(made.folder, made.record.model_copy(update={"settings": {"reference_system": "pixel_space"}})))
    assert prepared(settings, lambda *_: None) == settings.model_copy(update={"augment_turn": False})
