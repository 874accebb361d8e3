import json
import zipfile

import torch
from safetensors.torch import load_file

from models.architecture import ArcGISArchitecture
from models.bundle import load_bundle
from models.card import read_card
from models.packages.transfer import export_model, import_model
from tests.models.cards import a_card
from tests.models.packages.conftest import saved
from tests.training.tile_sets import UNPAVED, make_tile_set
from training.run import run
from training.settings import TrainingSettings
from workspace.files import write_json


def test_an_arcgis_package_is_fine_tuned_frozen_and_goes_back(tmp_path):
    """Another class count: the U-Net of one class learns a second one, and is a package again."""
    saved(tmp_path / "theirs", a_card(architecture=ArcGISArchitecture(backbone="resnet18")))
    export_model(tmp_path / "theirs", "dlpk", tmp_path / "theirs.dlpk")
    import_model(tmp_path / "theirs.dlpk", tmp_path / "base")
    make_tile_set(tmp_path / "tiles", train=3, validation=1, drawn=(UNPAVED,))
    chosen = {"tiles": str(tmp_path / "tiles"), "base": str(tmp_path / "base"), "epochs": 1, "batch_size": 3, "device": "cpu"}
    write_json(tmp_path / "run" / "settings.json", TrainingSettings.model_validate(chosen).model_dump())
    assert run(tmp_path / "run") == 0

    card = read_card(tmp_path / "run")
    assert [c.name for c in card.classes] == ["Unpaved road", "Paved road"]
    assert (card.provenance.seed, len(card.provenance.tile_set_sha256)) == (TrainingSettings.model_validate(chosen).seed, 64)
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("base", "run/model"))
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("encoder."))
    assert not torch.equal(before["decoder.up.3.conv1.0.weight"], after["decoder.up.3.conv1.0.weight"])

    export_model(tmp_path / "run", "dlpk", tmp_path / "ours.dlpk")
    with zipfile.ZipFile(tmp_path / "ours.dlpk") as package:
        assert [c["Name"] for c in json.loads(package.read("ours.emd"))["Classes"]] == ["Unpaved road", "Paved road"]
    import_model(tmp_path / "ours.dlpk", tmp_path / "again")
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(load_bundle(tmp_path / "again").network(image), load_bundle(tmp_path / "run").network(image))
