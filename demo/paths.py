"""Unpaved ways as vehicles and walkers wear them: wandering lines over open ground."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.ribbons import densify, smooth

STRIDE_PX = 6.0


@dataclass
class Ground:
    """Where paths may run.

    Attributes:
        barred: (H, W) bool, built-up ground a path ends at.
        taken: (H, W) bool, near an existing road; new paths do not run along there.
    """

    barred: NDArray[np.bool_]
    taken: NDArray[np.bool_]

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.barred.shape[0], self.barred.shape[1]

    def holds(self, point: NDArray[np.float64]) -> bool:
        """Tell whether `point`, x and y in pixels, lies in the scene."""
        height, width = self.shape
        return bool(0 <= point[0] < width and 0 <= point[1] < height)

    def is_open(self, point: NDArray[np.float64]) -> bool:
        """Tell whether a path may pass `point`, x and y in pixels."""
        return self.holds(point) and not self.barred[int(point[1]), int(point[0])]

    def occupy(self, line: NDArray[np.float64], reach_px: float) -> None:
        """Note that a road runs along `line`, so that others keep `reach_px` away."""
        reach = int(reach_px)
        for x, y in densify(line, max(reach_px / 2, 2)).astype(int).tolist():
            top, left = max(y - reach, 0), max(x - reach, 0)
            self.taken[top : max(y + reach, 0), left : max(x + reach, 0)] = True


def wander(
    rng: np.random.Generator,
    ground: Ground,
    start: NDArray[np.float64],
    heading: float,
    restless: float,
    longest_px: float,
) -> NDArray[np.float64]:
    """Walk from `start` until the scene ends, something is in the way or the length is used up.

    Args:
        rng: Source of randomness.
        ground: Where walking is possible.
        start: x and y in pixels.
        heading: First direction, radians from x towards y.
        restless: 0 walks straight, 1 winds strongly.
        longest_px: Longest path.

    Returns:
        (N, 2) pixels, smooth, ending before what was in the way, or just outside the scene.
    """
    points = [start]
    turn, drift = 0.0, 0.0
    for _ in range(int(longest_px / STRIDE_PX)):
        turn = 0.93 * turn + restless * rng.normal(0, 0.016)
        drift = 0.985 * drift + turn
        way = heading + drift
        points.append(points[-1] + STRIDE_PX * np.array([np.cos(way), np.sin(way)]))
        if not ground.is_open(points[-1]):
            if ground.holds(points[-1]):
                points.pop()
            else:
                points.append(2 * points[-1] - points[-2])
            break
    return smooth(np.array(points), 2.0)


def free_share(ground: Ground, line: NDArray[np.float64]) -> float:
    """Share of `line` inside the scene that keeps clear of existing roads."""
    height, width = ground.shape
    cols, rows = densify(line, 4).astype(int).T
    inside = (cols >= 0) & (rows >= 0) & (cols < width) & (rows < height)
    if not inside.any():
        return 0.0
    return float(1 - ground.taken[rows[inside], cols[inside]].mean())


def border_start(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[NDArray[np.float64], float]:
    """Return a point just inside the scene's border and a heading roughly inwards."""
    height, width = shape
    side = int(rng.integers(4))
    share = rng.uniform(0.08, 0.92)
    x = (share * width, width - 1.0, share * width, 0.0)[side]
    y = (0.0, share * height, height - 1.0, share * height)[side]
    inward = (np.pi / 2, np.pi, -np.pi / 2, 0.0)[side]
    return np.array([x, y]), float(inward + rng.normal(0, 0.5))


def branch_start(rng: np.random.Generator, line: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return a point on `line` and a heading that leaves it at an angle."""
    at = int(rng.integers(1, len(line) - 1)) if len(line) > 2 else 0
    step = line[min(at + 1, len(line) - 1)] - line[at]
    along = float(np.arctan2(step[1], step[0]))
    return line[at].copy(), along + float(rng.choice([-1, 1]) * rng.uniform(0.45, 1.6))
