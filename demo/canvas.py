"""What the painters paint on: colours, cover codes and supersampled polygon layers."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from demo.cover import ROAD_COVERS, Cover

SUPERSAMPLE = 2
SHADOW_TINT = np.array([0.40, 0.43, 0.50], np.float32)

Colour = tuple[float, float, float]
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Sun:
    """Where the light comes from; angles in degrees, azimuth clockwise from north."""

    azimuth_deg: float
    elevation_deg: float

    @property
    def toward(self) -> NDArray[np.float64]:
        """Unit vector towards the sun as (x right, y down)."""
        angle = math.radians(self.azimuth_deg)
        return np.array([math.sin(angle), -math.cos(angle)])

    def shadow_m(self, height_m: float) -> NDArray[np.float64]:
        """Offset of the shadow of a point `height_m` above ground, in metres (x right, y down)."""
        return -self.toward * height_m / math.tan(math.radians(self.elevation_deg))


@dataclass
class Canvas:
    """The scene while it is painted.

    Attributes:
        rgb: (H, W, 3) float32 colours, 0 to 255.
        cover: (H, W) uint8 codes of `Cover`.
        resolution_m: Metres per pixel.
        sun: Direction of the light.
    """

    rgb: NDArray[np.float32]
    cover: NDArray[np.uint8]
    resolution_m: float
    sun: Sun

    @classmethod
    def blank(cls, shape: tuple[int, int], resolution_m: float, sun: Sun) -> "Canvas":
        """Return an empty canvas of (height, width)."""
        return cls(np.zeros((*shape, 3), np.float32), np.zeros(shape, np.uint8), resolution_m, sun)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.cover.shape[0], self.cover.shape[1]

    def px(self, metres: float) -> float:
        """Convert a length to pixels."""
        return metres / self.resolution_m

    def blend_all(self, alpha: NDArray[np.float32], colour: NDArray[np.float32]) -> None:
        """Mix `colour`, (3,) or (H, W, 3), over the whole scene by `alpha` (H, W)."""
        self.rgb += alpha[..., None] * (colour - self.rgb)

    def blend_at(
        self,
        rows: NDArray[np.intp],
        cols: NDArray[np.intp],
        alpha: NDArray[np.float64],
        colour: NDArray[np.float64],
    ) -> None:
        """Mix `colour`, (3,) or (N, 3), over N single pixels by `alpha` (N,)."""
        under = self.rgb[rows, cols]
        self.rgb[rows, cols] = under + alpha[:, None] * (colour - under)

    def darken(self, shade: NDArray[np.float32]) -> None:
        """Put the scene in shadow by `shade` (H, W), 0 to 1."""
        self.rgb *= 1 - shade[..., None] * (1 - SHADOW_TINT)

    def mark(self, where: NDArray[np.bool_], code: Cover) -> None:
        """Set the cover of pixels `where` (H, W), roads excepted."""
        self.cover[where & ~np.isin(self.cover, ROAD_COVERS)] = code


class Layer:
    """Polygons drawn at twice the resolution and laid over a canvas in one go."""

    def __init__(self, shape: tuple[int, int]) -> None:
        """Start an empty layer for a canvas of (height, width)."""
        size = (shape[1] * SUPERSAMPLE, shape[0] * SUPERSAMPLE)
        self.size = size
        self.colours = Image.new("RGB", size)
        self.codes = Image.new("L", size)
        self._colour_pen = ImageDraw.Draw(self.colours)
        self._code_pen = ImageDraw.Draw(self.codes)

    def polygon(self, points: Points, colour: Colour, code: Cover) -> None:
        """Fill the polygon `points` (N, 2), x and y in canvas pixels."""
        at = self._visible(points)
        if at is None:
            return
        self._colour_pen.polygon(at, fill=_ink(colour))
        self._code_pen.polygon(at, fill=int(code) + 1)

    def line(self, points: Points, colour: Colour, width_px: float, code: Cover) -> None:
        """Draw the polyline `points` (N, 2) with a width in canvas pixels."""
        at = self._visible(points)
        if at is None:
            return
        width = max(1, round(width_px * SUPERSAMPLE))
        self._colour_pen.line(at, fill=_ink(colour), width=width)
        self._code_pen.line(at, fill=int(code) + 1, width=width)

    def lay_over(
        self,
        canvas: Canvas,
        texture: NDArray[np.float32] | float = 1.0,
        opacity: NDArray[np.float32] | float = 1.0,
    ) -> None:
        """Blend the layer into `canvas` and write its cover codes, roads excepted.

        Args:
            canvas: Painted in place.
            texture: Factor on the layer's colours, (H, W).
            opacity: How much the layer hides, 0 to 1, (H, W).
        """
        codes = np.asarray(self.codes)
        covered = Image.fromarray((codes > 0).astype(np.uint8) * 255)
        share = np.asarray(covered.reduce(SUPERSAMPLE), np.float32) / 255
        inked = np.asarray(self.colours.reduce(SUPERSAMPLE), np.float32)
        hide = np.asarray(opacity, np.float32)
        paint = np.asarray(texture, np.float32) * hide * np.ones_like(share)
        canvas.rgb *= 1 - (share * hide)[..., None]
        canvas.rgb += inked * paint[..., None]
        here = codes[::SUPERSAMPLE, ::SUPERSAMPLE]
        keep = (here > 0) & ~np.isin(canvas.cover, ROAD_COVERS)
        canvas.cover[keep] = here[keep] - 1

    def _visible(self, points: Points) -> list[tuple[float, float]] | None:
        at = points * SUPERSAMPLE - 0.5
        low, high = at.min(axis=0), at.max(axis=0)
        if high[0] < 0 or high[1] < 0 or low[0] > self.size[0] or low[1] > self.size[1]:
            return None
        return list(map(tuple, at.tolist()))


class ShadowLayer:
    """Shadows of solid things, drawn at canvas resolution."""

    def __init__(self, shape: tuple[int, int]) -> None:
        """Start without shadows, for a canvas of (height, width)."""
        self.image = Image.new("L", (shape[1] * SUPERSAMPLE, shape[0] * SUPERSAMPLE))
        self._pen = ImageDraw.Draw(self.image)

    def prism(self, corners: Points, offset_px: NDArray[np.float64]) -> None:
        """Add the shadow of a convex block with `corners` (N, 2), shifted by `offset_px`."""
        for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            quad = np.array([start, end, end + offset_px, start + offset_px])
            self._fill(quad)
        self._fill(corners + offset_px)

    def cast(self, canvas: Canvas, strength: float) -> None:
        """Darken `canvas` where the shadows fall."""
        shade = np.asarray(self.image.reduce(SUPERSAMPLE), np.float32) / 255
        canvas.darken(np.multiply(shade, strength, dtype=np.float32))

    def _fill(self, points: Points) -> None:
        self._pen.polygon(list(map(tuple, (points * SUPERSAMPLE - 0.5).tolist())), fill=255)


def jitter(rng: np.random.Generator, colour: Colour, spread: float, hue: float | None = None) -> Colour:
    """Return `colour` with brightness and hue moved a little."""
    level = rng.normal(0, spread)
    red, green, blue = (c + level + rng.normal(0, spread / 4 if hue is None else hue) for c in colour)
    return red, green, blue


def choose(rng: np.random.Generator, palette: Iterable[Colour]) -> Colour:
    """Return one colour of `palette`."""
    options = list(palette)
    return options[int(rng.integers(len(options)))]


def _ink(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (int(min(max(c, 1), 255)) for c in colour)
    return red, green, blue
