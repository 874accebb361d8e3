"""Models as files to hand on: bundles as ZIP, ArcGIS packages, ONNX; in and out. Nothing that comes in is ever executed."""
