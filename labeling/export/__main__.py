"""`python -m labeling.export`."""

from labeling.export.command import app

app(prog_name="python -m labeling.export")
