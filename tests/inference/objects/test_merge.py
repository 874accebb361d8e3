"""What rows of windows settle one by one is what all candidates together would."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from inference.objects.candidates import Candidates, candidates_of, joined
from inference.objects.merge import Merger


def seen(boxes, scores, windows, labels=None, cut=None) -> Candidates:
    boxes, windows = np.array(boxes, float).reshape(-1, 4), np.array(windows, float).reshape(-1, 4)
    labels = np.ones(len(boxes), np.int64) if labels is None else np.array(labels)
    cut = np.zeros(len(boxes), bool) if cut is None else np.array(cut)
    return Candidates(shapely.box(*boxes.T), np.array(scores, float), labels, windows, cut)


def as_set(objects) -> set[tuple]:
    return {(*shapely.bounds(s).round(6).tolist(), round(float(score), 6), int(label)) for s, score, label in zip(objects.shapes, objects.scores, objects.labels, strict=True)}


ONE = (0, 0, 100, 100)


def test_of_overlapping_ones_the_surest_stays_and_what_it_removed_removes_nothing():
    merger = Merger(0.3)
    merger.add(seen([(0, 0, 10, 10), (4, 0, 14, 10), (8, 0, 18, 10)], [0.9, 0.8, 0.7], [ONE] * 3))
    assert as_set(merger.settle()) == {(0, 0, 10, 10, 0.9, 1), (8, 0, 18, 10, 0.7, 1)}


def test_classes_do_not_remove_one_another():
    merger = Merger(0.1)
    merger.add(seen([(0, 0, 10, 10)] * 2, [0.9, 0.8], [ONE] * 2, labels=[1, 2]))
    assert len(merger.settle()) == 2


def test_the_same_object_in_two_windows_is_one_even_where_much_overlap_is_allowed():
    merger = Merger(0.9)
    merger.add(seen([(50, 0, 60, 10), (51, 0, 61, 10)], [0.9, 0.8], [ONE, (40, 0, 140, 100)]))
    assert len(merger.settle()) == 1


def test_a_cut_candidate_gives_way_to_a_whole_one_that_is_less_sure():
    merger = Merger(0.1)
    merger.add(seen([(90, 0, 100, 10)], [0.99], [ONE], cut=[True]))
    merger.add(seen([(90, 0, 110, 10)], [0.6], [(75, 0, 175, 100)]))
    assert as_set(merger.settle()) == {(90, 0, 110, 10, 0.6, 1)}


def test_a_small_thing_in_a_large_one_stays_when_its_piece_is_cut():
    merger = Merger(0.1)
    merger.add(seen([(95, 40, 100, 45)], [0.9], [ONE], cut=[True]))
    merger.add(seen([(80, 0, 170, 90)], [0.8], [(75, 0, 175, 100)]))
    assert len(merger.settle()) == 2


def test_nothing_is_settled_that_a_later_row_may_change():
    merger = Merger(0.1)
    merger.add(seen([(0, 0, 10, 10), (0, 70, 10, 90)], [0.9, 0.9], [ONE] * 2))
    assert as_set(merger.settle(60)) == {(0, 0, 10, 10, 0.9, 1)}
    merger.add(seen([(0, 70, 10, 91)], [0.95], [(0, 60, 100, 160)]))
    assert as_set(merger.settle()) == {(0, 70, 10, 91, 0.95, 1)}


def random_views(seed: int) -> list[list[Candidates]]:
    """Rows of windows over boxes of all sizes that overlap much, each seen a little differently by every window."""
    random = np.random.default_rng(seed)
    corner, size = random.uniform(-20, 300, (250, 2)), random.uniform(5, 90, (250, 2))
    truth = np.column_stack([corner, corner + size])
    truth_labels = random.integers(1, 3, 250)
    rows = []
    for top in (0, 48, 96, 144, 192, 236):
        row = []
        for left in (0, 48, 96, 144, 192, 236):
            boxes = truth - [left, top, left, top] + random.normal(0, 0.6, truth.shape)
            inside = (boxes[:, :2] < 60).all(axis=1) & (boxes[:, 2:] > 4).all(axis=1)
            answer = {"boxes": boxes[inside], "scores": random.uniform(0.3, 1, inside.sum()), "labels": truth_labels[inside]}
            row.append(candidates_of(answer, np.ones((64, 64), bool), left, top, (300, 300), threshold=0.4, rim_px=2, pad_px=8))
        rows.append(row)
    return rows


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("nms_overlap", [0.1, 0.6])
def test_row_by_row_is_as_all_together(seed, nms_overlap):
    rows = random_views(seed)
    together = Merger(nms_overlap, boxes=False)
    together.add(joined([window for row in rows for window in row]))
    streamed, found = Merger(nms_overlap, boxes=False), set()
    for row, below in zip(rows, (48, 96, 144, 192, 236, np.inf), strict=True):
        for window in row:
            streamed.add(window)
        settled = as_set(streamed.settle(below))
        assert not settled & found
        found |= settled
    assert found == as_set(together.settle()) and len(found) > 20


def test_what_lies_completely_in_the_rim_is_left_to_the_neighbour():
    answer = {"boxes": np.array([[57, 10, 63, 16], [50, 10, 63, 16], [1, 10, 6, 16]]), "scores": np.ones(3), "labels": np.ones(3)}
    found = candidates_of(answer, np.ones((64, 64), bool), 0, 0, (64, 200), threshold=0.5, rim_px=2, pad_px=8)
    assert found.bounds.tolist() == [[50, 10, 63, 16], [1, 10, 6, 16]]  # the raster ends on the left: nobody else sees what lies there
    assert found.cut.tolist() == [True, False]


def test_what_is_held_depends_on_a_row_of_windows_not_on_the_raster():
    """Crowded crowns: most boxes overlap several others, so that much waits for something; none waits for long."""
    random = np.random.default_rng(0)
    merger, most = Merger(0.1), []
    found = 0
    for row in range(60):
        top = row * 48
        for left in range(0, 480, 48):
            corner = random.uniform(-8, 60, (40, 2))
            answer = {"boxes": np.column_stack([corner, corner + random.uniform(6, 14, (40, 2))]), "scores": random.uniform(0.5, 1, 40), "labels": np.ones(40)}
            merger.add(candidates_of(answer, np.ones((64, 64), bool), left, top, (60 * 48 + 16, 496), threshold=0.5, rim_px=2, pad_px=8))
        found += len(merger.settle(top + 48))
        most.append(len(merger._held))
    assert max(most[30:]) < 1.3 * max(most[5:30]) and max(most) < 2 * 10 * 40 and found > 5000
