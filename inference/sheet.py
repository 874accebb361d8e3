"""A comparison on one sheet: a self-contained HTML file for people who do not open the app. The browser prints it, or saves it as PDF."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
from rasterio.windows import Window

from inference.differences import Place, read_differences
from inference.picture import draw_figure, part_of
from inference.render import side_by_side
from inference.report import Report, area_text
from inference.settings import PredictionSettings
from inference.verdict import chances, findings
from workspace.files import write_text

SHEET_FILE = "report.html"
PLACE_SIDE_PX = 160

_templates = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined)
_templates.filters["area"] = area_text
_templates.filters["share"] = lambda share: "–" if share is None else f"{share:.2f}"
_templates.filters["range"] = lambda pair: "–" if pair is None else " – ".join(f"{v:.2f}" for v in pair)


def make_sheet(job: Path, settings: PredictionSettings, report: Report, raster_id: str, *, credit: str = "") -> Path:
    """Write report.html: what became better, both maps, areas, scores, the places that differ most.

    Args:
        job: Folder of a finished comparison.
        settings: Its settings.
        report: Its numbers.
        raster_id: The raster whose maps are shown.
        credit: Whose imagery it is.

    Raises:
        DiskFullError: no room.
    """
    names = report.before.title, report.after.title
    figure = draw_figure(job, settings, raster_id, report.classes, names, whole=False, credit=credit)
    scores = report.truth or report.held_out
    differences = read_differences(job)
    html = _templates.get_template("sheet.html.j2").render(
        report=report,
        scores=scores,
        findings=findings(report, scores) if scores else [],
        chances=chances(report, scores, str) if scores else [],
        rows=[(scores.before.of(c.value), scores.after.of(c.value), scores.certainty_of(c.value)) for c in report.classes] if scores else [],
        areas=_areas(report),
        figure=_data_address(figure),
        places=[(place, _place(job, settings, report, place)) for place in (differences.by_area if differences else ())],
        credit=credit.strip(),
    )
    write_text(job / SHEET_FILE, html)
    return job / SHEET_FILE


def _areas(report: Report) -> list[dict[str, Any]]:
    """Of each class: before, after, gained, lost, became another; and its true area, where the held-out places tell it and nothing better does."""
    table = report.total
    columns = (table.before_m2(), table.after_m2(), table.gained_m2(), table.lost_m2(), table.flipped_m2())
    true = {one.value: one.area for one in report.held_out.areas} if report.held_out and not report.truth else {}
    return [{"name": c.name, "m2": [column[i] for column in columns], "true": true.get(c.value)} for i, c in enumerate(report.classes, 1)]


def _place(job: Path, settings: PredictionSettings, report: Report, place: Place) -> str:
    memory = io.BytesIO()
    side_by_side(part_of(job, settings, place.raster, Window(*place.window), PLACE_SIDE_PX), report.classes).save(memory, "PNG")
    return _data_address(memory.getvalue())


def _data_address(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
