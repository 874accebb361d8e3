"""Which labels are cut: those of the project, or rasters of class values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

from errors import TerratuneError
from imagery.library import Raster, raster_source
from inference.report import REPORT_FILE, read_report
from ui.wording import distinct_names
from workspace.classes import ClassSchema
from workspace.project import Project

OWN = "The labels of this project"


@dataclass(frozen=True)
class LabelRasters:
    """Rasters of class values that labels may come from."""

    name: str
    paths: tuple[Path, ...]
    classes: ClassSchema
    """What their values mean, where they do not say it themselves."""


def label_rasters(project: Project, rasters: Sequence[Raster]) -> list[LabelRasters]:
    """What there is: maps that a model made, newest first, and images of class values."""
    return [*_maps(project), *_classified(project, rasters)]


def labels_from(offered: Sequence[LabelRasters], key: str) -> LabelRasters | None:
    """Ask where the labels come from; None: from the project."""
    picked = st.selectbox(
        "Labels from",
        range(-1, len(offered)),
        format_func=lambda place: OWN if place < 0 else offered[place].name,
        help="Instead of what is drawn here: a map that a model made, or a raster of class values among the imagery. Each of its pixels counts as "
        "labelled: 0 is background. Only 255, and places without data, are not learnt from.",
        key=f"{key}:{len(offered)}",
    )
    return None if picked < 0 else offered[picked]


def _maps(project: Project) -> list[LabelRasters]:
    """The new maps of each comparison."""
    found = []
    for job in project.made("predictions", REPORT_FILE):
        try:
            report = read_report(job)
        except TerratuneError:
            continue
        paths = tuple(path for raster in report.rasters if (path := job / raster.id / "after.tif").is_file())
        if paths:
            found.append(LabelRasters(f"Map: {report.title or job.name}", paths, ClassSchema(classes=report.classes)))
    return found


def _classified(project: Project, rasters: Sequence[Raster]) -> list[LabelRasters]:
    """Files of the imagery list with one band of whole numbers."""
    able = [r for r in rasters if r.info.count == 1 and np.dtype(r.info.dtype).kind in "iu" and r.kind != "url"]
    named = zip(able, distinct_names(able), strict=True)
    return [LabelRasters(f"Image: {name}", (Path(raster_source(project, r)),), project.classes()) for r, name in named]
