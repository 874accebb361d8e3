"""What a tile set looks like: sample tiles with their labels, and where the places lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.features import rasterize

from imagery.stretch import Stretch, apply_stretch, identity_stretch
from tiles.footprints import LONLAT
from tiles.objects import Box, TileObject, pixels_in
from tiles.reader import TilePixels
from tiles.tile_set import IGNORE_LABEL, TileClass, TileRecord, TileSetRecord

IGNORE_RGB = (154, 160, 166)
SPLIT_WORDS = {"train": "training", "validation": "validation", "gap": "gap, used by neither"}


def pick_samples(record: TileSetRecord, count: int, seed: int = 0) -> list[TileRecord]:
    """Tiles worth a look: each class in turn, at random among the half that holds most of it; from both sides, none twice."""
    rng = np.random.default_rng(seed)
    used = [t for t in record.tiles if t.split != "gap"] or list(record.tiles)
    queues = [_good_for(c, used, rng) for c in record.classes]
    queues = [q for q in queues if q] or [list(used)]
    chosen: dict[str, TileRecord] = {}
    while len(chosen) < count and any(queues):
        for queue in queues:
            while queue and queue[0].name in chosen:
                queue.pop(0)
            if queue and len(chosen) < count:
                tile = queue.pop(0)
                chosen[tile.name] = tile
    return list(chosen.values())


def picture(pixels: TilePixels, record: TileSetRecord) -> NDArray[np.uint8]:
    """(rows, columns, 3): the tile as people see it; 8-bit colour as it is, anything else stretched by the set's 2 and 98 %."""
    bands = shown_bands(record.band_names)
    values = pixels.image[list(bands)]
    stats = [record.band_statistics[b] for b in bands]
    if values.dtype == np.uint8 and len(bands) == 3:
        stretch = identity_stretch(3)
    else:
        stretch = Stretch(low=tuple(s.p2 for s in stats), high=tuple(s.p98 for s in stats))
    shown = np.where(pixels.valid, apply_stretch(values, stretch), 0)
    return np.ascontiguousarray(np.broadcast_to(shown, (3, *shown.shape[1:])).transpose(1, 2, 0)).astype(np.uint8)


def label_colours(label: NDArray[np.uint8], classes: Sequence[TileClass]) -> NDArray[np.uint8]:
    """(rows, columns, 3): class colours on black, ignored pixels grey."""
    colours = np.zeros((256, 3), dtype=np.uint8)
    for c in classes:
        colours[c.value] = c.rgb
    colours[IGNORE_LABEL] = IGNORE_RGB
    return colours[label]


def overlay(rgb: NDArray[np.uint8], label: NDArray[np.uint8], classes: Sequence[TileClass], opacity: float = 0.5) -> NDArray[np.uint8]:
    """(rows, columns, 3): the label's colours over the tile, background left clear."""
    share = np.where(label > 0, opacity, 0.0)[..., None]
    return (rgb * (1 - share) + label_colours(label, classes) * share).round().astype(np.uint8)


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


def _good_for(cls: TileClass, tiles: Sequence[TileRecord], rng: np.random.Generator) -> list[TileRecord]:
    """Tiles with the class: the better half first, in random order."""
    having = sorted((t for t in tiles if t.pixels.get(cls.value)), key=lambda t: -t.pixels[cls.value])
    half = (len(having) + 1) // 2
    return [having[i] for i in rng.permutation(half)] + [having[half + i] for i in rng.permutation(len(having) - half)]


def _outline_lonlat(tile: TileRecord, size: tuple[int, int]) -> shapely.Polygon:
    x, y = np.array([tile.affine @ p for p in ((0, 0), (size[0], 0), size, (0, size[1]))]).T
    lon, lat = Transformer.from_crs(CRS.from_user_input(tile.crs), LONLAT, always_xy=True).transform(x, y)
    return shapely.Polygon(np.column_stack([lon, lat]).round(9))
