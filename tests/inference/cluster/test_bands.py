"""Into which bands a map is cut, and that it does not matter."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

import inference.scan
from imagery.grid import Grid
from inference.cluster import worker
from inference.cluster.bands import MOST_ROWS, cut
from inference.mosaic import Rule
from inference.pieces import Pieces
from inference.request import MapRequest, open_scan
from inference.scan import Band, Scan, bands_left, run_scan, strips_of, window_rows
from tests.inference.makers import PAVED, UNPAVED, lively_bundle, waves, write_raster
from tiles.windows import even_windows


def plan(width: int, height: int, factor: float = 1.0) -> Scan:
    """Two outputs; windows of 100 pixels that share 20."""
    work = Grid(round(width * factor), round(height * factor), Affine.identity(), None)
    return Scan(
        view=None,
        work=work,
        grid=Grid(width, height, Affine.identity(), None),
        gaps=None,
        area=None,
        bands=(1,),
        imagery_bands=(1,),
        classifier=None,
        rule=Rule(np.array([0, 1], np.uint8), np.zeros(2, np.float32)),
        columns=even_windows(work.width, 100, 20),
        rows=even_windows(work.height, 100, 20),
        layers=("classes",),
    )


@pytest.mark.parametrize("factor", [1.0, 0.4, 2.5])
@pytest.mark.parametrize("workers", [1, 3, 16])
def test_bands_cover_every_row_once_and_are_not_higher_than_they_may_be(factor, workers, monkeypatch):
    monkeypatch.setattr(inference.scan, "STRIP_BYTES", 1)
    scan = plan(1500, 4000, factor)
    bands = cut(scan, [Band(strip, 0, 4000) for strip in strips_of(scan)], workers)
    rows = Counter((band.strip.left, row) for band in bands for row in range(band.top, band.bottom))
    assert set(rows.values()) == {1} and len(rows) == 3 * 4000
    assert max(len(window_rows(scan, band)) for band in bands) <= MOST_ROWS + 1


def test_a_band_is_made_of_every_row_of_windows_that_touches_it():
    scan = plan(100, 340)  # windows at 0, 80, 160, 240
    [strip] = strips_of(scan)
    assert window_rows(scan, Band(strip, 160, 240)) == [1, 2]  # the second reaches down to row 180
    assert window_rows(scan, Band(strip, 0, 80)) == [0] and window_rows(scan, Band(strip, 80, 340)) == [0, 1, 2, 3]


def test_a_map_is_shared_out_evenly_and_no_further_than_helps():
    scan = plan(100, 100 + 80 * 11)  # twelve rows of windows
    [strip] = strips_of(scan)

    def shared(workers: int) -> list[int]:
        return [round((band.bottom - band.top) / 80) for band in cut(scan, [Band(strip, 0, scan.grid.height)], workers)]

    assert shared(1) == [12] and shared(2) == [6, 6] and shared(3) == [4, 4, 4]
    assert len(shared(100)) == 12


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.tif")}


@pytest.mark.parametrize("metres", [0.5, 0.2, 1.3])
def test_bands_made_apart_in_any_order_are_those_made_together_bit_for_bit(tmp_path, metres, monkeypatch):
    """Also where the raster is shown to the model at another resolution; and every piece, not just the map."""
    monkeypatch.setattr(inference.scan, "STRIP_BYTES", 1)
    source = write_raster(tmp_path / "in.tif", waves(500, 700), transform=Affine(metres, 0, 500_000, 0, -metres, 3_700_000))
    bundle = lively_bundle(tmp_path)
    request = MapRequest(str(source), (PAVED, UNPAVED), ("classes", "probabilities"), window_px=64, overlap_px=16)
    for name in ("together", "apart"):
        (tmp_path / name).mkdir()
    with ExitStack() as stack:
        scan = open_scan(stack, bundle, request)
        together = Pieces(tmp_path / "together", scan.grid, (1, 3))
        run_scan(scan, together, lambda share: None)
        for band in reversed(cut(scan, bands_left(scan, Pieces(tmp_path / "apart", scan.grid, (1, 3))), 4)):
            (tmp_path / "one").mkdir()
            run_scan(scan, Pieces(tmp_path / "one", scan.grid, (1, 3)), lambda share: None, [band])
            Pieces(tmp_path / "apart", scan.grid, (1, 3)).take(files(tmp_path / "one"))
            for path in [*(tmp_path / "one").iterdir()]:
                path.unlink()
            (tmp_path / "one").rmdir()
        assert files(tmp_path / "apart") == files(tmp_path / "together")
        with rasterio.open(together.together(0)) as made:
            assert len(np.unique(made.read())) == 3


def test_what_is_missing_between_pieces_is_gone_on_with(tmp_path):
    pieces = Pieces(tmp_path, Grid(10, 100, Affine.identity(), None), (1,))
    assert pieces.missing(0) == [(0, 100)]
    for top, bottom in ((20, 40), (60, 100)):
        pieces.write(0, top, [np.zeros((1, bottom - top, 10), np.uint8)])
    assert pieces.missing(0) == [(0, 20), (40, 60)]
    pieces.write(0, 0, [np.zeros((1, 60, 10), np.uint8)])
    assert pieces.missing(0) == []


def test_workers_put_rows_together_before_they_write_them(tmp_path, monkeypatch):
    grid = Grid(10, 100, Affine.identity(), None)
    pieces = worker.LargePieces(tmp_path, grid, (1, 2))
    monkeypatch.setattr(worker, "PIECE_BYTES", 3 * 10 * 30)
    for top in range(0, 50, 10):
        pieces.write(0, top, [np.full((bands, 10, 10), top, np.uint8) for bands in (1, 2)])
    pieces.flush()
    pieces.flush()
    assert sorted(files(tmp_path)) == ["0-0-10-0-30.tif", "0-0-10-30-50.tif", "1-0-10-0-30.tif", "1-0-10-30-50.tif"]
    with rasterio.open(tmp_path / "1-0-10-30-50.tif") as made:
        assert np.array_equal(made.read(), np.repeat([[30] * 10 + [40] * 10] * 2, 10).reshape(2, 20, 10))
    assert Pieces(tmp_path, grid, (1, 2)).missing(0) == [(50, 100)]
