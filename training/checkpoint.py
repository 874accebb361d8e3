"""Where a run stands after an epoch, so that it can go on after a kill as if nothing had happened."""

from __future__ import annotations

import io
import math
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.freezing import is_frozen
from models.network import Network
from workspace.files import replaced_on_success

FILE = "checkpoint.pt"
State = dict[str, Tensor]


@dataclass
class Progress:
    """What a run has reached."""

    epoch: int = 0
    """Finished epochs."""
    best_epoch: int = 0
    best_score: tuple[float, float] = (-math.inf, -math.inf)
    """See `training.monitor.selection`."""
    rung: int = 0
    """Of the ladder (`training.ladder`), from 0."""
    rung_began: int = 0
    """Epochs finished before this rung."""
    pieces: int = 1
    """Into how many a batch is cut: see `training.memory`."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """The facts of every epoch event."""


def learnt_state(network: Network) -> State:
    """Copies of all tensors that training can have changed: a frozen encoder's are left out."""
    kept = {id(v) for v in network.encoder.state_dict(keep_vars=True).values()} if is_frozen(network.encoder) else set()
    return {k: v.detach().cpu().clone() for k, v in network.state_dict(keep_vars=True).items() if id(v) not in kept}


def load_learnt(network: Network, state: State) -> None:
    """Put `learnt_state` back."""
    network.load_state_dict(state, strict=not is_frozen(network.encoder))


def save_checkpoint(
    folder: Path,
    fingerprint: str,
    progress: Progress,
    network: Network,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    random: torch.Generator,
) -> None:
    """Write checkpoint.pt: temporary name, then renamed.

    Raises:
        DiskFullError: the disk filled up; the checkpoint before is as it was.
    """
    buffer = io.BytesIO()
    torch.save(
        {
            "fingerprint": fingerprint,
            "progress": vars(progress),
            "network": learnt_state(network),
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
            "random": random.get_state(),
            "torch_random": torch.get_rng_state(),
        },
        buffer,
    )
    with replaced_on_success(folder / FILE) as temporary:
        temporary.write_bytes(buffer.getvalue())


def read_progress(folder: Path, fingerprint: str) -> Progress:
    """What this very run has reached; a fresh `Progress` when there is no checkpoint of it."""
    saved = _read(folder, fingerprint)
    return Progress() if saved is None else _progress(saved)


def load_checkpoint(
    folder: Path,
    fingerprint: str,
    network: Network,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    random: torch.Generator,
) -> Progress:
    """Put everything back as it was; a fresh `Progress` when there is no checkpoint of this very run."""
    saved = _read(folder, fingerprint)
    if saved is None:
        return Progress()
    load_learnt(network, saved["network"])
    optimiser.load_state_dict(saved["optimiser"])
    schedule.load_state_dict(saved["schedule"])
    random.set_state(saved["random"])
    torch.set_rng_state(saved["torch_random"])
    return _progress(saved)


def _read(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """The checkpoint, where there is one of this very run."""
    try:
        saved: dict[str, Any] = torch.load(folder / FILE, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
        return None
    return saved if saved.get("fingerprint") == fingerprint else None


def _progress(saved: dict[str, Any]) -> Progress:
    progress = Progress(**saved["progress"])
    score, loss = progress.best_score
    progress.best_score = score, loss
    return progress
