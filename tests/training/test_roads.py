"""Roads with their directions: targets with known answers, and that a road network learns both."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models.arcgis.roads import RoadNetwork, read_raw_values
from models.architecture import ArcGISArchitecture, Architecture
from models.bundle import load_bundle
from models.freezing import freeze
from models.network import build_network
from models.packages.dlpk import read_arcgis, write_dlpk
from tests.training.tile_sets import CLASSES, UNPAVED, make_base, make_tile_set
from training.compute import choose_compute
from training.dataset import Batch
from training.losses import loss_of
from training.roads import HALF_WIDTH_PX, directions, road_loss
from training.run import run
from training.settings import TrainingSettings
from training.tasks import prepared
from workspace.files import write_json
from workspace.jobs import events

NONE = 18
CPU = choose_compute("cpu")


def road(size=64, rows=slice(28, 36), columns=slice(None)):
    target = np.zeros((size, size), np.uint8)
    target[rows, columns] = 1
    return target


def middle(found):
    """The direction that most of the pixels near the middle of a tile have."""
    part = found[26:38, 26:38]
    return int(np.bincount(part[part != NONE]).argmax())


def test_a_road_to_the_right_has_the_direction_in_the_middle_of_the_circle():
    found = directions(road(), 19)
    assert (found[30:33, 10:50] == 9).all()  # 0 degrees, from -180 on in steps of 20
    assert (found[: 31 - HALF_WIDTH_PX] == NONE).all()
    assert set(np.unique(found[:, 30])) == {9, NONE}
    assert (found[:, 30] != NONE).sum() == pytest.approx(2 * HALF_WIDTH_PX + 1, abs=1)


def test_directions_are_learnt_so_far_from_the_middle_however_wide_the_road_is():
    narrow, wide = (directions(road(rows=slice(32 - half, 32 + half)), 19) for half in (1, 12))
    assert (narrow[:, 32] != NONE).sum() == pytest.approx((wide[:, 32] != NONE).sum(), abs=2)


def test_a_road_has_the_same_direction_from_whichever_end_it_is_traced():
    down = np.zeros((64, 64), np.uint8)
    up = np.zeros((64, 64), np.uint8)
    for i in range(64):
        down[max(i - 3, 0) : i + 4, i] = 1
        up[max(60 - i, 0) : max(67 - i, 0), i] = 1
    assert middle(directions(down, 19)) == 11  # 45 degrees down
    assert middle(directions(up, 19)) == 6  # 45 degrees up
    assert middle(directions(down[::-1].copy(), 19)) == middle(directions(up, 19))
    assert middle(directions(road().T.copy(), 19)) == 13  # straight down


def test_what_is_ignored_has_no_direction_and_nothing_is_no_road():
    target = road()
    target[:, 40:] = 255
    found = directions(target, 19)
    assert (found[:, 40:] == 255).all()
    assert (directions(np.zeros((32, 32), np.uint8), 19) == NONE).all()
    assert (directions(np.full((32, 32), 255, np.uint8), 19) == 255).all()


def network(roads, outputs=2, orientations=19):
    torch.manual_seed(0)
    made = build_network(ArcGISArchitecture(model="MultiTaskRoadExtractor", roads=roads, backbone="resnet18", orientations=orientations), 3, outputs)
    assert isinstance(made, RoadNetwork)
    return made


def batch(rows=50, columns=40):
    target = torch.zeros(2, rows, columns, dtype=torch.int64)
    target[:, 20:28] = 1
    target[0, :4] = 255
    return Batch(torch.randn(2, 3, rows, columns), torch.ones(2, 1, rows, columns, dtype=torch.bool), target)


@pytest.mark.parametrize(("roads", "scales"), [("linknet", 0), ("hourglass", 2)])
def test_both_heads_and_all_scales_are_taught(roads, scales):
    made = network(roads).train()
    said = made.answers(torch.randn(1, 3, 50, 40), frozen=False)
    assert said.road.shape == (1, 2, 50, 40)
    assert said.direction.shape == (1, 19, 50, 40)
    assert [tuple(part.shape) for pair in said.between for part in pair] == [(1, 2, 13, 10), (1, 19, 13, 10)] * scales
    road_loss(made, loss_of("cross_entropy_dice", torch.ones(2)), CPU)(batch(), slice(None)).backward()
    silent = [name for name, p in made.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@pytest.mark.parametrize("roads", ["linknet", "hourglass"])
def test_a_frozen_encoder_gets_no_gradient_and_what_is_predicted_is_what_is_taught(roads):
    made = network(roads)
    freeze(made.encoder)
    made.train()
    road_loss(made, loss_of("cross_entropy_dice", torch.ones(2)), CPU)(batch(), slice(None)).backward()
    assert all(p.grad is None for p in made.encoder.parameters())
    assert all(p.grad is not None for p in made.decoder.parameters())
    made.eval()
    image = torch.randn(1, 3, 50, 40)
    with torch.no_grad():
        torch.testing.assert_close(made(image), made.answers(image, frozen=True).road)


def test_the_loss_is_the_sum_of_roads_and_directions():
    made = network("linknet", outputs=3).eval()
    some = batch()
    roads = loss_of("focal", torch.ones(3))
    with torch.no_grad():
        found = road_loss(made, roads, CPU)(some, slice(None))
        with CPU.mixed():
            said = made.answers(some.image, frozen=True)
        ways = torch.from_numpy(np.stack([directions(one, 19) for one in some.target.numpy()]))
        expected = roads(said.road, some.target) + F.cross_entropy(said.direction, ways, ignore_index=255)
    torch.testing.assert_close(found, expected)


def test_a_batch_of_ignored_pixels_teaches_nothing():
    made = network("hourglass").train()
    blank = batch()
    blank.target.fill_(255)
    assert float(road_loss(made, loss_of("cross_entropy_dice", torch.ones(2)), CPU)(blank, slice(None)).detach()) == 0.0


def test_a_resnet_reads_raw_values_as_it_read_scaled_ones():
    made = network("linknet").eval()
    mean, std = (70.0, 90.0, 110.0), (40.0, 30.0, 50.0)
    image = torch.rand(1, 3, 96, 96) * 255
    with torch.no_grad():
        scaled = made.encoder((image - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None])
        read_raw_values(made, mean, std)
        raw = made.encoder(image)
    torch.testing.assert_close(raw[0][..., 6:-6, 6:-6], scaled[0][..., 6:-6, 6:-6], atol=1e-3, rtol=1e-3)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roads")
    make_tile_set(folder / "tiles", train=12, validation=4, shown=(UNPAVED,), classes=CLASSES[:1], size=32)
    make_base(folder / "resnet", architecture=Architecture(encoder="resnet18", encoder_levels=5, decoder_channels=16))
    return folder


def trained(place, name, **changes):
    chosen = {"tiles": str(place / "tiles"), "base": str(place / "resnet"), "batch_size": 2, "learning_rate": 2e-3, "device": "cpu", "augment": "none"}
    write_json(place / name / "settings.json", TrainingSettings.model_validate(chosen | changes).model_dump())
    assert run(place / name) == 0
    return place / name


def test_stacked_hourglasses_learn_roads_and_directions():
    made, some = network("hourglass").train(), batch(rows=64, columns=64)
    image = torch.where(some.target[:, None] == 1, 200.0, 60.0) + 10 * some.image
    ways = torch.from_numpy(np.stack([directions(one, 19) for one in some.target.numpy()]))
    near = (ways != NONE) & (ways != 255)

    def found():
        with torch.no_grad():
            said = made.answers(image, frozen=True)
        road, true = said.road.argmax(1) == 1, some.target == 1
        return float((road & true).sum() / (road | true).sum()), float((said.direction[:, :-1].argmax(1) == ways)[near].float().mean())

    before, loss = found(), road_loss(made, loss_of("cross_entropy_dice", torch.tensor([1.0, 7.0])), CPU)
    optimiser = torch.optim.AdamW(made.parameters(), lr=1e-3)
    for _ in range(16):
        optimiser.zero_grad()
        loss(Batch(image, some.valid, some.target), slice(None)).backward()
        optimiser.step()
    after = found()
    assert after[0] > 0.6 > 0.3 > before[0]
    assert after[1] > 0.6 > 0.3 > before[1]


def test_a_road_network_learns_roads_and_directions_and_goes_to_arcgis_with_both_heads(tiles):
    folder = trained(tiles, "roads", network="roads_linknet", freeze="nothing", epochs=10)
    facts = events(folder)
    best = max(facts, key=lambda e: e["mean_iou"])
    untrained = learner(folder)
    before, _ = untrained.score(lambda: None)
    assert best["mean_iou"] > 0.6 > 0.3 > before["mean_iou"]
    assert facts[-1]["directions_right"] > 0.6 > 0.3 > before["directions_right"]
    bundle = load_bundle(folder)
    assert set(bundle.card.input.mean) == {0.0}
    assert set(bundle.card.input.std) == {1.0}
    write_dlpk(bundle, folder / "roads.dlpk")
    back, card, _ = read_arcgis(folder / "roads.dlpk")
    assert [c.name for c in card.classes] == ["Unpaved road"]
    image = torch.rand(1, 3, 64, 64) * 255
    with torch.no_grad():
        here, there = (network.eval().answers(image, frozen=True) for network in (bundle.network, back))
    assert torch.equal(here.road, there.road)
    assert torch.equal(here.direction, there.direction)


def test_a_road_model_goes_on_with_its_encoder_frozen(tiles):
    first = trained(tiles, "first", network="roads_linknet", freeze="nothing", epochs=1)
    second = trained(tiles, "second", base=str(first), freeze="backbone", epochs=1)
    before, after = (load_bundle(folder) for folder in (first, second))
    assert after.card.architecture == before.card.architecture
    kept, moved = (dict(b.network.state_dict()) for b in (before, after))
    assert all(torch.equal(kept[name], moved[name]) for name in kept if name.startswith("encoder."))
    assert any(not torch.equal(kept[name], moved[name]) for name in kept if name.startswith("decoder.orientation"))


def learner(folder):
    """The run of a folder, prepared anew."""
    return prepared(TrainingSettings.model_validate_json((folder / "settings.json").read_text()), lambda *_: None)
