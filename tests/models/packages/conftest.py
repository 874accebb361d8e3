"""Models to hand on, made once."""

import pytest
import torch

from models.architecture import ArcGISArchitecture
from models.bundle import load_bundle, save_bundle
from models.card import ModelInput
from models.network import build_network
from models.packages.transfer import export_model
from tests.models.cards import SMALL, a_card

ROADS = ArcGISArchitecture(model="ConnectNet", backbone="resnet18")
RAW = ModelInput(band_names=("Red", "Green", "Blue"), mean=(0, 0, 0), std=(1, 1, 1), resolution_m=0.5, tile_size=256)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Our own small network, as a bundle."""
    return saved(tmp_path_factory.mktemp("small") / "roads", a_card(architecture=SMALL))


@pytest.fixture(scope="session")
def arcgis(tmp_path_factory):
    """A road network that ArcGIS can build, as a bundle."""
    return saved(tmp_path_factory.mktemp("arcgis") / "roads", a_card(architecture=ROADS, input=RAW))


@pytest.fixture(scope="session")
def onnx_file(small, tmp_path_factory):
    file = tmp_path_factory.mktemp("onnx") / "roads.onnx"
    export_model(small, "onnx", file)
    return file


@pytest.fixture(scope="session")
def dlpk_file(arcgis, tmp_path_factory):
    file = tmp_path_factory.mktemp("dlpk") / "roads.dlpk"
    export_model(arcgis, "dlpk", file)
    return file


@pytest.fixture(scope="session")
def zip_file(small, tmp_path_factory):
    file = tmp_path_factory.mktemp("zip") / "roads.zip"
    export_model(small, "bundle", file)
    return file


def saved(folder, card):
    """With weights, and statistics of the normalisation layers, that are not those of any other model."""
    torch.manual_seed(5)
    network = build_network(card.architecture, 3, card.outputs)
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
    save_bundle(folder, network, card)
    return load_bundle(folder).folder
