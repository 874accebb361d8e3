"""Smart select: outlines by colour and edges alone, without weights, behind the interface of `PromptableModel`.

A chip is cut into some thousand small pieces along its edges (watershed of the colour gradient, in CIELAB). A random walk over the pieces (Grady 2006,
https://doi.org/10.1109/TPAMI.2006.233; with a weak pull to the background everywhere, as in Grady 2005) says how near each is to what was clicked: pieces of
like colour without an edge between are near. Taken in that order they form a growing area; the answers are the moments at which its rim is most distinct and smooth.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu
from skimage.color import rgb2lab
from skimage.segmentation import watershed

from labeling.prompt.model import Candidates, Embedding, Point, Progress, Prompt, Thing

KEY = "smart-select:2"
PIECE_PX = 120
"""Pixels of a piece, on average."""
SMOOTH_PX = 1.0
EDGE_SCALE = 0.005
"""How fast a walk gets unlikely with the square of the step in colour (CIELAB units)."""
PULL = 1e-3
"""Towards the background, for each pixel that differs in colour from what was clicked."""
STEP_AT_MOST = 40.0
"""Steps in colour count up to this."""
LARGE_SHARE = 0.12
"""An answer to clicks that covers more of the chip than this has to be the more distinct ..."""
LARGEST_SHARE = 0.5
"""... and none covers more than this."""
ANOTHER_SIZE = 1.6
"""The second and third answer differ so much in area from the first."""
DEEP, ROOM = 0.6, 0.1
"""Of a rough area: the share of its greatest depth from which on it is sure, and how much beyond its sides the thing may go."""
AROUND_PX = 288
"""Where everything is outlined, each walk sees this far: several times as quick as over a whole chip, and as good."""
SAME = 0.7
"""Two answers that are so much the same (IoU) are one."""


class SmartSelect:
    """See the module. Embedding: 'pieces' (rows, columns) number of the piece of each pixel, and for pieces and pairs of neighbours what is needed."""

    key = KEY
    offered_from = 0.65
    alike_from = 0.38

    def encode(self, rgb: NDArray[np.uint8], valid: NDArray[np.bool_], progress: Progress) -> dict[str, NDArray[Any]]:
        """See `PromptableModel.encode`."""
        lab = rgb2lab(rgb).astype(np.float32)
        progress(0.3)
        smooth = np.stack([ndimage.gaussian_filter(lab[..., i], SMOOTH_PX) for i in range(3)], axis=-1)
        steps = [ndimage.sobel(smooth[..., i], axis) for i in range(3) for axis in (0, 1)]
        gradient = np.sqrt(sum(step * step for step in steps)) / 8
        progress(0.6)
        pieces = watershed(gradient, _markers(gradient)) - 1
        progress(0.9)
        return {"shape": np.array(valid.shape, np.int32), **_described(pieces.astype(np.int64), lab, gradient)}

    def predict(self, embedding: Embedding, prompt: Prompt) -> Candidates:
        """See `PromptableModel.predict`."""
        net = _Net.of(embedding)
        scores, chosen = net.answers(*net.seeds(embedding["pieces"], prompt), prompt)
        return Candidates(scores, np.where(chosen, 1, -1).astype(np.float32))

    def everything(self, embedding: Embedding, points: Sequence[Point], progress: Progress) -> Iterator[Thing]:
        """See `PromptableModel.everything`: what a click at each point would find, every thing once."""
        net, pieces = _Net.of(embedding), embedding["pieces"]
        middles = _middles(pieces, net.count)
        scores, chosen = [], []
        for number, point in enumerate(points):
            progress(number / len(points))
            seed = _at(pieces, point)
            near, here, cut = net.near(middles, middles[seed])
            for score, some in zip(*near.answers(np.flatnonzero(here == seed), np.zeros(0, np.int64), Prompt((point,))), strict=True):
                if not cut[some].any():
                    scores.append(score)
                    chosen.append(here[some])
        for number in net.different(np.array(scores), chosen):
            inside = np.zeros(net.count, np.bool_)
            inside[chosen[number]] = True
            yield Thing(float(scores[number]), inside[pieces], net.features(inside))

    def describe(self, embedding: Embedding, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """See `PromptableModel.describe`: colour, its variation, its step to what is around; size and shape."""
        return _Net.of(embedding).features((self.logits_of(embedding, mask) + 1) / 2)

    def likeness(self, things: NDArray[np.float32], scores: NDArray[np.float32], examples: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `PromptableModel.likeness`: to the nearest example, in units of the spread among all things; what is outlined badly counts less."""
        spread = np.maximum(np.std(things, axis=0), 1e-3)
        apart = np.square((things[:, None] - examples[None]) / spread).mean(axis=2)
        return np.asarray(np.exp(-apart / 2).max(axis=1) * scores**2, np.float32)

    def mask(self, embedding: Embedding, logits: NDArray[np.float32]) -> NDArray[np.bool_]:
        """See `PromptableModel.mask`."""
        return np.asarray((logits > 0)[embedding["pieces"]])

    def logits_of(self, embedding: Embedding, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """See `PromptableModel.logits_of`: of each piece, how much of it lies inside, -1..1."""
        inside = np.bincount(embedding["pieces"].ravel(), mask.ravel(), len(embedding["sizes"]))
        return np.asarray(inside / embedding["sizes"] * 2 - 1, np.float32)


@dataclass(frozen=True)
class _Net:
    """Pieces, and who is beside whom: of a chip, or of a part of it."""

    sizes: NDArray[np.float64]
    colours: NDArray[np.float32]
    a: NDArray[np.int64]
    b: NDArray[np.int64]
    lengths: NDArray[np.float64]
    edges: NDArray[np.float32]
    rim: NDArray[np.float64]
    chip_px: int

    @classmethod
    def of(cls, embedding: Embedding) -> _Net:
        a, b = embedding["pairs"].astype(np.int64).T
        return cls(
            embedding["sizes"].astype(np.float64),
            embedding["colours"].astype(np.float32),
            a,
            b,
            embedding["lengths"].astype(np.float64),
            embedding["edges"].astype(np.float32),
            embedding["rim"].astype(np.float64),
            embedding["pieces"].size,
        )

    @property
    def count(self) -> int:
        return len(self.sizes)

    @functools.cached_property
    def steps(self) -> NDArray[np.float32]:
        """In colour, from each piece to its neighbour."""
        return np.asarray(np.linalg.norm(self.colours[self.a] - self.colours[self.b], axis=1) + self.edges)

    def near(self, middles: NDArray[np.float64], place: NDArray[np.float64]) -> tuple[_Net, NDArray[np.int64], NDArray[np.bool_]]:
        """The pieces within `AROUND_PX` of a place, as a net of their own; which they are; and of each whether it lies along the cut."""
        inside = np.asarray((np.abs(middles - place) < AROUND_PX).all(axis=1))
        here = np.flatnonzero(inside)
        number = np.cumsum(inside) - 1
        in_a, in_b = inside[self.a], inside[self.b]
        both, left, right = in_a & in_b, in_a & ~in_b, in_b & ~in_a
        cut = np.bincount(self.a[left], self.lengths[left], self.count) + np.bincount(self.b[right], self.lengths[right], self.count)
        part = _Net(
            self.sizes[here], self.colours[here], number[self.a[both]], number[self.b[both]], self.lengths[both], self.edges[both], (self.rim + cut)[here], self.chip_px
        )
        return part, here, cut[here] > 0

    def seeds(self, pieces: NDArray[np.uint16], prompt: Prompt) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pieces that belong to it, and pieces that do not."""
        plus = {_at(pieces, p) for p in prompt.points if p.wanted}
        minus = {_at(pieces, p) for p in prompt.points if not p.wanted}
        if prompt.box is not None:
            left, top, right, bottom = prompt.box
            if prompt.logits is not None and not plus:  # a rough area: what is deep inside it belongs to it, what is near it may
                rough = (prompt.logits > 0)[pieces]
                depth = ndimage.distance_transform_edt(rough)
                plus = set(np.unique(pieces[rough & (depth >= DEEP * depth.max())]).tolist())
                across, down = ROOM * (right - left), ROOM * (bottom - top)
                left, top, right, bottom = left - across, top - down, right + across, bottom + down
            inside = np.zeros(pieces.shape, np.bool_)
            inside[max(0, int(top)) : int(np.ceil(bottom)), max(0, int(left)) : int(np.ceil(right))] = True
            share = np.bincount(pieces.ravel(), inside.ravel(), self.count) / self.sizes
            minus |= set(np.flatnonzero(share < 0.5).tolist())
            if not plus:
                middle = inside.copy()
                rows, columns = (bottom - top) / 3, (right - left) / 3
                middle[: int(top + rows)] = middle[int(np.ceil(bottom - rows)) :] = False
                middle[:, : int(left + columns)] = middle[:, int(np.ceil(right - columns)) :] = False
                plus = set(np.unique(pieces[middle]).tolist()) or {_at(pieces, Point((left + right) / 2, (top + bottom) / 2))}
        elif not plus and prompt.logits is not None:
            plus = set(np.flatnonzero(prompt.logits > 0.6).tolist()) or {int(prompt.logits.argmax())}
        minus -= plus
        return np.array(sorted(plus), np.int64), np.array(sorted(minus), np.int64)

    def answers(self, plus: NDArray[np.int64], minus: NDArray[np.int64], prompt: Prompt) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Up to three possible answers, the likeliest first: scores, and (answers, pieces) what belongs to each."""
        score, area, ranked = self.judged(self.order(plus, minus), plus, prompt)
        picks = [int(score.argmax())]
        for other in (area < area[picks[0]] / ANOTHER_SIZE, area > area[picks[0]] * ANOTHER_SIZE):
            if (other & (score > 0)).any():
                picks.append(int(np.where(other, score, -1).argmax()))
        scores = np.array([score[pick] / (score[pick] + 10) for pick in picks], np.float32)
        return np.maximum(scores, 0), np.stack([self.without_holes(self.first(ranked, pick), minus) for pick in picks])

    def different(self, scores: NDArray[np.float64], chosen: Sequence[NDArray[np.int64]]) -> Iterator[int]:
        """Numbers of the answers (pieces of each), the best first, without those that are the same as a better one."""
        ends = np.cumsum([0, *(len(one) for one in chosen)])
        which = csr_matrix((np.ones(ends[-1]), np.concatenate([np.zeros(0, np.int64), *chosen]), ends), shape=(len(chosen), self.count))
        area = which @ self.sizes
        both = (which.multiply(self.sizes) @ which.T).tocsr()
        alive = np.ones(len(chosen), np.bool_)
        for number in np.argsort(-scores, kind="stable"):
            if alive[number]:
                yield int(number)
                others = both.indices[both.indptr[number] : both.indptr[number + 1]]
                shared = both.data[both.indptr[number] : both.indptr[number + 1]]
                alive[others[shared > SAME * (area[number] + area[others] - shared)]] = False

    def features(self, inside: NDArray[Any]) -> NDArray[np.float32]:
        """Of an area, `inside` (pieces,) telling the share of each piece in it."""
        inside = inside.astype(np.float32)
        weights = inside * self.sizes
        area = max(float(weights.sum()), 1.0)
        colour = weights @ self.colours / area
        variation = np.sqrt(weights @ np.square(self.colours - colour) / area)
        in_a, in_b = inside[self.a] > 0.5, inside[self.b] > 0.5
        rim = in_a ^ in_b
        outer = np.where(in_a, self.b, self.a)[rim]
        around = self.lengths[rim] @ self.colours[outer] / max(float(self.lengths[rim].sum()), 1.0) if rim.any() else colour
        length = float(self.lengths[rim].sum() + self.rim[inside > 0.5].sum())
        return np.array([*colour, *variation, *(colour - around), np.log(area), np.log(max(length, 1.0) ** 2 / area)], np.float32)

    def order(self, plus: NDArray[np.int64], minus: NDArray[np.int64]) -> NDArray[np.float64]:
        """(pieces,): the smaller, the nearer to what is wanted; infinite where a walk ends sooner at what is not."""
        near = self._walk(plus, minus)
        order = -np.log(np.maximum(near, 1e-12))
        if len(minus):
            order[near <= self._walk(minus, plus)] = np.inf
        order[plus] = 0
        return order

    def judged(
        self, order: NDArray[np.float64], plus: NDArray[np.int64], prompt: Prompt
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """For every moment of the growth: how distinct the area's rim is, and its pixels; and the pieces in order."""
        ranked = np.argsort(order, kind="stable")
        ranked = ranked[np.isfinite(order[ranked])]
        moments = len(ranked)
        rank = np.full(self.count, moments)
        rank[ranked] = np.arange(moments)
        first, last = np.minimum(rank[self.a], rank[self.b]), np.maximum(rank[self.a], rank[self.b])
        reached = first < moments

        def along_the_rim(values: NDArray[np.float64]) -> NDArray[np.float64]:
            """Sum over pairs of which one is in and one is out."""
            change = np.bincount(first[reached], values[reached], moments + 1) - np.bincount(last[reached], values[reached], moments + 1)
            return np.asarray(np.cumsum(change)[:moments])

        area = np.cumsum(self.sizes[ranked])
        # along the chip's own border nothing is distinct
        rim = np.maximum(along_the_rim(self.lengths) + np.cumsum(self.rim[ranked]), 1)
        distinct = along_the_rim(self.lengths * np.minimum(self.steps, STEP_AT_MOST)) / rim
        round_ = np.minimum(1, 1.6 * 4 * np.pi * area / rim**2)
        score = distinct * np.sqrt(round_)
        if prompt.logits is not None:
            before = np.maximum(prompt.logits, 0) * self.sizes
            both = np.cumsum(before[ranked])
            score *= 0.5 + both / (area + before.sum() - both)
        if prompt.box is not None:
            left, top, right, bottom = prompt.box
            score *= np.minimum(1, 0.2 + area / max(1.0, (right - left) * (bottom - top)))
        elif prompt.logits is None:
            share = area / self.chip_px
            score *= np.minimum(1, LARGE_SHARE / share)
            score[share > LARGEST_SHARE] = 0
        score[: rank[plus].max()] = 0
        if not score.any():
            score[rank[plus].max()] = 1e-6
        return score, area, ranked

    def first(self, ranked: NDArray[np.int64], moment: int) -> NDArray[np.bool_]:
        chosen = np.zeros(self.count, np.bool_)
        chosen[ranked[: moment + 1]] = True
        return chosen

    def without_holes(self, chosen: NDArray[np.bool_], minus: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Fill what lies inside (a chimney on a roof), unless it was marked as not meant or is large."""
        outside = ~chosen
        both = outside[self.a] & outside[self.b]
        graph = csr_matrix((np.ones(int(both.sum()), np.int8), (self.a[both], self.b[both])), shape=(self.count, self.count))
        _, part = connected_components(graph, directed=False)
        stays = np.zeros(part.max() + 1, np.bool_)
        stays[part[outside & (self.rim > 0)]] = True
        stays[part[minus]] = True
        stays |= np.bincount(part, self.sizes) > 0.25 * self.sizes[chosen].sum()
        return np.asarray(chosen | (outside & ~stays[part]))

    def _walk(self, ends: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float64]:
        """(pieces,): how likely a random walk from each ends first at one of `ends`."""
        weights = self.lengths * np.exp(-EDGE_SCALE * self.steps.astype(np.float64) ** 2) + 1e-4
        links = coo_matrix((weights, (self.a, self.b)), shape=(self.count, self.count)).tocsr()
        links = links + links.T
        unlike = np.linalg.norm(self.colours[:, None] - self.colours[None, ends[:50]], axis=2).min(axis=1)
        pull = PULL * self.sizes * (1.05 - np.exp(-EDGE_SCALE * unlike.astype(np.float64) ** 2))
        system = (diags(np.asarray(links.sum(axis=1)).ravel() + pull) - links).tocsr()
        fixed = np.zeros(self.count, np.bool_)
        fixed[ends] = fixed[others] = True
        near = np.zeros(self.count)
        near[ends] = 1
        free = np.flatnonzero(~fixed)
        if len(free):
            rows = system[free]
            solver = splu(rows[:, free].tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
            near[free] = solver.solve(-rows[:, np.flatnonzero(fixed)] @ near[fixed])
        return near


def _at(pieces: NDArray[np.uint16], place: Point) -> int:
    rows, columns = pieces.shape
    return int(pieces[min(max(int(place.y), 0), rows - 1), min(max(int(place.x), 0), columns - 1)])


def _middles(pieces: NDArray[np.uint16], count: int) -> NDArray[np.float64]:
    """(pieces, 2): mean (x, y) of each."""
    y, x = np.divmod(np.arange(pieces.size), pieces.shape[1])
    flat = pieces.ravel()
    return np.stack([np.bincount(flat, x, count), np.bincount(flat, y, count)], axis=-1) / np.bincount(flat, minlength=count)[:, None]


def _markers(gradient: NDArray[np.float32]) -> NDArray[np.int32]:
    """One marker in each cell of a square lattice, where the gradient is least in the middle of the cell."""
    rows, columns = gradient.shape
    side = max(2, round(PIECE_PX**0.5))
    markers = np.zeros((rows, columns), np.int32)
    number = 0
    for row in range(0, rows, side):
        for column in range(0, columns, side):
            top, left = min(row + side // 6, rows - 1), min(column + side // 6, columns - 1)
            middle = gradient[top : row + side - side // 6, left : column + side - side // 6]
            down, across = np.unravel_index(int(middle.argmin()), middle.shape)
            number += 1
            markers[top + down, left + across] = number
    return markers


def _described(pieces: NDArray[np.int64], lab: NDArray[np.float32], gradient: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Size, mean colour and stretch of the chip's border of each piece; length, and gradient along it, of each border between two."""
    count = int(pieces.max()) + 1
    flat = pieces.ravel()
    sizes = np.bincount(flat, minlength=count)
    colours = np.stack([np.bincount(flat, lab[..., i].ravel(), count) / sizes for i in range(3)], axis=-1)
    names, heights = [], []
    for here, there, g_here, g_there in (
        (pieces[:, :-1], pieces[:, 1:], gradient[:, :-1], gradient[:, 1:]),
        (pieces[:-1], pieces[1:], gradient[:-1], gradient[1:]),
    ):
        apart = here != there
        names.append(np.minimum(here[apart], there[apart]) * count + np.maximum(here[apart], there[apart]))
        heights.append(np.maximum(g_here[apart], g_there[apart]))
    pairs, which, lengths = np.unique(np.concatenate(names), return_inverse=True, return_counts=True)
    edges = np.bincount(which, np.concatenate(heights), len(pairs)) / np.maximum(lengths, 1)
    rim = np.bincount(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]), minlength=count)
    return {
        "pieces": pieces.astype(np.uint16),
        "sizes": sizes.astype(np.uint32),
        "colours": colours.astype(np.float32),
        "pairs": np.stack([pairs // count, pairs % count], axis=-1).astype(np.uint16),
        "lengths": lengths.astype(np.uint16),
        "edges": edges.astype(np.float32),
        "rim": rim.astype(np.uint16),
    }
