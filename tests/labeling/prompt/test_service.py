"""With real processes: a tiny random SAM, and Smart select."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from pyproj import Transformer
from rasterio.crs import CRS
from segment_anything import SamPredictor
from shapely.geometry import shape

from errors import BundleError, JobCancelled, PromptError, UnreadableRasterError
from imagery.grid import Grid
from imagery.stretch import identity_stretch
from labeling.prompt.checkpoints import SMART_SELECT
from labeling.prompt.chips import Picture, Pyramid
from labeling.prompt.everything import AskAll, Offers
from labeling.prompt.outline import burnt, to_pixels
from labeling.prompt.segment import Answer, Ask
from labeling.prompt.service import PromptService, Waiting
from labeling.prompt.worker import Encode, ModelPlace, Worker
from tests.imagery.rasters import AT, write_raster
from tests.labeling.prompt.tiny_sam import iou, make_sam, save_checkpoint, scene
from workspace.settings import settings_from_environment

UTM = CRS.from_epsg(26911)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    save_checkpoint(data / "models" / "sam")
    return settings_from_environment({"TERRATUNE_DATA": str(data), "TERRATUNE_DEVICE": "cpu"})


@pytest.fixture(scope="module")
def service(settings):
    running = PromptService(settings)
    yield running
    running.close()


def picture(folder, rgb, identity="x"):
    path = write_raster(folder / f"{identity}.tif", np.moveaxis(rgb, -1, 0))
    return Picture(str(path), identity, Grid(rgb.shape[1], rgb.shape[0], AT, UTM), (1, 2, 3), identity_stretch(3))


def at(one, x, y, wanted=True):
    lon, lat = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(*(one.grid.transform @ (x, y)))
    return lon, lat, wanted


def asked(service, ask, tool, owner="p/tab", **more):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        answer = service.ask(ask, service.checkpoints.tool(tool), owner, **more)
        if isinstance(answer, Answer) and answer.whole:
            return answer
    raise AssertionError("no answer within two minutes")


def test_the_whole_way_gives_what_the_official_predictor_gives_also_after_reopening(settings, tmp_path):
    service = PromptService(settings)
    rgb = scene()
    one = picture(tmp_path, rgb)
    predictor = SamPredictor(make_sam())
    predictor.set_image(rgb)
    masks, scores, _ = predictor.predict(np.array([[99.5, 79.5]]), np.array([1]), multimask_output=True)
    ask = Ask(one, 0.5, (at(one, 100, 80),))
    first = asked(service, ask, "sam-file-tiny")
    expected = masks[int(scores.argmax())]
    mask = burnt(to_pixels(shape(first.geometry), AT, UTM), *rgb.shape[:2])
    assert iou(mask, expected) > 0.9  # crumbs of a random network are dropped, edges smoothed
    embeddings = sorted((settings.data_folder / "embeddings").rglob("*.safetensors"))
    service.close()
    again = PromptService(settings)
    try:
        ready = again.ask(ask, again.checkpoints.tool("sam-file-tiny"), "p/tab", only_if_ready=True)
        assert ready.geometry == first.geometry
        assert sorted((settings.data_folder / "embeddings").rglob("*.safetensors")) == embeddings
    finally:
        again.close()


def test_a_preview_encodes_nothing(service, tmp_path):
    one = picture(tmp_path, scene(seed=5), "unseen")
    assert service.ask(Ask(one, 0.5, (at(one, 50, 50),)), service.checkpoints.tool(SMART_SELECT), "p/tab", only_if_ready=True) is None


def test_smart_select_answers_through_the_same_way(service, tmp_path):
    rgb = np.full((300, 300, 3), (60, 120, 60), np.uint8)
    rgb[100:180, 90:200] = (190, 70, 60)
    rgb = (rgb + np.random.default_rng(0).normal(0, 5, rgb.shape)).clip(0, 255).astype(np.uint8)
    one = picture(tmp_path, rgb, "roof")
    answer = asked(service, Ask(one, 0.5, (at(one, 140, 140),)), SMART_SELECT)
    truth = np.zeros((300, 300), bool)
    truth[100:180, 90:200] = True
    assert iou(burnt(to_pixels(shape(answer.geometry), AT, UTM), 300, 300), truth) >= 0.9


def test_a_raster_that_is_gone_is_explained_and_can_be_tried_again(service, tmp_path):
    one = picture(tmp_path, scene(seed=6), "gone")
    Path(one.source).rename(f"{one.source}.away")
    with pytest.raises(UnreadableRasterError, match="not there any more"):
        asked(service, Ask(one, 0.5, (at(one, 50, 50),)), SMART_SELECT)
    Path(f"{one.source}.away").rename(one.source)
    assert asked(service, Ask(one, 0.5, (at(one, 50, 50),)), SMART_SELECT)


def test_processes_that_are_killed_are_started_again(service, tmp_path):
    one = picture(tmp_path, scene(seed=7), "killed")
    ask = Ask(one, 0.5, (at(one, 50, 50),))
    first = asked(service, ask, SMART_SELECT)
    for worker in (service._answering, service._lanes["smart"]._worker):
        if worker._process is not None:
            os.kill(worker._process.pid, signal.SIGKILL)
            worker._process.wait()
    assert asked(service, ask, SMART_SELECT).geometry == first.geometry
    two = picture(tmp_path, scene(seed=8), "after")
    assert asked(service, Ask(two, 0.5, (at(two, 50, 50),)), SMART_SELECT)


def test_leaving_stops_the_encode(service, tmp_path, monkeypatch):
    lane = service._lanes["sam"]
    begun, stopped = threading.Event(), threading.Event()

    def call(job, *, tell, go_on):
        begun.set()
        tell("Looking at this part of the picture", 0.25)
        while go_on():
            time.sleep(0.01)
        stopped.set()
        raise JobCancelled("stopped")

    monkeypatch.setattr(lane._worker, "call", call)
    one = picture(tmp_path, scene(seed=9), "left")
    waiting = service.ask(Ask(one, 0.5, (at(one, 50, 50),)), service.checkpoints.tool("sam-file-tiny"), "p/tab", wait_s=0.1)
    assert begun.wait(10)
    waiting = service.ask(Ask(one, 0.5, (at(one, 50, 50),)), service.checkpoints.tool("sam-file-tiny"), "p/tab", wait_s=0.1)
    assert waiting == Waiting("Looking at this part of the picture", 0.25, 0)
    service.leave("p/tab")
    assert stopped.wait(10)


def found(service, ask, tool):
    """What is found, and what was told on the way."""
    told = []
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        answer = service.find(ask, service.checkpoints.tool(tool), "p/tab", wait_s=0.05)
        if isinstance(answer, Offers):
            return answer, told
        told.append(answer)
    raise AssertionError("nothing within two minutes")


@pytest.mark.parametrize("tool", [SMART_SELECT, "sam-file-tiny"])
def test_everything_is_looked_for_once_and_its_progress_told(service, tmp_path, tool):
    one = picture(tmp_path, scene(rows=400, columns=500, seed=12), f"everything {tool}")
    ask = AskAll(one, 0.5, one.grid.lonlat_bounds)
    first, told = found(service, ask, tool)
    assert told and all(0 <= waiting.share <= 1 for waiting in told)
    again, told = found(service, ask, tool)
    assert again == first and not told
    assert len(first.things) > 5 or tool != SMART_SELECT  # a random network is sure of nothing


def test_leaving_stops_the_looking(service, tmp_path, monkeypatch):
    lane = service._lanes["smart"]
    begun, stopped = threading.Event(), threading.Event()

    def call(job, *, tell, go_on):
        begun.set()
        tell("Looking for things", 0.5)
        while go_on():
            time.sleep(0.01)
        stopped.set()
        raise JobCancelled("stopped")

    monkeypatch.setattr(lane._worker, "call", call)
    one = picture(tmp_path, scene(seed=13), "left looking")
    ask, tool = AskAll(one, 0.5, one.grid.lonlat_bounds), service.checkpoints.tool(SMART_SELECT)
    service.find(ask, tool, "p/tab", wait_s=0.1)
    assert begun.wait(10)
    assert service.find(ask, tool, "p/tab", wait_s=0.1) == Waiting("Looking for things", 0.5, 0)
    service.leave("p/tab")
    assert stopped.wait(10)


def test_another_file_under_a_published_name_is_refused(settings, service):
    path = settings.data_folder / "models" / "sam" / "sam_vit_b_01ec64.pth"
    path.write_bytes(b"not it")
    try:
        with pytest.raises(BundleError, match="not the file that was published"):
            service._place(service.checkpoints.tool("sam-vit-b"))
    finally:
        path.unlink()


def test_an_encode_in_the_process_stops_when_asked(settings, tmp_path):
    from errors import JobCancelled

    one = picture(tmp_path, scene(seed=10), "stop")
    chip = Pyramid(one.grid).chip_at(Pyramid(one.grid).level(0), 5, 5)
    place = ModelPlace("sam", "k", settings.data_folder / "models" / "sam" / "tiny.pth")
    worker = Worker()
    try:
        job = Encode(one, chip, place, tmp_path / "store", 10**9, False)
        heard = []

        def go_on():
            return not heard

        with pytest.raises(JobCancelled):
            for _ in range(50):  # it may be done before the word arrives
                worker.call(job, tell=lambda *what: heard.append(what), go_on=go_on)
                for path in (tmp_path / "store").rglob("*.safetensors"):
                    path.unlink()
        heard.clear()
        key = worker.call(job)
        assert (tmp_path / "store" / key[:2] / f"{key}.safetensors").exists()
    finally:
        worker.stop()


def test_the_process_ends_with_the_server(tmp_path):
    code = (
        "import time; from labeling.prompt.worker import Worker; w = Worker(); w._started(); print(w._process.pid, flush=True); time.sleep(60)"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(server.stdout.readline())
    server.kill()
    server.wait()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                break
        except FileNotFoundError:
            break
        time.sleep(0.05)
    else:
        raise AssertionError("the process outlived the server")


def test_prompts_that_cannot_be_answered_say_why(service, tmp_path):
    one = picture(tmp_path, scene(seed=11), "outside")
    with pytest.raises(PromptError, match="no imagery"):
        asked(service, Ask(one, 0.5, (at(one, -500, 50),)), SMART_SELECT)
