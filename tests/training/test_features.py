"""What a frozen encoder says of tiles is asked once and kept."""

import errno

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from errors import DiskFullError
from models.bundle import load_bundle
from models.freezing import freeze
from models.network import SegmentationNetwork
from tests.training.tile_sets import PAVED, UNPAVED, make_base, make_tile_set
from training.augment import Strengths
from training.compute import Compute
from training.dataset import TileData
from training.features import LOOKING, LOOKS, Features, Window, seen_batches
from training.run import run
from training.settings import TrainingSettings
from workspace.array_store import ArrayStore
from workspace.files import write_json
from workspace.jobs import JobReporter, cancel_job, events, job_status

PLAIN = Compute(torch.device("cpu"), None)


@pytest.fixture
def place(tmp_path):
    """tiles/ (only unpaved drawn) and base/ (knows paved, badly)."""
    make_tile_set(tmp_path / "tiles", drawn=(UNPAVED,))
    make_base(tmp_path / "base")
    return tmp_path


def a_run(place, folder="run", /, **changes):
    chosen = {"tiles": str(place / "tiles"), "base": str(place / "base"), "freeze": "features", "epochs": 2, "batch_size": 3, "device": "cpu"}
    write_json(place / folder / "settings.json", TrainingSettings.model_validate(chosen | changes).model_dump())
    return place / folder


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def tile_data(place, compute=PLAIN, **made):
    """Tiles to learn from, and features over them that nothing is kept of yet."""
    tile_set = make_tile_set(place / "some", **made)
    bundle = load_bundle(make_base(place / "some-base"))
    lookup = np.arange(256, dtype=np.uint8)
    data = TileData(tile_set, tile_set.train, bundle.card.input, lookup)
    freeze(bundle.network.encoder)
    bundle.network.eval()
    return data, Features(bundle.network, bundle.card.input, compute, ArrayStore(place / "kept", 10**9), Strengths())


@pytest.fixture
def asked(monkeypatch):
    """How many tiles an encoder was shown, in all networks."""
    count = [0]
    encode = SegmentationNetwork.encode

    def counted(self, image):
        count[0] += len(image)
        return encode(self, image)

    monkeypatch.setattr(SegmentationNetwork, "encode", counted)
    return count


@pytest.mark.parametrize("half", [None, torch.bfloat16])
def test_a_decoder_gets_what_the_encoder_says(place, half):
    data, features = tile_data(place, Compute(torch.device("cpu"), half))
    batch = data.batch([0, 3])
    with torch.no_grad():
        direct = features.network(batch.image)
        for _ in range(2):  # looked at, then kept
            with features.compute.mixed():
                kept = features.network.decode(*features.whole(data, [0, 3]))
            assert kept.shape == direct.shape
            assert torch.allclose(kept, direct, atol=0.05 * float(direct.std()) if half is None else 0.5 * float(direct.std()))
    assert features.looked == 2


def test_sides_that_the_stride_does_not_divide(place):
    data, features = tile_data(place, size=60, rows=44)
    levels, size = features.whole(data, [0])
    assert size == (44, 60)
    assert features.network.decode(levels, size).shape == (1, 2, 44, 60)
    assert features.batch([(data, 0, 0, features.padded(data))]).target[0, 44:].unique().tolist() == [255]


def test_squares_show_what_their_labels_say(place):
    """An encoder that hands the picture on: pixels and labels of a square agree in every way that a tile is looked at."""
    data, features = tile_data(place)
    features.network.encoder = torch.nn.Sequential()
    features.network.encode = lambda image: [image]
    features.strengths, features.ways = Strengths(contrast=0, brightness=0, saturation=0), 8
    random = torch.Generator().manual_seed(0)
    found = set()
    for seen in seen_batches(features, [((0, 1, 2), ())] * 20, data, None, 40, random):
        assert seen.size == (40, 40) and seen.levels[0].shape[-2:] == (40, 40)
        bright = seen.levels[0].mean(dim=1) > 0.8  # roads
        counted = seen.target != 255
        assert ((seen.target > 0) == bright)[counted].float().mean() > 0.99
        found |= {target.numpy().tobytes() for target in seen.target}
    assert len(found) > 8, "turned, and from many places"


def test_a_window_is_the_same_part_of_every_level(place):
    data, features = tile_data(place)
    whole, part = features.padded(data), Window(16, 32, 32, 16)
    every, some = (features.batch([(data, 1, 5, window)]) for window in (whole, part))
    assert some.target.tolist() == every.target[:, 16:48, 32:48].tolist()
    for all_of, of_part in zip(every.levels, some.levels, strict=True):
        stride = 64 // all_of.shape[-1]
        assert torch.equal(of_part, all_of[..., 16 // stride : 48 // stride, 32 // stride : 48 // stride])


def test_a_run_asks_once_for_each_tile_and_the_next_one_not_at_all(place, asked, capsys):
    assert run(a_run(place)) == 0
    looks = 6 * 8 + 2
    assert asked == [looks]
    assert f"looks once at each of 8 tiles, in 8 ways where it learns; {looks} of {looks} looks were new" in capsys.readouterr().out
    assert run(a_run(place, "again", epochs=4, learning_rate=1e-3)) == 0
    assert asked == [looks]


def test_five_more_tiles_cost_five_looks(place, asked):
    assert run(a_run(place, augment="none")) == 0
    assert asked == [8]
    make_tile_set(place / "more", drawn=(UNPAVED,), train=11, validation=2)
    assert run(a_run(place, "more-run", tiles=str(place / "more"), augment="none")) == 0
    assert asked == [13]


def test_other_labels_and_classes_cost_no_look(place, asked):
    assert run(a_run(place, augment="none")) == 0
    make_tile_set(place / "both", drawn=(PAVED, UNPAVED))
    assert run(a_run(place, "both-run", tiles=str(place / "both"), augment="none", keep_old_classes=False)) == 0
    assert asked == [8]


def test_another_brightness_is_looked_at_anew(place):
    data, features = tile_data(place)
    darker = data.input.model_copy(update={"mean": (60.0, 70.0, 70.0)})
    other = Features(features.network, darker, PLAIN, features.store, features.strengths)
    assert features.key(data, 0, 0) != other.key(data, 0, 0)
    assert len({features.key(data, i, way) for i in range(3) for way in range(8)}) == 24


def test_many_tiles_are_looked_at_in_one_way(place, asked):
    make_tile_set(place / "many", drawn=(UNPAVED,), train=LOOKS // 2 + 1, validation=1, size=32)
    assert run(a_run(place, tiles=str(place / "many"), epochs=1)) == 0
    assert asked == [LOOKS // 2 + 2]


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"mixup": True, "loss": "cross_entropy"}, "mixup"),
        ({"augment": "custom", "augment_zoom": 1.0}, "ways of your own"),
    ],
)
def test_the_log_says_why_every_epoch_looks_anew(place, asked, changes, because, capsys):
    assert run(a_run(place, **changes)) == 0
    assert asked[0] > 2 * 8
    assert because in capsys.readouterr().out
    assert not (place / "data" / "features").exists()


def test_turning_alone_is_no_reason_to_look_anew(place, capsys):
    only_turned = {"augment_zoom": 1.0, "augment_contrast": 0.0, "augment_brightness": 0.0, "augment_saturation": 0.0}
    assert run(a_run(place, augment="custom", **only_turned)) == 0
    assert "in 8 ways" in capsys.readouterr().out


def test_what_may_be_kept_bounds_the_ways_and_then_whether_at_all(place, monkeypatch, capsys):
    data, features = tile_data(place)
    for limit, ways in ((10**9, 8), (28 * 10**5, 2)):
        features.store = ArrayStore(place / "kept", limit)
        assert min(8, features.room(data) // len(data)) == ways
    monkeypatch.setenv("TERRATUNE_FEATURES_MB", "0")
    assert run(a_run(place)) == 0
    assert "TERRATUNE_FEATURES_MB" in capsys.readouterr().out


def test_a_full_disk_changes_nothing_but_the_time(place, monkeypatch, capsys):
    assert run(a_run(place)) == 0
    put = ArrayStore.put
    kept = []

    def runs_full(self, key, arrays):
        if len(kept) == 5:
            raise DiskFullError("The disk is full.", "Free some space.") from OSError(errno.ENOSPC, "No space left")
        put(self, key, arrays)
        kept.append(self.path(key))

    monkeypatch.setattr(ArrayStore, "put", runs_full)
    monkeypatch.setenv("TERRATUNE_DATA", str(place / "small-disk"))
    capsys.readouterr()
    assert run(a_run(place, "full")) == 0
    assert "The disk has no room" in capsys.readouterr().out
    assert len(kept) == 5 and not any(path.exists() for path in kept), "there is room for the model"
    one, other = weights(place / "run"), weights(place / "full")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_stops_while_it_looks(place, monkeypatch, asked):
    folder = a_run(place)
    progress = JobReporter.progress

    def told(self, stage, fraction, seconds_left=None):
        progress(self, stage, fraction, seconds_left)
        if stage == LOOKING:
            cancel_job(folder)

    monkeypatch.setattr(JobReporter, "progress", told)
    assert run(folder) == 3
    assert job_status(folder).state == "cancelled"
    assert asked[0] <= 2
    assert not events(folder)
