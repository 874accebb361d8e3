import numpy as np
import pytest

from labeling.prompt.model import Point, Prompt
from labeling.prompt.smart_select import SmartSelect
from tests.labeling.prompt.tiny_sam import iou
from workspace.array_store import halved

MODEL = SmartSelect()


def embedded(rgb):
    made = MODEL.encode(rgb, np.ones(rgb.shape[:2], bool), lambda share: None)
    return {name: halved(array) for name, array in made.items()}


def noisy(mask, inside=(180, 60, 50), outside=(70, 110, 60), seed=0):
    rgb = np.where(mask[..., None], inside, outside) + np.random.default_rng(seed).normal(0, 8, (*mask.shape, 3))
    return rgb.clip(0, 255).astype(np.uint8)


def disc(side=300, radius=50, at=(150, 140)):
    y, x = np.mgrid[:side, :side]
    return (x - at[0]) ** 2 + (y - at[1]) ** 2 <= radius**2


def rectangle(side=300):
    mask = np.zeros((side, side), bool)
    mask[80:160, 90:220] = True
    return mask


def best(embedding, prompt):
    found = MODEL.predict(embedding, prompt)
    assert found.scores[0] >= 0
    return MODEL.mask(embedding, found.logits[0])


@pytest.mark.parametrize("mask", [disc(), rectangle(), disc(radius=110)], ids=["disc", "rectangle", "large"])
@pytest.mark.parametrize("at", [(150, 140), (120, 120)])
def test_a_plain_shape_is_found_with_one_click(mask, at):
    assert iou(best(embedded(noisy(mask)), Prompt((Point(*at),))), mask) >= 0.9


@pytest.mark.parametrize("mask", [disc(), rectangle()], ids=["disc", "rectangle"])
def test_a_box_around_it_does_too(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (columns[0] - 6, rows[0] - 6, columns[-1] + 7, rows[-1] + 7)
    assert iou(best(embedded(noisy(mask)), Prompt(box=tuple(map(float, box)))), mask) >= 0.9


def test_a_minus_point_takes_a_part_away():
    two = disc(radius=30, at=(110, 150)) | disc(radius=30, at=(190, 150))
    two[146:155, 110:190] = True
    rgb = noisy(two)
    rgb[disc(radius=30, at=(190, 150))] = (165, 75, 60)
    embedding = embedded(rgb)
    clicks = (Point(110, 150), Point(190, 150))
    both = best(embedding, Prompt(clicks))
    assert both[150, 110] and both[150, 190]
    one = best(embedding, Prompt((clicks[0], Point(190, 150, wanted=False))))
    assert one[150, 110] and not one[150, 190]
    assert one.sum() < 0.75 * both.sum()


def test_there_are_smaller_and_larger_answers_too():
    inner, outer = disc(radius=20), disc(radius=70)
    rgb = noisy(outer)
    rgb[inner] = (200, 200, 40)
    found = MODEL.predict(embedded(rgb), Prompt((Point(150, 140),)))
    assert 2 <= len(found.scores) <= 3
    areas = [MODEL.mask(embedded(rgb), logits).sum() for logits in found.logits]
    assert max(areas) > 1.5 * min(areas)


def test_a_rough_area_is_tightened():
    mask = rectangle()
    embedding = embedded(noisy(mask))
    rough = np.zeros_like(mask)
    rough[90:170, 95:210] = True
    tight = best(embedding, Prompt(logits=MODEL.logits_of(embedding, rough)))
    assert iou(tight, mask) > max(0.9, iou(rough, mask))


@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (5, 300), (16, 16)])
def test_tiny_and_flat_chips_are_answered(shape):
    rgb = np.full((*shape, 3), 90, np.uint8)
    embedding = embedded(rgb)
    assert best(embedding, Prompt((Point(0.5, 0.5),))).shape == shape
    assert best(embedding, Prompt(box=(0.0, 0.0, float(shape[1]), float(shape[0])))).any()


def test_a_pinhole_is_filled_unless_it_is_marked():
    mask = disc(radius=60)
    rgb = noisy(mask)
    hole = disc(radius=10, at=(170, 150))
    rgb[hole] = (240, 240, 240)
    embedding = embedded(rgb)
    assert best(embedding, Prompt((Point(130, 130),)))[hole].all()
    assert not best(embedding, Prompt((Point(130, 130), Point(170, 150, wanted=False))))[150, 170]
