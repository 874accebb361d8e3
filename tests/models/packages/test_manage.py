import pytest

from errors import BundleError
from models.card import Score, read_card
from models.packages.manage import compare_cards, delete_model, rename_model
from models.provenance import Provenance
from tests.models.cards import a_card
from tests.models.packages.conftest import saved


def test_a_new_title_leaves_all_else(tmp_path):
    before = read_card(saved(tmp_path / "roads", a_card()))
    assert rename_model(tmp_path / "roads", "  Fire   roads ").title == "Fire roads"
    assert read_card(tmp_path / "roads") == before.model_copy(update={"title": "Fire roads"})
    for bad in (" ", "x" * 121):
        with pytest.raises(BundleError, match="1 to 120"):
            rename_model(tmp_path / "roads", bad)


def test_a_deleted_model_is_gone_and_others_are_not(tmp_path):
    saved(tmp_path / "roads", a_card())
    saved(tmp_path / "tracks", a_card())
    delete_model(tmp_path / "roads")
    assert [path.name for path in tmp_path.iterdir()] == ["tracks"]
    (tmp_path / "photos").mkdir()
    with pytest.raises(BundleError):
        delete_model(tmp_path / "photos")
    assert (tmp_path / "photos").exists()


def test_cards_side_by_side():
    score = Score(on="4 tiles", class_name="Paved road", iou=0.5)
    first = a_card(scores=(score,), provenance=Provenance(seed=3, tile_set_sha256="ab" * 32))
    second = a_card(parameters=2_000_000, created=first.created)
    rows = {row.what: row for row in compare_cards([first, second])}
    assert rows["IoU of Paved road (4 tiles)"].values == ("0.500", "")
    assert rows["Seed"].values == ("3", "")
    assert rows["Checksum of its tiles"].values == ("abababababab", "")
    assert rows["Million numbers"].values == ("", "2.0")
    assert {what for what, row in rows.items() if row.differs} == {
        "IoU of Paved road (4 tiles)",
        "Seed",
        "Checksum of its tiles",
        "Million numbers",
    }
    assert "Licence" not in rows


def test_older_cards_have_no_provenance():
    old = a_card().model_dump(mode="json", by_alias=True)
    del old["provenance"]
    assert type(a_card()).model_validate(old).provenance == Provenance()


