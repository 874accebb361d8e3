"""Imagery and labels into a tile set. `python -m labeling.export --help` is the same as a command."""

from labeling.export.make import TileEstimate, estimate_tiles, export_tiles

__all__ = ["TileEstimate", "estimate_tiles", "export_tiles"]
