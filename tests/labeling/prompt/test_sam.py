from pathlib import Path

import numpy as np
import pytest
import torch
from rasterio.crs import CRS
from safetensors.torch import save_file
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.utils.amg import build_point_grid

from errors import BundleError, JobCancelled
from imagery.grid import Grid
from imagery.read import open_raster
from imagery.stretch import identity_stretch
from labeling.prompt.chips import Picture, Pyramid, chip_key, read_chip
from labeling.prompt.model import Point, Prompt
from labeling.prompt.sam import load_sam
from labeling.prompt.store import RecentEmbeddings
from tests.imagery.rasters import AT, write_raster
from tests.labeling.prompt.tiny_sam import iou, make_sam, save_checkpoint, scene
from workspace.array_store import ArrayStore, halved

POINTS = (Point(120.5, 80.5), Point(40.5, 150.5, wanted=False))
BOX = (60.0, 50.0, 180.0, 140.0)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("sam"))


def official(rgb, sam, multimask, mask_input=None, box=None, points=POINTS):
    predictor = SamPredictor(sam)
    predictor.set_image(rgb)
    coordinates = np.array([[p.x - 0.5, p.y - 0.5] for p in points]) if points else None
    labels = np.array([int(p.wanted) for p in points]) if points else None
    return predictor.predict(coordinates, labels, None if box is None else np.array(box) - 0.5, mask_input, multimask)


@pytest.fixture(scope="module")
def model(checkpoint):
    return load_sam(checkpoint, key="k", precision="float32")


def kept(model, rgb):
    """An embedding as the store gives it back."""
    embedding = model.encode(rgb, np.ones(rgb.shape[:2], bool), lambda share: None)
    return {name: halved(array) for name, array in embedding.items()}


@pytest.mark.parametrize("shape", [(256, 256), (200, 256), (256, 131), (90, 60)])
def test_a_click_is_answered_as_the_official_predictor_does(model, shape):
    rgb = scene(*shape)
    click = (Point(0.4 * shape[1], 0.5 * shape[0]),)
    masks, scores, low = official(rgb, make_sam(), multimask=True, points=click)
    found = model.predict(kept(model, rgb), Prompt(points=click))
    order = np.argsort(-scores, kind="stable")
    assert found.scores == pytest.approx(scores[order], abs=1e-3)
    for mine, theirs in zip(found.logits, order, strict=True):
        assert iou(model.mask(kept(model, rgb), mine), masks[theirs]) >= 0.999
        assert np.abs(mine - low[theirs]).max() < 0.01 * np.abs(low).max()


def test_a_stored_chip_of_a_raster_answers_as_the_official_predictor_does(model, tmp_path):
    """The whole cached path: chip of the pyramid, store, another process's view of the store."""
    rgb = scene(1300, 1500)
    grid = Grid(1500, 1300, AT, CRS.from_epsg(26911))
    source = write_raster(tmp_path / "a.tif", np.moveaxis(rgb, -1, 0))
    picture = Picture(str(source), "x", grid, (1, 2, 3), identity_stretch(3))
    pyramid = Pyramid(grid)
    chip = pyramid.chip_at(pyramid.level(0), 1400, 1200)
    assert (chip.column, chip.row) == (476, 276)
    key = chip_key(picture, chip, model.key)
    with open_raster(source) as dataset:
        ArrayStore(tmp_path / "store", 10**9).put(key, model.encode(*read_chip(dataset, picture, chip), lambda share: None))
    masks, scores, _ = official(rgb[276:1300, 476:1500], make_sam(), multimask=True, points=(Point(900.5, 800.5),))
    for _ in range(2):
        embedding = RecentEmbeddings(ArrayStore(tmp_path / "store", 10**9), 10**9).get(key)
        found = model.predict(embedding, Prompt((Point(900.5, 800.5),)))
        for mine, theirs in zip(found.logits, np.argsort(-scores, kind="stable"), strict=True):
            assert iou(model.mask(embedding, mine), masks[theirs]) >= 0.999


def test_points_with_a_box_and_the_mask_before_too(model):
    rgb = scene()
    embedding = kept(model, rgb)
    sam = make_sam()
    _, _, low = official(rgb, sam, multimask=True, points=POINTS[:1])
    masks, _, _ = official(rgb, sam, multimask=False, mask_input=low[:1], box=BOX)
    found = model.predict(embedding, Prompt(POINTS, BOX, low[0]))
    assert len(found.scores) == 4
    assert iou(model.mask(embedding, found.logits[0]), masks[0]) >= 0.999
    masks, _, _ = official(rgb, sam, multimask=False, box=BOX, points=())
    found = model.predict(embedding, Prompt((), BOX))
    assert iou(model.mask(embedding, found.logits[0]), masks[0]) >= 0.999


@pytest.mark.parametrize(("predicted_iou", "stability", "same_box"), [(-9.0, 0.0, 1.0), (0.1, 0.91, 1.0), (-9.0, 0.8, 1.0), (-9.0, 0.0, 0.7)])
def test_everything_is_what_the_official_generator_finds(tmp_path, predicted_iou, stability, same_box):
    rgb, sam = scene(), make_sam()
    with torch.no_grad():
        for layers in sam.mask_decoder.output_hypernetworks_mlps:  # as sure of its masks as a trained network is
            layers.layers[-1].weight *= 300
            layers.layers[-1].bias *= 300
    torch.save(sam.state_dict(), tmp_path / "sure.pth")
    generator = SamAutomaticMaskGenerator(
        sam, points_per_side=7, points_per_batch=16, pred_iou_thresh=predicted_iou, stability_score_thresh=stability, box_nms_thresh=same_box
    )
    theirs = generator.generate(rgb)
    model = load_sam(tmp_path / "sure.pth", key="k", precision="float32")
    model.keeps(predicted_iou=predicted_iou, stability=stability, same_box=same_box)
    points = [Point(x * 256 + 0.5, y * 200 + 0.5) for x, y in build_point_grid(7)]
    seen: list[float] = []
    mine = list(model.everything(kept(model, rgb), points, seen.append))
    assert len(mine) == len(theirs) >= 1
    assert len(theirs) < 147 or (stability, same_box) == (0.0, 1.0)
    assert seen == sorted(seen) and seen[-1] == 1
    scores = [one["predicted_iou"] * one["stability_score"] for one in theirs]
    assert sorted(thing.score for thing in mine) == pytest.approx(sorted(scores), abs=5e-3)
    assert np.mean([max(iou(thing.mask, one["segmentation"]) for one in theirs) for thing in mine]) > 0.99
    assert list(model.everything(kept(model, rgb), [], seen.append)) == []
    model.keeps(predicted_iou=0.99)
    assert list(model.everything(kept(model, rgb), points, seen.append)) == []
    model.keeps(predicted_iou=-9, stability=1.1)
    assert list(model.everything(kept(model, rgb), points, seen.append)) == []


def test_likeness_is_the_cosine_of_the_mean_features(model):
    rgb = scene()
    embedding = kept(model, rgb)
    masks = [np.zeros(rgb.shape[:2], bool) for _ in range(3)]
    masks[0][20:80, 30:90] = masks[1][20:80, 30:94] = masks[2][120:180, 160:240] = True
    vectors = np.stack([model.describe(embedding, mask) for mask in masks])
    assert vectors.shape == (3, 64)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-3)
    same, near, far = model.likeness(vectors, np.ones(3, np.float32), vectors[:1])
    assert same == pytest.approx(1, abs=1e-3) and same >= near > far


def test_bfloat16_gives_nearly_the_same_outlines(checkpoint, model):
    rgb = scene()
    quick = load_sam(checkpoint, key="k", precision="bfloat16")
    embedding = kept(model, rgb)
    exact, rough = model.predict(embedding, Prompt(POINTS, BOX)), quick.predict(embedding, Prompt(POINTS, BOX))
    assert iou(model.mask(embedding, exact.logits[0]), quick.mask(embedding, rough.logits[0])) >= 0.98
    features = quick.encode(rgb, np.ones(rgb.shape[:2], bool), lambda share: None)["features"]
    assert np.abs(features - embedding["features"]).mean() < 0.03 * np.abs(features).mean()


def test_a_given_area_becomes_a_mask_prompt(model):
    rgb = scene()
    embedding = kept(model, rgb)
    area = np.zeros(rgb.shape[:2], bool)
    area[40:120, 60:200] = True
    logits = model.logits_of(embedding, area)
    assert logits.shape == (64, 64)
    assert iou(model.mask(embedding, logits), area) > 0.95


def test_safetensors_hold_it_as_well(checkpoint, model, tmp_path):
    save_file({name: t.contiguous() for name, t in torch.load(checkpoint, weights_only=True).items()}, tmp_path / "tiny.safetensors")
    rgb = scene()
    same = load_sam(tmp_path / "tiny.safetensors", key="k", precision="float32")
    assert np.array_equal(kept(same, rgb)["features"], kept(model, rgb)["features"])


def test_an_encode_tells_how_far_it_is_and_stops(model):
    seen = []
    model.encode(scene(), np.ones((200, 256), bool), seen.append)
    assert seen == sorted(seen) and len(seen) == 3 and 0 < seen[0] < seen[-1] < 1

    def stop(share):
        raise JobCancelled("stop")

    with pytest.raises(JobCancelled):
        model.encode(scene(), np.ones((200, 256), bool), stop)


@pytest.mark.parametrize("body", [b"", b"<html>log in</html>", b"PK\x03\x04 cut"])
def test_another_file_is_refused(tmp_path, body):
    path = tmp_path / "sam.pth"
    path.write_bytes(body)
    with pytest.raises(BundleError, match="Segment Anything") as caught:
        load_sam(path, key="k")
    assert caught.value.remedy


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"a": Evil()}, tmp_path / "sam.pth")
    with pytest.raises(BundleError):
        load_sam(tmp_path / "sam.pth", key="k")
    assert not (tmp_path / "ran").exists()
