"""What has to hold of every prediction, whatever the model and the raster."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import torch
from torch import nn

import inference.pieces
import inference.scan
from errors import DiskFullError, JobCancelled, LabelFileError, NoOverlapError, UnreadableRasterError
from inference.predict import predict_raster
from models.bundle import ModelBundle
from tests.inference.makers import PAVED, UNPAVED, card, lively_bundle, waves, write_raster
from tiles.windows import even_windows


class Constant(nn.Module):
    stride = 16

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.tensor([0.3, 1.1, -0.2])[None, :, None, None].expand(len(image), 3, *image.shape[-2:])


class Identity(nn.Module):
    """The probability of class 1 is the red band, 0 to 255 as 0 to 1."""

    stride = 16

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        share = ((image[:, 0] * 64 + 128) / 255).clamp(1e-4, 1 - 1e-4)
        return torch.stack([(1 - share).log(), share.log()], 1)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read()


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(5).integers(1, 255, (3, height, width)).astype(np.uint8)


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> ModelBundle:
    return lively_bundle(tmp_path_factory.mktemp("model"))


@pytest.fixture
def blended(monkeypatch) -> list[np.ndarray]:
    """The probabilities of every piece of rows that is decided."""
    found: list[np.ndarray] = []
    decide = inference.scan.decide
    monkeypatch.setattr(inference.scan, "decide", lambda blend, rule: (found.append(blend.probabilities.copy()), decide(blend, rule))[1])
    return found


def test_a_constant_model_gives_a_constant_up_to_the_frame(tmp_path, blended):
    source = write_raster(tmp_path / "in.tif", noise(301, 407))
    predict_raster(ModelBundle(Constant(), card((PAVED, UNPAVED)), tmp_path), str(source), tmp_path / "out.tif", window_px=96, overlap_px=33)
    assert (read(tmp_path / "out.tif") == 1).all()
    expected = torch.softmax(torch.tensor([0.3, 1.1, -0.2]), 0).numpy()
    assert sum(part.shape[1] for part in blended) == 301
    assert max(np.abs(part - expected[:, None, None]).max() for part in blended) < 1e-6


def test_an_identity_model_gives_back_what_went_in(tmp_path, blended):
    values = noise(250, 333)
    source = write_raster(tmp_path / "in.tif", values)
    bundle = ModelBundle(Identity(), card((PAVED,)), tmp_path)
    predict_raster(bundle, str(source), tmp_path / "out.tif", None, tmp_path / "all.tif", window_px=64, overlap_px=13)
    np.testing.assert_allclose(np.concatenate(blended, axis=1)[1], values[0] / 255, atol=1e-5)
    assert np.abs(read(tmp_path / "all.tif")[1] - values[0] / 2.55).max() <= 0.501
    assert np.array_equal(read(tmp_path / "out.tif")[0], (values[0] > 127.5).astype(np.uint8))


@pytest.mark.parametrize("arithmetic", ["float32", "bfloat16"])
def test_batches_threads_strips_and_pieces_change_nothing(tmp_path, real, monkeypatch, arithmetic):
    source = write_raster(tmp_path / "in.tif", waves(400, 1500))
    usual_threads = torch.get_num_threads()

    def result(name: str) -> list[np.ndarray]:
        out, sure = tmp_path / f"{name}.tif", tmp_path / f"{name}_sure.tif"
        predict_raster(real, str(source), out, sure, window_px=128, overlap_px=32, arithmetic=arithmetic)
        return [read(out), read(sure)]

    usual = result("usual")
    assert len(np.unique(usual[0])) == 3 and np.ptp(usual[1]) > 30
    for name, where, value in (
        ("one", "inference.scan.BATCH_PIXELS", 1),
        ("many", "inference.scan.BATCH_PIXELS", 128 * 128 * 7),
        ("narrow", "inference.scan.STRIP_BYTES", 1),
        ("low", "inference.mosaic.PIECE_ROWS", 5),
        ("threads", None, None),
    ):
        with monkeypatch.context() as changed:
            if where:
                changed.setattr(where, value)
            else:
                torch.set_num_threads(3 if usual_threads == 1 else 1)
            try:
                found = result(name)
            finally:
                torch.set_num_threads(usual_threads)
        assert all(np.array_equal(new, old) for new, old in zip(found, usual, strict=True)), name


def test_away_from_the_frame_it_is_as_if_the_whole_image_went_through_at_once(tmp_path, real, blended):
    """The rim that a window leaves to its neighbours is as wide as this small network sees, and windows start where its features lie on the whole image."""
    source = write_raster(tmp_path / "in.tif", waves(512, 512))

    def result(window_px: int) -> np.ndarray:
        blended.clear()
        predict_raster(real, str(source), tmp_path / "out.tif", window_px=window_px, overlap_px=192)
        return np.concatenate(blended, axis=1)

    whole, windows = result(512), result(300)
    np.testing.assert_allclose(windows[:, 48:-48, 48:-48], whole[:, 48:-48, 48:-48], atol=1e-5)


def test_no_seam_is_left_along_the_tile_lines(tmp_path, real, blended):
    """Mean step across tile lines over mean step elsewhere; what the picture itself has there is taken out by the same ratio of the whole image."""
    source = write_raster(tmp_path / "in.tif", waves(640, 640))

    def steps(window_px: int) -> np.ndarray:
        blended.clear()
        predict_raster(real, str(source), tmp_path / "out.tif", window_px=window_px, overlap_px=window_px // 5)
        return np.abs(np.diff(np.concatenate(blended, axis=1), axis=2)).mean(axis=(0, 1))

    windows = even_windows(640, 128, 25, real.network.stride)
    changes = np.flatnonzero(np.abs(np.diff(windows.shares())).max(axis=0)) + 1
    lines = np.isin(np.arange(1, 640), [start + change for start in windows.starts for change in changes])
    tiled, whole = steps(128), steps(640)
    score = (tiled[lines].mean() / tiled[~lines].mean()) / (whole[lines].mean() / whole[~lines].mean())
    assert score <= 1.02


def test_nodata_stays_nodata_and_nothing_else_becomes_it(tmp_path, real):
    values = waves(300, 420)
    values[:, 100:130, 50:300] = 0
    values[:, :, 400:] = 0
    source = write_raster(tmp_path / "in.tif", values, nodata=0)
    predict_raster(real, str(source), tmp_path / "out.tif", tmp_path / "sure.tif", tmp_path / "all.tif", window_px=128)
    missing = (values == 0).all(axis=0)
    for name in ("out", "sure", "all"):
        assert all(np.array_equal(band == 255, missing) for band in read(tmp_path / f"{name}.tif"))


class Cut:
    """Progress that stops once a share is reached."""

    def __init__(self, share: float) -> None:
        self.share = share

    def __call__(self, stage: str, share: float) -> None:
        if share >= self.share:
            raise JobCancelled("Stopped as you asked.")


def windows_seen(bundle: ModelBundle, work: Callable[[], None]) -> int:
    seen: list[int] = []
    hook = bundle.network.register_forward_hook(lambda module, given, out: seen.append(len(given[0])))
    work()
    hook.remove()
    return sum(seen)


@pytest.mark.parametrize("metres", [0.5, 0.2])
def test_cut_and_resumed_equals_uninterrupted(tmp_path, real, metres, monkeypatch):
    """Also where the raster is shown to the model at another resolution; and the second run costs at most a row of windows more than what was left."""
    monkeypatch.setattr(inference.scan, "STRIP_BYTES", 1)
    transform = rasterio.Affine(metres, 0, 500_000, 0, -metres, 3_700_000)
    source = write_raster(tmp_path / "in.tif", waves(700, 1200), transform=transform)

    def predict(name: str, **more) -> None:
        predict_raster(real, str(source), tmp_path / f"{name}.tif", tmp_path / f"{name}_sure.tif", window_px=96, overlap_px=24, **more)

    every = windows_seen(real, lambda: predict("whole"))
    for share in (0.3, 0.5, 0.8):
        with pytest.raises(JobCancelled):
            predict("cut", progress=Cut(share))
        assert (tmp_path / "cut.unfinished").is_dir() and not (tmp_path / "cut.tif").exists()
    (tmp_path / "cut.unfinished" / ".0-0-9-9-9.1234.tif").write_bytes(b"left by a kill")
    again = windows_seen(real, lambda: predict("cut"))
    assert again < every * 0.45
    for name in ("", "_sure"):
        assert (tmp_path / f"cut{name}.tif").read_bytes() == (tmp_path / f"whole{name}.tif").read_bytes()
    assert not list(tmp_path.glob("*.unfinished"))


def test_pieces_of_other_settings_are_not_taken_up(tmp_path, real):
    source = write_raster(tmp_path / "in.tif", waves(400, 400))
    with pytest.raises(JobCancelled):
        predict_raster(real, str(source), tmp_path / "out.tif", window_px=96, progress=Cut(0.6), find_more={1: 50.0})
    predict_raster(real, str(source), tmp_path / "out.tif", window_px=96)
    predict_raster(real, str(source), tmp_path / "other.tif", window_px=96)
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "other.tif").read_bytes()


def earlier(tmp_path: Path) -> dict[Path, bytes]:
    """Results of an earlier run; they have to stay as they are."""
    for name in ("out.tif", "sure.tif"):
        (tmp_path / name).write_bytes(b"earlier " + name.encode())
    return {path: path.read_bytes() for path in sorted(tmp_path.glob("*.tif"))}


def untouched(tmp_path: Path, before: dict[Path, bytes]) -> bool:
    return {path: path.read_bytes() for path in sorted(tmp_path.glob("*.tif"))} == before and not list(tmp_path.glob(".*"))


def test_a_full_disk_is_told_leaves_earlier_results_and_is_gone_on_from(tmp_path, real, monkeypatch):
    source = write_raster(tmp_path / "in.tif", waves(400, 400))
    before = earlier(tmp_path)
    write, written = rasterio.io.DatasetWriter.write, []

    def full(self, values, *rest, **more):
        written.append(len(values))
        if len(written) > 7:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, values, *rest, **more)

    monkeypatch.setattr(inference.pieces, "open_tiled_gtiff", lambda *where: FullDisk(where, full))
    with pytest.raises(DiskFullError):
        predict_raster(real, str(source), tmp_path / "out.tif", tmp_path / "sure.tif", window_px=96)
    assert len(written) == 8 and untouched(tmp_path, before)
    monkeypatch.undo()
    less = windows_seen(real, lambda: predict_raster(real, str(source), tmp_path / "out.tif", tmp_path / "sure.tif", window_px=96))
    every = windows_seen(real, lambda: predict_raster(real, str(source), tmp_path / "more.tif", tmp_path / "sure2.tif", window_px=96))
    assert less < every and (tmp_path / "out.tif").read_bytes() == (tmp_path / "more.tif").read_bytes()


class FullDisk:
    """`open_tiled_gtiff` whose file is written to by another function."""

    def __init__(self, where: tuple, write: Callable) -> None:
        from imagery.write import open_tiled_gtiff

        self.opened, self.replacement = open_tiled_gtiff(*where), write

    def __enter__(self):
        self.file = self.opened.__enter__()
        return self

    def write(self, values: np.ndarray) -> None:
        self.replacement(self.file, values)

    def __exit__(self, *error) -> None:
        self.opened.__exit__(*error)


def test_an_unreadable_block_in_the_middle_is_told_and_leaves_earlier_results(tmp_path, real):
    source = write_raster(tmp_path / "in.tif", noise(512, 512), tiled=True, blockxsize=128, blockysize=128, compress="deflate", interleave="pixel")
    whole = source.read_bytes()
    middle = len(whole) // 2
    source.write_bytes(whole[:middle] + b"\0" * 30_000 + whole[middle + 30_000 :])
    before = earlier(tmp_path)
    with pytest.raises(UnreadableRasterError, match=r"in\.tif is damaged"):
        predict_raster(real, str(source), tmp_path / "out.tif", tmp_path / "sure.tif", window_px=128)
    assert untouched(tmp_path, before)


@pytest.mark.parametrize("gone", ["deleted", "cut off"])
def test_a_raster_that_goes_while_it_is_read(tmp_path, real, gone):
    """A deleted one stays open and is finished, as systems keep what is open; one that was cut off is told."""
    source = write_raster(tmp_path / "in.tif", noise(1024, 512), tiled=True, blockxsize=128, blockysize=128)
    values = read(source)
    before = earlier(tmp_path)
    del before[source]

    def go(stage: str, share: float) -> None:
        if share > 0.2 and source.exists() and source.stat().st_size > 1000:
            source.unlink() if gone == "deleted" else source.write_bytes(source.read_bytes()[:1000])

    def predict(name: str) -> None:
        predict_raster(real, str(source), tmp_path / name, tmp_path / "sure.tif", window_px=128, progress=go)

    with rasterio.Env(GDAL_CACHEMAX=0):
        if gone == "cut off":
            with pytest.raises(UnreadableRasterError, match=r"in\.tif is damaged"):
                predict("out.tif")
            source.unlink()
            assert untouched(tmp_path, before)
        else:
            predict("out.tif")
            found = read(tmp_path / "out.tif")
            write_raster(source, values)
            predict_raster(real, str(source), tmp_path / "again.tif", window_px=128)
            assert np.array_equal(found, read(tmp_path / "again.tif"))
    with pytest.raises(UnreadableRasterError, match="not there any more"):
        predict_raster(real, str(tmp_path / "gone.tif"), tmp_path / "other.tif")


def areas(path: Path, *shapes: shapely.Geometry) -> Path:
    """A file in longitude and latitude of shapes in the raster's CRS."""
    gpd.GeoDataFrame(geometry=list(shapes), crs="EPSG:32611").to_crs("EPSG:4326").to_file(path)
    return path


def test_only_areas_of_interest_are_looked_at_and_all_else_is_nodata(tmp_path, real):
    source = write_raster(tmp_path / "in.tif", waves(300, 400))
    box = shapely.box(500_000 + 20, 3_700_000 - 90, 500_000 + 60, 3_700_000 - 30)  # columns 40 to 120, rows 60 to 180
    area = areas(tmp_path / "area.gpkg", box, shapely.Point(0, 0).buffer(1))
    every = windows_seen(real, lambda: predict_raster(real, str(source), tmp_path / "whole.tif", tmp_path / "s.tif", window_px=96))
    some = windows_seen(real, lambda: predict_raster(real, str(source), tmp_path / "out.tif", tmp_path / "sure.tif", window_px=96, area=area))
    found, inside = read(tmp_path / "out.tif")[0], np.zeros((300, 400), bool)
    inside[60:180, 40:120] = True
    assert 0 < some < every / 2
    assert np.array_equal(found == 255, ~inside) and np.array_equal(read(tmp_path / "sure.tif")[0] == 255, ~inside)
    assert np.array_equal(found[inside], read(tmp_path / "whole.tif")[0][inside])


def test_areas_that_cannot_be_used_are_named(tmp_path, real):
    source = write_raster(tmp_path / "in.tif", waves(64, 64))
    (tmp_path / "no.gpkg").write_text("no areas")
    elsewhere = areas(tmp_path / "far.gpkg", shapely.box(600_000, 3_000_000, 600_100, 3_000_100))
    points = areas(tmp_path / "points.gpkg", shapely.Point(500_001, 3_699_999))
    for path, error, words in (
        (tmp_path / "no.gpkg", LabelFileError, "cannot be read"),
        (tmp_path / "none.gpkg", LabelFileError, "cannot be read"),
        (points, LabelFileError, "no area"),
        (elsewhere, NoOverlapError, "lies on the raster"),
    ):
        with pytest.raises(error, match=words):
            predict_raster(real, str(source), tmp_path / "out.tif", area=path)
    assert not (tmp_path / "out.tif").exists() and not list(tmp_path.glob("*.unfinished"))
