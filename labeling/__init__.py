"""From hand or prompt to clean labels, and from labels to tiles."""
