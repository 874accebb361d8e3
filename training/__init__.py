"""Tile set and settings in, model bundle out."""
