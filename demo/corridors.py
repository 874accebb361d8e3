"""Railways, drainage channels and the slopes of levees: long, narrow, and not roads."""

import numpy as np
from numpy.typing import NDArray

from demo.canvas import Canvas
from demo.cover import Cover
from demo.noise import line_noise
from demo.ribbons import ribbon


def paint_rail(canvas: Canvas, rng: np.random.Generator, line: NDArray[np.float64]) -> None:
    """Paint a railway of one or two tracks on ballast along `line` (N, 2) in pixels."""
    res = canvas.resolution_m
    gauges = (0.0,) if rng.random() < 0.6 else (-2.2, 2.2)
    half = gauges[-1] + rng.uniform(2.4, 3.4)
    band = ribbon(line, canvas.px(half + 4), canvas.shape)
    if band.rows.size == 0:
        return
    side, along = band.across * res, band.along * res
    grain = 5 * rng.standard_normal(side.size) + 4 * line_noise(rng, along, 30)
    skirt = np.clip((half + 3 - np.abs(side)) / 3, 0, 1) * 0.5
    canvas.blend_at(band.rows, band.cols, skirt, np.array([138.0, 133.0, 122.0]) + grain[:, None])
    body = np.clip((half - np.abs(side)) / res + 0.5, 0, 1)
    stone = np.array([118.0, 113.0, 107.0]) + rng.normal(0, 8)
    canvas.blend_at(band.rows, band.cols, body, stone + grain[:, None])
    for gauge in gauges:
        sleeper = np.clip((1.3 - np.abs(side - gauge)) / res + 0.5, 0, 1) * 0.55
        rust = np.array([84.0, 76.0, 70.0])
        canvas.blend_at(band.rows, band.cols, sleeper, rust)
        for rail in (-0.72, 0.72):
            shine = np.clip(1 - np.abs(side - gauge - rail) / res, 0, 1) * 0.5
            canvas.blend_at(band.rows, band.cols, shine, np.array([148.0, 142.0, 136.0]))
    inside = np.abs(side) <= half
    canvas.cover[band.rows[inside], band.cols[inside]] = Cover.RAIL


def paint_channel(canvas: Canvas, rng: np.random.Generator, line: NDArray[np.float64]) -> None:
    """Paint a concrete drainage channel with a wet strip along `line` (N, 2) in pixels."""
    res = canvas.resolution_m
    half, floor = rng.uniform(6, 14), rng.uniform(0.4, 0.75)
    band = ribbon(line, canvas.px(half + 4), canvas.shape)
    if band.rows.size == 0:
        return
    side, along = band.across * res, band.along * res
    grain = 2.5 * rng.standard_normal(side.size) + 4 * line_noise(rng, along, 12)
    verge = np.clip((half + 3.5 - np.abs(side)) / 1.5, 0, 1) * 0.8
    canvas.blend_at(band.rows, band.cols, verge, np.array([148.0, 142.0, 128.0]) + grain[:, None])
    concrete = np.array([168.0, 166.0, 158.0]) + rng.normal(0, 10)
    body = np.clip((half - np.abs(side)) / res + 0.5, 0, 1)
    across = canvas.sun.toward @ _normal(line)
    slope = np.where(np.abs(side) > half * floor, -14 * np.sign(side) * across, 0)
    canvas.blend_at(band.rows, band.cols, body, concrete + (grain + slope)[:, None])
    inside = np.abs(side) <= half
    canvas.cover[band.rows[inside], band.cols[inside]] = Cover.DRIVEWAY_OR_SIDEWALK
    wet_half = half * floor * rng.uniform(0.25, 0.8) * (1 + 0.3 * line_noise(rng, along, 25))
    wet = np.clip((wet_half - np.abs(side)) / 1.0, 0, 1)
    water = np.array([72.0, 82.0, 78.0]) + rng.normal(0, 8)
    canvas.blend_at(band.rows, band.cols, wet * 0.8, water + grain[:, None])
    deep = wet > 0.5
    canvas.cover[band.rows[deep], band.cols[deep]] = Cover.WATER


def paint_levee(canvas: Canvas, rng: np.random.Generator, line: NDArray[np.float64], crest_m: float) -> None:
    """Paint the slopes beside the crest of an embankment along `line` (N, 2) in pixels: grown over, or stone on one side."""
    res = canvas.resolution_m
    slope_m = rng.uniform(5, 13)
    band = ribbon(line, canvas.px(crest_m / 2 + slope_m + 2), canvas.shape)
    if band.rows.size == 0:
        return
    side, along = band.across * res, band.along * res
    away = np.abs(side) - crest_m / 2
    ragged = 0.8 * line_noise(rng, along, 20)
    body = np.clip((slope_m + ragged - away) / 1.5, 0, 1) * np.clip(away / 1.0 + 0.5, 0, 1)
    lit = 16 * np.sign(side) * (canvas.sun.toward @ _normal(line))
    canvas.rgb[band.rows, band.cols] += (lit * body)[:, None].astype(np.float32)
    if rng.random() < 0.6:
        stony = body * (side * rng.choice([-1, 1]) > 0)
        stone = np.array([112.0, 113.0, 114.0]) + rng.normal(0, 12)
        rubble = 17 * rng.standard_normal(side.size) + 6 * line_noise(rng, along, 9)
        canvas.blend_at(band.rows, band.cols, 0.9 * stony, stone + rubble[:, None])


def _normal(line: NDArray[np.float64]) -> NDArray[np.float64]:
    step = line[-1] - line[0]
    step = step / np.hypot(*step)
    return np.array([-step[1], step[0]])
