import json

import numpy as np
import pytest
import timm
from affine import Affine
from safetensors.torch import save
from typer.testing import CliRunner

from models.catalogue.__main__ import app
from models.catalogue.fetch import ACCEPTED_FILE
from models.catalogue.foreign import CatalogueShelf
from models.catalogue.published import find_published, published_models
from tests.imagery.rasters import write_raster
from tests.models.catalogue.catalogues import an_item, write_catalogue


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("TERRATUNE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def aerial(tmp_path):
    place = Affine(0.6, 0, 500_000.0, 0, -0.6, 4_000_000.0)
    return write_raster(tmp_path / "A.tif", np.ones((3, 32, 32), np.uint8), transform=place, descriptions=("red", "green", "blue"))


def run(*words, answer=None):
    return CliRunner().invoke(app, list(words), input=answer)


def test_search_lists_all_or_what_is_asked_for(data):
    every = json.loads(run("search", "--json").stdout)
    assert len(every) == len(published_models())
    assert {"name", "licence", "runs_here", "downloaded", "tasks"} <= every[0].keys()
    table = run("search", "landsat", "8-9", "--runs-here").stdout.splitlines()
    assert len(table) == 3 and all("runs here" in line and "CC0-1.0" in line for line in table)
    assert "Ask for less" in run("search", "nothing like it").stderr


def test_search_says_what_to_start_from_for_a_raster(data, aerial, tmp_path):
    found = run("search", "--image", str(aerial), "--task", "roads")
    lines = found.stdout.splitlines()
    assert "red, green, blue; uint8; 0.6 m" in lines[0]
    assert lines[1].split()[:2] == ["suits", "paved-roads-starter"]
    answer = json.loads(run("search", "--image", str(aerial), "--image", str(tmp_path / "none.tif"), "--json").stdout)
    assert answer[0]["models"][0]["name"] == "paved-roads-starter"
    assert answer[0]["models"][0]["fit"] == "suits" and answer[0]["models"][0]["notes"]
    assert answer[1]["problem"] and answer[1]["models"] == []
    assert run("search", "--image", str(tmp_path / "none.tif")).exit_code == 1
    assert run("search", "--task", "cooking").exit_code == 2


def test_fetch_asks_for_the_licence_once(data, tmp_path, monkeypatch):
    folder = write_catalogue(tmp_path / "house", [an_item("tiny", href="tiny.safetensors", encoder={"encoder": "resnet10t"})], top="")
    (folder / "tiny.safetensors").write_bytes(save(timm.create_model("resnet10t").state_dict()))
    CatalogueShelf(data / "catalogues").read(str(folder))
    assert run("fetch", "house.tiny", answer="n\n").exit_code == 1
    assert not (data / "models").exists()
    found = run("fetch", "house.tiny", answer="y\n")
    assert "CC0-1.0" in found.stdout
    assert found.stdout.splitlines()[-1].endswith(str(data / "models" / "house.tiny"))
    assert "house.tiny" in json.loads((data / "models" / ACCEPTED_FILE).read_text())
    assert run("fetch", "house.tiny").stdout.strip() == str(data / "models" / "house.tiny"), "there already: nothing to ask"


def test_fetch_refuses_what_cannot_be_used_here(data):
    found = run("fetch", "sam2.1-hiera-tiny", "--accept-licence")
    assert found.exit_code == 2 and "needs the library sam2" in found.stderr
    assert run("fetch", "no-such-model").exit_code == 2


def test_a_sam_checkpoint_of_the_mirror_folder_is_used_where_it_lies(data, tmp_path, monkeypatch):
    model = find_published("sam-vit-b")
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / model.file).write_bytes(b"")
    monkeypatch.setenv("TERRATUNE_WEIGHTS_MIRROR", str(tmp_path / "mirror"))
    assert run("fetch", "sam-vit-b").stdout.strip() == str(tmp_path / "mirror" / model.file)
