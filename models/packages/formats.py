"""The kinds of files that a model comes from and goes into. No torch here."""

from __future__ import annotations

from typing import Literal

from models.architecture import AnyArcGIS
from models.card import ModelCard

Format = Literal["bundle", "dlpk", "onnx"]
SUFFIXES: dict[Format, str] = {"bundle": ".zip", "dlpk": ".dlpk", "onnx": ".onnx"}
IMPORTED = (".zip", ".dlpk", ".emd", ".onnx")
TITLES: dict[Format, str] = {
    "bundle": "Terratune bundle (.zip)",
    "dlpk": "ArcGIS package (.dlpk)",
    "onnx": "ONNX (.onnx)",
}
SERVES: dict[Format, str] = {
    "bundle": "Everything, for another project or installation of Terratune; the weights are open in safetensors, the card in JSON and as a STAC item.",
    "dlpk": "For ArcGIS Pro and arcgis.learn. Not yet tried in ArcGIS itself.",
    "onnx": "For QGIS (Deepness plugin) and any other program that runs ONNX.",
}


def cannot_be(card: ModelCard, form: Format) -> str:
    """Why a format cannot hold a model, in plain words; empty where it can, as far as its task tells."""
    if form == "dlpk" and isinstance(card.architecture, AnyArcGIS):
        return ""
    if form != "bundle" and card.task != "semantic segmentation":
        return f"'{card.title}' is a model for {card.task}: only models that give a class for each pixel of one picture can become {TITLES[form]}."
    return ""
