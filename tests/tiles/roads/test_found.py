import numpy as np
import pytest

from tiles.roads.found import area_of_lines, lines_in, pixel_lines
from tiles.roads.network import Road, smoothed
from tiles.roads.scores import apls, length_scores


def cross(size=100, half=4):
    mask = np.zeros((size, size), bool)
    mask[size // 2 - half : size // 2 + half + 1] = True
    mask[:, size // 2 - half : size // 2 + half + 1] = True
    return mask


def test_a_crossing_is_four_lines_that_meet_and_reach_the_sides():
    lines = lines_in(cross(), (0.5, 0.5))
    assert len(lines) == 4
    assert sum(line.length for line in lines) == pytest.approx(100, abs=3)
    ends = {tuple(np.round(point, 6)) for line in lines for point in (line.coords[0], line.coords[-1])}
    assert len(ends) == 5
    assert apls(lines, lines) == pytest.approx(1)


def test_spurs_of_a_ragged_edge_are_cut_off():
    mask = np.zeros((60, 200), bool)
    mask[26:35] = True
    mask[21:26, 50:53] = mask[35:39, 120:123] = True
    (line,) = lines_in(mask, (1.0, 1.0))
    assert line.length == pytest.approx(200, abs=4)
    assert length_scores([line], lines_in(cross(200), (1.0, 1.0))[:1]).found_m == line.length


def test_pixels_of_a_line_come_in_their_order():
    mask = np.zeros((30, 60), bool)
    mask[14:17, 5:55] = True
    (line,) = pixel_lines(mask)
    steps = np.abs(np.diff(line, axis=0)).max(axis=1)
    assert (steps == 1).all()
    assert pixel_lines(np.zeros((30, 30), bool)) == []
    assert lines_in(np.zeros((30, 30), bool), (1.0, 1.0)) == []


@pytest.mark.parametrize(
    ("shape", "size_m", "is_line"),
    [((9, 100), 0.5, True), ((20, 30), 0.5, False), ((9, 100), 5.0, False), ((3, 14), 1.0, False)],
    ids=["a road", "a house", "a river, 45 m wide", "a hut"],
)
def test_what_is_a_line(shape, size_m, is_line):
    mask = np.zeros((120, 120), bool)
    mask[10 : 10 + shape[0], 10 : 10 + shape[1]] = True
    assert area_of_lines(mask, (size_m, size_m)) == (mask.sum() if is_line else 0)


def test_a_road_most_of_whose_points_are_one_is_smoothed_in_little_memory():
    points = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [5.0, 0.0]])
    known = np.ones(len(points))
    line = smoothed(Road(points, 3 * known, known, known.astype(np.uint8), 0, 1), 0.1)
    assert line[0].tolist() == [0, 0] and line[-1].tolist() == [5, 0]
