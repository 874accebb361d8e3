"""What there is to compare, and what was compared."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from errors import TerratuneError
from inference.settings import SETTINGS_FILE, read_settings
from models.architecture import Task
from models.card import CARD_FILE, ModelCard, read_card
from models.catalogue import list_models
from training.run_folder import read_settings as read_run_settings
from ui.frame import settings
from ui.wording import distinct
from workspace.jobs import job_status
from workspace.project import Project

KEY = "preview_results"
SEEN = f"{KEY}:seen"
"""In the session: west, south, east, north of what the map shows before a comparison."""
NEW = "new"
ALL_AT_ONCE = 6
"""With more rasters than this the map shows one at a time."""
MAPS: tuple[Task, ...] = ("semantic segmentation",)
"""Tasks of the models that make a map of one picture."""
OVER = "over"
"""In the address of the Label page: the comparison whose new map is shown there, to see where it is wrong."""
PLACE = "place"
"""In the address of the Label page: a place of that comparison to begin with, as `inference.differences` names it."""


@dataclass(frozen=True)
class Choice:
    """A model that can be chosen."""

    folder: Path
    card: ModelCard
    base: str = ""
    """What it was fine-tuned from: name or folder; empty when unknown."""
    tiles: str = ""
    """The tile set it learnt from; empty when unknown."""
    bundled: bool = False
    training: bool = False
    """Its training is still at work: this is the best so far."""

    @property
    def label(self) -> str:
        made = dt.datetime.fromisoformat(self.card.created).strftime("%d %b, %H:%M") if not self.bundled else "comes with Terratune"
        return f"{self.card.title} · {'best so far, still training' if self.training else made}"


def trained_models(project: Project, tasks: Collection[Task] = MAPS) -> list[Choice]:
    """Models of this project's training runs that are for one of these tasks, newest first."""
    found = []
    cards = sorted(project.runs_folder.glob(f"*/model/{CARD_FILE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for run in (path.parent.parent for path in cards):
        try:
            card = read_card(run / "model")
            asked = read_run_settings(run)
        except TerratuneError:
            continue
        if card.task not in tasks:
            continue
        training = job_status(run).state == "running"
        found.append(Choice(run / "model", card, asked.base, asked.tiles, training=training))
    return found


def base_models(project: Project, trained: Sequence[Choice], tasks: Collection[Task] = MAPS) -> list[Choice]:
    """Models that know classes already and come with Terratune, or lie in the project's models folder and are no copy of a trained one."""
    copies = {choice.card.weights_sha256 for choice in trained}
    return [
        Choice(e.folder, e.card, bundled=e.origin == "bundled")
        for e in list_models(project.models_folder, settings().data_folder / "models")
        if e.folder is not None
        and e.card is not None
        and e.card.task in tasks
        and (e.origin == "bundled" or (e.origin == "trained" and e.card.weights_sha256 not in copies))
    ]


def comparisons(project: Project) -> list[Path]:
    """Prediction jobs, newest first."""
    found = [path.parent for path in project.predictions_folder.glob(f"*/{SETTINGS_FILE}")]
    return sorted(found, key=lambda job: (job / SETTINGS_FILE).stat().st_mtime, reverse=True)


def comparison_choice(jobs: Sequence[Path]) -> Path | None:
    """The comparison to look at, named in the address; None: a new one."""
    by_id = {job.name: job for job in jobs}
    wanted = st.query_params.get("comparison", "")
    current = wanted if wanted in by_id or wanted == NEW else next(iter(by_id), NEW)
    if not by_id:
        return None
    labels = distinct({job_id: comparison_label(job) for job_id, job in by_id.items()}) | {NEW: "+ New comparison"}
    options = [*by_id, NEW]
    picked = st.selectbox(
        "Comparison",
        options,
        index=options.index(current),
        format_func=labels.__getitem__,
        key=f"{KEY}:comparison:{len(by_id)}:{current}",
        label_visibility="collapsed",
    )
    if picked != current:
        st.query_params["comparison"] = picked
        st.rerun()
    return by_id.get(current)


def comparison_label(job: Path) -> str:
    made = dt.datetime.fromtimestamp((job / SETTINGS_FILE).stat().st_mtime).strftime("%d %b, %H:%M")
    try:
        return f"{read_settings(job).title or job.name} · {made}"
    except TerratuneError:
        return f"{job.name} (cannot be read) · {made}"
