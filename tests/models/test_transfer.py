import pytest
import torch

from errors import BundleError
from models.architecture import ArcGISArchitecture, Architecture, DetectorArchitecture, OnnxArchitecture, SceneArchitecture
from models.network import build_network
from models.transfer import encoder_of, take_encoder
from tests.models.cards import a_card

TINY = "resnet10t"


@pytest.mark.parametrize("base", [Architecture(encoder=TINY, encoder_levels=5), Architecture(encoder=TINY, decoder="unet")])
@pytest.mark.parametrize("kind", [SceneArchitecture, DetectorArchitecture])
def test_the_encoder_sees_what_it_saw(base, kind):
    torch.manual_seed(0)
    card = a_card(architecture=base)
    name, levels = encoder_of(card)
    old = build_network(base, 3, 2).eval()
    new = build_network(kind(encoder=name, encoder_levels=levels), 3, 2).eval()
    take_encoder(new, old, card.title)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(list(new.encoder(image))[-1], list(old.encoder(image))[-1])


@pytest.mark.parametrize("base", [Architecture(encoder="resnet18", encoder_levels=5), Architecture(encoder="resnet18", decoder="unet", encoder_levels=5)])
@pytest.mark.parametrize("model", ["UnetClassifier", "DeepLab"])
def test_a_resnet_goes_below_a_network_of_arcgis(base, model):
    torch.manual_seed(0)
    old, new = (build_network(architecture, 4, 2).eval() for architecture in (base, ArcGISArchitecture(model=model, backbone="resnet18")))
    take_encoder(new, old, "Roads")
    image = torch.randn(1, 4, 64, 64)
    with torch.no_grad():
        seen = list(old.encoder(image))
        if model == "UnetClassifier":
            assert all(torch.equal(a, b) for a, b in zip(list(new.encoder(image))[1:], seen[-5:], strict=True))
        else:  # its last stages look further apart: only their weights are alike
            assert torch.equal(new.encoder.body[:6](image), seen[-3])
    last = next(value for name, value in old.encoder.state_dict().items() if name.endswith("layer4.1.conv2.weight"))
    assert torch.equal(new.encoder.state_dict()["body.7.1.conv2.weight"], last)


def test_an_encoder_that_lacks_a_part_is_refused():
    old, new = build_network(Architecture(encoder=TINY, encoder_levels=3), 3, 2), build_network(SceneArchitecture(encoder=TINY), 3, 2)
    with pytest.raises(BundleError, match="does not fit"):
        take_encoder(new, old, "Roads")


def test_a_finished_graph_has_no_encoder_to_give():
    with pytest.raises(BundleError, match="only be used as it is"):
        encoder_of(a_card(architecture=OnnxArchitecture(size_bytes=1)))
