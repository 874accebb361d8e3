"""Learning to find single objects: their boxes, or their outlines."""
