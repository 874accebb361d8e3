"""Which numbers a map is calculated with: tried, remembered, gone on with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from typer.testing import CliRunner

import inference.probe
from errors import BundleError, JobCancelled
from inference.predict import app, make_map
from inference.probe import Trial, best, choose
from inference.request import MapRequest
from models.bundle import ModelBundle, load_bundle
from tests.inference.makers import PAVED, BrightAbove, card, saved_bundle, write_raster


@pytest.fixture(autouse=True)
def any_size(monkeypatch, tmp_path):
    """Rasters of tests are worth a trial, on a processor that is quick with 16 bits, and what is found is kept in the test's folder."""
    monkeypatch.setattr(inference.probe, "WORTH_TRYING_PX", 1)
    monkeypatch.setattr(inference.probe, "fast_bfloat16", lambda device: True)
    monkeypatch.setenv("TERRATUNE_DATA", str(tmp_path / "data"))


@pytest.fixture
def source(tmp_path) -> str:
    values = np.random.default_rng(3).integers(1, 255, (3, 300, 400)).astype(np.uint8)
    return str(write_raster(tmp_path / "in.tif", np.where((values > 118) & (values < 138), 100, values).astype(np.uint8)))


class Undecided(BrightAbove):
    """Both outputs say nearly the same everywhere: 16-bit numbers, of three digits, cannot tell them apart."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.conv(image) * 1e-4 + 1


def bundle(kind: type[BrightAbove]) -> ModelBundle:
    return ModelBundle(kind(128.0), card((PAVED,)).model_copy(update={"weights_sha256": f"{kind.__name__:0<64}"}), Path("tiny"))


def chosen(of: ModelBundle, source: str, out: Path, precision="auto", load=None, pixels=10**6):
    return choose(precision, MapRequest(source, of.card.classes), of.card, load or (lambda: of), out, pixels)


def never() -> ModelBundle:
    raise AssertionError("nothing should have been tried")


def test_the_quickest_that_changes_next_to_nothing_is_taken():
    def of(seconds: float, changed: float) -> str:
        return best({"float32": Trial(2.0, 0.0), "bfloat16": Trial(seconds, changed)}).arithmetic

    assert of(1.0, 0.0004) == "bfloat16"
    assert of(1.0, 0.0006) == "float32"  # a few windows may be lucky: half of what is allowed on the whole map
    assert of(1.9, 0.0) == "float32"  # not worth it
    assert of(3.0, 0.0) == "float32"
    both = best({"float32": Trial(2.0, 0.0), "bfloat16": Trial(1.5, 0.0), "onnxruntime": Trial(1.2, 0.0)})
    assert both.arithmetic == "onnxruntime" and "75% of the time" in both.reason and "60% of the time" in both.reason
    assert best({}).arithmetic == "float32"


def test_what_each_way_changes_is_measured(source, tmp_path):
    for kind, most, least in ((BrightAbove, 0.0, 0.0), (Undecided, 1.0, 0.1)):
        way = chosen(bundle(kind), source, tmp_path / "out.tif")
        assert "changed the class of" in way.reason
        found = json.loads(max((tmp_path / "data" / "arithmetic").iterdir(), key=lambda file: file.stat().st_mtime_ns).read_text())
        assert found["float32"]["changed"] == 0 and least <= found["bfloat16"]["changed"] <= most
        if least:
            assert way.arithmetic == "float32"


def test_it_is_tried_once_for_a_model_and_again_for_another_way_of_choosing_classes(source, tmp_path):
    of = bundle(BrightAbove)
    first = chosen(of, source, tmp_path / "out.tif")
    assert chosen(of, source, tmp_path / "out.tif", load=never) == first
    with pytest.raises(AssertionError, match="tried"):
        choose("auto", MapRequest(source, of.card.classes, thresholds={1: 0.7}), of.card, never, tmp_path / "out.tif", 10**6)


def test_nothing_is_tried_for_exact_numbers_or_for_little(source, tmp_path, monkeypatch):
    of = bundle(BrightAbove)
    assert chosen(of, source, tmp_path / "out.tif", "exact", never).arithmetic == "float32"
    monkeypatch.setattr(inference.probe, "WORTH_TRYING_PX", 2 * 10**6)
    assert chosen(of, source, tmp_path / "out.tif", load=never).arithmetic == "float32"
    assert not (tmp_path / "data").exists()


def test_without_imagery_there_is_nothing_to_try_on(tmp_path):
    empty = write_raster(tmp_path / "empty.tif", np.zeros((3, 64, 64), np.uint8), nodata=0)
    assert chosen(bundle(BrightAbove), str(empty), tmp_path / "out.tif").arithmetic == "float32"
    assert not (tmp_path / "data").exists()


def test_onnx_runtime_is_tried_where_it_could_save_minutes(source, tmp_path, monkeypatch):
    of = load_bundle(saved_bundle(tmp_path / "model", (PAVED,)))
    monkeypatch.setattr(inference.probe, "WORTH_EXPORTING_S", 0)
    way = chosen(of, source, tmp_path / "out.tif")
    assert "ONNX Runtime" in way.reason
    found = json.loads(next((tmp_path / "data" / "arithmetic").iterdir()).read_text())
    assert found["onnxruntime"]["changed"] <= 0.0001


def test_a_network_that_cannot_be_exported_is_calculated_as_before(source, tmp_path, monkeypatch):
    of = bundle(BrightAbove)
    monkeypatch.setattr(inference.probe, "WORTH_EXPORTING_S", 0)

    def refused(bundle):
        raise BundleError("Writing ONNX needs a library.", "Install it.")

    monkeypatch.setattr("inference.request.as_onnx", refused)
    assert "ONNX" not in chosen(of, source, tmp_path / "out.tif").reason


@pytest.mark.parametrize("arithmetic", ["bfloat16", "float32"])
def test_a_map_goes_on_with_the_numbers_it_was_begun_with(arithmetic, tmp_path, monkeypatch):
    """Even where something else would be chosen by now; and comes to the very same file."""
    monkeypatch.setattr("inference.scan.STRIP_BYTES", 1)
    of = load_bundle(saved_bundle(tmp_path / "model", (PAVED,)))
    source = str(write_raster(tmp_path / "in.tif", np.random.default_rng(3).integers(1, 255, (3, 500, 1200)).astype(np.uint8)))
    request = MapRequest(source, of.card.classes, window_px=96, arithmetic=arithmetic)

    def stop(stage: str, share: float) -> None:
        if share > 0.5:
            raise JobCancelled("Stopped as you asked.")

    with pytest.raises(JobCancelled):
        make_map(of, request, tmp_path / "out.tif", progress=stop)
    way = chosen(of, source, tmp_path / "out.tif", load=never)
    assert way.arithmetic == arithmetic and "Going on" in way.reason
    looked = []
    of.network.register_forward_hook(lambda *of_it: looked.append(1))
    make_map(of, request, tmp_path / "out.tif")
    some = len(looked)
    make_map(of, request, tmp_path / "whole.tif")
    assert some < 0.7 * (len(looked) - some)
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()


def test_the_command_says_what_it_calculates_with_and_so_does_the_map(source, tmp_path):
    model = saved_bundle(tmp_path / "model", (PAVED,))
    for precision, words in (("exact", "32-bit numbers."), ("auto", "of the pixels tried")):
        out = tmp_path / f"{precision}.tif"
        found = CliRunner().invoke(app, ["--model", str(model), "--image", source, "--out", str(out), "--precision", precision])
        assert found.exit_code == 0 and words in found.output
        with rasterio.open(out) as file:
            said = json.loads(file.tags()["TERRATUNE_SETTINGS"])["arithmetic"]
        assert said == "float32" if precision == "exact" else said in {"float32", "bfloat16"}
    assert CliRunner().invoke(app, ["--model", str(model), "--image", source, "--out", str(out), "--precision", "rough"]).exit_code == 2
