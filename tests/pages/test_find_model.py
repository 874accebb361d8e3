"""The Models page under Streamlit's AppTest: without any project, with imagery, and a download from a server of our own."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from affine import Affine
from safetensors.torch import save
from streamlit.testing.v1 import AppTest

from imagery.library import add_copy
from models.catalogue.fetch import fetch_job, licence_accepted
from models.catalogue.foreign import CatalogueShelf
from models.catalogue.published import find_published, published_models
from tests.imagery.rasters import write_raster
from tests.models.catalogue.catalogues import an_item, write_catalogue
from tests.models.conftest import site
from ui import frame
from workspace.jobs import job_status
from workspace.project import Project, create_project

__all__ = ["site"]
PAGE = Path(__file__).resolve().parents[2] / "pages" / "find_model.py"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERRATUNE_DATA", str(tmp_path / "data"))
    frame.settings.cache_clear()
    yield tmp_path / "data"
    frame.settings.cache_clear()


@pytest.fixture
def project(data: Path, tmp_path: Path) -> Project:
    made = create_project(data / "projects", "One")
    values = np.random.default_rng(0).integers(1, 255, (3, 64, 64)).astype(np.uint8)
    place = Affine(0.6, 0, 500_000.0, 0, -0.6, 4_000_000.0)
    add_copy(made, write_raster(tmp_path / "scene.tif", values, transform=place, descriptions=("red", "green", "blue")), "scene.tif")
    return made


def open_page(**address: str) -> AppTest:
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    for name, value in address.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception, page.exception
    return page


def words_of(page: AppTest) -> str:
    return "\n".join(e.value for e in [*page.markdown, *page.caption, *page.error, *page.info])


def titles(page: AppTest) -> list[str]:
    return [b.label.replace("\\", "").strip("*") for b in page.button if (b.key or "").startswith("models:open:")]


def button(page: AppTest, label: str):
    return next(b for b in page.button if b.label.startswith(label))


def test_a_fresh_workspace_shows_all_cards(data):
    page = open_page()
    assert f"{len(published_models())} models of {len(published_models())}" in words_of(page)
    assert titles(page)[0] == "Paved roads (starter)"
    assert "once a project with imagery is open" in words_of(page)
    before = len(titles(page))
    button(page, "Show more").click().run()
    assert len(titles(page)) > before


def test_filters_narrow_the_list(data):
    page = open_page()
    page.selectbox(key="models:task").select("roads").run()
    assert set(titles(page)) == {m.title for m in published_models() if "roads" in m.tasks}
    page.text_input(key="models:words").set_value("nothing has these words").run()
    assert "No model has all that" in words_of(page)
    page.selectbox(key="models:task").select("").run()
    page.text_input(key="models:words").set_value("landsat 8-9").run()
    page.toggle(key="models:runs").set_value(True).run()
    assert titles(page) and all("Landsat 8-9" in title for title in titles(page))
    page.toggle(key="models:downloaded").set_value(True).run()
    assert titles(page) == []


def test_a_card_says_whether_it_suits(project):
    page = open_page(project=project.id, model="paved-roads-starter")
    assert "**scene.tif:** suits. Pixels of 0.6 m; it is made for 0.6 m." in words_of(page)
    assert titles(page)[0] == "Paved roads (starter)"
    page = open_page(project=project.id, model="landsat-oli-sr-resnet18-moco")
    assert "only by training everything" in words_of(page)
    page = open_page(project=project.id, model="living-atlas-roads-north-america")
    assert "bring it in below" in words_of(page)
    assert "Its page" in [b.label for b in page.get("link_button")]


def test_a_download_asks_for_the_licence_first(data, site, monkeypatch):
    address, files = site
    torch.manual_seed(0)
    files["/tiny.safetensors"] = save(timm.create_model("resnet10t").state_dict())
    monkeypatch.setenv("TERRATUNE_WEIGHTS_MIRROR", address)
    frame.settings.cache_clear()
    folder = data / "elsewhere"
    write_catalogue(folder, [an_item("tiny", href="tiny.safetensors", encoder={"encoder": "resnet10t", "decoder_channels": 16})])
    CatalogueShelf(data / "catalogues").read(str(folder))
    name = "elsewhere.tiny"
    page = open_page(model=name)
    assert button(page, "Download").disabled
    page.checkbox(key=f"models:accept:{name}").check().run()
    assert "CC0-1.0" in page.checkbox[0].label
    button(page, "Download").click().run()
    job = fetch_job(find_published(name, CatalogueShelf(data / "catalogues").all()[0].models), data / "models")
    limit = time.monotonic() + 120
    while not job_status(job).ended and time.monotonic() < limit:
        time.sleep(0.2)
    assert job_status(job).state == "done", (job / "log.txt").read_text()
    page = open_page(model=name)
    assert "It is on this machine" in words_of(page)
    assert licence_accepted(CatalogueShelf(data / "catalogues").all()[0].models[0], data / "models")


def test_a_failed_download_says_why_and_goes_on(data, monkeypatch):
    monkeypatch.setenv("TERRATUNE_WEIGHTS_MIRROR", "http://127.0.0.1:9")
    frame.settings.cache_clear()
    page = open_page(model="imagenet-resnet18d")
    page.checkbox(key="models:accept:imagenet-resnet18d").check().run()
    button(page, "Download (47 MB)").click().run()
    job = fetch_job(find_published("imagenet-resnet18d"), data / "models")
    limit = time.monotonic() + 120
    while not job_status(job).ended and time.monotonic() < limit:
        time.sleep(0.2)
    page = open_page(model="imagenet-resnet18d")
    assert "its server cannot be reached" in words_of(page)
    assert button(page, "Try again")


def test_another_catalogue_is_opened_and_forgotten(data, tmp_path, monkeypatch):
    folder = tmp_path / "open" / "theirs"
    write_catalogue(folder, [an_item("unet", href="https://example.org/unet.pt")])
    page = open_page()
    page.text_input(key="models:place").set_value(str(folder))
    button(page, "Open").click().run()
    assert "No server folder is open" in words_of(page)
    monkeypatch.setenv("TERRATUNE_IMAGERY_ROOTS", str(tmp_path / "open"))
    frame.settings.cache_clear()
    page = open_page()
    page.text_input(key="models:place").set_value(str(folder))
    button(page, "Open").click().run()
    assert f"{len(published_models()) + 1} models" in words_of(page)
    assert "1 model" in words_of(page)
    page.text_input(key="models:place").set_value("http://127.0.0.1:9/catalog.json")
    button(page, "Open").click().run()
    assert "private address" in words_of(page)
    button(page, "Forget").click().run()
    assert CatalogueShelf(data / "catalogues").all() == []


def test_catalogues_of_the_settings_are_read_or_said_to_be_missing(data, tmp_path, monkeypatch):
    write_catalogue(tmp_path / "house", [an_item("unet", href="https://example.org/unet.pt")])
    monkeypatch.setenv("TERRATUNE_CATALOGUES", f"{tmp_path / 'house'}, {tmp_path / 'gone'}")
    frame.settings.cache_clear()
    page = open_page()
    assert f"{len(published_models()) + 1} models" in words_of(page)
    assert "gone cannot be read" in words_of(page).replace("\\", "")
    page.run()
    assert "gone cannot be read" not in words_of(page).replace("\\", ""), "said once"
