import pytest
import torch

from errors import BundleError
from models.architecture import Architecture, DetectorArchitecture, OnnxArchitecture, SceneArchitecture
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


def test_an_encoder_that_lacks_a_part_is_refused():
    old, new = build_network(Architecture(encoder=TINY, encoder_levels=3), 3, 2), build_network(SceneArchitecture(encoder=TINY), 3, 2)
    with pytest.raises(BundleError, match="does not fit"):
        take_encoder(new, old, "Roads")


def test_a_finished_graph_has_no_encoder_to_give():
    with pytest.raises(BundleError, match="only be used as it is"):
        encoder_of(a_card(architecture=OnnxArchitecture(size_bytes=1)))
