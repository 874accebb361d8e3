"""Candidates of overlapping windows to objects: each once, each whole. Pure.

* What a window's side may cut is not believed where another window shows the same object whole: the two agree on the ground that both windows see.
* Pieces of an object that no window shows whole agree likewise, and are joined.
* Then the weaker of two objects of one class that overlap goes (non-maximum suppression, the surest first).

Windows come row by row. An object is settled once no later window can have a say in it, so memory depends on a row of windows, and the answer is the
same as if all candidates had been looked at together (but for the rectangle around pieces, which may still grow sideways over what was settled).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from inference.objects.candidates import Candidates, joined, no_candidates
from inference.objects.given import Given

AGREE = 0.5
"""Intersection over union, on the ground that two windows share, from which on they show the same object."""

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Objects:
    """Settled objects; (x, y) in pixels."""

    shapes: NDArray[np.object_]
    """(k,) polygons."""
    scores: NDArray[np.float64]
    """(k,) 0..1; of joined pieces the surest one's."""
    labels: NDArray[np.int64]
    """(k,) from 1."""

    def __len__(self) -> int:
        return len(self.scores)


@dataclass
class Merger:
    """Takes candidates row of windows by row of windows, gives objects.

    Args:
        nms_overlap: Objects of one class that overlap by more (intersection over union) are taken for one.
        boxes: Pieces are rectangles, and so is what they make together.
        given: Makes whole objects the shapes that are given out, and held against one another.
    """

    nms_overlap: float
    boxes: bool = True
    given: Given = field(default=lambda shapes: shapes, repr=False)
    _held: Candidates = field(default_factory=no_candidates, repr=False)
    _out: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool), repr=False)
    """(held,) already decided against; kept as long as later pieces may agree with it."""

    def add(self, found: Candidates) -> None:
        """Candidates of a window; windows come from top to bottom."""
        self._held = joined([self._held, found])
        self._out = np.concatenate([self._out, np.zeros(len(found), bool)])

    def settle(self, top: float = math.inf) -> Objects:
        """The objects that are known for sure, in the order of their place.

        Args:
            top: No later window begins above this row; infinite: there are no later windows.
        """
        held = self._held
        if not len(held):
            return Objects(held.shapes, held.scores, held.labels)
        closed = np.maximum(held.bounds[:, 3], shapely.bounds(self.given(held.shapes)).reshape(-1, 4)[:, 3]) <= top
        first, second = _touching(held.shapes, held.labels)
        self._drop_seen_whole(first, second)
        entry = self._entries(first, second)
        kept = self._strongest(entry, closed)
        members = [np.flatnonzero(entry == number) for number in kept]
        shapes = self.given(np.array([self._whole(held.shapes[of]) for of in members], object))
        scores, labels = np.array([held.scores[of].max() for of in members]), np.array([held.labels[of[0]] for of in members], np.int64)
        gone = np.isin(entry, kept) | (self._out & closed)
        self._held, self._out = held[~gone], self._out[~gone]
        left, up = shapely.bounds(shapes).reshape(-1, 4)[:, :2].T
        order = np.lexsort((left, up))
        return Objects(shapes[order], scores[order], labels[order])

    def _drop_seen_whole(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> None:
        """A cut candidate that agrees with a whole one says nothing new."""
        held = self._held
        first, second = np.concatenate([first, second]), np.concatenate([second, first])
        pairs = held.cut[first] & ~held.cut[second] & ~self._out[first]
        first, second = first[pairs], second[pairs]
        self._out[first[self._agree(first, second)]] = True

    def _entries(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
        """(held,) the number of the object that each belongs to: cut ones that agree are one; -1 for those decided against."""
        held = self._held
        pairs = held.cut[first] & held.cut[second] & ~self._out[first] & ~self._out[second]
        first, second = first[pairs], second[pairs]
        same = self._agree(first, second)
        first, second = first[same], second[same]
        graph = coo_array((np.ones(len(first), bool), (first, second)), (len(held),) * 2)
        _, entry = connected_components(graph, directed=False)
        return np.where(self._out, -1, entry.astype(np.int64))

    def _agree(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Seen by different windows, and the same on the ground that both see?"""
        held = self._held
        a, b = held.windows[first], held.windows[second]
        shared = shapely.box(
            np.maximum(a[:, 0], b[:, 0]), np.maximum(a[:, 1], b[:, 1]), np.minimum(a[:, 2], b[:, 2]), np.minimum(a[:, 3], b[:, 3])
        )
        overlap = _iou(shapely.intersection(held.shapes[first], shared), shapely.intersection(held.shapes[second], shared))
        return (a != b).any(axis=1) & (overlap >= AGREE)

    def _strongest(self, entry: NDArray[np.int64], closed: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Numbers of the objects that stay and are known for sure; those that go for them are marked in `_out`.

        Greedy, the surest first: an object is decided once all surer ones that overlap it are. An object in pieces may still grow, so
        nothing is decided about what it overlaps before it is closed.
        """
        held = self._held
        numbers, at = np.unique(entry[entry >= 0], return_inverse=True)
        count = len(numbers)
        members = np.flatnonzero(entry >= 0)
        size = np.bincount(at, minlength=count)
        one = np.zeros(count, np.int64)
        one[at] = members
        shapes = held.shapes[one]
        for number in np.flatnonzero(size > 1):
            shapes[number] = self._whole(held.shapes[members[at == number]])
        shapes = self.given(shapes)
        scores, done, growing = np.zeros(count), np.ones(count, bool), np.zeros(count, bool)
        np.maximum.at(scores, at, held.scores[members])
        np.logical_and.at(done, at, closed[members])
        growing[at] = held.cut[members]
        growing &= ~done
        near, far = _touching(shapes, held.labels[one])
        windows = held.windows[one]
        other = (windows[near] != windows[far]).any(axis=1) | (size[near] > 1) | (size[far] > 1)
        limit = np.where(other, min(self.nms_overlap, AGREE), self.nms_overlap)
        over = _iou(shapes[near], shapes[far]) > limit
        rivals: list[list[int]] = [[] for _ in range(count)]
        for a, b in zip(near[over].tolist(), far[over].tolist(), strict=True):
            rivals[a].append(b)
            rivals[b].append(a)
        bounds = shapely.bounds(shapes).reshape(-1, 4)
        kept, gone, waits = np.zeros(count, bool), np.zeros(count, bool), growing.copy()
        for number in np.lexsort((bounds[:, 3], bounds[:, 2], bounds[:, 0], bounds[:, 1], -scores)).tolist():
            if gone[number]:
                continue
            if not done[number] or waits[rivals[number]].any():
                waits[number] = True
                continue
            kept[number] = True
            gone[rivals[number]] = True
        self._out[members[gone[at]]] = True
        return numbers[kept]

    def _whole(self, pieces: NDArray[np.object_]) -> shapely.Geometry:
        """Pieces of an object as one."""
        if len(pieces) == 1:
            return pieces[0]
        union = shapely.union_all(pieces)
        return shapely.envelope(union) if self.boxes else union


def _touching(shapes: NDArray[np.object_], labels: NDArray[np.int64]) -> Pairs:
    """(first, second) of all pairs of one class whose bounding boxes touch, each pair once."""
    first, second = shapely.STRtree(shapes).query(shapes)
    once = (first < second) & (labels[first] == labels[second])
    return first[once], second[once]


def _iou(first: NDArray[np.object_], second: NDArray[np.object_]) -> NDArray[np.float64]:
    """Intersection over union of each pair; 0 for empty ones."""
    common = shapely.area(shapely.intersection(first, second))
    union = shapely.area(first) + shapely.area(second) - common
    return np.divide(common, union, out=np.zeros(len(common)), where=union > 0)
