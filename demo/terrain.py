"""Open ground: soil, weeds, speckle of tiny shrubs, and dry river beds."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from demo.canvas import Canvas
from demo.cover import Cover
from demo.look import Look, Patch
from demo.noise import octaves, smooth_noise, streaked_noise
from demo.ribbons import ribbon


def paint_soil(canvas: Canvas, look: Look, rng: np.random.Generator) -> NDArray[np.float32]:
    """Paint open ground over the whole scene.

    Returns:
        (H, W) vegetation density, 0 to 1, for placing shrubs.
    """
    px, shape, biome = canvas.px, canvas.shape, look.biome
    broad = octaves(rng, shape, (px(180), px(70), px(28)), 0.75)
    patch = octaves(rng, shape, (px(16), px(7), px(3.2), px(1.5)), 0.92)
    dark, bright = np.array(biome.soils[1]), np.array(biome.soils[2])
    base = np.array(biome.soils[0], np.float32)
    canvas.rgb[:] = base
    tone = np.float32(0.3) * broad + np.float32(0.3) * patch
    canvas.blend_all(np.clip(tone, 0, 1), bright.astype(np.float32))
    canvas.blend_all(np.clip(-tone, 0, 1), dark.astype(np.float32))
    for place in look.patches:
        _lay_patch(canvas, place, rng)
    streaks = streaked_noise(rng, shape, (px(30), px(1.6)), rng.uniform(0, np.pi))
    fine = smooth_noise(rng, shape, max(px(0.9), 1.3)) * 5.5
    grain = rng.standard_normal(shape, dtype=np.float32) * 4.0
    relief = (fine + grain + look.furrows * streaks) * np.float32(look.texture)
    canvas.rgb += relief[..., None]
    density = np.clip(0.55 + 0.35 * octaves(rng, shape, (px(120), px(45), px(15))), 0.05, 1)
    _grow_weeds(canvas, look, rng, density)
    _speckle(canvas, look, rng, density)
    return density


def _lay_patch(canvas: Canvas, patch: Patch, rng: np.random.Generator) -> None:
    px, shape = canvas.px, canvas.shape
    broad = rng.uniform(25, 120)
    field = octaves(rng, shape, (px(broad), px(broad / 3), px(broad / 8), px(2.5), px(1.2)), float(rng.uniform(0.65, 0.95)))
    level = np.quantile(field[::4, ::4], 1 - patch.share)
    ragged = np.float32(0.9) + np.float32(0.3) * smooth_noise(rng, shape, max(px(0.8), 1.2))
    cover = np.clip((field - level) / patch.edge + 0.5, 0, 1) * np.float32(patch.strength) * ragged
    tint = np.float32(rng.uniform(2, 9)) * octaves(rng, shape, (px(9), px(3), px(1.2)))
    colour = np.array(patch.colour, np.float32) + tint[..., None]
    canvas.blend_all(np.clip(cover, 0, 1), colour)


def _grow_weeds(canvas: Canvas, look: Look, rng: np.random.Generator, density: NDArray[np.float32]) -> None:
    px, shape, biome = canvas.px, canvas.shape, look.biome
    for colour in biome.weeds:
        field = octaves(rng, shape, (px(60), px(22), px(8), px(3)), 0.8) + 0.6 * (density - 0.5)
        threshold = 1.3 - 1.8 * biome.weed_share
        ragged = 0.8 + 0.5 * smooth_noise(rng, shape, max(px(0.8), 1.2))
        cover = np.clip(0.45 * (field - threshold), 0, 0.5) * ragged
        canvas.blend_all(cover, np.array(colour, np.float32))


def _speckle(canvas: Canvas, look: Look, rng: np.random.Generator, density: NDArray[np.float32]) -> None:
    shape = canvas.shape
    for sigma_m, strength in ((0.38, 0.7), (0.65, 0.65), (1.1, 0.5)):
        dots = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), canvas.px(sigma_m), truncate=2.5)
        dots /= dots.std()
        level = 2.2 - 2.6 * look.biome.speckle_share * (0.4 + density)
        cover = np.clip(dots - level, 0, 1.2) * np.float32(strength)
        canvas.blend_all(cover, np.array(look.biome.speckle, np.float32))


def paint_wash(
    canvas: Canvas,
    look: Look,
    rng: np.random.Generator,
    line: NDArray[np.float64],
    width_m: float,
) -> NDArray[np.bool_]:
    """Paint a braided dry river bed along `line` (N, 2) in pixels.

    Returns:
        (H, W) where the flood plain lies; shrubs crowd its banks.
    """
    band = ribbon(line, canvas.px(width_m * 0.75 + 6), canvas.shape)
    plain = np.zeros(canvas.shape, bool)
    if band.rows.size == 0:
        return plain
    plain[band.rows, band.cols] = True
    along, across = band.along * canvas.resolution_m, band.across * canvas.resolution_m
    flow = _braids(rng, along, across, width_m)
    alpha = np.clip(flow * 2.2, 0, 1) * 0.85
    sand = np.array(look.biome.compact) + rng.normal(4, 5)
    ripple = _flow_texture(rng, along, across)
    paint = sand + (6 * ripple + rng.normal(0, 2.5, ripple.size))[:, None]
    canvas.blend_at(band.rows, band.cols, alpha, paint)
    bank = np.exp(-(((flow + 0.12) / 0.1) ** 2)) * 0.35
    canvas.blend_at(band.rows, band.cols, bank, np.array(look.biome.speckle) + 6.0)
    bed = alpha > 0.45
    canvas.cover[band.rows[bed], band.cols[bed]] = Cover.WASH
    return plain


def _braids(
    rng: np.random.Generator,
    along: NDArray[np.float64],
    across: NDArray[np.float64],
    width_m: float,
) -> NDArray[np.float64]:
    """Positive inside the sandy channels, negative on islands and beyond the banks."""
    islands = _sampled(rng, along, across, 38.0, max(width_m / 7, 2.5))
    ragged = _sampled(rng, along, across, 9.0, 4.0)
    envelope = 1 - np.abs(across) / (width_m / 2)
    return 0.75 * envelope + 0.32 * islands + 0.13 * ragged - 0.2


def _flow_texture(rng: np.random.Generator, along: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    return _sampled(rng, along, across, 14.0, 1.4) + _sampled(rng, along, across, 5.0, 2.5)


def _sampled(
    rng: np.random.Generator,
    along: NDArray[np.float64],
    across: NDArray[np.float64],
    length: float,
    breadth: float,
) -> NDArray[np.float64]:
    u, v = along / length, across / breadth
    u, v = u - u.min(), v - v.min()
    grid = rng.standard_normal((int(u.max()) + 3, int(v.max()) + 3))
    return ndimage.map_coordinates(grid, (u, v), order=1, mode="nearest")
