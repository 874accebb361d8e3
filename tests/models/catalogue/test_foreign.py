import http.server
import json
import threading
from functools import partial

import pytest

from errors import BundleError, DownloadError
from models.catalogue.choices import find_encoder
from models.catalogue.foreign import CatalogueShelf, all_models, open_catalogue
from models.catalogue.published import published_models
from models.catalogue.runs_here import runs_here
from tests.models.catalogue.catalogues import an_item, write_catalogue


@pytest.fixture
def web(tmp_path):
    """An address that serves `tmp_path / "web"`."""
    (tmp_path / "web").mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "web"))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("top", ["catalog.json", ""])
def test_a_folder_is_opened(tmp_path, top):
    folder = write_catalogue(tmp_path / "Their models", [an_item("unet"), an_item("net two", encoder={"encoder": "resnet10t"})], top=top)
    read = open_catalogue(str(folder))
    assert (read.title, read.trusted, read.left_out) == ("Their models", True, ())
    unet, second = sorted(read.models, key=lambda m: m.name, reverse=True)
    assert (unet.name, second.name) == ("their-models.unet", "their-models.net-two")
    assert unet.tasks == ("semantic segmentation",)
    assert unet.bands == ("red", "green", "blue")
    assert (unet.mean, unet.std) == ((100, 100, 100), (50, 50, 50)), "one scaling for all bands"
    assert (unet.resolution_m, unet.licence, unet.classes) == ((10, 10), "CC0-1.0", ("field",))
    assert not runs_here(unet).yes and "U-Net" in runs_here(unet).why
    assert runs_here(second).yes
    assert second.url.endswith("weights.pth") and second.url.startswith(str(folder))


def test_an_address_is_opened_with_what_it_leads_to(tmp_path, web):
    write_catalogue(tmp_path / "web" / "theirs", [an_item("unet")])
    read = open_catalogue(f"{web}/theirs/catalog.json")
    assert [m.name for m in read.models] == ["theirs.unet"]
    assert read.models[0].url == f"{web}/theirs/unet/weights.pth"
    (tmp_path / "web" / "all.json").write_text(json.dumps({"type": "FeatureCollection", "features": [an_item("a"), an_item("b")]}))
    assert [m.name for m in open_catalogue(f"{web}/all.json").models] == ["all.a", "all.b"]
    (tmp_path / "web" / "one.json").write_text(json.dumps(an_item("a")))
    assert [m.name for m in open_catalogue(f"{web}/one.json").models] == ["one.a"]


def test_a_judged_catalogue_is_not_trusted_and_leads_nowhere_else(tmp_path, web):
    folder = write_catalogue(tmp_path / "web" / "theirs", [an_item("unet")])
    judged = []
    read = open_catalogue(f"{web}/theirs/catalog.json", judged.append)
    assert judged == [f"{web}/theirs/catalog.json", f"{web}/theirs/unet/unet.json"]
    assert not read.trusted and not read.models[0].trusted

    def refuse(url):
        raise DownloadError("Not there.", "")

    with pytest.raises(DownloadError, match="Not there"):
        open_catalogue(f"{web}/theirs/catalog.json", refuse)
    top = json.loads((folder / "catalog.json").read_text())
    top["links"] = [{"rel": "item", "href": f"file://{tmp_path}/secret.json"}, {"rel": "item", "href": str(tmp_path / "secret.json")}]
    (folder / "catalog.json").write_text(json.dumps(top))
    with pytest.raises(BundleError, match=r"file of this server|cannot be read"):
        open_catalogue(f"{web}/theirs/catalog.json", judged.append)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{", "not a STAC catalogue"),
        ("[]", "not a STAC catalogue"),
        ('{"type": "Catalog"}', "not a STAC catalogue"),
        ('{"type": "FeatureCollection", "features": [{"type": "Feature", "id": "x"}]}', "not a STAC catalogue|no card"),
        (json.dumps({"type": "FeatureCollection", "features": []}), "no card of a model"),
    ],
)
def test_what_is_no_catalogue_is_explained(tmp_path, body, words):
    (tmp_path / "catalog.json").write_text(body)
    with pytest.raises(BundleError, match=words) as caught:
        open_catalogue(str(tmp_path))
    assert "MLM" in caught.value.remedy


@pytest.mark.parametrize("place", ["/nowhere/at/all", "http://127.0.0.1:9/catalog.json"])
def test_what_is_not_there_is_explained(place):
    with pytest.raises(BundleError, match=r"not there|cannot be reached"):
        open_catalogue(place)


def test_a_card_that_cannot_be_read_is_left_out_and_named(tmp_path):
    broken = an_item("broken")
    broken["properties"]["terratune:encoder"] = {"encoder": "rm -rf"}
    folder = write_catalogue(tmp_path / "theirs", [an_item("good"), broken])
    read = open_catalogue(str(folder))
    assert [m.name for m in read.models] == ["theirs.good"]
    assert "'broken'" in read.left_out[0]


@pytest.mark.parametrize("loader", ["bundle", "sam"])
def test_nothing_of_others_passes_for_ours(tmp_path, loader):
    disguised = an_item("x", href="https://example.org/a/../..%2F..%2Fmy model.pth")
    disguised["properties"]["terratune:loader"] = loader
    card = open_catalogue(str(write_catalogue(tmp_path / "theirs", [disguised], top=""))).models[0]
    assert card.loader == "" and not runs_here(card).yes
    assert card.file == "my-model.pth"


def test_what_was_read_is_kept_and_listed_among_ours(tmp_path):
    store = tmp_path / "data" / "models"
    folder = write_catalogue(tmp_path / "theirs", [an_item("net", encoder={"encoder": "resnet10t"})])
    shelf = CatalogueShelf.beside(store)
    shelf.read(str(folder))
    assert [m.name for m in all_models(store)] == [*(m.name for m in published_models()), "theirs.net"]
    assert find_encoder("theirs.net", store).catalogue == "theirs"
    (shelf.folder / "damaged.json").write_text("{")
    assert [one.title for one in shelf.all()] == ["theirs"]
    shelf.forget(str(folder))
    assert len(all_models(store)) == len(published_models())
