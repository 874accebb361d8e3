import pytest
import torch

from errors import ModelNotFoundError
from models.bundle import save_bundle
from models.card import read_card
from models.catalogue.choices import USUAL, damaged_models, find_encoder, find_model, list_models
from models.catalogue.published import published_models
from models.network import build_network
from tests.models.cards import SMALL, a_card


@pytest.fixture
def mine(tmp_path):
    torch.manual_seed(0)
    save_bundle(tmp_path / "models" / "dirt-roads", build_network(SMALL, 3, 2), a_card(name="dirt-roads", title="Dirt roads"))
    return tmp_path / "models"


def test_the_list_names_trained_models_and_encoders(mine):
    entries = list_models(mine)
    assert [e.title for e in entries if e.origin == "trained"] == ["Dirt roads"]
    encoders = [e for e in entries if e.origin == "encoder"]
    assert {e.name for e in encoders} == {m.name for m in published_models() if m.is_encoder}
    assert len(encoders) > 40
    assert all(e.folder is None for e in encoders)
    sentinel = next(e for e in encoders if e.name == "sentinel2-rgb-resnet18-moco")
    assert (sentinel.card.input.std, sentinel.card.input.resolution_m, sentinel.card.classes) == ((10000,) * 3, 10, ())
    assert [e.name for e in encoders if e.usual] == list(USUAL), "few are offered at once, in this order"


def test_a_damaged_model_is_left_out_and_named(mine):
    (mine / "dirt-roads" / "card.json").write_text("{")
    assert not [e for e in list_models(mine) if e.origin == "trained"]
    assert damaged_models(mine) == ["dirt-roads"]


def test_a_model_is_found_by_name_folder_or_run(mine, tmp_path):
    assert find_model("dirt-roads", mine) == mine / "dirt-roads"
    assert find_model(mine / "dirt-roads") == mine / "dirt-roads"
    run = tmp_path / "runs" / "1"
    run.mkdir(parents=True)
    (mine / "dirt-roads").rename(run / "model")
    assert find_model(str(run)) == run / "model"
    assert read_card(run).title == "Dirt roads"


def test_an_unknown_name_lists_the_known(mine):
    with pytest.raises(ModelNotFoundError, match=r"dirt-roads.*imagenet-resnet18d"):
        find_model("dirty-roads", mine)


def test_an_encoder_must_be_fetched_first():
    with pytest.raises(ModelNotFoundError, match="not been downloaded"):
        find_model("imagenet-resnet18d")


def test_encoders_are_found_by_name():
    assert find_encoder("sentinel2-all-resnet18-moco").bands[:4] == ("coastal", "blue", "green", "red")
    assert find_encoder("sam-vit-b") is None
