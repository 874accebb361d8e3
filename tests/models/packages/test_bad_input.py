"""Files that do harm, or are broken: each is refused with its reason, before anything is written, and without running what it holds."""

import io
import json
import os
import pickle
import stat
import struct
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save

from errors import BundleError
from models.arcgis.card import definition_of
from models.arcgis.networks import to_arcgis
from models.architecture import ArcGISArchitecture, ArcGISDetectorArchitecture, ArcGISSceneArchitecture
from models.network import build_network
from models.packages.transfer import import_model
from tests.models.arcgis.definitions import ROADS, definition
from tests.models.cards import a_card


class Touch:
    """Pickles as a call that makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture(scope="module")
def parts(dlpk_file, zip_file, tmp_path_factory):
    """Sound contents to spoil: {"emd", "state", "card", "weights"}."""
    folder = tmp_path_factory.mktemp("parts")
    with zipfile.ZipFile(dlpk_file) as package:
        emd, pth = json.loads(package.read("roads.emd")), package.extract("roads.pth", folder)
    with zipfile.ZipFile(zip_file) as package:
        card, weights = json.loads(package.read("roads/card.json")), package.read("roads/model.safetensors")
    found = {"emd": emd, "state": torch.load(pth, weights_only=True), "card": card, "weights": weights}
    return found | {kind: built(architecture) for kind, architecture in KINDS.items()}


KINDS = {
    "boxes": ArcGISDetectorArchitecture(model="SingleShotDetector", backbone="resnet18", grids=(4, 2)),
    "retina": ArcGISDetectorArchitecture(model="RetinaNet", backbone="resnet18"),
    "scenes": ArcGISSceneArchitecture(backbone="resnet18"),
    "pyramid": ArcGISArchitecture(model="PSPNetClassifier", backbone="resnet18"),
}


def built(architecture):
    """A sound package of this kind, as it would be read: {"emd", "state"}."""
    card = a_card(architecture=architecture)
    emd = {key: value for key, value in definition_of(card, "roads").items() if key != "TerratuneCard"}
    return {"emd": emd, "state": to_arcgis(architecture, build_network(architecture, 3, card.outputs).state_dict())}


def pth(state):
    into = io.BytesIO()
    torch.save(state, into)
    return into.getvalue()


def packed(path, files, **changes):
    """A ZIP of {name: bytes}; changes to the entry of a name by `changes`."""
    with zipfile.ZipFile(path, "w", changes.get("compression", zipfile.ZIP_STORED)) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = changes.get("compression", zipfile.ZIP_STORED)
            info.external_attr = (changes.get("mode", stat.S_IFREG | 0o644)) << 16
            archive.writestr(info, content)
    return path


def dlpk(parts, tmp_path, *, emd=None, weights=None, more=None):
    files = {"roads.emd": json.dumps(parts["emd"] if emd is None else emd), "roads.pth": pth(parts["state"]) if weights is None else weights}
    return packed(tmp_path / "roads.dlpk", files | (more or {}))


def bundle(parts, tmp_path, *, weights=None, **card):
    files = {"roads/card.json": json.dumps(parts["card"] | card), "roads/model.safetensors": parts["weights"] if weights is None else weights}
    return packed(tmp_path / "roads.zip", files)


def lying_size(path):
    """Every 'size of the file' in the ZIP's list says 16 TB less one; what is stored is small."""
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 2**32 - 2)
    path.write_bytes(content)
    return path


def nan_weights(weights, folder):
    (folder / "w.safetensors").write_bytes(weights)
    state = load_file(folder / "w.safetensors")
    state["head.0.bias"][0] = float("nan")
    return save(state)


def nan_state(state):
    bias = state["finalconv3.bias"].clone()
    bias[0] = float("nan")
    return state | {"finalconv3.bias": bias}


def bigger(architecture):
    return {"architecture": architecture | {"decoder_channels": 512}}


CASES = {
    # name: (file from (sound parts, folder), words of the reason)
    "not a ZIP": (lambda p, f: written(f / "a.dlpk", b"hello"), "not a ZIP archive"),
    "an empty file": (lambda p, f: written(f / "a.zip", b""), "not a ZIP archive"),
    "a ZIP cut off": (lambda p, f: cut(bundle(p, f)), "not a ZIP archive"),
    "another kind of file": (lambda p, f: written(f / "a.h5", b"x"), r"no file that holds a model.*\.dlpk"),
    "loose weights": (lambda p, f: written(f / "a.pth", pth(p["state"])), r"no file that holds a model.*choose the \.dlpk or \.emd"),
    "a name that leads outside": (lambda p, f: packed(f / "a.zip", {"../card.json": b"{}"}), "leads outside"),
    "a name that leads outside with backslashes": (lambda p, f: packed(f / "a.zip", {"a\\..\\..\\card.json": b"{}"}), "leads outside"),
    "an absolute name": (lambda p, f: packed(f / "a.zip", {"/etc/card.json": b"{}"}), "not below its own folder"),
    "a drive": (lambda p, f: packed(f / "a.dlpk", {"C:\\m.emd": b"{}"}), "not below its own folder"),
    "a link": (lambda p, f: packed(f / "a.zip", {"card.json": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777), "a link"),
    "a device": (lambda p, f: packed(f / "a.zip", {"card.json": b""}, mode=stat.S_IFCHR | 0o666), "a device"),
    "one name twice": (lambda p, f: packed(f / "a.zip", {"m/card.json": b"{}", "m/CARD.json": b"{}"}), "twice"),
    "a bomb": (lambda p, f: packed(f / "a.zip", {"m/card.json": b"\0" * 2**25}, compression=zipfile.ZIP_DEFLATED), "times its size"),
    "a bomb in the weights": (
        lambda p, f: dlpk(p, f, weights=packed(f / "w", {"w/data.pkl": b"\0" * 2**25}, compression=zipfile.ZIP_DEFLATED).read_bytes()),
        "times its size",
    ),
    "a size that is a lie": (lambda p, f: lying_size(packed(f / "a.zip", {"m/card.json": b"{}"})), "times its size"),
    "far too many files": (lambda p, f: packed(f / "a.zip", {f"{i}": b"" for i in range(5001)}), "5,001 files"),
    "a huge definition": (lambda p, f: packed(f / "a.dlpk", {"m.emd": os.urandom(2**25 + 1)}), "too large"),
    "no definition": (lambda p, f: packed(f / "a.dlpk", {"m.pth": b""}), "no model definition"),
    "two definitions": (lambda p, f: packed(f / "a.dlpk", {"m.emd": b"{}", "n.emd": b"{}"}), "2 model definitions"),
    "a malformed definition": (lambda p, f: packed(f / "a.dlpk", {"m.emd": b'{"ModelName": "U",\n x'}), "line 2, column 2"),
    "no weights": (lambda p, f: packed(f / "a.dlpk", {"m.emd": json.dumps(definition(**ROADS))}), "not there"),
    "weights outside the package": (lambda p, f: outside(p, f), "not there"),
    "no card": (lambda p, f: packed(f / "a.zip", {"readme.txt": b""}), "no model"),
    "two cards": (lambda p, f: packed(f / "a.zip", {"a/card.json": b"{}", "b/card.json": b"{}"}), "2 models"),
    "a card without weights": (lambda p, f: packed(f / "a.zip", {"m/card.json": b"{}"}), "no model.safetensors beside"),
    "a card that is none": (lambda p, f: bundle(p, f, name=""), "cannot be read .name"),
    "a pickle with code": (lambda p, f: dlpk(p, f, weights=pth({"a": Touch(f / "canary")})), "program code.*was not"),
    "a plain pickle with code": (lambda p, f: dlpk(p, f, weights=pickle.dumps(Touch(f / "canary"), protocol=2)), "program code.*was not"),
    "a pickle as a bundle's weights": (lambda p, f: bundle(p, f, weights=pickle.dumps(Touch(f / "canary")), weights_sha256=""), "damaged"),
    "no tensors": (lambda p, f: dlpk(p, f, weights=pth([1, 2])), "does not hold the weights"),
    "a network of no stored numbers": (lambda p, f: dlpk(p, f, weights=pth({"a": torch.zeros(2, 2).to_sparse()})), "does not hold the weights"),
    "weights cut off": (lambda p, f: dlpk(p, f, weights=pth(p["state"])[:-1000]), "damaged"),
    "a bundle's weights cut off": (lambda p, f: bundle(p, f, weights=p["weights"][:-8], weights_sha256=""), "damaged"),
    "a bundle's weights exchanged": (lambda p, f: bundle(p, f, weights=p["weights"][:-1] + b"\1"), "not the ones its card.json names"),
    "weights that are no numbers": (lambda p, f: dlpk(p, f, weights=pth(nan_state(p["state"]))), "no numbers .*finalconv3|no numbers .head"),
    "a bundle's weights that are no numbers": (
        lambda p, f: bundle(p, f, weights=nan_weights(p["weights"], f), weights_sha256=""),
        r"no numbers .head\.0\.bias",
    ),
    "a definition with another class count": (
        lambda p, f: dlpk(p, f, emd={k: v for k, v in (p["emd"] | {"Classes": 2 * p["emd"]["Classes"]}).items() if k != "TerratuneCard"}),
        "lists 2 classes.*makes 3 outputs; the weights have 2",
    ),
    "a definition with other bands": (
        lambda p, f: dlpk(p, f, emd=p["emd"] | {"ExtractBands": [0, 1, 2, 3]}),
        "names 4 bands; the weights read 3",
    ),
    "a definition of another backbone": (
        lambda p, f: dlpk(p, f, emd=p["emd"] | {"ModelParameters": {"backbone": "resnet50", "mtl_model": "linknet"}}),
        "the weights lack",
    ),
    "a definition of another network": (
        lambda p, f: dlpk(p, f, emd=p["emd"] | {"ModelName": "UnetClassifier", "ModelParameters": {"backbone": "resnet18"}}),
        "the weights lack",
    ),
    "a tensor too few": (
        lambda p, f: dlpk(p, f, weights=pth({k: v for k, v in p["state"].items() if k != "decoder3.norm1.bias"})),
        r"lack decoder3\.norm1\.bias",
    ),
    "a tensor too many": (lambda p, f: dlpk(p, f, weights=pth(p["state"] | {"extra.weight": torch.ones(1)})), "hold extra.weight"),
    "a tensor that claims to be huge": (
        lambda p, f: dlpk(p, f, weights=pth(p["state"] | {"finalconv2.bias": torch.zeros(1).expand(10**12)})),
        "1000000000000, where the description asks for 32",
    ),
    "boxes with another class count": (
        lambda p, f: dlpk(p["boxes"], f, emd=p["boxes"]["emd"] | {"Classes": 2 * p["boxes"]["emd"]["Classes"]}),
        "lists 2 classes.*makes 3 outputs; the weights have 2",
    ),
    "a RetinaNet with another class count": (
        lambda p, f: dlpk(p["retina"], f, emd=p["retina"]["emd"] | {"Classes": 3 * p["retina"]["emd"]["Classes"]}),
        "lists 3 classes.*makes 4 outputs; the weights have 2",
    ),
    "scenes with another class count": (
        lambda p, f: dlpk(p["scenes"], f, emd=p["scenes"]["emd"] | {"Classes": 2 * p["scenes"]["emd"]["Classes"]}),
        "lists 2 classes, the weights have 1",
    ),
    "boxes with other bands": (
        lambda p, f: dlpk(p["boxes"], f, emd=p["boxes"]["emd"] | {"ExtractBands": [0, 1]}),
        "names 2 bands; the weights read 3",
    ),
    "scenes with other bands": (
        lambda p, f: dlpk(p["scenes"], f, emd=p["scenes"]["emd"] | {"ExtractBands": [0, 1, 2, 3]}),
        "NormalizationStats are for 3 bands; the model reads 4",
    ),
    "boxes cut off": (lambda p, f: dlpk(p, f, emd=p["boxes"]["emd"], weights=pth(p["boxes"]["state"])[:-1000]), "damaged"),
    "boxes on other grids": (
        lambda p, f: dlpk(p["boxes"], f, emd=p["boxes"]["emd"] | {"Grids": [4, 2, 1]}),
        r"lack 1\.sconvs\.3\.conv\.weight and",
    ),
    "boxes on grids that nothing leads to": (
        lambda p, f: dlpk(p["boxes"], f, emd=p["boxes"]["emd"] | {"Grids": [16], "SSDVersion": 1}),
        "cannot be built: no convolution leads from 8 to 16 cells",
    ),
    "boxes on a grid of millions": (lambda p, f: dlpk(p["boxes"], f, emd=p["boxes"]["emd"] | {"Grids": [4000]}), "cannot be true of a SingleShot"),
    "a bundle's boxes without number": (
        lambda p, f: bundle(p, f, architecture={"kind": "arcgis-objects", "model": "SingleShotDetector", "grids": [128] * 16}, weights_sha256=""),
        "262,144 boxes",
    ),
    "boxes with other shapes": (
        lambda p, f: dlpk(p["retina"], f, emd=p["retina"]["emd"] | {"ModelParameters": {"backbone": "resnet18", "scales": [1.0]}}),
        "the weights have 4|where the description asks for",
    ),
    "boxes of another network": (
        lambda p, f: dlpk(p["boxes"], f, emd=p["retina"]["emd"]),
        "the weights lack encoder",
    ),
    "scenes with a tensor too few": (
        lambda p, f: dlpk(p, f, emd=p["scenes"]["emd"], weights=pth({k: v for k, v in p["scenes"]["state"].items() if k != "1.6.running_mean"})),
        r"lack 1\.6\.running_mean",
    ),
    "a length without its direction": (
        lambda p, f: dlpk(p, f, emd=p["pyramid"]["emd"], weights=pth({k: v for k, v in p["pyramid"]["state"].items() if "6.conv.0.weight_v" not in k})),
        r"lack model\.layers\.6\.conv\.0\.weight_v",
    ),
    "a direction that claims to be huge": (
        lambda p, f: dlpk(
            p, f, emd=p["pyramid"]["emd"], weights=pth(p["pyramid"]["state"] | {"model.layers.6.conv.0.weight_v": torch.zeros(1).expand(10**12)})
        ),
        "1000000000000, where the description asks for",
    ),
    "a direction of no length": (
        lambda p, f: dlpk(
            p, f, emd=p["pyramid"]["emd"], weights=pth(p["pyramid"]["state"] | {"model.layers.6.conv.0.weight_v": torch.zeros(448, 112, 1, 1)})
        ),
        "no numbers .decoder.shuffle",
    ),
    "a card in a definition that lies about classes": (
        lambda p, f: dlpk(p, f, emd=p["emd"] | {"TerratuneCard": p["emd"]["TerratuneCard"] | {"classes": []}}),
        "finalconv3.weight is 2 x 32 x 2 x 2, where the description asks for 1 x 32 x 2 x 2",
    ),
    "a card with another class count": (lambda p, f: bundle(p, f, classes=[]), "where the description asks for 1 x"),
    "a card with other bands": (
        lambda p, f: bundle(p, f, input=p["card"]["input"] | {"band_names": ["a", "b"], "mean": [0, 0], "std": [1, 1]}),
        "64 x 3 x 3 x 3|x 3 x 3 x 3, where the description asks for",
    ),
    "a card that lies about shapes": (lambda p, f: bundle(p, f, **bigger(p["card"]["architecture"])), "where the description asks for"),
    "a card of another encoder": (
        lambda p, f: bundle(p, f, architecture=p["card"]["architecture"] | {"encoder": "resnet50"}),
        "the weights lack",
    ),
    "a card of no encoder": (lambda p, f: bundle(p, f, architecture=p["card"]["architecture"] | {"encoder": "wonder"}), "cannot be built"),
    "a card of an encoder somewhere else": (
        lambda p, f: bundle(p, f, architecture=p["card"]["architecture"] | {"encoder": "hf-hub:someone/something"}),
        "cannot be read .architecture",
    ),
    "a card with a hundred thousand bands": (
        lambda p, f: bundle(
            p, f, input=p["card"]["input"] | {"band_names": [str(i) for i in range(100_000)], "mean": [0] * 100_000, "std": [1] * 100_000}
        ),
        "100,000 bands",
    ),
    "a card that says it is ONNX": (
        lambda p, f: bundle(p, f, architecture={"kind": "onnx", "size_bytes": 10**15}, weights_sha256=""),
        "the weights lack graph",
    ),
    "an ONNX bundle of something else": (
        lambda p, f: bundle(
            p, f, architecture={"kind": "onnx", "size_bytes": 9}, weights=save({"graph": torch.ones(9, dtype=torch.uint8)}), weights_sha256=""
        ),
        "no valid ONNX model",
    ),
    "an ONNX file of something else": (lambda p, f: written(f / "a.onnx", b"hello"), "no valid ONNX model"),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_with_its_reason(case, parts, tmp_path):
    make, words = CASES[case]
    file = make(parts, tmp_path)
    with pytest.raises(BundleError, match=words) as caught:
        import_model(file, tmp_path / "out" / "model")
    assert caught.value.remedy
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "canary").exists()


def test_the_canary_would_sing(tmp_path):
    """The traps above are real: opened without care, they run."""
    pickle.loads(pickle.dumps(Touch(tmp_path / "canary"))).close()
    assert (tmp_path / "canary").exists()


def test_program_code_in_a_package_is_never_looked_at(parts, tmp_path):
    code = f"open({str(tmp_path / 'canary')!r}, 'w')".encode()
    more = {"ArcGISImageClassifier.py": code, "__init__.py": code, "_unet.py": code}
    emd = parts["emd"] | {"InferenceFunction": "ArcGISImageClassifier.py", "ModelConfiguration": "_unet"}
    import_model(dlpk(parts, tmp_path, emd=emd, more=more), tmp_path / "out")
    assert not (tmp_path / "canary").exists()


def written(path, content):
    path.write_bytes(content)
    return path


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])
    return path


def outside(parts, folder):
    """An .emd that names weights elsewhere on the machine."""
    (folder / "elsewhere").mkdir()
    torch.save(parts["state"], folder / "elsewhere" / "secret.pth")
    (folder / "in").mkdir()
    (folder / "in" / "m.emd").write_text(json.dumps(parts["emd"] | {"ModelFile": str(folder / "elsewhere" / "secret.pth")}))
    return folder / "in" / "m.emd"
