"""Tiles that would teach what is wrong are refused; what leaks into the test is trained on only by who insists, and every score says so."""

import json

import pytest
import typer
from typer.testing import CliRunner

from errors import JobCancelled, SplitError, TileSetFormatError
from models.card import read_card
from tests.training.tile_sets import UNPAVED, make_base, make_tile_set
from tiles.apart import NOT_APART
from tiles.tile_set import TileSet, save_record
from tiles.validate import validate_tile_set
from training.run import main, read_settings
from training.tile_check import require_sound
from workspace.jobs import events


def overlapping(tiles: TileSet) -> TileSet:
    """The validation tiles lie where the first two training tiles lie."""
    moved = [t.model_copy(update={"transform": on.transform}) for t, on in zip(tiles.validation, tiles.train, strict=False)]
    record = tiles.record.model_copy(update={"tiles": (*tiles.train, *moved)})
    save_record(TileSet(tiles.folder, record))
    return TileSet(tiles.folder, record)


def elsewhere(tiles: TileSet) -> TileSet:
    """All of it a hundred kilometres further south."""
    moved = [t.model_copy(update={"transform": (*t.transform[:5], t.transform[5] - 100_000)}) for t in tiles.record.tiles]
    record = tiles.record.model_copy(update={"tiles": tuple(moved)})
    save_record(TileSet(tiles.folder, record))
    return TileSet(tiles.folder, record)


def look(tiles, *, despite_leak=False, tell=lambda share: None):
    return require_sound(tiles, despite_leak=despite_leak, tell=tell)


def test_sound_tiles_are_apart(tmp_path):
    shares = []
    assert look(make_tile_set(tmp_path / "tiles"), tell=shares.append)
    assert shares and shares[-1] == 1.0


def test_what_the_validator_calls_grave_is_refused_in_its_words(tmp_path):
    tiles = make_tile_set(tmp_path / "tiles")
    for tile in tiles.validation:
        (tiles.folder / tile.image).write_bytes(b"x")
    first = validate_tile_set(tiles.folder)[0]
    with pytest.raises(TileSetFormatError) as caught:
        look(tiles, despite_leak=True)
    assert caught.value.fact == f"{first.fact} (1 more like it.)"
    assert caught.value.remedy == first.remedy


def test_what_only_other_programs_stumble_over_is_trained_on(tmp_path):
    tiles = make_tile_set(tmp_path / "tiles")
    (tiles.folder / "map.txt").unlink()
    assert look(tiles)


def test_a_leak_is_refused_unless_the_person_insists(tmp_path):
    tiles = overlapping(make_tile_set(tmp_path / "tiles"))
    with pytest.raises(SplitError, match=r"overlaps or touches images/000000000\.tif") as caught:
        look(tiles)
    assert "--train-despite-leak" in caught.value.remedy
    assert not look(tiles, despite_leak=True)


def test_looking_can_be_stopped(tmp_path):
    def stop(share):
        raise JobCancelled("Stopped.")

    with pytest.raises(JobCancelled):
        look(make_tile_set(tmp_path / "tiles"), tell=stop)


@pytest.mark.parametrize("replay_leaks", [False, True])
def test_every_score_of_who_insists_is_marked(tmp_path, replay_leaks):
    overlapping(make_tile_set(tmp_path / "tiles", drawn=(UNPAVED,)))
    replay = elsewhere(make_tile_set(tmp_path / "replay"))
    if replay_leaks:
        overlapping(replay)
    make_base(tmp_path / "base")
    app = typer.Typer()
    app.command()(main)
    asked = [f"--{what.replace('_', '-')}={tmp_path / what.split('_')[0]}" for what in ("tiles", "base", "replay_tiles")] + ["--epochs=1"]
    refused = CliRunner().invoke(app, [*asked, f"--out={tmp_path / 'run'}"])
    assert refused.exit_code == 1
    assert "expected a validation tile apart from all training tiles" in refused.output

    result = CliRunner().invoke(app, [*asked, f"--out={tmp_path / 'again'}", "--train-despite-leak"])
    assert result.exit_code == 0, result.output
    assert f"held-out tiles ({NOT_APART})" in result.output
    folder = tmp_path / "again"
    assert read_settings(folder).train_despite_leak
    found = json.loads((folder / "result.json").read_text())
    card = read_card(folder / "model")
    ons = {s["on"] for when in ("before", "after") for s in found[when]} | {s.on for s in card.scores}
    assert ons == {f"held-out tiles ({NOT_APART})", "held-out reminder tiles" + (f" ({NOT_APART})" if replay_leaks else "")}
    assert NOT_APART in card.training_data
    assert [e["on"] for e in events(folder)] == [f"held-out tiles ({NOT_APART})"]
