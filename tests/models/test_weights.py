import hashlib
import pickle

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save

from errors import DownloadError, ModelNotFoundError
from models.architecture import Architecture
from models.bundle import load_bundle
from models.catalogue.choices import list_models
from models.catalogue.published import PublishedModel
from models.weights import fetch_encoder
from tests.models.conftest import asked_for

RGB = ("red", "green", "blue")


def a_model(url, loader="timm", encoder="resnet10t", bands=RGB, **changes):
    facts = {
        "name": "tiny",
        "title": "Tiny",
        "tasks": ("embedding",),
        "bands": bands,
        "dtype": "uint8",
        "mean": (10.0,) * len(bands),
        "std": (20.0,) * len(bands),
        "loader": loader,
        "encoder": Architecture(encoder=encoder, decoder_channels=16),
        "url": url,
        "file": url.rsplit("/", 1)[-1],
        "licence": "CC0-1.0",
        "training_data": "Noise",
    }
    return PublishedModel(**facts | changes)


def as_torch(state, path):
    torch.save(state, path)
    return path.read_bytes()


def test_an_encoder_is_fetched_once_and_loaded(site, tmp_path):
    address, files = site
    torch.manual_seed(3)
    source = timm.create_model("resnet10t")
    files["/tiny.safetensors"] = save(source.state_dict())
    model = a_model(f"{address}/tiny.safetensors", sha256=hashlib.sha256(files["/tiny.safetensors"]).hexdigest()[:8])
    folder = fetch_encoder(model, tmp_path)
    bundle = load_bundle(folder)
    assert torch.equal(bundle.network.encoder.state_dict()["layer1.0.conv1.weight"], source.state_dict()["layer1.0.conv1.weight"])
    card = bundle.card
    assert (card.classes, card.input.mean, card.licence, card.made_by) == ((), (10.0, 10.0, 10.0), "CC0-1.0", model.url)
    assert "Noise" in card.training_data
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]
    files.clear()
    assert fetch_encoder(model, tmp_path) == folder
    assert len(asked_for) == 1


@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_of_torchgeo_go_into_the_network_of_timm(site, tmp_path, wrapped):
    """Its files hold timm's names for as many bands as the sensor has, without a classifier, or with one that nobody needs."""
    address, files = site
    torch.manual_seed(4)
    source = timm.create_model("resnet18", in_chans=13).state_dict()
    files["/s2.pth"] = as_torch({"state_dict": source} if wrapped else source, tmp_path / "made.pth")
    bands = tuple(f"B{i:02}" for i in range(1, 14))
    network = load_bundle(fetch_encoder(a_model(f"{address}/s2.pth", "torchgeo", "resnet18", bands), tmp_path / "store")).network
    assert network.bands == 13
    assert torch.equal(network.encoder.state_dict()["conv1.weight"], source["conv1.weight"])
    assert torch.equal(network.encoder.state_dict()["layer3.1.bn2.running_var"], source["layer3.1.bn2.running_var"])


def test_the_encoder_inside_a_network_of_torchvision(site, tmp_path):
    address, files = site
    torch.manual_seed(5)
    source = torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None).state_dict()
    files["/fcn.pth"] = as_torch(source, tmp_path / "made.pth")
    network = load_bundle(fetch_encoder(a_model(f"{address}/fcn.pth", "torchvision-backbone", "resnet50"), tmp_path / "store")).network
    assert torch.equal(network.encoder.state_dict()["layer2.3.conv2.weight"], source["backbone.layer2.3.conv2.weight"])


class Harmful:
    def __reduce__(self):
        import os

        return os.system, ("touch canary",)


def wrong_shapes():
    return timm.create_model("resnet18", in_chans=4).state_dict()


def one_missing():
    return {k: v for k, v in timm.create_model("resnet18").state_dict().items() if k != "layer1.0.conv1.weight"}


@pytest.mark.parametrize("loader", ["timm", "torchgeo"])
@pytest.mark.parametrize(
    "made",
    [lambda: b"<html>log in first</html>", lambda: pickle.dumps(Harmful(), protocol=2), wrong_shapes, one_missing, lambda: {}],
    ids=["a web page", "a pickle with code", "other bands", "a weight missing", "nothing"],
)
def test_something_else_under_the_right_name_is_refused(site, tmp_path, monkeypatch, loader, made):
    monkeypatch.chdir(tmp_path)
    address, files = site
    body = made()
    files["/net.pth"] = body if isinstance(body, bytes) else as_torch(body, tmp_path / "made.pth")
    store = tmp_path / "store"
    with pytest.raises(DownloadError, match="does not hold"):
        fetch_encoder(a_model(f"{address}/net.pth", loader, "resnet18"), store)
    assert list(store.iterdir()) == []
    assert not (tmp_path / "canary").exists()


def test_what_is_no_encoder_is_refused(tmp_path):
    with pytest.raises(ModelNotFoundError, match="no encoder"):
        fetch_encoder(a_model("http://127.0.0.1:9/x.pth", mean=(), std=()), tmp_path)


def test_a_fetched_encoder_is_listed_with_its_folder(site, tmp_path, monkeypatch):
    address, files = site
    files["/x.safetensors"] = save(timm.create_model("resnet10t").state_dict())
    model = a_model(f"{address}/x.safetensors")
    monkeypatch.setattr("models.catalogue.choices.all_models", lambda store: [model])
    assert [e.folder for e in list_models(store=tmp_path) if e.origin == "encoder"] == [None]
    fetch_encoder(model, tmp_path)
    assert [e.folder for e in list_models(store=tmp_path) if e.origin == "encoder"] == [tmp_path / "tiny"]
