import torch

from models.bundle import adapt_bands
from models.freezing import freeze
from models.network import build_network
from models.transfer import take_head
from tests.models.arcgis.test_networks import SCENES


def scenes_of(outputs, bands=3):
    torch.manual_seed(0)
    return build_network(SCENES, bands, outputs).eval()


def test_the_largest_of_each_feature_comes_before_its_mean():
    network = scenes_of(2)
    with torch.inference_mode():
        image = torch.randn(2, 3, 96, 64)
        seen, features = network.encode(image), network.encoder(image)
        assert network(image).shape == (2, 2)
    assert torch.equal(seen[:, :512], features.amax(dim=(2, 3)))
    assert torch.allclose(seen[:, 512:], features.mean(dim=(2, 3)))


def test_one_picture_alone_teaches_too():
    network = scenes_of(2)
    freeze(network.encoder)
    network.train()
    network(torch.randn(1, 3, 64, 64)).sum().backward()
    assert network.last.weight.grad is not None
    assert int(network.head.get_submodule("2").num_batches_tracked) == 0


def test_other_classes_keep_what_stands_before_the_last_layer():
    base, new = scenes_of(2), scenes_of(5)
    with torch.no_grad():
        base.head.get_submodule("4").weight.normal_()
        kept = new.last.weight.clone()
    take_head(new, base)
    assert torch.equal(new.head.get_submodule("4").weight, base.head.get_submodule("4").weight)
    assert torch.equal(new.last.weight, kept)


def test_bands_are_found_by_their_names():
    network, image = scenes_of(2), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before = network(image)
        adapt_bands(network, ["Red", "Green", "Blue"], ["Blue", "Red", "Green"])
        assert torch.allclose(network(image[:, [2, 0, 1]]), before, atol=1e-5)
