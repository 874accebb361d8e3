"""Shrubs and trees seen from above, stamped with their shadows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.canvas import Canvas, Colour
from demo.cover import ROAD_COVERS, Cover

RADII_PX = (1.2, 1.7, 2.3, 3.0, 4.0, 5.2, 6.6, 8.2, 10.0, 12.5, 15.5)
VARIANTS = 6


@dataclass(frozen=True)
class Plants:
    """Crowns to stamp.

    Attributes:
        at: (N, 2) float64 centres, x and y in pixels.
        radius_m: (N,) crown radii.
        colours: (N, 3) crown colours, 0 to 255.
        height_m: (N,) heights, for the shadows.
    """

    at: NDArray[np.float64]
    radius_m: NDArray[np.float64]
    colours: NDArray[np.float64]
    height_m: NDArray[np.float64]


@dataclass(frozen=True)
class _Crown:
    alpha: NDArray[np.float32]
    shade: NDArray[np.float32]


def gather(trees: list[tuple[float, float, float, Colour]], taller: float = 1.6) -> Plants:
    """Collect trees given as (x px, y px, crown radius m, colour)."""
    table = np.array([(x, y, r, *c) for x, y, r, c in trees], np.float64).reshape(-1, 6)
    return Plants(table[:, :2], table[:, 2], table[:, 3:], table[:, 2] * taller)


def stamp(canvas: Canvas, plants: Plants, rng: np.random.Generator, shadow: float) -> None:
    """Paint the shadows of all plants, then their crowns; write their cover, roads excepted."""
    bank = [[_crown(rng, r, canvas) for _ in range(VARIANTS)] for r in RADII_PX]
    sizes = np.searchsorted(np.array(RADII_PX[1:]) * 0.88, plants.radius_m / canvas.resolution_m).tolist()
    picks = rng.integers(VARIANTS, size=len(sizes)).tolist()
    crowns = [bank[size][pick] for size, pick in zip(sizes, picks, strict=True)]
    step = canvas.sun.shadow_m(1.0) / canvas.resolution_m
    shade = np.zeros(canvas.shape, np.float32)
    for crown, (x, y) in zip(crowns, plants.at + 0.75 * plants.height_m[:, None] * step, strict=True):
        window, part = _place(x, y, crown, canvas.shape)
        np.maximum(shade[window], crown.alpha[part], out=shade[window])
    canvas.darken(shade * np.float32(shadow))
    covered = np.zeros(canvas.shape, bool)
    for crown, (x, y), colour in zip(crowns, plants.at, plants.colours.astype(np.float32), strict=True):
        window, part = _place(x, y, crown, canvas.shape)
        under = canvas.rgb[window]
        paint = crown.shade[part][..., None] * colour
        under += crown.alpha[part][..., None] * (paint - under)
        covered[window] |= crown.alpha[part] > 0.5
    canvas.mark(covered, Cover.TREE_OR_SHRUB)


def scatter_shrubs(
    canvas: Canvas,
    rng: np.random.Generator,
    density: NDArray[np.float32],
    per_ha: float,
    colours: tuple[Colour, ...],
) -> Plants:
    """Place shrubs over open soil.

    Args:
        canvas: Gives size, resolution and the cover to keep clear of.
        rng: Source of randomness.
        density: (H, W) chance of keeping a candidate, 0 to 1.
        per_ha: Candidates per hectare.
        colours: Palette of the crowns.
    """
    height, width = canvas.shape
    count = int(per_ha * height * width * canvas.resolution_m**2 / 1e4)
    at = rng.random((count, 2)) * (width, height)
    cols, rows = at.astype(int).T
    keep = (rng.random(count) < density[rows, cols]) & ~np.isin(canvas.cover[rows, cols], (*ROAD_COVERS, Cover.RAIL, Cover.WATER))
    at = at[keep]
    radius = np.clip(rng.lognormal(-0.25, 0.5, len(at)), 0.4, 3.6)
    palette = np.array(colours)
    paint = palette[rng.integers(len(palette), size=len(at))] + rng.normal(0, 5, (len(at), 1))
    return Plants(at, radius, paint, radius * rng.uniform(0.7, 1.2, len(at)))


def _crown(rng: np.random.Generator, radius: float, canvas: Canvas) -> _Crown:
    reach = int(np.ceil(radius * 1.3)) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    distance, angle = np.hypot(x, y), np.arctan2(y, x)
    edge = np.ones_like(distance)
    for wave in range(2, 7):
        edge += rng.normal(0, 0.22 / wave) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    alpha = np.clip(radius * edge - distance + 0.5, 0, 1)
    toward = canvas.sun.toward
    tilt = (x * toward[0] + y * toward[1]) / max(radius, 1)
    clumps = rng.normal(0, 0.2, x.shape)
    shade = np.clip(0.88 + 0.3 * tilt + clumps, 0.4, 1.6)
    return _Crown(alpha.astype(np.float32), shade.astype(np.float32))


def _place(x: float, y: float, crown: _Crown, shape: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    side = crown.alpha.shape[0]
    left, top = int(np.floor(x)) - side // 2, int(np.floor(y)) - side // 2
    x0, x1 = min(max(left, 0), shape[1]), max(min(left + side, shape[1]), 0)
    y0, y1 = min(max(top, 0), shape[0]), max(min(top + side, shape[0]), 0)
    window = slice(y0, max(y0, y1)), slice(x0, max(x0, x1))
    part = (
        slice(y0 - top, max(y0, y1) - top),
        slice(x0 - left, max(x0, x1) - left),
    )
    return window, part
