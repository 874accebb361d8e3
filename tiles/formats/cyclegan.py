"""CycleGAN: pictures of two kinds, unpaired, in folders A and B, each a set of images with side files of its own."""

from __future__ import annotations

from tiles.formats.export_tiles import ExportTiles


class CycleGan(ExportTiles):
    """Within a part, all is as in Export_Tiles."""

    name = "CycleGAN"
    title = "Two collections of images, unpaired (CycleGAN)"
    description = "For programs that learn to make pictures of one kind look like another: the imagery, and a second raster that may lie elsewhere."
    pairs = False
    parts = ("A", "B")
