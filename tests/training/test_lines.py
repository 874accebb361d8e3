"""Roads by length: with answers that are known, and in a run."""

import json

import numpy as np
import pytest

from models.card import ModelInput, read_card
from tests.training.tile_sets import PAVED, UNPAVED, make_base, make_tile_set
from tiles.tile_set import TileSet
from training.dataset import TileData
from training.lines import Lines
from training.run import run
from training.settings import TrainingSettings
from workspace.files import write_json

INPUT = ModelInput(band_names=("red", "green", "blue"), mean=(0, 0, 0), std=(1, 1, 1), tile_size=64)
LOOKUP = np.arange(256, dtype=np.uint8)


@pytest.fixture
def tiles(tmp_path):
    return make_tile_set(tmp_path / "tiles")


def lines_of(tiles: TileSet, **changes):
    made = TileSet(tiles.folder, tiles.record.model_copy(update=changes))
    return Lines(TileData(made, made.validation, INPUT, LOOKUP), 3)


def test_bands_across_a_tile_are_roads_and_need_metres(tiles):
    assert lines_of(tiles).outputs == (PAVED, UNPAVED)
    assert lines_of(tiles, resolution_m=None).outputs == ()
    assert lines_of(tiles, resolution_m=4.0).outputs == ()  # 32 m wide


def test_what_is_found_right_and_hangs_together(tiles):
    lines = lines_of(tiles)
    drawn = lines.data.raw(0)[2]
    there, found, said, right, ways = lines.measured(0, drawn)[0]
    assert there == pytest.approx(32, abs=1)
    assert (found, said, right, ways) == (there, there, there, pytest.approx(1))
    half = drawn.copy()
    half[:, 32:] = 0
    there, found, said, right, ways = lines.measured(0, half)[0]
    assert found / there == pytest.approx(0.5 + 3 / 32, abs=0.1)
    assert right == pytest.approx(said)
    assert ways < 0.7
    there, found, said, right, ways = lines.measured(0, np.zeros_like(drawn))[0]
    assert (found, said, right, ways) == (0, 0, 0, 0)


def test_nothing_counts_where_it_is_ignored(tiles):
    lines = lines_of(tiles)
    drawn = lines.data.raw(0)[2].copy()
    said = np.full_like(drawn, PAVED)
    drawn[:] = 255
    lines.data.raw = lambda tile: (None, None, drawn)
    assert lines.measured(0, said)[0, :4].tolist() == [0, 0, 0, 0]


def test_a_run_says_it_of_the_base_model_and_of_the_new_one(tmp_path):
    make_tile_set(tmp_path / "tiles", train=4, validation=2)
    make_base(tmp_path / "base")
    chosen = {"tiles": str(tmp_path / "tiles"), "base": str(tmp_path / "base"), "epochs": 2, "batch_size": 2, "device": "cpu"}
    write_json(tmp_path / "run" / "settings.json", TrainingSettings.model_validate(chosen).model_dump())
    assert run(tmp_path / "run") == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    numbers = ("completeness", "correctness", "apls", "length_m")
    after = {s["class"]: [s[n] for n in numbers] for s in result["after"]}
    before = {s["class"]: [s[n] for n in numbers] for s in result["before"]}
    assert after["Unpaved road"][3] == pytest.approx(64, abs=2)  # two tiles of 32 m
    assert before["Paved road"][3] == after["Paved road"][3]
    assert all(0 <= value[0] <= 1 for value in (*after.values(), before["Paved road"]))
    assert [s.model_dump(by_alias=True) for s in read_card(tmp_path / "run" / "model").scores] == result["after"]
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "As lines" in report and "64 m" in report
