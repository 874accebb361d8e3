"""A training run from beginning to end: prepare, learn, keep the best epoch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from errors import JobCancelled
from models.freezing import learnable_parameters
from training.checkpoint import FILE as CHECKPOINT
from training.course import Course, Say
from training.group import group_of
from training.inputs import measured_anew, warnings_on
from training.keep import publish
from training.ladder import QUICK
from training.prepare import base_folder
from training.settings import TrainingSettings
from training.tasks import prepared
from training.ticker import Ticker
from workspace.jobs import JobReporter


def fit(folder: Path, settings: TrainingSettings, reporter: JobReporter, say: Say) -> None:
    """Train in a run folder; goes on from checkpoint.pt when there is one of these settings.

    Leaves `model/` (best epoch so far, rewritten whenever it is beaten), `result.json` (scores before and after) and events. Of several processes
    that share the run only the leading one leaves anything.

    Raises:
        TerratuneError: see `prepared` and `group_of`; DiskFullError: what was kept last stays.
        JobCancelled: the user asked to stop; the best epoch so far stays.
    """
    stage = Ticker(reporter).stage
    with group_of(folder, settings) as group:
        group.agree(lambda: base_folder(settings.base, lambda share: stage("Fetching the base model", share)))  # once, for all
        ready = replace(prepared(settings, stage), share=group.share)
        random = torch.Generator().manual_seed(settings.seed)
        learning = sum(p.numel() for p in learnable_parameters(ready.network))
        say(
            f"{len(ready.train)} training tiles, {len(ready.validation)} held out; {learning / 1e6:.2f} M numbers learn. Outputs: {', '.join(ready.class_names)}."
        )
        if group.share.of > 1:
            say(f"Shared by {group.share.of} processes.")
        for note in (*warnings_on(ready.base, ready.tile_set), measured_anew(ready.base, ready.tile_set), ready.note):
            if note:
                say(f"Note: {note}")
        course = Course(folder, ready, random, reporter, say, group)
        try:
            if settings.freeze == QUICK:
                course.fit_at_once()
            else:
                course.learn()
        except JobCancelled:
            publish(folder, settings)
            raise
    if not group.leads:
        return
    reporter.progress("Saving the model", 0.99)
    ready.finish(folder, reporter.stop_if_cancelled)
    publish(folder, settings)
    reporter.progress("Writing the report", 0.99)
    ready.write_report(folder, reporter.stop_if_cancelled)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    say("Done.")
