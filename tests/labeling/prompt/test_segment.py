from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS
from scipy import ndimage
from shapely.geometry import mapping, shape

from errors import PromptError
from imagery.grid import Grid
from imagery.read import open_raster
from imagery.stretch import Stretch, identity_stretch
from labeling.prompt.chips import Picture, chip_key, read_chip
from labeling.prompt.model import Candidates
from labeling.prompt.outline import to_lonlat, to_pixels
from labeling.prompt.segment import Answer, Answerer, Ask, Missing, packed_validity
from labeling.prompt.store import RecentEmbeddings
from tests.imagery.rasters import AT, write_raster
from workspace.array_store import ArrayStore

UTM = CRS.from_epsg(26911)


class BrightThings:
    """A model whose answer is known: the bright thing under the click; the second answer is the chip's whole row of pixels."""

    key = "bright"

    def __init__(self):
        self.encoded, self.asked = 0, 0

    def encode(self, rgb, valid, progress):
        self.encoded += 1
        return {"shape": np.array(valid.shape, np.int32), "things": ndimage.label(rgb[..., 0] > 128)[0].astype(np.int32)}

    def predict(self, embedding, prompt):
        self.asked += 1
        things = embedding["things"]
        chosen = np.zeros(things.shape, bool) if prompt.logits is None else prompt.logits > 0
        for p in prompt.points:
            thing = things == max(things[min(int(p.y), things.shape[0] - 1), min(int(p.x), things.shape[1] - 1)], -1)
            chosen = chosen | thing if p.wanted else chosen & ~thing
        if not prompt.points and prompt.box:
            left, top, right, bottom = (round(v) for v in prompt.box)
            chosen[top:bottom, left:right] |= things[top:bottom, left:right] > 0
        row = np.zeros(things.shape, bool)
        row[int(prompt.points[0].y) if prompt.points else 0] = True
        return Candidates(np.array([0.9, 0.2], np.float32), np.stack([chosen, row]) * 2.0 - 1)

    def mask(self, embedding, logits):
        return logits > 0

    def logits_of(self, embedding, mask):
        return mask * 2.0 - 1


class Desk:
    """Ask, encode what is missing, ask again: what the service does with processes."""

    def __init__(self, path: Path, folder: Path, transform=AT, crs=UTM, bands=(1, 2, 3), stretch=identity_stretch(3)):
        with open_raster(path) as dataset:
            self.picture = Picture(str(path), "x", Grid(dataset.width, dataset.height, transform, crs), bands, stretch)
        self.model, self.store = BrightThings(), ArrayStore(folder, 10**10)
        self.answerer = Answerer(self.model, RecentEmbeddings(self.store, 10**9))

    def lonlat(self, x, y):
        point = to_lonlat(shapely.Point(x, y), self.picture.grid.transform, self.picture.grid.crs)
        return point.x, point.y

    def once(self, points=(), resolution_m=0.5, **more) -> Answer | Missing:
        places = tuple((*self.lonlat(x, y), wanted) for x, y, wanted in points)
        return self.answerer.answer(Ask(self.picture, resolution_m, places, **more))

    def encode(self, chips):
        with open_raster(self.picture.source) as dataset:
            for chip in chips:
                rgb, valid = read_chip(dataset, self.picture, chip)
                made = self.model.encode(rgb, valid, lambda share: None)
                self.store.put(chip_key(self.picture, chip, self.model.key), {**made, **packed_validity(valid)})

    def ask(self, *points, **more) -> Answer:
        while True:
            answer = self.once(points, **more)
            missing = answer.chips if isinstance(answer, Missing) else answer.missing
            if not missing:
                return answer
            self.encode(missing)

    def pixels(self, answer: Answer):
        """The answer's outline in pixels of the raster."""
        return to_pixels(shape(answer.geometry), self.picture.grid.transform, self.picture.grid.crs)


def dark(height, width):
    return np.full((3, height, width), 20, np.uint8)


@pytest.fixture
def desk(tmp_path):
    values = dark(400, 500)
    values[:, 100:150, 200:280] = 220
    values[:, 300:320, 30:60] = 220
    return Desk(write_raster(tmp_path / "a.tif", values), tmp_path / "store")


def test_a_click_becomes_an_outline_on_the_map(desk):
    first = desk.once([(240, 120, True)])
    assert isinstance(first, Missing) and len(first.chips) == 1
    answer = desk.ask((240, 120, True))
    assert answer.whole and answer.scores == (0.9, 0.2)
    assert desk.pixels(answer).bounds == pytest.approx((200, 100, 280, 150), abs=0.1)
    assert answer.milliseconds["total"] >= answer.milliseconds["decode"]


def test_seen_chips_are_never_encoded_again(desk, tmp_path):
    desk.ask((240, 120, True))
    again = Desk(Path(desk.picture.source), tmp_path / "store")
    assert again.ask((40, 310, True)).geometry is not None
    assert again.model.encoded == 0


def test_clicks_add_and_take_away(desk):
    both = desk.ask((240, 120, True), (40, 310, True))
    assert shape(both.geometry).geom_type == "MultiPolygon"
    one = desk.ask((240, 120, True), (40, 310, True), (210, 110, False))
    assert desk.pixels(one).bounds == pytest.approx((30, 300, 60, 320), abs=0.1)


def test_a_refinement_begins_from_what_was_chosen(desk):
    first = desk.ask((240, 120, True))
    second = desk.ask((40, 310, True), previous=(first.id, 0))
    assert desk.pixels(second).area == pytest.approx(80 * 50 + 30 * 20, rel=0.01)


def test_another_candidate_costs_no_second_prediction(desk):
    first = desk.ask((240.5, 120.5, True))
    asked = desk.model.asked
    other = desk.ask((240.5, 120.5, True), previous=(first.id, 0), candidate=1)
    assert desk.model.asked == asked
    assert other.candidate == 1
    assert desk.pixels(other).bounds == pytest.approx((0, 120, 500, 121), abs=0.1)
    back = desk.ask((240.5, 120.5, True), previous=(other.id, 1), candidate=0)
    assert back.geometry == first.geometry


def test_an_answer_that_is_forgotten_is_made_again(desk):
    assert desk.ask((240, 120, True), previous=("gone", 1), candidate=0).geometry == desk.ask((240, 120, True)).geometry


def test_a_box_and_a_rough_area(desk):
    west, north = desk.lonlat(190, 90)
    east, south = desk.lonlat(290, 160)
    box = desk.ask(box=(west, south, east, north))
    assert desk.pixels(box).bounds == pytest.approx((200, 100, 280, 150), abs=0.1)
    rough = to_lonlat(shapely.box(190, 90, 240, 160), AT, UTM)
    area = desk.ask(area=mapping(rough))
    assert desk.pixels(area).intersection(shapely.box(200, 100, 280, 150)).area > 1900


def test_an_object_across_many_chips_comes_back_whole(tmp_path):
    """A bend of 2,300 by 1,500 px, seen at its own resolution: five chips and more."""
    values = dark(2000, 2600)
    values[:, 300:340, 100:2400] = 220
    values[:, 300:1800, 2360:2400] = 220
    truth = shapely.box(100, 300, 2400, 340).union(shapely.box(2360, 300, 2400, 1800))
    desk = Desk(write_raster(tmp_path / "a.tif", values, tiled=True), tmp_path / "store")
    desk.encode(desk.once([(500, 320, True)]).chips)
    part = desk.once([(500, 320, True)])
    assert not part.whole and part.missing and part.geometry is not None
    whole = desk.ask((500, 320, True))
    found = desk.pixels(whole)
    assert found.intersection(truth).area / found.union(truth).area > 0.99
    assert shape(whole.geometry).geom_type == "Polygon" and whole.whole


def test_a_coarse_view_needs_one_chip_for_the_same(tmp_path):
    values = dark(2000, 2600)
    values[:, 300:340, 100:2400] = 220
    desk = Desk(write_raster(tmp_path / "a.tif", values, tiled=True), tmp_path / "store")
    answer = desk.ask((500, 320, True), resolution_m=2.0)
    assert desk.model.encoded == 1
    assert desk.pixels(answer).area == pytest.approx(2300 * 40, rel=0.05)


def test_a_twelve_pixel_thing_in_a_large_scene_can_be_clicked(tmp_path):
    values = dark(3000, 3000)
    values[:, 1500:1512, 1700:1712] = 220
    desk = Desk(write_raster(tmp_path / "a.tif", values, tiled=True), tmp_path / "store")
    found = desk.pixels(desk.ask((1706, 1506, True), resolution_m=0.125))
    assert found.bounds == pytest.approx((1700, 1500, 1712, 1512), abs=0.6)


def test_where_there_is_no_imagery_nothing_is_selected(tmp_path):
    values = dark(200, 300)
    values[:, 50:100, 100:200] = 220
    values[:, :, 150:] = 255
    desk = Desk(write_raster(tmp_path / "a.tif", values, nodata=255), tmp_path / "store")
    assert desk.pixels(desk.ask((120, 70, True))).bounds == pytest.approx((100, 50, 150, 100), abs=0.1)
    for place in ((250, 70), (-40, 70), (120, 5000)):
        with pytest.raises(PromptError, match="no imagery") as caught:
            desk.ask((*place, True))
        assert caught.value.remedy
    with pytest.raises(PromptError):
        desk.once()
    with pytest.raises(PromptError, match="not meant"):
        desk.ask((120, 70, False))


def test_nothing_found_is_said_plainly(desk):
    empty = desk.ask((240, 120, True), (240, 120, False))
    assert empty.geometry is None


@pytest.mark.parametrize("side", [1, 3, 17])
def test_tiny_rasters(tmp_path, side):
    values = np.full((3, side, side), 220, np.uint8)
    desk = Desk(write_raster(tmp_path / "a.tif", values), tmp_path / "store")
    for resolution in (0.01, 0.5, 100):
        found = desk.pixels(desk.ask((side / 2, side / 2, True), resolution_m=resolution))
        assert found.bounds == pytest.approx((0, 0, side, side), abs=0.05)


def test_sixteen_bits_rotated_and_in_degrees(tmp_path):
    values = np.full((1, 200, 300), 300, np.uint16)
    values[0, 50:100, 100:200] = 3000
    turned = Affine.translation(10.0, 50.0) @ Affine.rotation(30) @ Affine.scale(1e-5, -1e-5)
    degrees = CRS.from_epsg(4326)
    path = write_raster(tmp_path / "a.tif", values, crs="EPSG:4326", transform=turned)
    desk = Desk(path, tmp_path / "store", turned, degrees, (1,), Stretch(low=(300,), high=(3000,)))
    found = desk.pixels(desk.ask((150, 75, True), resolution_m=1.0))
    truth = shapely.box(100, 50, 200, 100)
    assert found.intersection(truth).area / found.union(truth).area > 0.97
