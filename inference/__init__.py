"""Model bundle and raster in, georeferenced classes out."""
