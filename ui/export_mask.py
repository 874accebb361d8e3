"""Areas from a file, in which alone tiles are cut."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import geopandas as gpd
import streamlit as st

from labeling.exchange import READABLE, read_safely
from labeling.export.area import mask_of

TITLE = "Only inside areas from a file"
HELP = "Tiles are cut only where they lie completely inside the areas of this file: GeoJSON, GeoPackage, KML, a zipped Shapefile and others."


def mask_upload(key: str, title: str = TITLE, explained: str = HELP) -> gpd.GeoDataFrame | None:
    """Ask for a file; the polygons in it in longitude and latitude, None where there is no file.

    Raises:
        LabelFileError: it cannot be read or placed, or holds no polygon.
    """
    upload = st.file_uploader(
        title,
        type=sorted({suffix[1:] for suffix in READABLE if suffix != ".gdb"}),
        help=explained,
        key=key,
    )
    return None if upload is None else _read(upload.file_id, upload)


@st.cache_data(max_entries=4, show_spinner="Reading ...")
def _read(file_id: str, _upload: Any) -> gpd.GeoDataFrame:
    """Read once, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(_upload.name).name
        path.write_bytes(_upload.getbuffer())
        return mask_of(read_safely([path]))
