"""A run shared by several processes, each with a graphics card (or some cores) of its own: Lightning Fabric brings them together.

All prepare the run, learn from their share of every step's tiles and come to the same weights, because the gradients are averaged before each step.
Process 0 leads: it alone scores, tells, keeps and writes. Imported only where a run is shared: Lightning takes seconds.

Gradients are averaged here, in one sum over all processes, and not by DistributedDataParallel: shares may differ in size, and one process may
have to take its share in pieces (`training.memory`) while others need not.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import nn

from errors import TrainingError
from training.group import Group, Share, T
from workspace.files import read_json, write_json
from workspace.jobs import REPOSITORY, RESERVE, JobStatus

LOST = "One of the processes that share this training ended before it was done."
LOST_REMEDY = "The log says more. Press 'Try again', or start the run once more, to go on after the last finished epoch."
LONGEST_WAIT = timedelta(hours=6)
"""Of processes for process 0, while it scores or fetches."""
LOOK_EVERY_S = 0.5
GRACE_S = 5.0
"""For a process to notice by itself that another one is gone, before it is ended."""


class Processes(Group):
    """Several processes, as torchrun's environment variables name them.

    Args:
        device: 'cuda' or 'cpu'.

    Raises:
        TrainingError: the others cannot be reached.
    """

    def __init__(self, device: str) -> None:
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        size, here = int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        self.fabric = Fabric(
            accelerator=device,
            devices=here,
            num_nodes=size // here,
            strategy=DDPStrategy(timeout=LONGEST_WAIT),
            plugins=[TorchElasticEnvironment()],
        )
        with _together():
            self.fabric.launch()
        self.share = Share(self.fabric.global_rank, size)

    def agree(self, make: Callable[[], T]) -> T:
        made = make() if self.leads else None
        with _together():
            return self.fabric.broadcast(made)  # type: ignore[return-value]

    def align(self, network: nn.Module, random: torch.Generator) -> None:
        weights = self.agree(lambda: {name: value.cpu() for name, value in network.state_dict().items()})
        network.load_state_dict(weights)
        random.set_state(self.agree(random.get_state))

    def seed(self, random: torch.Generator) -> None:
        torch.manual_seed(self.share.own(random).initial_seed())

    def average_gradients(self, parameters: Sequence[nn.Parameter], tiles: int, loss: float) -> float:
        there = [0.0 if p.grad is None else 1.0 for p in parameters]
        mine = [torch.zeros_like(p).ravel() if p.grad is None else p.grad.ravel() * tiles for p in parameters]
        summed = self._sum(torch.cat([*mine, torch.tensor([*there, tiles, loss * tiles], device=mine[0].device)]))
        *used, tiles_of_all, loss_of_all = summed[-len(parameters) - 2 :].tolist()
        start = 0
        for parameter, learnt in zip(parameters, used, strict=True):
            if learnt:  # by any
                gradient = summed[start : start + parameter.numel()] / tiles_of_all
                parameter.grad = torch.empty_like(parameter).copy_(gradient.view(parameter.shape))
            start += parameter.numel()
        return loss_of_all / tiles_of_all

    @torch.no_grad()
    def average_statistics(self, network: nn.Module) -> None:
        moved = [b for part in network.modules() if part.training for b in part.buffers(recurse=False) if b.is_floating_point()]
        if not moved:
            return
        mean = self._sum(torch.cat([b.ravel() for b in moved])) / self.share.of
        for buffer, new in zip(moved, mean.split([b.numel() for b in moved]), strict=True):
            buffer.copy_(new.view(buffer.shape))

    def _sum(self, vector: torch.Tensor) -> torch.Tensor:
        with _together():
            summed: Any = self.fabric.all_reduce(vector, reduce_op="sum")
        return summed


@contextlib.contextmanager
def shared_run(folder: Path, device: str, devices: int) -> Iterator[Group]:
    """The group of this process: the one that torchrun has made, else `devices` processes on this computer, of which this one leads.

    Whatever ends within, or one of the others, ends all.

    Args:
        folder: Of the run, seen by all.
        device: 'cuda' or 'cpu'.
        devices: Processes, where nothing has started the others yet.
    """
    if "RANK" in os.environ:
        if os.environ["RANK"] == "0":
            signal.signal(signal.SIGTERM, _lost)  # sent by torchrun where a process is gone
        yield _joined(folder, device)
        torch.distributed.destroy_process_group()
        return
    named = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": str(devices), "LOCAL_WORLD_SIZE": str(devices)}
    named |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    os.environ.update(named)
    command = [sys.executable, "-m", "training.run", str(folder.resolve())]
    others = [
        subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | {"RANK": str(n), "LOCAL_RANK": str(n)}) for n in range(1, devices)
    ]
    done = threading.Event()
    threading.Thread(target=_watch, args=(folder, others, done), daemon=True).start()
    try:
        yield _joined(folder, device)
        torch.distributed.destroy_process_group()
    finally:
        done.set()
        for other in others:
            other.kill()
            other.wait()
        for name in named:
            del os.environ[name]


def _joined(folder: Path, device: str) -> Group:
    group = Processes(device)
    started = group.agree(lambda: _status(folder).started)
    if not group.leads:
        _end_with(folder, started)
    return group


def _watch(folder: Path, others: Sequence[subprocess.Popen[bytes]], done: threading.Event) -> None:
    """Where one of the others has failed, and this process waits for it in vain, say so and end."""
    while not any(other.poll() for other in others):
        if done.wait(LOOK_EVERY_S):
            return
    if done.wait(GRACE_S):
        return
    for other in others:
        other.kill()
    (folder / RESERVE).unlink(missing_ok=True)
    failed = {"state": "failed", "error": LOST, "remedy": LOST_REMEDY, "seconds_left": None, "updated": time.time()}
    write_json(folder / "status.json", _status(folder).model_copy(update=failed).model_dump())
    os._exit(1)


def _end_with(folder: Path, started: float) -> None:
    """End this process where the run that began then has ended, or the process that started this one."""
    parent = os.getppid()

    def watch() -> NoReturn:
        while True:
            time.sleep(LOOK_EVERY_S)
            with contextlib.suppress(OSError, ValueError):
                status = _status(folder)
                if status.started == started and status.ended and status.state != "done":
                    os._exit(1)
            if os.getppid() != parent:
                os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # of torch.distributed: a connection is closed
        raise TrainingError(LOST, LOST_REMEDY) from error


def _lost(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise TrainingError(LOST, LOST_REMEDY)


def _status(folder: Path) -> JobStatus:
    """As process 0 wrote it."""
    return JobStatus.model_validate(read_json(folder / "status.json"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
