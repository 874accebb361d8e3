"""What a tile set looks like: sample tiles with their labels, and where the places lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.features import rasterize

from imagery.stretch import Stretch, apply_stretch, identity_stretch
from tiles.footprints import LONLAT
from tiles.formats import tile_format
from tiles.formats.base import read_band
from tiles.objects import Box, TileObject, pixels_in
from tiles.reader import EMPTY_PIXEL, UNCERTAIN_PIXEL, UNLABELLED_PIXEL, TilePixels, read_labelled
from tiles.tile_set import SecondImages, Split, TileClass, TileRecord, TileSet, TileSetRecord
from workspace.classes import ClassDef

MOST_MIXED = 200
"""Tiles shown as a mixture of all classes; those after them come as they were cut."""
SPLIT_WORDS = {"train": "training", "validation": "validation", "gap": "gap, used by neither"}

Order = Literal["mixed", "cut", "class", "ignored"]
"""How tiles are laid out to look at: a mixture of all classes, as they were cut, most of a class first, least to learn from first."""


@dataclass(frozen=True)
class IgnoredKind:
    """One reason why pixels are not learnt from, and how it is drawn: stripes of two colours."""

    title: str
    stripes: tuple[tuple[int, int, int], tuple[int, int, int]]


IGNORED_KINDS: Mapping[int, IgnoredKind] = {
    UNCERTAIN_PIXEL: IgnoredKind("Uncertain", ((154, 160, 166), (88, 94, 100))),
    UNLABELLED_PIXEL: IgnoredKind("Not labelled", ((232, 234, 237), (154, 160, 166))),
    EMPTY_PIXEL: IgnoredKind("No imagery", ((30, 30, 34), (0, 0, 0))),
}
"""By the value in an ignore mask, in the order of the legend."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One tile as people look at it."""

    tile: TileRecord
    picture: NDArray[np.uint8]
    """(rows, columns, 3)."""
    second: NDArray[np.uint8] | None
    """(rows, columns, 3) of the second image of the same place; None where there is none."""
    labelled: NDArray[np.uint8] | None
    """(rows, columns, 3): the picture with its labels over it; None where nothing is labelled for single pixels or objects."""
    classes: tuple[int, ...]
    """Class values of the tile as a whole, where its format has such."""
    ignored: Mapping[int, int]
    """Pixels not to be learnt from, by kind (see IGNORED_KINDS)."""


def read_sample(tile_set: TileSet, tile: TileRecord) -> Sample:
    """Read a tile and draw it. Errors as `tiles.reader.read_tile`."""
    record = tile_set.record
    pixels, labels = read_labelled(tile_set, tile)
    form = tile_format(record.metadata_format)
    other = record.second if form.parts and tile.image.startswith(f"{form.parts[1]}/") else None
    rgb = picture(pixels.image, pixels.valid, other or record)
    second = picture(pixels.image2, pixels.valid, record.second) if pixels.image2 is not None and record.second else None
    kinds = _ignored_kinds(tile_set, tile, pixels)
    areas = np.where((kinds == 0) & ~np.isin(pixels.label, [one.value for one in labels.objects]), pixels.label, 0).astype(np.uint8)
    drawn = mark_ignored(overlay(rgb, areas, record.classes), kinds)
    if form.has_objects:
        drawn = draw_objects(drawn, labels.objects, record.classes)
    shows = labels.pixels is not None or labels.objects or (form.has_objects and not labels.classes)
    values, counts = np.unique(kinds[kinds > 0], return_counts=True)
    return Sample(tile, rgb, second, drawn if shows else None, labels.classes, dict(zip(values.tolist(), counts.tolist(), strict=True)))


def choose_tiles(record: TileSetRecord, *, shows: int | None, split: Split | None, place: str | None, order: Order) -> list[TileRecord]:
    """The tiles to look at, in order.

    Args:
        record: Of the set.
        shows: Only tiles with this class value; 0: only those with no class at all; None: any.
        split: Only of this side.
        place: Only of this place.
        order: See `Order`. "class": most of `shows` first, or of all classes.
    """
    found = [t for t in record.tiles if split in (None, t.split) and place in (None, t.place)]
    if shows == 0:
        found = [t for t in found if not any(_amount(t, c.value) for c in record.classes)]
    elif shows is not None:
        found = [t for t in found if _amount(t, shows)]
    if order == "mixed":
        first = {t.image: t for t in pick_samples(record.model_copy(update={"tiles": tuple(found)}), MOST_MIXED)}
        return [*first.values(), *(t for t in found if t.image not in first)]
    if order == "class":
        wanted = [shows] if shows else [c.value for c in record.classes]
        return sorted(found, key=lambda t: -sum(_amount(t, value) for value in wanted))
    if order == "ignored":
        return sorted(found, key=lambda t: -ignored_share(record, t))
    return found


def ignored_share(record: TileSetRecord, tile: TileRecord) -> float:
    """Part of a tile that is not learnt from, 0 to 1."""
    columns, rows = record.size_of(tile)
    return tile.ignored_pixels / (columns * rows)


def pick_samples(record: TileSetRecord, count: int, seed: int = 0) -> list[TileRecord]:
    """Tiles worth a look: each class in turn, at random among the half that holds most of it; from both sides, none twice."""
    rng = np.random.default_rng(seed)
    used = [t for t in record.tiles if t.split != "gap"] or list(record.tiles)
    queues = [_good_for(c, used, rng) for c in record.classes]
    queues = [q for q in queues if q] or [list(used)]
    chosen: dict[str, TileRecord] = {}
    while len(chosen) < count and any(queues):
        for queue in queues:
            while queue and queue[0].image in chosen:
                queue.pop(0)
            if queue and len(chosen) < count:
                tile = queue.pop(0)
                chosen[tile.image] = tile
    return list(chosen.values())


def picture(image: NDArray[Any], valid: NDArray[np.bool_], look: TileSetRecord | SecondImages) -> NDArray[np.uint8]:
    """(rows, columns, 3): a tile as people see it; 8-bit colour as it is, anything else stretched by the set's 2 and 98 %.

    Args:
        image: (bands, rows, columns), raw values.
        valid: (rows, columns): there is imagery; black elsewhere.
        look: Says the bands and their statistics.
    """
    bands = shown_bands(look.band_names)
    values = image[list(bands)]
    stats = [look.band_statistics[b] for b in bands]
    if values.dtype == np.uint8 and len(bands) == 3:
        stretch = identity_stretch(3)
    else:
        stretch = Stretch(low=tuple(s.p2 for s in stats), high=tuple(s.p98 for s in stats))
    shown = np.where(valid, apply_stretch(values, stretch), 0)
    return np.ascontiguousarray(np.broadcast_to(shown, (3, *shown.shape[1:])).transpose(1, 2, 0)).astype(np.uint8)


def overlay(
    rgb: NDArray[np.uint8], label: NDArray[np.uint8], classes: Sequence[TileClass | ClassDef], opacity: float = 0.5
) -> NDArray[np.uint8]:
    """(rows, columns, 3): the colours of the classes over the tile, background left clear."""
    colours = np.zeros((256, 3), dtype=np.uint8)
    for c in classes:
        colours[c.value] = c.rgb
    share = np.where(label > 0, opacity, 0.0)[..., None]
    return (rgb * (1 - share) + colours[label] * share).round().astype(np.uint8)


def mark_ignored(rgb: NDArray[np.uint8], kinds: NDArray[np.uint8], opacity: float = 0.4) -> NDArray[np.uint8]:
    """(rows, columns, 3): stripes over what is not learnt from. `kinds`: (rows, columns), 0 or a key of IGNORED_KINDS."""
    drawn = rgb.astype(np.float64)
    width = max(2, rgb.shape[0] // 64)
    rows, columns = np.indices(kinds.shape)
    second = ((rows + columns) // width) % 2
    for value, kind in IGNORED_KINDS.items():
        mine = kinds == value
        stripes = np.array(kind.stripes, dtype=np.float64)[second[mine]]
        drawn[mine] = drawn[mine] * (1 - opacity) + stripes * opacity
    return drawn.round().astype(np.uint8)


def draw_objects(
    rgb: NDArray[np.uint8], objects: Sequence[TileObject], classes: Sequence[TileClass], opacity: float = 0.35
) -> NDArray[np.uint8]:
    """(rows, columns, 3): the tile with each object in its class colour: filled and outlined where its shape is known, else its box."""
    drawn = rgb.astype(np.float64)
    colours = {c.value: np.array(c.rgb, dtype=np.float64) for c in classes}
    width = max(1, rgb.shape[0] // 128)
    for one in objects:
        colour = colours[one.value]
        mask = shape_of(one, rgb.shape[:2])
        if mask is None:
            drawn[_frame(one.box, rgb.shape[:2], width)] = colour
        else:
            drawn[mask] = drawn[mask] * (1 - opacity) + colour * opacity
            drawn[_edge(mask)] = colour
    return drawn.round().astype(np.uint8)


def shape_of(one: TileObject, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """(rows, columns) the pixels of an object; None where only its box is known."""
    if one.mask is not None or one.outline is None:
        return one.mask
    return rasterize([(one.outline, 1)], out_shape=shape, dtype=np.uint8).astype(bool)


def _frame(box: Box, shape: tuple[int, int], width: int) -> NDArray[np.bool_]:
    """(rows, columns): a line of `width` pixels along the inner side of a box."""
    frame = np.zeros(shape, dtype=bool)
    rows, columns = pixels_in(box, shape)
    frame[rows, columns] = True
    frame[rows.start + width : rows.stop - width, columns.start + width : columns.stop - width] = False
    return frame


def _edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(rows, columns): pixels of a mask beside one outside it; the tile's side is no edge."""
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def shown_bands(names: Sequence[str]) -> tuple[int, ...]:
    """0-based: red, green, blue where they are known, else the first three, else the first."""
    if {"red", "green", "blue"} <= set(names):
        return tuple(names.index(colour) for colour in ("red", "green", "blue"))
    return (0, 1, 2) if len(names) >= 3 else (0,)


def places_geojson(record: TileSetRecord) -> dict[str, Any]:
    """Ground covered by each place and side, in EPSG:4326; tiles that lie nowhere are left out.

    Returns:
        A FeatureCollection; properties `place`, `split`, `tiles`, and `text` for people.
    """
    groups: dict[tuple[str, str], list[TileRecord]] = {}
    for tile in record.tiles:
        if tile.crs:
            groups.setdefault((tile.place, tile.split), []).append(tile)
    features = []
    for (place, split), tiles in groups.items():
        covered = shapely.union_all([_outline_lonlat(t, record.size_of(t)) for t in tiles])
        number = f"{len(tiles)} tile{'' if len(tiles) == 1 else 's'}"
        about = {"place": place, "split": split, "tiles": len(tiles), "text": f"{place}: {SPLIT_WORDS[split]}, {number}"}
        features.append({"type": "Feature", "properties": about, "geometry": shapely.geometry.mapping(covered)})
    return {"type": "FeatureCollection", "features": features}


def _ignored_kinds(tile_set: TileSet, tile: TileRecord, pixels: TilePixels) -> NDArray[np.uint8]:
    """(rows, columns): 0, or why a pixel is not learnt from."""
    if tile.ignore is None:
        return np.where(pixels.valid, 0, EMPTY_PIXEL).astype(np.uint8)
    return read_band(tile_set.folder, tile.ignore)


def _amount(tile: TileRecord, value: int) -> int:
    """Pixels of a class in a tile; its objects where no pixel is counted."""
    return tile.pixels.get(value, 0) or tile.objects.get(value, 0)


def _good_for(cls: TileClass, tiles: Sequence[TileRecord], rng: np.random.Generator) -> list[TileRecord]:
    """Tiles with the class: the better half first, in random order."""
    having = sorted((t for t in tiles if t.pixels.get(cls.value)), key=lambda t: -t.pixels[cls.value])
    half = (len(having) + 1) // 2
    return [having[i] for i in rng.permutation(half)] + [having[half + i] for i in rng.permutation(len(having) - half)]


def _outline_lonlat(tile: TileRecord, size: tuple[int, int]) -> shapely.Polygon:
    x, y = np.array([tile.affine @ p for p in ((0, 0), (size[0], 0), size, (0, size[1]))]).T
    lon, lat = Transformer.from_crs(CRS.from_user_input(tile.crs), LONLAT, always_xy=True).transform(x, y)
    return shapely.Polygon(np.column_stack([lon, lat]).round(9))
