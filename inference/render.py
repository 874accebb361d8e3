"""Class arrays as pictures: coloured overlays, and the animated before/after picture for a report. Pure: arrays in, images out."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from workspace.classes import ClassDef

Colour = tuple[int, int, int]
Animation = Literal["gif", "webp", "mp4"]
LARGEST_SIDE_PX = 900
OVERLAY_OPACITY = 0.65
STILL_MS = 1400
STEP_MS = 70
STEPS = 4
VIDEO_LOOPS = 3
COLOURS = 255
"""One less than a GIF holds: the last one marks pixels that stay as in the frame before, which keeps the file small."""
_INK, _PAPER, _QUIET = (28, 32, 36), (255, 255, 255), (105, 112, 119)
_MARGIN = 10
_GUTTER = 24


def overlay(values: NDArray[np.uint8], colours: Mapping[int, Colour], opacity: float = 1.0) -> NDArray[np.uint8]:
    """Colour an array of values.

    Args:
        values: (rows, columns).
        colours: Value -> red, green, blue; values without a colour are transparent.
        opacity: Of coloured pixels, 0..1.

    Returns:
        (rows, columns, 4) red, green, blue, alpha.
    """
    table = np.zeros((256, 4), np.uint8)
    for value, colour in colours.items():
        table[value] = (*colour, round(255 * opacity))
    return table[values]


def over(picture: NDArray[np.uint8], layer: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay a coloured layer (rows, columns, 4) over a picture (rows, columns, 3); rows x columns alike."""
    alpha = layer[..., 3:].astype(np.float32) / 255
    return np.rint(picture * (1 - alpha) + layer[..., :3] * alpha).astype(np.uint8)


@dataclass(frozen=True)
class BeforeAfter:
    """What the animated picture is made of; all arrays on one (rows, columns) grid."""

    title: str
    picture: NDArray[np.uint8]
    """(rows, columns, 3) red, green, blue."""
    before: NDArray[np.uint8]
    """(rows, columns) class values."""
    after: NDArray[np.uint8]
    pixel_m: float
    """Ground size of a pixel of these arrays, metres."""
    before_name: str = ""
    """What made the first map; shown beside the caption."""
    after_name: str = ""
    north: float = 0.0
    """Where north is: degrees clockwise from up."""


def side_by_side(what: BeforeAfter, classes: Sequence[ClassDef], gap_px: int = 4) -> Image.Image:
    """The map before and the map after over the picture, left and right, without words."""
    colours = {c.value: c.rgb for c in classes}
    rows, columns = what.before.shape
    sheet = Image.new("RGB", (2 * columns + gap_px, rows), _PAPER)
    for left, values in ((0, what.before), (columns + gap_px, what.after)):
        sheet.paste(Image.fromarray(over(what.picture, overlay(values, colours, OVERLAY_OPACITY))), (left, 0))
    return sheet


def fitting_shape(height: int, width: int, largest: int = LARGEST_SIDE_PX) -> tuple[int, int]:
    """(rows, columns) of a picture shrunk, or enlarged by a whole factor, to fit into a square of side `largest`."""
    longest = max(height, width)
    if longest <= largest:
        factor = max(1, largest // longest)
        return height * factor, width * factor
    return max(1, round(height * largest / longest)), max(1, round(width * largest / longest))


def animated_before_after(what: BeforeAfter, classes: Sequence[ClassDef], kind: Animation = "gif") -> bytes:
    """A looping animation: the map before, a short cross-fade, the map after; with captions, scale bar and legend.

    Args:
        what: What is drawn.
        classes: For colours and legend.
        kind: "gif", which every report, mail and chat program shows (a palette shared by all frames keeps it small and still); "webp", in full
            colours; "mp4" (H.264), for slides and video programs, the loop `VIDEO_LOOPS` times.
    """
    colours = {c.value: c.rgb for c in classes}
    first, second = (over(what.picture, overlay(v, colours, OVERLAY_OPACITY)) for v in (what.before, what.after))
    frames, durations = [], []
    for share, milliseconds in _timeline():
        mixed = np.rint(first * (1 - share) + second * share).astype(np.uint8)
        frames.append(_sheet(what, mixed, share, classes))
        durations.append(milliseconds)
    if kind == "mp4":
        return _video(frames, durations)
    out = io.BytesIO()
    if kind == "webp":
        frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=80, method=4)
        return out.getvalue()
    palette = _shared_palette(frames[0], frames[STEPS], classes)
    indexed = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    indexed[0].save(out, "GIF", save_all=True, append_images=indexed[1:], duration=durations, loop=0, optimize=True, disposal=1)
    return out.getvalue()


def _video(frames: Sequence[Image.Image], durations: Sequence[int]) -> bytes:
    """MP4 by ffmpeg, which comes with imageio-ffmpeg; sides are made even, as H.264 wants them."""
    width, height = (side - side % 2 for side in frames[0].size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "animation.mp4"
        options = {"fps": 1000 / STEP_MS, "codec": "libx264", "pix_fmt_out": "yuv420p", "quality": 8, "macro_block_size": 2}
        writer = imageio_ffmpeg.write_frames(path, (width, height), **options, output_params=["-movflags", "+faststart"])
        writer.send(None)
        for frame, milliseconds in list(zip(frames, durations, strict=True)) * VIDEO_LOOPS:
            pixels = np.ascontiguousarray(np.asarray(frame)[:height, :width])
            for _ in range(round(milliseconds / STEP_MS)):
                writer.send(pixels)
        writer.close()
        return path.read_bytes()


def figure(what: BeforeAfter, classes: Sequence[ClassDef], credit: Sequence[str]) -> bytes:
    """A PNG for reports: the map before and the map after side by side, with scale bar, north arrow, legend and attribution.

    Args:
        what: What is drawn; about a thousand pixels a side print well.
        classes: For colours and legend.
        credit: Lines of small print below.
    """
    rows, columns = what.before.shape
    font, bold, small = _font(24), _font(30), _font(18)
    maps = side_by_side(what, classes, gap_px=_GUTTER)
    width = maps.width + 2 * _GUTTER
    legend = _legend_rows(classes, font, width - 2 * _GUTTER, 34)
    heading, line = 112, 36
    sheet = Image.new("RGB", (width, heading + rows + 18 + line * len(legend) + 26 * len(credit) + 14), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GUTTER, 12), _shortened(draw, what.title, bold, width - 2 * _GUTTER), _INK, font=bold)
    for left, caption, name in ((_GUTTER, "Before", what.before_name), (2 * _GUTTER + columns, "After", what.after_name)):
        draw.text((left, 66), _shortened(draw, f"{caption}: {name}" if name else caption, font, columns), _INK, font=font)
    sheet.paste(maps, (_GUTTER, heading))
    _draw_scale_bar(draw, what.pixel_m, columns, _GUTTER, heading + rows, font)
    _draw_north(draw, (2 * _GUTTER + 2 * columns - 46, heading + 52), what.north, font)
    y = heading + rows + 14
    for entries in legend:
        for x, c in entries:
            draw.rectangle((x + _GUTTER - _MARGIN, y + 4, x + _GUTTER - _MARGIN + 22, y + 26), fill=c.rgb, outline=_INK)
            draw.text((x + _GUTTER - _MARGIN + 34, y), c.name, _INK, font=font)
        y += line
    for text in credit:
        draw.text((_GUTTER, y), _shortened(draw, text, small, width - 2 * _GUTTER), _QUIET, font=small)
        y += 26
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True, dpi=(200, 200))
    return out.getvalue()


def _draw_north(draw: ImageDraw.ImageDraw, middle: tuple[float, float], degrees: float, font: ImageFont.FreeTypeFont) -> None:
    """An arrow to north with its letter, on a white disc."""
    x, y = middle
    draw.ellipse((x - 40, y - 40, x + 40, y + 40), fill=_PAPER, outline=_INK)
    angle = np.radians(degrees)

    def turned(across: float, up: float) -> tuple[float, float]:
        return float(x + across * np.cos(angle) + up * np.sin(angle)), float(y + across * np.sin(angle) - up * np.cos(angle))

    draw.polygon([turned(0, 14), turned(-11, -28), turned(0, -19), turned(11, -28)], fill=_INK)
    draw.text(turned(0, 25), "N", _INK, font=font, anchor="mm")


def scale_bar_m(pixel_m: float, width_px: int) -> float:
    """A round length in metres (1, 2 or 5 times a power of ten) that takes about a quarter of the picture's width."""
    wanted = pixel_m * width_px / 4
    power = 10.0 ** np.floor(np.log10(wanted))
    return float(max(step for step in (1, 2, 5, 10) if step * power <= wanted * 1.0001) * power)


def length_text(metres: float) -> str:
    """'200 m', '5 km', '0.5 m'."""
    return f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"


def _timeline() -> list[tuple[float, int]]:
    """(share of 'after', milliseconds) of each frame of the loop; frame 0 is 'before', frame STEPS is 'after'."""
    rising = [(step / STEPS, STEP_MS) for step in range(1, STEPS)]
    return [(0.0, STILL_MS), *rising, (1.0, STILL_MS), *reversed(rising)]


def _sheet(what: BeforeAfter, picture: NDArray[np.uint8], share: float, classes: Sequence[ClassDef]) -> Image.Image:
    """One frame: heading, picture with scale bar, legend."""
    rows, columns = picture.shape[:2]
    font, bold = _font(15), _font(20)
    width = max(columns, 320)
    legend = _legend_rows(classes, font, width)
    heading = 58
    sheet = Image.new("RGB", (width, heading + rows + 12 + 24 * len(legend)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    left = (width - columns) // 2
    sheet.paste(Image.fromarray(picture), (left, heading))
    after = share >= 0.5
    caption, name = ("After", what.after_name) if after else ("Before", what.before_name)
    draw.text((_MARGIN, 6), caption, _INK, font=bold)
    start = _MARGIN + draw.textlength(caption + "  ", font=bold)
    draw.text((start, 10), _shortened(draw, name, font, width - start - _MARGIN - 50), _QUIET, font=font)
    draw.text((_MARGIN, 33), _shortened(draw, what.title, font, width - 2 * _MARGIN), _QUIET, font=font)
    for dot, filled in ((width - 34, not after), (width - 18, after)):
        draw.ellipse((dot, 12, dot + 10, 22), fill=_INK if filled else _PAPER, outline=_INK)
    _draw_scale_bar(draw, what.pixel_m, columns, left, heading + rows, font)
    for line, entries in enumerate(legend):
        _draw_legend_row(draw, entries, heading + rows + 8 + 24 * line, font)
    return sheet


def _draw_scale_bar(draw: ImageDraw.ImageDraw, pixel_m: float, columns: int, left: int, bottom: int, font: ImageFont.FreeTypeFont) -> None:
    metres = scale_bar_m(pixel_m, columns)
    length = round(metres / pixel_m)
    text = length_text(metres)
    x, y = left + _MARGIN, bottom - 14
    box = max(length, round(draw.textlength(text, font=font)))
    above = round(font.size) + 9
    draw.rectangle((x - 6, y - above - 2, x + box + 6, y + 8), fill=_PAPER)
    draw.text((x, y - above), text, _INK, font=font)
    draw.rectangle((x, y - 2, x + length, y + 2), fill=_INK)


def _legend_rows(classes: Sequence[ClassDef], font: ImageFont.FreeTypeFont, width: int, swatch: int = 22) -> list[list[tuple[int, ClassDef]]]:
    """Legend entries with their left edge, broken into lines."""
    lines: list[list[tuple[int, ClassDef]]] = [[]]
    x = _MARGIN
    for c in classes:
        needed = swatch + round(font.getlength(c.name)) + 18
        if lines[-1] and x + needed > width:
            lines.append([])
            x = _MARGIN
        lines[-1].append((x, c))
        x += needed
    return lines


def _draw_legend_row(draw: ImageDraw.ImageDraw, entries: Sequence[tuple[int, ClassDef]], y: int, font: ImageFont.FreeTypeFont) -> None:
    for x, c in entries:
        draw.rectangle((x, y + 3, x + 14, y + 17), fill=c.rgb, outline=_INK)
        draw.text((x + 22, y), c.name, _INK, font=font)


def _shortened(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    if draw.textlength(text, font=font) <= room:
        return text
    while text and draw.textlength(text + "…", font=font) > room:
        text = text[:-1]
    return text + "…" if text else ""


def _shared_palette(before: Image.Image, after: Image.Image, classes: Sequence[ClassDef]) -> Image.Image:
    """One palette for all frames, learnt from the first and the last, with the legend's colours in it."""
    swatches = Image.new("RGB", (before.width, 8 * max(1, len(classes))))
    for index, c in enumerate(classes):
        swatches.paste(c.rgb, (0, 8 * index, before.width, 8 * index + 8))
    both = Image.new("RGB", (before.width, before.height + after.height + swatches.height))
    both.paste(before, (0, 0))
    both.paste(after, (0, before.height))
    both.paste(swatches, (0, before.height + after.height))
    return both.quantize(COLOURS, method=Image.Quantize.MEDIANCUT)


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType.")
    return font
