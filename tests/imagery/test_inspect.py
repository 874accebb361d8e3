from __future__ import annotations

import csv
import time

import pytest

from errors import ImageryError, UnreadableRasterError, UnsupportedRasterError
from imagery.inspect import Inspection, inspect_safely
from tests.imagery.rasters import rgb, write_raster


def test_good_and_bad_come_back_in_order(tmp_path):
    good = str(write_raster(tmp_path / "a.tif", rgb()))
    bad = str(tmp_path / "gone.tif")
    first, second, third = inspect_safely([good, bad, good])
    assert isinstance(first, Inspection)
    assert first.info.width == 60
    assert isinstance(second, UnreadableRasterError)
    assert third == first


def test_a_process_that_dies_says_so_for_each_raster_and_ends(tmp_path, monkeypatch):
    good = str(write_raster(tmp_path / "a.tif", rgb()))
    monkeypatch.setattr("sys.executable", "/bin/false")
    results = list(inspect_safely([good, good]))
    assert [type(result) for result in results] == [UnreadableRasterError] * 2
    assert "memory" in results[0].fact


def test_one_that_takes_too_long_is_given_up(tmp_path):
    good = str(write_raster(tmp_path / "a.tif", rgb()))
    started = time.monotonic()
    (result,) = inspect_safely([good], seconds_each=0.01)
    assert isinstance(result, UnsupportedRasterError)
    assert "too long" in result.fact
    assert time.monotonic() - started < 5


@pytest.mark.shared_data
def test_every_odd_raster_is_understood_or_refused_with_a_reason(shared_data):
    folder = shared_data / "odd_rasters"
    with (folder / "index.csv").open() as file:
        rows = list(csv.DictReader(file))
    results = dict(zip((row["file"] for row in rows), inspect_safely([str(folder / row["file"]) for row in rows]), strict=True))
    assert len(results) == 146
    for row in rows:
        result = results[row["file"]]
        if isinstance(result, ImageryError):
            assert result.fact
            assert result.remedy
            placed_and_readable = row["read"] == "ok" and row["epsg"] not in {"none", "other", "4979"} and "complex" not in row["dtype"]
            empty = "no imagery" in result.fact
            assert empty or not placed_and_readable, f"{row['file']}: {result}"
        else:
            assert row["read"] == "ok", row["file"]
            facts = (result.info.width, result.info.height, result.info.count, result.info.dtype)
            assert facts == (int(row["width"]), int(row["height"]), int(row["bands"]), row["dtype"])
            if row["epsg"] not in {"none", "other"}:
                assert result.info.crs == f"EPSG:{row['epsg']}"
    assert sum(isinstance(result, Inspection) for result in results.values()) >= 65
