"""How large the pixels of a tile set are on the ground."""

from __future__ import annotations

from rasterio.crs import CRS

from imagery.grid import Grid
from tiles.tile_set import TileRecord, TileSetRecord


def resolution_range_m(record: TileSetRecord) -> tuple[float, float] | None:
    """The finest and the coarsest ground resolution among the tiles, metres per pixel; None where no tile says where it lies.

    Looked up once for each raster and size of pixel, at a tile's middle.
    """
    kinds: dict[tuple[str, str, float], TileRecord] = {}
    for tile in record.tiles:
        if tile.crs:
            kinds.setdefault((tile.raster, tile.crs, round(abs(tile.affine.determinant), 12)), tile)
    sizes = [
        Grid(*record.size_of(tile), tile.affine, CRS.from_user_input(tile.crs)).resolution_m
        for tile in kinds.values()
        if tile.affine.determinant
    ]
    return (min(sizes), max(sizes)) if sizes else None
