import pytest
import torch

from errors import TrainingError
from models.architecture import ArcGISArchitecture, Architecture, DetectorArchitecture, SceneArchitecture
from tests.training.scenes.makers import make_scenes
from tests.training.tile_sets import UNPAVED, make_base, make_tile_set
from training.dataset import Batch
from training.inputs import check_choices
from training.losses import loss_of
from training.mixup import laid_over, mixed, mixed_loss
from training.run import run
from training.settings import TrainingSettings
from workspace.files import write_json
from workspace.jobs import events, job_status


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_tiles_lie_over_one_another_and_bring_their_labels():
    image = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 2, 8, 8)
    target = torch.arange(4).view(4, 1, 1).expand(4, 8, 8)
    (batch,) = mixed([Batch(image, torch.ones(4, 1, 8, 8, dtype=torch.bool), target)], seeded(1))
    assert 0 < batch.share < 1
    assert torch.equal(batch.target, target)
    assert sorted(batch.other[:, 0, 0].tolist()) == [0, 1, 2, 3]
    assert torch.allclose(batch.image[:, 0], batch.share * target + (1 - batch.share) * batch.other)


def test_shares_differ_and_are_mostly_faint():
    random = seeded()
    shares = torch.tensor([laid_over(torch.zeros(2, 1, 1, 1), random)[2] for _ in range(400)])
    assert shares.mean() == pytest.approx(0.5, abs=0.05)
    assert ((shares < 0.2) | (shares > 0.8)).float().mean() > 0.5


@pytest.mark.parametrize("name", ["cross_entropy", "focal"])
def test_both_labels_count_in_their_shares_and_what_is_ignored_in_neither(name):
    loss = loss_of(name, torch.ones(3))
    logits, target, other = torch.randn(1, 3, 4, 4, generator=seeded()), torch.zeros(1, 4, 4).long(), torch.full((1, 4, 4), 2)
    other[:, :2] = 255
    both = mixed_loss(loss, logits, target, other, 0.75)
    assert float(both) == pytest.approx(0.75 * float(loss(logits, target)) + 0.25 * float(loss(logits[..., 2:, :], other[:, 2:])))
    assert torch.equal(mixed_loss(loss, logits, target, None, 1.0), loss(logits, target))


def test_cross_entropy_of_nothing_is_none():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = loss_of("cross_entropy", torch.ones(3))(logits, torch.full((1, 4, 4), 255))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("loss", ["cross_entropy_dice", "dice", "lovasz", "tversky"])
def test_losses_that_count_overlaps_are_refused(loss):
    with pytest.raises(TrainingError, match="two classes at once"):
        check_choices(TrainingSettings(tiles="x", mixup=True, loss=loss), Architecture())
    check_choices(TrainingSettings(tiles="x", loss=loss), Architecture())


def test_roads_that_lead_somewhere_are_refused_and_where_it_has_no_part_nothing_is():
    asked = TrainingSettings(tiles="x", mixup=True)
    with pytest.raises(TrainingError, match="lead no way"):
        check_choices(asked.model_copy(update={"loss": "focal"}), ArcGISArchitecture(model="ConnectNet"))
    for architecture in (DetectorArchitecture(), SceneArchitecture()):
        check_choices(asked, architecture)
    check_choices(asked.model_copy(update={"loss": "focal"}), Architecture())
    check_choices(asked.model_copy(update={"freeze": "all_but_last_layer"}), Architecture())


@pytest.mark.parametrize("task", ["pixels", "scenes"])
def test_a_run_with_mixup_learns_otherwise_and_leaves_the_tiles_alone(tmp_path, task):
    if task == "pixels":
        make_tile_set(tmp_path / "tiles", drawn=(UNPAVED,))
    else:
        make_scenes(tmp_path / "tiles", train=9, validation=3)
    make_base(tmp_path / "base")
    files = {path: path.read_bytes() for path in (tmp_path / "tiles").rglob("*") if path.is_file()}
    losses = []
    for mixup in (False, True):
        chosen = {"tiles": str(tmp_path / "tiles"), "base": str(tmp_path / "base"), "epochs": 2, "batch_size": 3}
        settings = TrainingSettings.model_validate(chosen | {"loss": "focal", "mixup": mixup})
        write_json(tmp_path / str(mixup) / "settings.json", settings.model_dump())
        assert run(tmp_path / str(mixup)) == 0, job_status(tmp_path / str(mixup)).error
        losses.append([e["loss"] for e in events(tmp_path / str(mixup))])
    assert losses[0] != losses[1]
    assert {path: path.read_bytes() for path in files} == files
