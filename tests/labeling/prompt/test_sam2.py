"""SAM 2.1. Against its library where that is installed; what is said without it, wherever it is not."""

import importlib.util
import warnings

import numpy as np
import pytest
import torch

from errors import BundleError
from labeling.prompt import checkpoints
from labeling.prompt.checkpoints import Checkpoints
from labeling.prompt.model import Point, Prompt
from labeling.prompt.sam import load_sam
from models.catalogue.published import find_published
from models.catalogue.runs_here import runs_here
from tests.labeling.prompt.tiny_sam import iou, scene

POINTS = (Point(120.5, 80.5), Point(40.5, 150.5, wanted=False))
BOX = (60.0, 50.0, 180.0, 140.0)


def without_the_library(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "sam2" else found(name, *more))
    monkeypatch.setitem(__import__("sys").modules, "sam2", None)


def test_without_its_library_it_is_not_offered_and_that_is_said(tmp_path, monkeypatch):
    without_the_library(monkeypatch)
    assert not [tool for tool in Checkpoints(tmp_path).tools() if tool.name.startswith("sam2")]
    told = runs_here(find_published("sam2.1-hiera-tiny"))
    assert told.state == "no" and "pip install sam2" in told.why
    torch.save({"model": {"image_encoder.trunk.patch_embed.proj.weight": torch.zeros(96, 3, 7, 7)}}, tmp_path / "mine.pt")
    with pytest.raises(BundleError, match="needs the library sam2") as caught:
        load_sam(tmp_path / "mine.pt", key="k")
    assert "another tool" in caught.value.remedy


def test_with_its_library_it_is_offered(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(checkpoints.importlib.util, "find_spec", lambda name, *more: found("json") if name == "sam2" else found(name, *more))
    tools = {tool.name: tool for tool in Checkpoints(tmp_path).tools()}
    assert not tools["sam2.1-hiera-large"].available and "SAM 2" in tools["sam2.1-hiera-large"].licence
    assert runs_here(find_published("sam2.1-hiera-tiny")).yes


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The library's network with seeded weights, our model of the same file, and what each makes of a picture."""
    with warnings.catch_warnings(action="ignore"):
        from sam2.build_sam import build_sam2
        from sam2.sam2_image_predictor import SAM2ImagePredictor

        torch.manual_seed(0)
        network = build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu", apply_postprocessing=False)
        with torch.no_grad():
            for name, weight in network.named_parameters():
                if "pos_embed" in name or name == "no_mem_embed":  # zero in a fresh network
                    weight.normal_(0, 0.1)
        path = tmp_path_factory.mktemp("sam2") / "sam2.1_hiera_tiny.pt"
        torch.save({"model": network.state_dict()}, path)
        theirs, ours, shares = SAM2ImagePredictor(network), load_sam(path, key="k", precision="float32"), []
        theirs.set_image(scene())
        embedding = ours.encode(scene(), np.ones((200, 256), bool), shares.append)
    assert shares == pytest.approx([number / 13 for number in range(1, 13)])
    return theirs, ours, embedding


def official(predictor, points, box, several, logits=None):
    places = np.array([[p.x - 0.5, p.y - 0.5] for p in points]) if points else None
    labels = np.array([int(p.wanted) for p in points]) if points else None
    masks, scores, low = predictor.predict(places, labels, None if box is None else np.array(box) - 0.5, logits, several)
    return masks > 0, scores, low


@pytest.mark.parametrize(("points", "box"), [(POINTS, None), ((), BOX), (POINTS, BOX)])
@pytest.mark.sam2
def test_a_clear_prompt_is_answered_as_the_library_does(both, points, box):
    theirs, ours, embedding = both
    masks, scores, _ = official(theirs, points, box, several=False)
    found = ours.predict(embedding, Prompt(points, box))
    assert len(found.scores) == 4 and found.scores[0] == pytest.approx(scores[0], abs=1e-4)
    assert iou(ours.mask(embedding, found.logits[0]), masks[0]) > 0.999
    again = Prompt(points, None, ours.logits_of(embedding, masks[0])) if points else None
    if again is not None:
        masks, _, _ = official(theirs, points, None, several=False, logits=again.logits[None])
        assert iou(ours.mask(embedding, ours.predict(embedding, again).logits[0]), masks[0]) > 0.999


@pytest.mark.sam2
def test_a_click_has_three_answers_the_best_first(both):
    theirs, ours, embedding = both
    masks, scores, _ = official(theirs, POINTS[:1], None, several=True)
    found = ours.predict(embedding, Prompt(POINTS[:1]))
    order = np.argsort(-scores, kind="stable")
    assert found.scores == pytest.approx(scores[order], abs=1e-4)
    assert all(iou(ours.mask(embedding, logits), masks[i]) > 0.999 for logits, i in zip(found.logits, order, strict=True))


@pytest.mark.sam2
def test_everything_at_many_points(both):
    _, ours, embedding = both
    ours.keeps(predicted_iou=-1.0, stability=0.0, same_box=0.99)
    things = list(ours.everything(embedding, [Point(60, 60), Point(190, 120)], lambda share: None))
    assert things and all(thing.mask.shape == (200, 256) and thing.features.shape == (256,) for thing in things)
    assert np.linalg.norm(things[0].features) == pytest.approx(1, abs=1e-3)
