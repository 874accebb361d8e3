"""`python -m inference.vectors`."""

from inference.vectors.command import app

app(prog_name="python -m inference.vectors")
