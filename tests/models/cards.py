"""A small model and its card, for tests."""

from models.architecture import Architecture
from models.card import ModelCard, ModelInput
from workspace.classes import ClassDef

SMALL = Architecture(encoder="resnet10t", decoder_channels=16)


def a_card(**changes):
    facts = {
        "name": "roads",
        "title": "Roads",
        "architecture": SMALL,
        "input": ModelInput(band_names=("Red", "Green", "Blue"), mean=(1, 2, 3), std=(4, 5, 6), resolution_m=0.5, tile_size=256),
        "classes": (ClassDef(value=1, name="Paved road", colour="#4361ee"),),
    }
    return ModelCard(**facts | changes)
