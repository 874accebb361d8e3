import numpy as np
import pytest
import shapely
from shapely.geometry import mapping, shape

from errors import PromptError
from labeling.prompt import everything
from labeling.prompt.chips import Pyramid
from labeling.prompt.everything import AskAll, MissingParts, Offers, find, look, part_key
from labeling.prompt.model import Thing
from labeling.prompt.outline import to_lonlat, to_pixels
from labeling.prompt.smart_select import SmartSelect
from tests.imagery.rasters import write_raster
from tests.labeling.prompt.test_segment import BrightThings, Desk


class BrightEverywhere(BrightThings):
    """The bright things under the points; described by their size, and alike when they are as large."""

    offered_from, alike_from = 0.5, 0.8

    def everything(self, embedding, points, progress):
        things = embedding["things"]
        seen = {int(things[int(p.y), int(p.x)]) for p in points} - {0}
        for number in sorted(seen):
            progress(0.5)
            yield Thing(0.9 - 0.01 * number, things == number, self.describe(embedding, things == number))

    def describe(self, embedding, mask):
        return np.array([mask.sum()], np.float32)

    def likeness(self, things, scores, examples):
        smaller, larger = np.minimum(things, examples.T), np.maximum(things, examples.T)
        return (smaller / larger).max(axis=1)


class Searcher(Desk):
    """`Desk` for areas: looks through what is missing, asks again."""

    def __init__(self, path, folder, model):
        super().__init__(path, folder)
        self.model = model
        self.looked = 0

    def lonlat_box(self, left, top, right, bottom):
        return to_lonlat(shapely.box(left, top, right, bottom), self.picture.grid.transform, self.picture.grid.crs)

    def find(self, *box, like=(), taken=(), resolution_m=0.5) -> list[shapely.Geometry]:
        """Things in an area (pixels of the raster), in pixels of the raster, the best first."""
        return [thing for thing, _ in self.found(*box, like=like, taken=taken, resolution_m=resolution_m)]

    def found(self, *box, like=(), taken=(), resolution_m=0.5):
        examples = tuple(mapping(self.lonlat_box(*one)) for one in like)
        labels = tuple(shapely.to_wkb(self.lonlat_box(*one)) for one in taken)
        ask = AskAll(self.picture, resolution_m, self.lonlat_box(*box).bounds, examples, labels)
        while isinstance(answer := find(ask, self.model, self.store.get), MissingParts):
            self.encode([*answer.chips, *(part.chip for part in answer.parts)])
            pyramid = Pyramid(self.picture.grid)
            for part in answer.parts:
                self.looked += 1
                embedding = self.store.get(everything.chip_key(self.picture, part.chip, self.model.key))
                self.store.put(part_key(self.picture, part, self.model.key), look(self.model, embedding, pyramid, part, lambda share: None))
        assert isinstance(answer, Offers)
        return [(to_pixels(shape(one.geometry), self.picture.grid.transform, self.picture.grid.crs), one.worth) for one in answer.things]


def bright(tmp_path, boxes, rows=400, columns=500, model=None):
    values = np.full((3, rows, columns), 20, np.uint8)
    for left, top, right, bottom in boxes:
        values[:, top:bottom, left:right] = 220
    return Searcher(write_raster(tmp_path / "a.tif", values, tiled=rows > 500), tmp_path / "store", model or BrightEverywhere())


ROOFS = [(100, 50, 160, 110), (250, 60, 310, 120), (100, 200, 160, 262), (300, 200, 420, 330)]


def bounds(things):
    return sorted(tuple(round(v) for v in thing.bounds) for thing in things)


def test_everything_in_an_area_is_found_once(tmp_path):
    desk = bright(tmp_path, ROOFS)
    assert bounds(desk.find(0, 0, 500, 400)) == sorted(ROOFS)
    assert bounds(desk.find(0, 0, 500, 150)) == sorted(ROOFS[:2])
    assert desk.find(5, 300, 60, 390) == []


def test_what_was_looked_at_is_not_looked_at_again(tmp_path):
    desk = bright(tmp_path, ROOFS)
    desk.find(0, 0, 500, 400)
    assert (desk.looked, desk.model.encoded) == (1, 1)
    desk.find(3, 2, 499, 398)
    desk.find(0, 0, 500, 400, like=ROOFS[:1])
    assert (desk.looked, desk.model.encoded) == (1, 1)


def test_nothing_is_offered_where_labels_are(tmp_path):
    desk = bright(tmp_path, ROOFS)
    assert bounds(desk.find(0, 0, 500, 400, taken=[(95, 45, 165, 115), (250, 60, 300, 120)])) == sorted(ROOFS[2:])
    # a little on it: the rest is offered, beside the label
    corner = (300, 200, 340, 240)
    (free,) = (one for one in desk.find(0, 0, 500, 400, taken=[corner]) if one.bounds[0] >= 295)
    assert free.area == pytest.approx(120 * 130 - 40 * 40, rel=0.01)
    assert free.intersection(shapely.box(*corner)).area < 50


def test_all_like_an_example_are_ranked_by_likeness(tmp_path):
    desk = bright(tmp_path, ROOFS)
    found = desk.found(0, 0, 500, 400, like=ROOFS[:1], taken=ROOFS[:1])
    assert [worth for _, worth in found] == pytest.approx([1.0, 60 / 62, 3600 / 15600], abs=0.01)
    assert bounds([found[0][0]]) == [ROOFS[1]]


def test_an_example_elsewhere_in_the_picture(tmp_path):
    desk = bright(tmp_path, [(2000, 1900, 2060, 1960), *ROOFS], rows=2000, columns=2600)
    found = desk.found(0, 0, 500, 400, like=[(2000, 1900, 2060, 1960)])
    assert bounds(thing for thing, worth in found if worth > 0.9) == sorted(ROOFS[:3])


def test_chips_share_an_area_and_every_thing_comes_once(tmp_path):
    boxes = [(x, y, x + 50, y + 40) for x in range(20, 1900, 130) for y in range(30, 950, 110)]
    desk = bright(tmp_path, boxes, rows=1000, columns=2000)
    assert bounds(desk.find(0, 0, 2000, 1000)) == sorted(boxes)
    assert desk.looked > 1


def test_a_large_area_is_looked_at_more_coarsely(tmp_path):
    boxes = [(x, y, x + 300, y + 200) for x in range(100, 5500, 700) for y in range(100, 4500, 600)]
    desk = bright(tmp_path, boxes, rows=4600, columns=5600)
    found = desk.find(0, 0, 5600, 4600)
    assert desk.looked <= everything.CHIPS_AT_MOST
    assert len(found) == len(boxes)


def test_an_area_beside_the_picture_is_refused(tmp_path):
    desk = bright(tmp_path, ROOFS)
    with pytest.raises(PromptError, match="no imagery"):
        desk.find(600, 500, 700, 600)
    with pytest.raises(PromptError, match="outside"):
        desk.find(0, 0, 500, 400, like=[(900, 900, 950, 950)])


def test_smart_select_finds_plain_roofs_and_those_like_one(tmp_path):
    """Red and white roofs on green."""
    red, white = [(60, 60, 130, 110), (200, 60, 270, 112), (330, 70, 398, 120)], [(60, 220, 130, 270), (330, 230, 400, 280)]
    rgb = np.empty((3, 340, 460))
    rgb[:] = np.array([60, 120, 60])[:, None, None]
    for boxes, colour in ((red, (190, 70, 60)), (white, (230, 230, 225))):
        for left, top, right, bottom in boxes:
            rgb[:, top:bottom, left:right] = np.array(colour)[:, None, None]
    rgb += np.random.default_rng(0).normal(0, 5, rgb.shape)
    desk = Searcher(write_raster(tmp_path / "a.tif", rgb.clip(0, 255).astype(np.uint8)), tmp_path / "store", SmartSelect())

    def same(found, box):
        truth = shapely.box(*box)
        return found.intersection(truth).area / found.union(truth).area > 0.85

    offered = [thing for thing, worth in desk.found(0, 0, 460, 340) if worth >= SmartSelect.offered_from]
    for box in red + white:
        assert sum(same(thing, box) for thing in offered) == 1
    alike = [thing for thing, worth in desk.found(0, 0, 460, 340, like=red[:1], taken=red[:1]) if worth >= SmartSelect.alike_from]
    assert all(any(same(thing, box) for thing in alike) for box in red[1:])
    assert not any(same(thing, box) for thing in alike for box in white)
