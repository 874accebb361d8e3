from __future__ import annotations

import imageio_ffmpeg
import numpy as np
import pytest
from affine import Affine
from PIL import Image
from rasterio.crs import CRS
from rasterio.windows import Window

from imagery.grid import Grid
from inference.picture import make_figure, make_picture, north_of, part_of
from inference.settings import read_settings
from tests.inference.comparison import CLASSES, SHAPE, finished_comparison
from tests.inference.makers import PAVED, UNPAVED, UTM

NAMES = ("Old", "New")


def test_the_animation_comes_as_gif_webp_and_video(tmp_path):
    job = finished_comparison(tmp_path)
    for kind in ("gif", "webp"):
        with Image.open(make_picture(job, read_settings(job), "aaaa", CLASSES, NAMES, kind)) as made:
            assert made.n_frames == 8 and made.width >= SHAPE[1]
            assert (made.format, made.info["loop"]) == (kind.upper(), 0)
    path = make_picture(job, read_settings(job), "aaaa", CLASSES, NAMES, "mp4")
    reader = imageio_ffmpeg.read_frames(path)
    about = next(reader)
    assert about["codec"] == "h264" and about["pix_fmt"].startswith("yuv420p") and about["duration"] == pytest.approx(3 * 3.22, rel=0.05)
    first = np.frombuffer(next(reader), np.uint8).reshape(about["size"][1], about["size"][0], 3)
    reader.close()
    with Image.open(job / "aaaa" / "before_after.webp") as made:
        webp = np.asarray(made.convert("RGB"), int)[: first.shape[0], : first.shape[1]]
    assert np.abs(webp - first).mean() < 12  # the same picture, as far as both formats keep it


def test_the_figure_shows_both_maps_their_colours_scale_and_north(tmp_path):
    job = finished_comparison(tmp_path)
    path = make_figure(job, read_settings(job), "aaaa", CLASSES, NAMES, whole=True, credit="City of Somewhere")
    sheet = np.asarray(Image.open(path).convert("RGB"), int)
    rows, columns = SHAPE[0] * 6, SHAPE[1] * 6  # enlarged by whole pixels
    assert sheet.shape[1] == 2 * columns + 3 * 24
    left, right = sheet[112 : 112 + rows, 24 : 24 + columns], sheet[112 : 112 + rows, 48 + columns : 48 + 2 * columns]
    orange = np.array(UNPAVED.rgb)
    across = (slice(400, 500), slice(31 * 6, 39 * 6))  # where only the new model sees a road
    assert np.abs(right[across].mean(axis=(0, 1)) - orange).sum() < np.abs(left[across].mean(axis=(0, 1)) - orange).sum() / 2
    below = sheet[112 + rows :]
    assert all((below == colour).all(axis=-1).sum() > 200 for colour in (UNPAVED.rgb, PAVED.rgb))  # the legend


def test_north_is_up_on_most_maps_and_turns_with_the_grid():
    utm = CRS.from_epsg(32611)
    assert north_of(Grid(100, 100, UTM, utm)) == pytest.approx(0, abs=0.05)
    assert north_of(Grid(100, 100, UTM @ Affine.rotation(30), utm)) == pytest.approx(-30, abs=0.1)  # its columns rise towards the north-east
    assert north_of(Grid(100, 100, Affine(-1e-5, 0, 10, 0, 1e-5, 50), CRS.from_epsg(4326))) == pytest.approx(180, abs=1e-6)


def test_maps_are_drawn_on_white_where_the_picture_is_gone(tmp_path):
    job = finished_comparison(tmp_path)
    (tmp_path / "imagery" / "scene 0.tif").unlink()
    part = part_of(job, read_settings(job), "aaaa", Window(0, 0, 80, 60), 80)
    assert (part.picture == 255).all() and part.after[55, 10] == PAVED.value and part.pixel_m == pytest.approx(0.5, rel=1e-3)
    with Image.open(make_picture(job, read_settings(job), "aaaa", CLASSES, NAMES)) as made:
        assert made.n_frames > 2
