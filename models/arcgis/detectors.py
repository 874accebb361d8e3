"""Which of ArcGIS's detectors it is."""

from __future__ import annotations

from models.arcgis.boxes import ArcGISDetector
from models.arcgis.rcnn import build_rcnn
from models.arcgis.retinanet import build_retinanet
from models.arcgis.ssd import build_ssd
from models.architecture import ArcGISDetectorArchitecture


def build_arcgis_detector(architecture: ArcGISDetectorArchitecture, bands: int, outputs: int) -> ArcGISDetector:
    """A detector with fresh weights.

    Raises:
        ValueError: no network is like that.
    """
    build = {"RetinaNet": build_retinanet, "SingleShotDetector": build_ssd}.get(architecture.model, build_rcnn)
    return build(architecture, bands, outputs)
