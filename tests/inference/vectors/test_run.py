from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest

from errors import JobError
from inference.vectors.asked import ShapesAsked, read_asked, read_made, shapes_file
from inference.vectors.run import make
from inference.vectors.settings import BuildingSettings, PolygonSettings
from tests.inference.vectors.makers import class_map
from workspace.jobs import job_status, run_job


def job_of(folder: Path, asked: ShapesAsked) -> Path:
    """A comparison with the maps of two pictures, and a job in it."""
    values = np.zeros((60, 80))
    values[10:50, 10:40] = 3
    for raster in ("aaaa", "bbbb"):
        (folder / raster).mkdir()
        one = class_map(folder / raster, values, np.full((60, 80), 90), name="after.tif")
        one.confidence.rename(folder / raster / "after_confidence.tif")
    job = folder / "shapes" / "one"
    job.mkdir(parents=True)
    (job / "settings.json").write_text(asked.model_dump_json())
    return job


def test_a_job_writes_every_format_and_says_how_many(tmp_path):
    asked = ShapesAsked(pictures={"aaaa": "A.tif", "bbbb": "B.tif"}, classes=(3,), shapes=BuildingSettings())
    job = job_of(tmp_path, asked)
    assert run_job(job, make) == 0
    assert read_made(job).count == 2
    for suffix in (".gpkg", ".geojson", ".zip", ".fgb"):
        assert shapes_file(job, asked, suffix).exists()
    found = gpd.read_file(job / "buildings.geojson")
    assert found.picture.tolist() == ["A.tif", "B.tif"] and found.confidence.tolist() == [0.9, 0.9] and found.regular.tolist() == [1, 1]


def test_a_cancelled_job_leaves_nothing_half_written(tmp_path):
    job = job_of(tmp_path, ShapesAsked(pictures={"aaaa": "A.tif"}, classes=(3,), shapes=PolygonSettings()))
    (job / "cancel").touch()
    assert run_job(job, make) == 3
    assert job_status(job).state == "cancelled" and read_made(job) is None
    assert not list(job.glob("*polygons*"))


def test_two_pictures_of_one_name_are_told_apart(tmp_path):
    job = job_of(tmp_path, ShapesAsked(pictures={"aaaa": "A.tif", "bbbb": "A.tif"}, classes=(3,), shapes=PolygonSettings()))
    assert run_job(job, make) == 0
    assert gpd.read_file(job / "polygons.fgb").picture.tolist() == ["A.tif", "A.tif (bbbb)"]


def test_damaged_settings_are_said(tmp_path):
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(JobError, match="cannot be read"):
        read_asked(tmp_path)
