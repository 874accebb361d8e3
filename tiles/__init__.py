"""The ArcGIS Classified Tiles format, in one place."""
