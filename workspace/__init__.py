"""The project on disk: no raster library, no torch, no Streamlit."""
