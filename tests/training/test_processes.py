"""A run that several processes share, here two on the processor."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from errors import TrainingError
from models.architecture import Architecture
from tests.training.objects.squares import make_squares
from tests.training.scenes.makers import make_scenes
from tests.training.tile_sets import UNPAVED, make_base, make_tile_set
from training.checkpoint import Progress
from training.group import Share, group_of, processes_here
from training.run import run
from training.settings import TrainingSettings
from workspace.files import write_json
from workspace.jobs import REPOSITORY, cancel_job, events, job_status, start_job


def a_run(place, folder, /, **changes):
    chosen = {"tiles": str(place / "tiles"), "base": str(place / "base"), "epochs": 3, "batch_size": 4, "device": "cpu"}
    write_json(place / folder / "settings.json", TrainingSettings.model_validate(chosen | changes).model_dump())
    return place / folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """tiles/ and base/, for a class for each pixel. Two processes share the two cores."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    make_tile_set(tmp_path / "tiles", train=8, drawn=(UNPAVED,))
    make_base(tmp_path / "base")
    return tmp_path


def wait_for(what, seconds=180.0):
    limit = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < limit, "waited too long"
        time.sleep(0.05)


def ended(folder):
    wait_for(lambda: job_status(folder).ended)
    return job_status(folder)


def helpers(folder):
    """Process ids of those that take part in the run and do not lead it."""
    leader = json.loads((folder / "process.json").read_text())["pid"]
    found = subprocess.run(["pgrep", "-f", f"training.run {folder.resolve()}$"], capture_output=True, text=True).stdout.split()
    return [int(pid) for pid in found if int(pid) != leader]


def learnt(folder):
    return [(e["epoch"], e["loss"], e["validation_loss"]) for e in events(folder)]


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def pixels(place):
    return {"freeze": "nothing", "augment": "none"}


def objects(place):
    make_squares(place / "squares", train=8, validation=2)
    make_base(place / "encoder", classes=(), architecture=Architecture(encoder="resnet10t", decoder_channels=16))
    return {"tiles": str(place / "squares"), "base": str(place / "encoder"), "network": "retinanet", "augment": "none", "epochs": 2}


def scenes(place):
    make_scenes(place / "scenes", train=12, validation=6)
    return {"tiles": str(place / "scenes"), "learning_rate": 0.01, "augment": "none"}


@pytest.mark.parametrize("task", [pixels, objects, scenes])
def test_two_processes_learn_what_one_learns_from_batches_in_two_pieces(place, monkeypatch, task):
    changes = task(place)
    together = a_run(place, "together", **changes, devices=2)
    start_job(together, "training.run")
    alone = a_run(place, "alone", **changes)
    monkeypatch.setattr("training.course.read_progress", lambda *_: Progress(pieces=2))
    assert run(alone) == 0
    assert ended(together).state == "done", job_status(together).error
    assert "Shared by 2 processes" in (together / "log.txt").read_text()
    assert [e["epoch"] for e in events(together)] == [e["epoch"] for e in events(alone)]
    assert [e["loss"] for e in events(together)] == pytest.approx([e["loss"] for e in events(alone)], rel=1e-3)
    assert not (together / "checkpoint.pt").exists()
    one, two = weights(alone), weights(together)
    moved = [name for name in one if name.endswith(("weight", "bias"))]
    apart = torch.cat([(one[name] - two[name]).abs().flatten() for name in moved])
    assert apart.mean() < 1e-5 and apart.quantile(0.99) < 1e-4  # Adam moves a weight by the whole rate whichever way a gradient of next to nothing points


def test_a_process_that_is_killed_ends_all_and_the_run_goes_on_as_if_it_had_not_been(place):
    whole, cut = (a_run(place, name, devices=2, epochs=30, stop_early_after=0) for name in ("whole", "cut"))
    start_job(cut, "training.run")
    wait_for(lambda: len(events(cut)) >= 2)
    (helper,) = helpers(cut)
    os.kill(helper, signal.SIGKILL)
    status = ended(cut)
    assert status.state == "failed"
    assert "One of the processes that share this training ended" in status.error
    assert "go on after the last finished epoch" in status.remedy
    wait_for(lambda: not helpers(cut))
    reached = len(events(cut))
    assert reached < 30
    start_job(cut, "training.run")
    start_job(whole, "training.run")
    assert (ended(cut).state, ended(whole).state) == ("done", "done")
    assert f"Going on after epoch {reached}" in (cut / "log.txt").read_text()
    assert learnt(cut) == learnt(whole)
    one, two = weights(whole), weights(cut)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_cancel_and_a_killed_leader_end_all(place):
    folder = a_run(place, "run", devices=2, epochs=900, stop_early_after=0)
    start_job(folder, "training.run")
    wait_for(lambda: len(events(folder)) >= 1)
    os.kill(json.loads((folder / "process.json").read_text())["pid"], signal.SIGKILL)
    assert ended(folder).state == "interrupted"
    wait_for(lambda: not helpers(folder), 20)
    reached = len(events(folder))
    start_job(folder, "training.run")
    wait_for(lambda: len(events(folder)) > reached)
    cancel_job(folder)
    assert ended(folder).state == "cancelled"
    wait_for(lambda: not helpers(folder), 20)


def test_torchrun_on_two_nodes_comes_to_the_same(place):
    here, there = a_run(place, "here", devices=2), a_run(place, "there")
    start_job(here, "training.run")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={port}"]
    nodes = [
        subprocess.Popen([*torchrun, f"--node-rank={n}", "-m", "training.run", str(there)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    told = [node.communicate(timeout=300)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0]
    assert "epoch 3/3" in told[0] and told[1] == ""
    assert job_status(there).state == "done"
    assert ended(here).state == "done"
    assert learnt(there) == learnt(here)


def test_what_cannot_be_shared_is_refused(place, monkeypatch):
    folder = a_run(place, "run", devices=5)
    assert run(folder) == 1
    assert "cannot be shared by 5" in job_status(folder).error
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    settings = TrainingSettings(tiles="x", devices="auto")
    assert processes_here(settings, "cuda") == 2
    assert processes_here(settings, "cpu") == 1
    with pytest.raises(TrainingError, match="2 graphics cards"):
        processes_here(settings.model_copy(update={"devices": 3}), "cuda")


def test_a_quick_training_is_not_shared(place):
    settings = TrainingSettings(tiles="x", devices=2, freeze="all_but_last_layer")
    with group_of(place, settings) as group:
        assert group.share == Share()


@pytest.mark.parametrize(("tiles", "of"), [(8, 2), (7, 2), (3, 2), (1, 2), (5, 3), (2, 4)])
def test_shares_are_even_and_none_is_empty(tiles, of):
    shares = [Share(rank, of) for rank in range(of)]
    parts = [share.part(list(range(tiles))) for share in shares]
    assert [tile for part in parts for tile in part] == list(range(tiles))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert all(share.some(list(range(tiles))) for share in shares)
    assert {tile for share in shares for tile in share.some(list(range(tiles)))} == set(range(tiles))


def test_each_process_draws_numbers_of_its_own_and_all_go_on_alike():
    randoms = [torch.Generator().manual_seed(3) for _ in range(2)]
    own = [Share(rank, 2).own(random) for rank, random in enumerate(randoms)]
    assert torch.rand((), generator=own[0]) != torch.rand((), generator=own[1])
    assert torch.equal(randoms[0].get_state(), torch.Generator().manual_seed(3).get_state())
    assert Share().own(randoms[0]) is randoms[0]
