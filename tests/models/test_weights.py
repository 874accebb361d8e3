import hashlib

import pytest
import timm
import torch
from safetensors.torch import save

from errors import DownloadError
from models.architecture import Architecture
from models.bundle import load_bundle
from models.catalogue import EncoderChoice, list_models
from models.weights import fetch_encoder

CHOICE = EncoderChoice("imagenet-tiny", "Tiny", "", Architecture(encoder="resnet10t", decoder_channels=16), 1)


def published(monkeypatch, url):
    """Let timm say that resnet10t is published at `url`."""
    config = timm.models.get_pretrained_cfg("resnet10t")
    monkeypatch.setattr("models.weights.get_pretrained_cfg", lambda _: config.__class__(**{**config.__dict__, "url": url}))


def test_an_encoder_is_fetched_once_and_loaded(site, tmp_path, monkeypatch):
    address, files = site
    torch.manual_seed(3)
    source = timm.create_model("resnet10t")
    body = save(source.state_dict())
    url = f"/resnet10t-{hashlib.sha256(body).hexdigest()[:8]}.safetensors"
    files[url] = body
    published(monkeypatch, address + url)
    folder = fetch_encoder(CHOICE, tmp_path)
    bundle = load_bundle(folder)
    assert torch.equal(bundle.network.encoder.state_dict()["layer1.0.conv1.weight"], source.state_dict()["layer1.0.conv1.weight"])
    assert bundle.card.classes == ()
    assert bundle.card.input.mean == pytest.approx((123.675, 116.28, 103.53))
    assert [p.name for p in tmp_path.iterdir()] == ["imagenet-tiny"]
    files.clear()
    assert fetch_encoder(CHOICE, tmp_path) == folder


def test_something_else_under_the_right_name_is_refused(site, tmp_path, monkeypatch):
    address, files = site
    files["/resnet10t.safetensors"] = b"<html>log in first</html>"
    published(monkeypatch, f"{address}/resnet10t.safetensors")
    with pytest.raises(DownloadError, match="does not hold"):
        fetch_encoder(CHOICE, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_fetched_encoder_is_listed_with_its_folder(site, tmp_path, monkeypatch):
    address, files = site
    files["/x.safetensors"] = save(timm.create_model("resnet10t").state_dict())
    published(monkeypatch, f"{address}/x.safetensors")
    monkeypatch.setattr("models.catalogue.ENCODERS", (CHOICE,))
    assert [e.folder for e in list_models(store=tmp_path) if e.origin == "encoder"] == [None]
    fetch_encoder(CHOICE, tmp_path)
    assert [e.folder for e in list_models(store=tmp_path) if e.origin == "encoder"] == [tmp_path / "imagenet-tiny"]
