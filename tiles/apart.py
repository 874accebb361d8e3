"""Are the validation tiles kept apart from those that are learnt from? If not, a score on them says too much.

The fact has this one home. `leaks` finds it, training refuses what leaks unless the person insists, and `scored_on` puts the mark into the words
that every score carries with it (`on`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.errors import RasterioIOError

from tiles.footprints import outlines
from tiles.formats.base import Finding
from tiles.tile_set import TileRecord, TileSet, TileSetRecord

NOT_APART = "not kept apart from training"
"""The mark, in the words of a score."""
ALL_THE_SAME = "Where that cannot be, you may train all the same; every score then says that it is no honest test."
REMEDY = f"Export the tiles again: Terratune keeps validation in places of its own. {ALL_THE_SAME}"
TOUCHING = 0.001
"""Share of a tile's side below which two tiles touch."""
NEAR = 0.99
"""Share of a tile's side: tiles closer than this are nearer than one tile."""


def scored_on(tiles: str, apart: bool) -> str:
    """Which tiles a score is from, with the mark where they were not kept apart."""
    return tiles if apart else f"{tiles} ({NOT_APART})"


def is_marked(on: str) -> bool:
    """Does a score carry the mark?"""
    return NOT_APART in on


def leaks(tile_set: TileSet, tick: Callable[[], None] = lambda: None) -> list[Finding]:
    """Why its scores would say too much: by where the tiles lie, and by their pixels (every used image is read once).

    `tick` is called before each image and may raise to stop.
    """
    digests: dict[str, bytes | None] = {}
    for tile in (*tile_set.train, *tile_set.validation):
        tick()
        digests[tile.image] = digest(tile_set, tile.image)
    return [f for f in by_place(tile_set.record) if f.harm == "leak"] + by_pixels(tile_set.record, digests)


def by_place(record: TileSetRecord) -> list[Finding]:
    """What can be told without pixels: tiles that lie nowhere, that overlap or touch across the sides, that are nearer than one tile."""
    train, validation = record.in_split("train"), record.in_split("validation")
    if not train or not validation:
        return []
    places = _outlines(record, [*train, *validation])
    if places is None:
        return [_unplaced(record)]
    learnt, tested = places[: len(train)], places[len(train) :]
    (which, nearest), distance = shapely.STRtree(learnt).query_nearest(tested, all_matches=False, return_distance=True)
    side = math.sqrt(float(np.median(shapely.area(places))))
    touching = distance <= TOUCHING * side
    found = [_touch(validation[which[i]], train[nearest[i]]) for i in np.flatnonzero(touching)]
    near = ~touching & (distance < NEAR * side)
    if near.any() and not any(t.size for t in record.tiles):
        found.append(_close(validation[which[near.argmax()]], train[nearest[near.argmax()]], int(near.sum())))
    return found


def clear_of(
    tiles: Sequence[TileRecord], record: TileSetRecord, others: Sequence[TileRecord], other_record: TileSetRecord
) -> list[TileRecord]:
    """Those of the tiles of one set that neither overlap nor touch any of the tiles of another; all where the tiles do not say where they lie."""
    every = [(t, record) for t in tiles] + [(t, other_record) for t in others]
    places = outlines([t.affine for t, _ in every], [t.crs for t, _ in every], [its.size_of(t) for t, its in every])
    if places is None or not others:
        return list(tiles)
    reach = TOUCHING * math.sqrt(float(np.median(shapely.area(places))))
    touching = set(shapely.STRtree(places[len(tiles) :]).query(places[: len(tiles)], predicate="dwithin", distance=reach)[0].tolist())
    return [tile for i, tile in enumerate(tiles) if i not in touching]


def by_pixels(record: TileSetRecord, digests: Mapping[str, bytes | None]) -> list[Finding]:
    """Validation tiles that show, pixel for pixel, what a training tile shows.

    Args:
        record: Of the set.
        digests: Of each image (see `digest`); None for those that show nothing or cannot be read.
    """
    learnt = {code: t.image for t in reversed(record.in_split("train")) if (code := digests.get(t.image))}
    twins = [(t.image, learnt[code]) for t in record.in_split("validation") if (code := digests.get(t.image)) in learnt and code]
    return [
        Finding(image, "a picture that is not learnt from", f"pixel for pixel the training tile {twin}", REMEDY, "leak")
        for image, twin in twins
    ]


def digest(tile_set: TileSet, path: str) -> bytes | None:
    """Fingerprint of the pixels of an image; None where it is one value throughout, or cannot be read."""
    try:
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"), rasterio.open(tile_set.folder / path) as file:
            return digest_of(file.read())
    except RasterioIOError:
        return None


def digest_of(image: NDArray[np.generic]) -> bytes | None:
    """Fingerprint of (bands, rows, columns); None for one value throughout."""
    if (image == image.flat[0]).all():
        return None
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()


def one_sided_classes(record: TileSetRecord) -> Iterator[Finding]:
    """Classes that only one side shows."""
    train, validation = record.class_pixels("train"), record.class_pixels("validation")
    for c in record.classes:
        if bool(train[c.value]) != bool(validation[c.value]):
            seen, lacking = ("training", "validation") if train[c.value] else ("validation", "training")
            what = "it gets no score" if train[c.value] else "it cannot be learnt"
            yield Finding(
                next(t.image for t in record.tiles if t.pixels.get(c.value)),
                f"the class '{c.name}' in training and in validation",
                f"it only in {seen}",
                f"Without any in {lacking} {what}: label some in another place and export again.",
                "none",
            )


def _outlines(record: TileSetRecord, tiles: Sequence[TileRecord]) -> NDArray[np.object_] | None:
    return outlines([t.affine for t in tiles], [t.crs for t in tiles], [record.size_of(t) for t in tiles])


def _unplaced(record: TileSetRecord) -> Finding:
    if record.made_division:
        found, remedy = "tiles that lie nowhere, divided by who made them", "That division is used; it cannot be checked for neighbours."
        return Finding("images", "tiles that say where they lie", found, remedy, "none")
    return Finding(
        "images",
        "tiles that say where they lie, to keep training and validation apart",
        "no place, so validation is the last of them by number: neighbours may be on both sides",
        f"Bring world files along, or lists train.txt and val.txt of images that are apart. {ALL_THE_SAME}",
        "leak",
    )


def _touch(tested: TileRecord, learnt: TileRecord) -> Finding:
    return Finding(
        tested.image, "a validation tile apart from all training tiles", f"that it overlaps or touches {learnt.image}", REMEDY, "leak"
    )


def _close(tested: TileRecord, learnt: TileRecord, count: int) -> Finding:
    more = "" if count == 1 else f", and {count - 1} more so"
    return Finding(
        tested.image,
        "validation tiles at least one tile away from training",
        f"{learnt.image} nearer than that{more}",
        "Neighbours look alike, so the scores may be a little too good.",
        "none",
    )
