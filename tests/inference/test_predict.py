import json
import threading
import time

import numpy as np
import pytest
import rasterio
from affine import Affine
from typer.testing import CliRunner

from errors import InputMismatchError, JobCancelled
from inference.legend import read_class_names
from inference.predict import app, predict_raster
from models.bundle import ModelBundle, load_bundle
from tests.inference.makers import PAVED, UNPAVED, bright_bundle, card, saved_bundle, write_raster
from workspace.version import VERSION

rng = np.random.default_rng(3)


def read(path):
    with rasterio.open(path) as file:
        return file.read(1)


def picture(height: int, width: int) -> np.ndarray:
    values = rng.integers(0, 256, (3, height, width), np.uint8)
    return np.where((values > 118) & (values < 138), 100, values).astype(np.uint8)  # clear of the threshold: bf16 may round


@pytest.mark.parametrize("shape", [(40, 50), (64, 64), (150, 200), (20, 130)])
def test_a_brightness_threshold_gives_exactly_the_bright_pixels(tmp_path, shape):
    values = picture(*shape)
    source = write_raster(tmp_path / "in.tif", values)
    predict_raster(bright_bundle(), str(source), tmp_path / "out.tif", tmp_path / "sure.tif", window_px=64, overlap_px=16)
    assert np.array_equal(read(tmp_path / "out.tif"), (values[0] > 128).astype(np.uint8))
    sure = read(tmp_path / "sure.tif")
    assert sure.min() >= 50 and sure.max() <= 100


def test_strips_blocks_and_windows_leave_no_seam(tmp_path, monkeypatch):
    monkeypatch.setattr("inference.scan.STRIP_BYTES", 1)  # strips as narrow as they get: 512 columns
    values = picture(700, 1300)
    source = write_raster(tmp_path / "in.tif", values)
    predict_raster(bright_bundle(), str(source), tmp_path / "out.tif", window_px=256, overlap_px=32)
    assert np.array_equal(read(tmp_path / "out.tif"), (values[0] > 128).astype(np.uint8))


def test_in_windows_or_in_one_piece_a_real_network_says_the_same_inside(tmp_path):
    bundle = load_bundle(saved_bundle(tmp_path / "model", (PAVED, UNPAVED)))
    rows, columns = np.mgrid[0:192, 0:192]
    wave = np.stack([np.sin(rows / 19), np.cos(columns / 23), np.sin((rows + columns) / 31)]) * 100 + 128
    source = write_raster(tmp_path / "in.tif", wave.astype(np.uint8))
    predict_raster(bundle, str(source), tmp_path / "a.tif", tmp_path / "a_sure.tif", window_px=192, overlap_px=0)
    predict_raster(bundle, str(source), tmp_path / "b.tif", tmp_path / "b_sure.tif", window_px=128, overlap_px=64)
    inside = np.s_[24:-24, 24:-24]
    assert np.mean(read(tmp_path / "a.tif")[inside] == read(tmp_path / "b.tif")[inside]) > 0.98
    difference = np.abs(read(tmp_path / "a_sure.tif")[inside].astype(int) - read(tmp_path / "b_sure.tif")[inside])
    assert np.percentile(difference, 99) <= 4


def test_the_result_lies_on_the_rasters_own_turned_grid_with_names_and_colours(tmp_path):
    turned = Affine(0.5, 0, 500_000, 0, -0.5, 3_700_000) @ Affine.rotation(20)
    source = write_raster(tmp_path / "in.tif", picture(64, 64), transform=turned)
    predict_raster(bright_bundle(classes=(UNPAVED, PAVED)), str(source), tmp_path / "out.tif", window_px=64, overlap_px=0)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.transform.almost_equals(turned) and file.crs.to_epsg() == 32611
        assert (file.nodata, file.dtypes, file.count) == (255, ("uint8",), 1)
        assert file.colormap(1)[2][:3] == UNPAVED.rgb and file.colormap(1)[1][:3] == PAVED.rgb
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert read_class_names(tmp_path / "out.tif") == {0: "Background", 1: "Paved road", 2: "Unpaved road"}
    assert 'label="Unpaved road"' in (tmp_path / "out.qml").read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif", "out.qml", "out.tif", "out.tif.aux.xml"]


def test_nodata_stays_nodata_and_does_not_leak_into_its_neighbours(tmp_path):
    values = picture(64, 150)
    values[:, 10:20, 60:] = 0
    values[:, :, :5] = 0
    source = write_raster(tmp_path / "in.tif", values, nodata=0)
    predict_raster(bright_bundle(), str(source), tmp_path / "out.tif", tmp_path / "sure.tif", window_px=64, overlap_px=16)
    missing = (values == 0).all(axis=0)
    assert missing.any()
    expected = np.where(missing, 255, values[0] > 128).astype(np.uint8)
    assert np.array_equal(read(tmp_path / "out.tif"), expected)
    assert np.array_equal(read(tmp_path / "sure.tif") == 255, missing)


def test_windows_without_imagery_are_never_classified(tmp_path):
    values = np.zeros((3, 64, 640), np.uint8)
    values[:, :, 600:] = 200
    source = write_raster(tmp_path / "in.tif", values, nodata=0)
    bundle = bright_bundle()
    seen = []
    bundle.network.register_forward_hook(lambda module, given, out: seen.append(len(given[0])))
    predict_raster(bundle, str(source), tmp_path / "out.tif", window_px=64, overlap_px=0)
    assert sum(seen) == 1
    assert np.array_equal(read(tmp_path / "out.tif"), np.where(values[0] == 0, 255, 1))


def test_bands_are_found_by_name_whatever_their_order(tmp_path):
    values = picture(64, 64)
    source = write_raster(tmp_path / "in.tif", values[::-1], photometric="minisblack")
    with rasterio.open(source, "r+") as file:
        file.descriptions = ("Blue", "Green", "Red")
    predict_raster(bright_bundle(), str(source), tmp_path / "out.tif", window_px=64, overlap_px=0)
    assert np.array_equal(read(tmp_path / "out.tif"), (values[0] > 128).astype(np.uint8))
    predict_raster(bright_bundle(), str(source), tmp_path / "chosen.tif", window_px=64, overlap_px=0, bands=(1, 2, 3))
    assert np.array_equal(read(tmp_path / "chosen.tif"), (values[2] > 128).astype(np.uint8))


def test_imagery_that_does_not_fit_is_refused_and_leaves_nothing(tmp_path):
    source = write_raster(tmp_path / "in.tif", picture(64, 64).astype(np.uint16), photometric="rgb")
    with pytest.raises(InputMismatchError, match="uint16"):
        predict_raster(bright_bundle(), str(source), tmp_path / "out.tif")
    five = ModelBundle(bright_bundle().network, card((PAVED,), bands=("red", "green", "nir")), tmp_path)
    with pytest.raises(InputMismatchError, match="nir"):
        predict_raster(five, str(write_raster(tmp_path / "rgb.tif", picture(64, 64))), tmp_path / "out.tif")
    with pytest.raises(InputMismatchError, match="has 3"):
        predict_raster(bright_bundle(), str(tmp_path / "rgb.tif"), tmp_path / "out.tif", bands=(1, 2, 4))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif", "rgb.tif"]


def test_stopping_halfway_leaves_nothing_behind(tmp_path):
    source = write_raster(tmp_path / "in.tif", picture(256, 256))

    def stop(stage: str, share: float) -> None:
        if share > 0.3:
            raise JobCancelled("Stopped as you asked.")

    with pytest.raises(JobCancelled):
        predict_raster(bright_bundle(), str(source), tmp_path / "out.tif", tmp_path / "sure.tif", window_px=64, overlap_px=0, progress=stop)
    assert [p.name for p in tmp_path.iterdir()] == ["in.tif"]


def test_progress_only_rises_and_ends_at_one(tmp_path):
    source = write_raster(tmp_path / "in.tif", picture(256, 256))
    told = []
    predict_raster(bright_bundle(), str(source), tmp_path / "out.tif", window_px=64, overlap_px=0, progress=lambda stage, share: told.append(share))
    assert told == sorted(told) and told[-1] == 1.0


def test_the_command_writes_the_map_and_explains_what_it_cannot_do(tmp_path):
    source = write_raster(tmp_path / "in.tif", picture(64, 64))
    folder = saved_bundle(tmp_path / "model", (PAVED,), always=1)
    done = CliRunner().invoke(app, ["--model", str(folder), "--image", str(source), "--out", str(tmp_path / "out.tif"), "--confidence", str(tmp_path / "c.tif")])
    assert done.exit_code == 0, done.output
    assert (read(tmp_path / "out.tif") == 1).all() and (read(tmp_path / "c.tif") == 99).all()
    wrong = CliRunner().invoke(app, ["--model", str(folder), "--image", str(source), "--out", str(tmp_path / "o.tif"), "--find-more", "9=2"])
    assert wrong.exit_code == 2 and "classes are" in wrong.output
    failed = CliRunner().invoke(app, ["--model", str(folder), "--image", str(tmp_path / "no.tif"), "--out", str(tmp_path / "o.tif")])
    assert failed.exit_code == 1 and "no.tif" in failed.output and "Traceback" not in failed.output


def test_asked_to_find_more_it_says_the_class_where_it_was_less_sure(tmp_path):
    dim = np.full((3, 64, 64), 128, np.uint8)
    dim[:, :, 32:] = 120
    source = write_raster(tmp_path / "in.tif", dim)
    bundle = bright_bundle(classes=(PAVED, UNPAVED))

    def found(factor: float) -> np.ndarray:
        predict_raster(bundle, str(source), tmp_path / "out.tif", tmp_path / "sure.tif", window_px=64, overlap_px=0, find_more={2: factor})
        return read(tmp_path / "out.tif") == 2

    assert not found(0.5).any()
    more = found(2.0)
    assert more[:, :32].all() and not more[:, 32:].any()
    assert abs(int(read(tmp_path / "sure.tif")[0, 0]) - 50) <= 1  # three equal logits, one with its odds doubled: 2 of 4
    assert found(8.0).all()


def blocks_of(shape: tuple[int, int], side: int) -> np.ndarray:
    """(3, rows, columns) uint8: plain squares of `side` pixels, each dark or bright."""
    rows, columns = -(-shape[0] // side), -(-shape[1] // side)
    bright = rng.random((rows, columns)) > 0.5
    values = np.repeat(np.repeat(np.where(bright, 230, 30).astype(np.uint8), side, 0), side, 1)[: shape[0], : shape[1]]
    return np.stack([values] * 3)


@pytest.mark.parametrize("strip_bytes", [1, 64 * 2**20])
def test_a_much_finer_raster_is_shown_at_the_models_resolution_and_drawn_back(tmp_path, monkeypatch, strip_bytes):
    """Squares of 2.5 m in pixels of 0.1 m, for a model of 0.5 m: each working pixel lies within one square."""
    monkeypatch.setattr("inference.scan.STRIP_BYTES", strip_bytes)
    fine = Affine(0.1, 0, 500_000, 0, -0.1, 3_700_000)
    values = blocks_of((700, 1900), 25)
    values[:, 300:303, 700:705] = 0
    source = write_raster(tmp_path / "in.tif", values, transform=fine, nodata=0)
    bundle = bright_bundle()
    shapes = []
    bundle.network.register_forward_hook(lambda module, given, out: shapes.append(given[0].shape[-2:]))
    predict_raster(bundle, str(source), tmp_path / "out.tif", tmp_path / "sure.tif", window_px=64, overlap_px=16)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.shape == (700, 1900) and file.transform == fine
    found, missing = read(tmp_path / "out.tif"), (values == 0).all(axis=0)
    assert len(shapes) * 64 * 64 < 700 * 1900 / 8
    assert np.array_equal(found == 255, missing)  # to the raster's own pixel, although the model saw larger ones
    assert np.array_equal(read(tmp_path / "sure.tif") == 255, missing)
    rows, columns = np.mgrid[0:700, 0:1900]
    inside = (np.abs(rows % 25 - 12) < 9) & (np.abs(columns % 25 - 12) < 9) & ~missing
    assert np.array_equal(found[inside], (values[0] > 128)[inside])
    assert np.mean(found[~missing] == (values[0] > 128)[~missing]) > 0.97


def test_a_much_coarser_raster_is_shown_smaller_pixels_and_averaged_back(tmp_path):
    values = blocks_of((60, 90), 6)
    source = write_raster(tmp_path / "in.tif", values, transform=Affine(1.5, 0, 500_000, 0, -1.5, 3_700_000))
    predict_raster(bright_bundle(), str(source), tmp_path / "out.tif", window_px=64, overlap_px=16)
    assert np.array_equal(read(tmp_path / "out.tif"), (values[0] > 128).astype(np.uint8))


def test_strips_of_a_resampled_raster_leave_no_seam(tmp_path, monkeypatch):
    bundle = load_bundle(saved_bundle(tmp_path / "model", (PAVED, UNPAVED)))
    source = write_raster(tmp_path / "in.tif", picture(300, 1400), transform=Affine(0.2, 0, 500_000, 0, -0.2, 3_700_000))
    predict_raster(bundle, str(source), tmp_path / "a.tif", tmp_path / "a_sure.tif", window_px=64, overlap_px=32)
    monkeypatch.setattr("inference.scan.STRIP_BYTES", 1)
    predict_raster(bundle, str(source), tmp_path / "b.tif", tmp_path / "b_sure.tif", window_px=64, overlap_px=32)
    assert np.array_equal(read(tmp_path / "a.tif"), read(tmp_path / "b.tif"))
    assert np.array_equal(read(tmp_path / "a_sure.tif"), read(tmp_path / "b_sure.tif"))


def test_hopeless_resolutions_are_refused_before_anything_is_written(tmp_path):
    source = write_raster(tmp_path / "in.tif", picture(64, 64), transform=Affine(5, 0, 500_000, 0, -5, 3_700_000))
    with pytest.raises(InputMismatchError, match="too coarse"):
        predict_raster(bright_bundle(), str(source), tmp_path / "out.tif")
    assert [p.name for p in tmp_path.iterdir()] == ["in.tif"]


def test_what_a_person_says_the_bands_are_counts(tmp_path):
    values = picture(64, 64)
    source = write_raster(tmp_path / "in.tif", values, photometric="minisblack")
    predict_raster(bright_bundle(), str(source), tmp_path / "out.tif", band_names=("blue", "green", "red"), window_px=64, overlap_px=0)
    assert np.array_equal(read(tmp_path / "out.tif"), (values[2] > 128).astype(np.uint8))


def test_the_command_tells_notes_and_refuses_other_units(tmp_path):
    from models.bundle import load_bundle, save_bundle
    from models.values import BandStatistics

    values = rng.integers(300, 3000, (3, 64, 64)).astype(np.uint16)
    write_raster(tmp_path / "like.tif", values[::-1], photometric="minisblack")
    with rasterio.open(tmp_path / "like.tif", "r+") as file:
        file.descriptions = ("Blue", "Green", "Red")
    write_raster(tmp_path / "eight.tif", (values // 30).astype(np.uint16), photometric="rgb")
    bundle = load_bundle(saved_bundle(tmp_path / "plain", (PAVED,), dtype="uint16"))
    band = BandStatistics(min=250, max=3100, mean=1600, std=700, p2=300, p98=2900, count=9)
    seen = bundle.card.input.model_copy(update={"statistics": (band,) * 3})
    save_bundle(tmp_path / "model", bundle.network, bundle.card.model_copy(update={"input": seen}))
    command = ["--model", str(tmp_path / "model"), "--out", str(tmp_path / "out.tif"), "--image"]
    done = CliRunner().invoke(app, [*command, str(tmp_path / "like.tif")])
    assert done.exit_code == 0 and "red is band 3" in done.output
    failed = CliRunner().invoke(app, [*command, str(tmp_path / "eight.tif")])
    assert failed.exit_code == 1 and "other units" in failed.output


def test_the_map_says_what_made_it(tmp_path):
    source = write_raster(tmp_path / "in.tif", picture(64, 64))
    bundle = load_bundle(saved_bundle(tmp_path / "model", (PAVED, UNPAVED)))
    outputs = [tmp_path / name for name in ("out.tif", "sure.tif", "all.tif")]
    predict_raster(bundle, str(source), *outputs, thresholds={2: 0.4}, find_more={1: 2.0})
    for path in outputs:
        with rasterio.open(path) as file:
            tags = file.tags()
        assert tags["TERRATUNE_MODEL"] == "Tiny (tiny)" and tags["TERRATUNE_MODEL_SHA256"] == bundle.card.weights_sha256
        assert tags["TERRATUNE_IMAGERY"] == "in.tif" and tags["TIFFTAG_SOFTWARE"] == f"Terratune {VERSION}"
        chosen = json.loads(tags["TERRATUNE_SETTINGS"])
        assert chosen["thresholds"] == {"1": 0.0, "2": 0.4} and chosen["find_more"]["1"] == 2.0


def test_probabilities_have_a_named_band_for_each_class_and_agree_with_the_map(tmp_path):
    values = picture(150, 200)
    source = write_raster(tmp_path / "in.tif", values)
    bundle = load_bundle(saved_bundle(tmp_path / "model", (UNPAVED, PAVED)))
    predict_raster(bundle, str(source), tmp_path / "out.tif", tmp_path / "sure.tif", tmp_path / "all.tif", window_px=64)
    with rasterio.open(tmp_path / "all.tif") as file:
        assert file.descriptions == ("Background", "Unpaved road", "Paved road") and file.nodata == 255
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        shares = file.read()
    assert np.abs(shares.sum(axis=0, dtype=int) - 100).max() <= 1
    assert np.array_equal(shares.max(axis=0), read(tmp_path / "sure.tif"))
    surer = np.sort(shares, axis=0)[-1] > np.sort(shares, axis=0)[-2]
    assert np.array_equal(np.array([0, 2, 1])[shares.argmax(axis=0)][surer], read(tmp_path / "out.tif")[surer])


def test_the_command_takes_thresholds_areas_and_the_rest(tmp_path):
    source = write_raster(tmp_path / "in.tif", picture(64, 64))
    folder = saved_bundle(tmp_path / "model", (PAVED,), always=1)
    command = ["--model", str(folder), "--image", str(source), "--out", str(tmp_path / "out.tif")]

    def invoke(*more: str):
        return CliRunner().invoke(app, [*command, *more])

    done = invoke("--threshold", "1=0.999", "--probabilities", str(tmp_path / "all.tif"))
    assert done.exit_code == 0 and (read(tmp_path / "out.tif") == 0).all()
    with rasterio.open(tmp_path / "all.tif") as file:
        assert (file.read(2) == 99).all()
    done = invoke("--no-predict-background", "--test-time-augmentation", "--merge-policy", "min")
    assert done.exit_code == 0 and (read(tmp_path / "out.tif") == 1).all()
    assert invoke("--threshold", "1=1.5").exit_code == 2 and invoke("--merge-policy", "most").exit_code == 2
    failed = invoke("--area", str(tmp_path / "no.gpkg"))
    assert failed.exit_code == 1 and "no.gpkg" in failed.output


def test_stopped_in_the_middle_of_a_slow_window_it_does_not_wait_for_it(tmp_path):
    source = write_raster(tmp_path / "in.tif", picture(64, 64))
    bundle = bright_bundle()
    going, stop = threading.Event(), threading.Event()
    bundle.network.register_forward_hook(lambda *rest: (going.set(), stop.wait(20)))
    told = []

    def listen(stage: str, share: float) -> None:
        if going.is_set():
            told.append(time.monotonic())
            raise JobCancelled("Stopped as you asked.")

    with pytest.raises(JobCancelled):
        predict_raster(bundle, str(source), tmp_path / "out.tif", progress=listen)
    assert not stop.is_set() and time.monotonic() - told[0] < 5
    stop.set()
