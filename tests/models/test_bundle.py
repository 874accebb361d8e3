import json

import pytest
import torch

from errors import BundleError, DiskFullError
from models.architecture import Architecture, SceneArchitecture
from models.bundle import adapt_bands, adapt_outputs, load_bundle, save_bundle
from models.network import SceneNetwork, build_network
from tests.models.cards import SMALL, a_card
from workspace.classes import ClassDef


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_network(SMALL, 3, 2).eval()


def test_a_bundle_comes_back_as_it_went(tmp_path, network):
    x = torch.randn(1, 3, 64, 64)
    saved = save_bundle(tmp_path / "roads", network, a_card())
    bundle = load_bundle(tmp_path / "roads")
    assert torch.equal(bundle.network(x), network(x))
    assert bundle.card == saved
    assert bundle.card.parameters == sum(p.numel() for p in network.parameters())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["roads"]
    assert sorted(p.name for p in (tmp_path / "roads").iterdir()) == ["card.json", "model.safetensors"]


def test_saving_again_replaces(tmp_path, network):
    save_bundle(tmp_path / "roads", network, a_card())
    save_bundle(tmp_path / "roads", network, a_card(title="Other"))
    assert load_bundle(tmp_path / "roads").card.title == "Other"
    assert [p.name for p in tmp_path.iterdir()] == ["roads"]


def test_a_full_disk_leaves_the_old_one(tmp_path, network, monkeypatch):
    save_bundle(tmp_path / "roads", network, a_card())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("models.bundle.write_card", full)
    with pytest.raises(DiskFullError):
        save_bundle(tmp_path / "roads", network, a_card(title="Other"))
    assert load_bundle(tmp_path / "roads").card.title == "Roads"
    assert [p.name for p in tmp_path.iterdir()] == ["roads"]


def test_a_card_of_another_network_is_refused(tmp_path, network):
    with pytest.raises(ValueError, match="outputs"):
        save_bundle(tmp_path / "x", network, a_card(classes=tuple(ClassDef(value=i, name=str(i), colour="#000000") for i in (1, 2))))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "card.json").unlink(), "no card.json"),
        (lambda f: (f / "card.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors"),
        (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-9]), "damaged"),
        (lambda f: change(f, "weights_sha256", ""), None),
        (lambda f: change(f, "surprise", 1), "surprise"),
        (lambda f: change(f, "architecture", Architecture(encoder="resnet10t", decoder_channels=32).model_dump()), "do not fit"),
    ],
)
def test_damage_is_named(tmp_path, network, damage, words):
    save_bundle(tmp_path / "roads", network, a_card())
    damage(tmp_path / "roads")
    if words is None:
        load_bundle(tmp_path / "roads")
        return
    with pytest.raises(BundleError, match=words) as caught:
        load_bundle(tmp_path / "roads")
    assert caught.value.remedy


def test_cut_weights_without_a_checksum_are_still_noticed(tmp_path, network):
    folder = tmp_path / "roads"
    save_bundle(folder, network, a_card())
    change(folder, "weights_sha256", "")
    (folder / "model.safetensors").write_bytes(b"not weights at all, sorry")
    with pytest.raises(BundleError, match="do not fit"):
        load_bundle(folder)


def test_classes_with_the_same_name_keep_their_answers(network):
    x = torch.randn(1, 3, 64, 64)
    before = network(x)
    adapt_outputs(network, ["Paved road"], ["Unpaved road", "PAVED ROAD"])
    after = network(x)
    assert after.shape[1] == network.outputs == 3
    assert torch.allclose(after[:, 0], before[:, 0])
    assert torch.allclose(after[:, 2], before[:, 1])
    assert not torch.allclose(after[:, 1], before[:, 0])


def test_bands_with_the_same_name_keep_their_weights(network):
    weight = network.encoder.conv1[0].weight.detach().clone()
    adapt_bands(network, ["Red", "Green", "Blue"], ["NIR", "red", "Blue"])
    new = network.encoder.conv1[0].weight
    assert torch.equal(new[:, 1], weight[:, 0])
    assert torch.equal(new[:, 2], weight[:, 2])
    assert torch.allclose(new[:, 0], weight.mean(dim=1))
    adapt_bands(network, ["NIR", "red", "Blue"], ["NIR", "red", "Blue", "x"])
    assert network(torch.randn(1, 4, 64, 64)).shape == (1, 2, 64, 64)
    assert network.bands == 4


def change(folder, key, value):
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))


def test_a_model_for_something_else_is_refused(tmp_path):
    card = a_card(architecture=SceneArchitecture(encoder="resnet10t"))
    save_bundle(tmp_path / "scenes", build_network(card.architecture, 3, card.outputs), card)
    with pytest.raises(BundleError, match="scene classification: it cannot be used for this"):
        load_bundle(tmp_path / "scenes")
    assert load_bundle(tmp_path / "scenes", SceneNetwork).network.outputs == 1
