"""Tiles of a set as pictures with their labels: which to see, page by page, and one of them large."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray
from PIL import Image
from rasterio.crs import CRS
from streamlit.delta_generator import DeltaGenerator

from imagery.grid import Grid
from tiles.formats import TileFormat, tile_format
from tiles.preview import IGNORED_KINDS, Order, Sample, choose_tiles, ignored_share, read_sample
from tiles.tile_set import RECORD_FILE, Split, TileRecord, TileSet, TileSetRecord, open_tile_set
from ui.problems import explained, plain
from ui.wording import many

SPLITS: tuple[tuple[Split, str, str, str], ...] = (
    ("train", "Training", "#1f7a5c", "the model learns from these"),
    ("validation", "Validation", "#8338ec", "kept aside to test the model on"),
    ("gap", "Gap", "#8d99ae", "too close to both: used by neither"),
)
ORDERS: dict[Order, str] = {
    "mixed": "A mixture of all classes",
    "cut": "As they were cut",
    "class": "Most of the class first",
    "ignored": "Largest ignored share first",
}
COLUMNS, ROWS = 4, 2
THUMBNAIL_PX, LARGE_PX, GAP_PX = 256, 512, 4
NOTHING = 0
ANYTHING, ANY = -1, "*"
"""Stand for None in a box, which would say "Choose an option" instead of its words."""
# the picture itself is what people click: its button lies over it, unseen
_CLICKABLE = """<style>
div[class*="st-key-sample_"] { position: relative; }
div[class*="st-key-sample_"] div[class*="st-key-open_"], div[class*="st-key-sample_"] div[class*="st-key-open_"] * { position: absolute; inset: 0; width: 100%; height: 100%; }
div[class*="st-key-open_"] button { opacity: 0; cursor: zoom-in; }
div[class*="st-key-open_"] button:focus-visible { opacity: 1; background: none; color: transparent; outline: 3px solid var(--st-primary-color, #1f7a5c); }
</style>"""


def samples_panel(tile_set: TileSet, head: DeltaGenerator) -> None:
    """Pages of sample tiles; a click shows one large. `head`: the line above, where it can be said which."""
    record = tile_set.record
    with head:
        st.caption(f"{_question(tile_format(record.metadata_format))} Click a tile to see it large.", width="stretch")
        with st.popover("Choose samples", icon=":material/filter_list:"):
            shows, split, place, order = _which(tile_set)
    tiles = choose_tiles(record, shows=shows, split=split, place=place, order=order)
    if not tiles:
        st.info("No tile is like that. Choose others above.", icon=":material/info:")
        return
    pages = -(-len(tiles) // (COLUMNS * ROWS))
    kept = f"tiles_page:{tile_set.name}:{shows}:{split}:{place}:{order}"
    here = st.session_state.get(kept, 1)
    first = (min(here, pages) - 1) * COLUMNS * ROWS
    samples = _samples(str(tile_set.folder), _made(tile_set.folder), tuple(t.image for t in tiles[first : first + COLUMNS * ROWS]))
    _legend(record, samples)
    st.html(_CLICKABLE)
    for start in range(0, len(samples), COLUMNS):
        for column, number in zip(st.columns(COLUMNS), range(start, min(start + COLUMNS, len(samples))), strict=False):
            with column:
                _thumbnail(tile_set, samples, number, [t.image for t in tiles], first + number)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        chosen_from = "" if len(tiles) == len(record.tiles) else f" (chosen from {len(record.tiles):,})"
        st.caption(f"{first + 1:,} to {first + len(samples):,} of {many(len(tiles), 'tile')}{chosen_from}")
        if pages > 1:
            st.pagination(pages, key=kept)


def _which(tile_set: TileSet) -> tuple[int | None, Split | None, str | None, Order]:
    """What to see: a class, a side, a place, in which order."""
    record, key = tile_set.record, tile_set.name
    names = {c.value: c.name for c in record.classes}
    shows = st.selectbox(
        "That show",
        [ANYTHING, *names, NOTHING] if names else [ANYTHING],
        format_func=lambda value: names.get(value, "Anything" if value == ANYTHING else "No class at all"),
        key=f"tiles_show:{key}",
    )
    sides = {side: f"{title}: {meaning}" for side, title, _, meaning in SPLITS}
    used_for = st.selectbox("For", [ANY, *sides], format_func=lambda side: sides.get(side, "Any use"), key=f"tiles_side:{key}")
    places = sorted({t.place for t in record.tiles})
    place = st.selectbox("In", [ANY, *places], format_func=lambda name: "Any place" if name == ANY else name, key=f"tiles_place:{key}")
    order = st.selectbox("Order", list(ORDERS), format_func=ORDERS.__getitem__, key=f"tiles_order:{key}")
    split = next((side for side in sides if side == used_for), None)
    return shows if shows != ANYTHING else None, split, place if place != ANY else None, order


def _question(form: TileFormat) -> str:
    """What to look for in the samples of a format."""
    if form.has_objects and not form.per_object:
        return f"Does each object have its own {'outline' if form.has_outlines else 'box'}?"
    if form.has_pixels:
        return "Does the colour lie on what you labelled?"
    return "Does each tile show what is named below it?" if form.has_classes else "Are these the tiles you want?"


def opened(folder: Path) -> TileSet:
    """`tiles.tile_set.open_tile_set`, read once for as long as the set is the same. Errors alike."""
    return _opened(str(folder), _made(folder))


@st.cache_resource(max_entries=8, show_spinner=False)
def _opened(folder: str, made: float) -> TileSet:
    return open_tile_set(Path(folder))


def _made(folder: Path) -> float:
    return (folder / RECORD_FILE).stat().st_mtime


@st.cache_resource(max_entries=8, show_spinner=False)
def _samples(folder: str, made: float, images: tuple[str, ...]) -> list[Sample]:
    """Tiles by their image. Read once for as long as the set is the same; never changed by who gets it."""
    tile_set = _opened(folder, made)
    tiles = {t.image: t for t in tile_set.record.tiles}
    return [_reduced(read_sample(tile_set, tiles[image])) for image in images]


def _reduced(sample: Sample) -> Sample:
    """No larger than it is ever shown: a tile may have thousands of pixels a side."""
    return dataclasses.replace(
        sample,
        picture=_small(sample.picture),
        second=None if sample.second is None else _small(sample.second),
        labelled=None if sample.labelled is None else _small(sample.labelled),
    )


def _small(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return rgb if max(rgb.shape) <= LARGE_PX else np.asarray(_scaled(rgb, LARGE_PX))


def _legend(record: TileSetRecord, samples: Sequence[Sample]) -> None:
    """What the colours mean, for what is on this page."""
    shown = [c for c in record.classes if any(s.tile.pixels.get(c.value) or s.tile.objects.get(c.value) for s in samples)]
    ignored = [kind for value, kind in IGNORED_KINDS.items() if any(s.ignored.get(value) for s in samples)]
    marks = [_mark(c.colour, c.name) for c in shown]
    for kind in ignored:
        one, other = (f"rgb{rgb}" for rgb in kind.stripes)
        marks.append(_mark(f"repeating-linear-gradient(135deg, {one} 0 3px, {other} 3px 6px)", f"{kind.title}: not learnt from"))
    if marks and any(s.labelled is not None for s in samples):
        st.html(f'<div style="display:flex;flex-wrap:wrap;gap:2px 14px;font-size:14px">{"".join(marks)}</div>')


def _mark(background: str, text: str) -> str:
    box = f'<i style="display:inline-block;width:14px;height:14px;border-radius:3px;margin-right:5px;vertical-align:-2px;background:{background}"></i>'
    return f"<span>{box}{html.escape(text)}</span>"


def _thumbnail(tile_set: TileSet, samples: Sequence[Sample], number: int, images: Sequence[str], position: int) -> None:
    sample = samples[number]
    with st.container(key=f"sample_{number}"):
        st.image(_stacked(sample, _frame(samples)), caption=_caption(tile_set.record, sample), width="stretch")
        if st.button(f"See tile {sample.tile.name} large", key=f"open_{number}"):
            _large(tile_set, images, position)


def _caption(record: TileSetRecord, sample: Sample) -> str:
    tile = sample.tile
    title = next(title for split, title, _, _ in SPLITS if split == tile.split)
    part = f", {tile.image.partition('/')[0]}" if tile_format(record.metadata_format).parts else ""
    shown = ", ".join(c.name for c in record.classes if c.value in sample.classes)
    return plain(f"{title}, {tile.place}{part}" + (f": {shown}" if shown else ""))


# --- pictures -----------------------------------------------------------------------------------------------------------------------


def _frame(samples: Sequence[Sample]) -> tuple[int, int]:
    """(columns, rows) in which every picture of a page fits once its longer side is that of a thumbnail."""
    sizes = [_size(sample.picture, THUMBNAIL_PX) for sample in samples]
    return max(columns for columns, _ in sizes), max(rows for _, rows in sizes)


def _size(rgb: NDArray[np.uint8], longest: int) -> tuple[int, int]:
    rows, columns = rgb.shape[:2]
    share = longest / max(rows, columns)
    return max(1, round(columns * share)), max(1, round(rows * share))


def _scaled(rgb: NDArray[np.uint8], longest: int) -> Image.Image:
    """Pixels stay squares when there are few of them."""
    size = _size(rgb, longest)
    return Image.fromarray(rgb).resize(size, Image.Resampling.NEAREST if size[0] > rgb.shape[1] else Image.Resampling.BOX)


def _pictures(sample: Sample) -> list[NDArray[np.uint8]]:
    """The tile, the second image of its place, its labels: what there is of them."""
    return [p for p in (sample.picture, sample.second, sample.labelled) if p is not None]


def _stacked(sample: Sample, frame: tuple[int, int]) -> Image.Image:
    """The tile above its labels, each in the middle of a frame; clear around."""
    small = [_scaled(rgb, THUMBNAIL_PX) for rgb in _pictures(sample)]
    size = (frame[0], len(small) * (frame[1] + GAP_PX) - GAP_PX)
    filled = all(one.size == frame for one in small)  # then it can be sent as JPEG, which is made a hundred times sooner
    whole = Image.new("RGB", size, "white") if filled else Image.new("RGBA", size)
    for place, one in enumerate(small):
        whole.paste(one, ((frame[0] - one.width) // 2, place * (frame[1] + GAP_PX) + (frame[1] - one.height) // 2))
    return whole


# --- one tile, large ----------------------------------------------------------------------------------------------------------------


@st.dialog("One tile", width="large")
def _large(tile_set: TileSet, images: Sequence[str], position: int) -> None:
    """A tile with its labels and its facts; the ones before and after it by a button."""
    at = st.session_state["tile_shown"] = _moved(images, position)
    with explained():
        (sample,) = _samples(str(tile_set.folder), _made(tile_set.folder), (images[at],))
        pictures = _pictures(sample)
        *places, beside = st.columns([5] * len(pictures) + [4 if len(pictures) > 1 else 6])
        for column, rgb in zip(places, pictures, strict=True):
            column.image(_scaled(rgb, LARGE_PX), width="stretch")
        with beside:
            st.markdown("  \n".join(f"{what}: **{plain(value)}**" for what, value in _tile_facts(tile_set.record, sample)))
            rows = _amounts(tile_set.record, sample)
            if rows:
                st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            _legend(tile_set.record, [sample])
            st.button("Previous", icon=":material/chevron_left:", key="tile_previous", disabled=at == 0, on_click=_move, args=(-1,))
            st.button("Next", icon=":material/chevron_right:", key="tile_next", disabled=at == len(images) - 1, on_click=_move, args=(1,))


def _move(step: int) -> None:
    st.session_state["tile_step"] = step


def _moved(images: Sequence[str], position: int) -> int:
    """Where to look: the tile that was clicked, or one further from the one shown."""
    step = st.session_state.pop("tile_step", None)
    return position if step is None else min(max(st.session_state["tile_shown"] + step, 0), len(images) - 1)


def _tile_facts(record: TileSetRecord, sample: Sample) -> list[tuple[str, str]]:
    tile = sample.tile
    columns, rows = record.size_of(tile)
    facts = [("Tile", tile.name), ("For", next(f"{t}, {meaning}" for s, t, _, meaning in SPLITS if s == tile.split)), ("Place", tile.place)]
    if tile.raster:
        facts += [("Image", tile.raster), ("Upper left pixel", f"column {tile.column:,}, row {tile.row:,}")]
    facts.append(("Size", f"{columns} x {rows} pixels{_on_the_ground(tile, columns, rows)}"))
    if tile.angle:
        facts.append(("Turned by", f"{tile.angle:g} degrees"))
    if tile.crs:
        facts += [("Centre", _centre(tile, columns, rows)), ("Coordinate system", tile.crs if len(tile.crs) < 40 else "custom")]
    if sample.classes:
        facts.append(("Shows", ", ".join(c.name for c in record.classes if c.value in sample.classes)))
    if ignored_share(record, tile):
        facts.append(("Not learnt from", f"{100 * ignored_share(record, tile):.1f} %"))
    return facts


def _grid(tile: TileRecord, columns: int, rows: int) -> Grid:
    return Grid(columns, rows, tile.affine, CRS.from_user_input(tile.crs))


def _on_the_ground(tile: TileRecord, columns: int, rows: int) -> str:
    if not tile.crs:
        return ""
    x, y = _grid(tile, columns, rows).pixel_size_m
    return f", {x * columns:,.0f} x {y * rows:,.0f} m"


def _centre(tile: TileRecord, columns: int, rows: int) -> str:
    lon, lat = _grid(tile, columns, rows).centre_lonlat
    return f"{lat:.5f}, {lon:.5f}"


def _amounts(record: TileSetRecord, sample: Sample) -> list[dict[str, str | int]]:
    """Pixels, and objects, of each class; pixels of what is not learnt from."""
    tile = sample.tile
    columns, rows = record.size_of(tile)
    found: list[dict[str, str | int]] = []
    for value, name in ((c.value, c.name) for c in record.classes):
        if tile.pixels.get(value) or tile.objects.get(value):
            found.append(_amount(name, tile.pixels.get(value, 0), columns * rows))
            if tile_format(record.metadata_format).has_objects:
                found[-1]["Objects"] = tile.objects.get(value, 0)
    if record.classes and tile.pixels.get(NOTHING):
        found.append(_amount("Background", tile.pixels[NOTHING], columns * rows))
    return found + [_amount(IGNORED_KINDS[value].title, count, columns * rows) for value, count in sample.ignored.items()]


def _amount(name: str, pixels: int, of: int) -> dict[str, str | int]:
    return {"Class": name, "Pixels": pixels, "Share": f"{100 * pixels / of:.1f} %"}
