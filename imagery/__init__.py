"""Rasters in and out: no labels, no torch, no Streamlit."""
