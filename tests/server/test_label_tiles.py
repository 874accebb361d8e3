from __future__ import annotations

import io

import numpy as np
import pytest
import shapely
from PIL import Image
from pyproj import Transformer
from starlette.applications import Starlette
from starlette.testclient import TestClient

from labeling.journal import Label, Operation, open_journal
from server import label_tiles
from server.raster_tiles import tile_bounds
from server.routes import all_routes
from server.tokens import issue_token
from workspace.classes import starter_schema
from workspace.project import create_project
from workspace.settings import Settings

Z, X, Y = 16, 11558, 26200
UNPAVED, PAVED = starter_schema().classes[:2]


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path / "data", (tmp_path,), False, 10**9, "cpu")


@pytest.fixture
def project(settings):
    return create_project(settings.projects_folder, "Test")


@pytest.fixture
def tile(settings, project):
    """Ask for the tile; its pixels (256, 256, 4), or the status where there is none."""
    client = TestClient(Starlette(routes=all_routes(settings, assets=settings.data_folder.parent)))
    token = issue_token(settings.data_folder, project.id, 60)

    def get(address=f"tiles/{token}/labels/{Z}/{X}/{Y}"):
        answer = client.get("/" + address)
        return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA")).astype(int) if answer.content else answer.status_code

    return get


def at(*pixels):
    """Longitude and latitude of pixels (column, row) of the tile."""
    left, _, right, top = tile_bounds(Z, X, Y)
    size = (right - left) / 256
    to_lonlat = Transformer.from_crs("EPSG:3857", "EPSG:4326", always_xy=True)
    return [to_lonlat.transform(left + column * size, top - row * size) for column, row in pixels]


def draw(project, object_id, geometry, value, width_m=None):
    label = Label(geometry=shapely.geometry.mapping(geometry), class_value=value, width_m=width_m)
    open_journal(project.journal_file).append([Operation(operation_id=f"op{object_id}", kind="upsert", object_id=object_id, label=label)])


def box(left, top, right, bottom):
    return shapely.Polygon(at((left, top), (right, top), (right, bottom), (left, bottom)))


def test_an_area_is_filled_in_its_colour_where_it_lies(project, tile):
    draw(project, "a", box(32, 64, 96, 128), UNPAVED.value)
    picture = tile()
    assert tuple(picture[96, 64]) == (*UNPAVED.rgb, 255)
    filled = picture[..., 3] > 128
    assert filled.sum() == pytest.approx(64 * 64, rel=0.05)
    assert filled[66:126, 34:94].all()


def test_a_hole_stays_empty_and_the_class_listed_later_lies_above(project, tile):
    ring = box(10, 10, 120, 120).difference(box(40, 40, 80, 80))
    draw(project, "b", box(100, 10, 200, 60), PAVED.value)
    draw(project, "a", ring, UNPAVED.value)
    picture = tile()
    assert picture[60, 60, 3] == 0
    assert tuple(picture[30, 110, :3]) == PAVED.rgb


def test_a_line_is_as_wide_as_it_says_on_the_ground_else_a_few_pixels(project, tile):
    ground_m = 156543.034 / 2**Z * np.cos(np.radians(at((0, 128))[0][1]))  # a pixel
    draw(project, "a", shapely.LineString(at((0, 60), (256, 60))), PAVED.value, width_m=20 * ground_m)
    draw(project, "b", shapely.LineString(at((0, 200), (256, 200))), PAVED.value)
    column = tile()[:, 128, 3] > 128
    assert column[:128].sum() == pytest.approx(20, abs=1)
    assert column[128:].sum() == pytest.approx(label_tiles.LINE_PX, abs=1)


def test_what_was_drawn_since_is_shown_and_nothing_is_no_picture(project, tile):
    assert tile() == 204
    draw(project, "a", box(32, 64, 96, 128), UNPAVED.value)
    assert tile()[96, 64, 3] == 255
    draw(project, "b", box(132, 64, 196, 128), PAVED.value)
    assert tile()[96, 164, 3] == 255


def test_a_strange_token_shows_nothing(project, tile):
    draw(project, "a", box(32, 64, 96, 128), UNPAVED.value)
    assert tile(f"tiles/strange/labels/{Z}/{X}/{Y}") == 403
