from __future__ import annotations

import pytest
import shapely
from shapely import LineString

from tiles.roads.scores import apls, length_scores

ROAD = [LineString([(0, 0), (100, 0)])]


def test_completeness_is_what_was_found_of_the_truth_and_correctness_what_is_true_of_the_found():
    found = [LineString([(0, 1), (60, 1)]), LineString([(0, 50), (20, 50)])]
    scores = length_scores(found, ROAD, near_m=3)
    assert scores.completeness == pytest.approx((60 + 8**0.5) / 100, abs=1e-3)
    assert scores.correctness == pytest.approx(60 / 80)
    assert (scores.reference_m, scores.found_m) == (100, 80)
    assert 0 < scores.quality < min(scores.completeness, scores.correctness)


def test_ignored_ground_counts_on_neither_side():
    scores = length_scores([LineString([(0, 0), (50, 0)])], ROAD, ignore=shapely.box(49, -10, 200, 10))
    assert scores.completeness == pytest.approx(1) and scores.reference_m == pytest.approx(49)


def test_nothing_to_compare_is_no_score():
    assert length_scores([], ROAD).correctness is None and length_scores([], ROAD).completeness == 0
    assert length_scores(ROAD, []).completeness is None
    assert apls(ROAD, []) is None and apls([], ROAD) == 0


def test_the_same_network_has_a_path_similarity_of_one():
    cross = [LineString([(0, 0), (100, 0)]), LineString([(100, 0), (200, 0)]), LineString([(100, 0), (100, 80)])]
    moved = [shapely.transform(line, lambda p: p + 1) for line in cross]
    assert apls(cross, cross) == pytest.approx(1)
    assert apls(moved, cross) == pytest.approx(1, abs=0.01)


def test_a_gap_that_the_eye_hardly_sees_breaks_the_ways():
    truth = [LineString([(0, 0), (200, 0)])]
    broken = [LineString([(0, 0), (99, 0)]), LineString([(101, 0), (200, 0)])]
    assert length_scores(broken, truth).completeness == pytest.approx(1)
    # places at 0, 50, 100, 150 and 200; 100 lies by the left piece: 4 of 10 ways still lead through; the pieces by themselves are right
    assert apls(broken, truth) == pytest.approx(2 * 0.4 / 1.4, abs=0.03)


def test_a_detour_counts_by_how_much_longer_it_is():
    truth = [LineString([(0, 0), (40, 0)])]
    detour = [LineString([(0, 0), (0, 5), (40, 5), (40, 0)])]
    assert apls(detour, truth, snap_m=4) == pytest.approx(1 - 10 / 40, abs=0.15)
