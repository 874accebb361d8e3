"""What a person sees is predicted first, shown, and leaves no trace in the result."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform_bounds
from rasterio.windows import Window, bounds

import inference.first_look
import inference.run
from inference.first_look import LOOK_PX, first_look_file, latest_map, part_of_view
from inference.run import compare_models
from tests.inference.makers import PAVED, UNPAVED, saved_bundle, write_raster
from tests.inference.test_run import make_job
from workspace.jobs import events, run_job

HEIGHT, WIDTH = 1600, 2600


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Every pixel tells where it lies; 0 is no imagery."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    values = np.stack([rows % 250 + 1, columns % 250 + 1, (rows + columns) % 250 + 1]).astype(np.uint8)
    values[:, 700:760, 900:1000] = 0
    return write_raster(tmp_path_factory.mktemp("scene") / "in.tif", values, nodata=0, tiled=True, blockxsize=256, blockysize=256)


def view_of(path, left, top, columns, rows):
    """West, south, east, north of some pixels."""
    with rasterio.open(path) as file:
        return transform_bounds(file.crs, "EPSG:4326", *bounds(Window(left, top, columns, rows), file.transform), densify_pts=21)


def test_the_part_has_the_pixels_of_the_raster_at_their_place(scene, tmp_path):
    assert part_of_view(str(scene), view_of(scene, 800, 600, 400, 300), tmp_path / "part.tif")
    with rasterio.open(tmp_path / "part.tif") as part, rasterio.open(scene) as whole:
        column, row = (round(v) for v in ~whole.transform @ (part.transform.c, part.transform.f))
        assert abs(column - 800) <= 3 and abs(row - 600) <= 3  # degrees are not quite parallel to the raster
        assert 400 <= part.width <= 406 and 300 <= part.height <= 306
        assert np.array_equal(part.read(), whole.read(window=Window(column, row, part.width, part.height)))
        assert (part.crs, part.nodata) == (whole.crs, 0)


def test_of_a_wide_view_it_is_the_middle(scene, tmp_path):
    assert part_of_view(str(scene), view_of(scene, -3000, -3000, WIDTH + 6000, HEIGHT + 6000), tmp_path / "part.tif")
    with rasterio.open(tmp_path / "part.tif") as part, rasterio.open(scene) as whole:
        column, row = (round(v) for v in ~whole.transform @ (part.transform.c, part.transform.f))
        assert (part.width, part.height) == (LOOK_PX, LOOK_PX)
        assert (column, row) == ((WIDTH - LOOK_PX) // 2, (HEIGHT - LOOK_PX) // 2)


def test_small_rasters_and_those_out_of_sight_are_not_looked_at(scene, tmp_path):
    small = write_raster(tmp_path / "small.tif", np.ones((3, 64, 64), np.uint8))
    assert not part_of_view(str(small), view_of(small, 0, 0, 64, 64), tmp_path / "part.tif")
    assert not part_of_view(str(scene), view_of(scene, WIDTH + 100, 0, 300, 300), tmp_path / "part.tif")
    assert not (tmp_path / "part.tif").exists()


@pytest.mark.parametrize("shown", [True, False])
def test_a_comparison_begins_with_what_is_seen_and_ends_with_the_same_maps(tmp_path, monkeypatch, shown):
    monkeypatch.setattr(inference.first_look, "WORTH_PX", 1000)
    models = {"base": saved_bundle(tmp_path / "base", (PAVED,)), "new": saved_bundle(tmp_path / "new", (PAVED, UNPAVED))}
    job = make_job(tmp_path, models, sizes=((128, 160),))
    source, folder = tmp_path / "project" / "imagery" / "0.tif", job / "aaa0"
    plain = (job / "settings.json").read_text()
    view = view_of(source, 40, 30, 50, 40) if shown else view_of(source, 4000, 30, 50, 40)
    (job / "settings.json").write_text(plain.replace('"first_look":null', f'"first_look":{list(view)}'))
    seen = []
    make_map = inference.run.make_map

    def watched(bundle, request, out, *rest, **more):
        make_map(bundle, request, out, *rest, **more)
        seen.append((out.name, latest_map(folder, "after").name))

    monkeypatch.setattr(inference.run, "make_map", watched)
    assert run_job(job, compare_models) == 0
    first = [("first_after.tif", "first_after.tif"), ("first_before.tif", "first_after.tif")] if shown else []
    assert seen == [*first, ("after.tif", "after.tif"), ("before.tif", "after.tif")]
    assert [e["side"] for e in events(job) if e["kind"] == "first look"] == (["after", "before"] if shown else [])
    assert not [path.name for path in folder.iterdir() if path.name.startswith(("first_", "."))]
    again = job.with_name("again")
    again.mkdir()
    (again / "settings.json").write_text(plain)
    for name in ("before", "after"):
        (folder / f"{name}.key").unlink()  # not taken over
    assert run_job(again, compare_models) == 0
    for name in ("before", "after", "change"):
        assert (again / "aaa0" / f"{name}.tif").read_bytes() == (folder / f"{name}.tif").read_bytes()


def test_a_first_look_is_not_taken_again_once_the_map_was_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(inference.first_look, "WORTH_PX", 1000)
    models = {"base": saved_bundle(tmp_path / "base", (PAVED,)), "new": saved_bundle(tmp_path / "new", (PAVED,))}
    job = make_job(tmp_path, models, sizes=((128, 160),))
    view = view_of(tmp_path / "project" / "imagery" / "0.tif", 40, 30, 50, 40)
    settings = job / "settings.json"
    settings.write_text(settings.read_text().replace('"first_look":null', f'"first_look":{list(view)}'))
    (job / "aaa0" / "after.unfinished").mkdir(parents=True)
    assert run_job(job, compare_models) == 0
    assert not [e for e in events(job) if e["kind"] == "first look"]
    assert not first_look_file(job / "aaa0", "after").exists()
