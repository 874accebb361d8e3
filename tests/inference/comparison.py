"""A finished comparison without any model: class maps of squares, written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from imagery.grid import Grid
from imagery.write import open_tiled_gtiff, to_cog
from inference.compare import compare_rasters
from inference.differences import find_differences
from inference.legend import class_colours, class_names, write_legend
from inference.report import REPORT_FILE, ModelUsed, RasterReport, Report, Table
from inference.scores import confusion, values_of
from inference.settings import SETTINGS_FILE, PredictionSettings, RasterToPredict
from tests.inference.makers import PAVED, UNPAVED, UTM, write_raster
from workspace.files import write_text

CLASSES = (UNPAVED, PAVED)
SHAPE = (120, 160)


def finished_comparison(project: Path, rasters: Sequence[tuple[str, str, Affine]] = (("aaaa", "EPSG:32611", UTM),), title: str = "Mine") -> Path:
    """Its folder; each raster (id, CRS, transform) has a paved road before, and after it an unpaved one across it, too."""
    job = project / "predictions" / "mine"
    reports, asked = [], []
    for number, (raster_id, crs, transform) in enumerate(rasters):
        name = f"scene {number}.tif"
        (project / "imagery").mkdir(parents=True, exist_ok=True)
        write_raster(project / "imagery" / name, np.random.default_rng(number).integers(60, 200, (3, *SHAPE), np.uint8), crs=crs, transform=transform)
        before, after = np.zeros((2, *SHAPE), np.uint8)
        before[50:60] = after[50:60] = PAVED.value
        after[:, 30:40] = UNPAVED.value
        for side, values in (("before", before), ("after", after)):
            path = job / raster_id / f"{side}.tif"
            grid = Grid(SHAPE[1], SHAPE[0], transform, rasterio.crs.CRS.from_string(crs))
            with open_tiled_gtiff(project / "plain.tif", grid, 1, "uint8", 255) as file:
                file.write(values, 1)
            to_cog(project / "plain.tif", path, overview_resampling="mode", colours=class_colours(CLASSES))
            write_legend(path, class_names(CLASSES), class_colours(CLASSES))
            write_raster(job / raster_id / f"{side}_confidence.tif", np.full((1, *SHAPE), 80, np.uint8), crs=crs, transform=transform, nodata=255)
        found = compare_rasters(job / raster_id / "before.tif", job / raster_id / "after.tif", CLASSES, job / raster_id / "change.tif")
        assert found.pixels.sum() == confusion(before, after, values_of(CLASSES)).sum()
        reports.append(RasterReport(id=raster_id, name=name, seconds=1.0, table=Table.of(found)))
        asked.append(RasterToPredict(id=raster_id, name=name, source=f"imagery/{name}"))
    settings = PredictionSettings(title=title, base="models/old", new="models/new", rasters=tuple(asked))
    write_text(job / SETTINGS_FILE, settings.model_dump_json())
    models = [ModelUsed(title=t, folder="models", weights_sha256="0" * 64, classes=names) for t, names in (("Old", ("Paved road",)), ("New", ("Paved road", "Unpaved road")))]
    total = reports[0].table
    for other in reports[1:]:
        total = total + other.table
    report = Report(
        created="2026-01-02T03:04:05+00:00", title=title, classes=CLASSES, before=models[0], after=models[1], rasters=tuple(reports), total=total
    )
    write_text(job / REPORT_FILE, report.model_dump_json())
    find_differences(job, {raster.id: 32 for raster in reports})
    return job
