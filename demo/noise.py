"""Smooth random fields, cheap because they are drawn small and enlarged."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

FINE_PX = 4.0


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale_px: float) -> NDArray[np.float32]:
    """Return value noise of one feature size.

    Args:
        rng: Source of randomness.
        shape: (height, width) of the field.
        scale_px: Distance between independent values, in pixels.

    Returns:
        Array of `shape`, mean near 0 and deviation near 0.7.
    """
    if scale_px < FINE_PX:
        field = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), scale_px / 2.6, truncate=2.5)
        return np.float32(0.7) * field / field.std()
    height, width = shape
    rows, cols = math.ceil(height / scale_px) + 4, math.ceil(width / scale_px) + 4
    grid = Image.fromarray(rng.standard_normal((rows, cols), dtype=np.float32))
    left, top = 1 + rng.random(), 1 + rng.random()
    box = (left, top, left + width / scale_px, top + height / scale_px)
    return np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC, box=box))


def streaked_noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    scale_px: tuple[float, float],
    angle_rad: float,
) -> NDArray[np.float32]:
    """Return noise stretched along one direction.

    Args:
        rng: Source of randomness.
        shape: (height, width) of the field.
        scale_px: Feature size along and across the direction, in pixels.
        angle_rad: Direction of the stretch, from x towards y.

    Returns:
        Array of `shape`, mean near 0.
    """
    height, width = shape
    reach = math.hypot(height, width)
    cols, rows = (math.ceil(reach / scale) + 4 for scale in scale_px)
    grid = Image.fromarray(rng.standard_normal((rows, cols), dtype=np.float32))
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    a, b = cos / scale_px[0], sin / scale_px[0]
    d, e = -sin / scale_px[1], cos / scale_px[1]
    c = cols / 2 - (a * width + b * height) / 2
    f = rows / 2 - (d * width + e * height) / 2
    turned = grid.transform(
        (width, height),
        Image.Transform.AFFINE,
        (a, b, c, d, e, f),
        Image.Resampling.BICUBIC,
    )
    return np.asarray(turned)


def octaves(rng: np.random.Generator, shape: tuple[int, int], scales_px: Sequence[float], fall: float = 0.7) -> NDArray[np.float32]:
    """Sum noise over `scales_px`, each weighing `fall` times the one before; deviation near 1."""
    total = np.zeros(shape, np.float32)
    power = 0.0
    for order, scale in enumerate(scales_px):
        weight = fall**order
        total += weight * smooth_noise(rng, shape, max(scale, 1.0))
        power += weight**2
    return total / np.float32(0.7 * math.sqrt(power))


def line_noise(rng: np.random.Generator, at_m: NDArray[np.float64], scale_m: float) -> NDArray[np.float64]:
    """Return smooth noise along a line, evaluated at distances `at_m`; deviation near 0.8."""
    if at_m.size == 0:
        return np.zeros(0)
    start = float(at_m.min())
    knots = np.arange(math.ceil((float(at_m.max()) - start) / scale_m) + 3)
    return np.interp((at_m - start) / scale_m + 0.5, knots, rng.standard_normal(knots.size))
