import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from errors import BundleError, InputMismatchError, TrainingError, UnsupportedModelError
from models.architecture import OnnxArchitecture
from models.bundle import adapt_bands, load_bundle, save_bundle
from models.packages.graph import metadata_of
from models.packages.onnx_in import read_onnx
from models.packages.onnx_out import LOGITS, write_onnx
from tests.training.tile_sets import make_tile_set
from tiles.tile_set import open_tile_set
from training.tasks import architecture_for


def foreign(path, *, end="Softmax", outputs=3, size=("n", 3, "h", "w"), metadata=None, strided=False, values=None):
    """A 1x1 convolution as other programs might export it."""
    weight = np.arange(outputs * 3, dtype=np.float32).reshape(outputs, 3, 1, 1) / 10 if values is None else values
    tensors = [helper.make_tensor("w", TensorProto.FLOAT, weight.shape, weight.tobytes(), raw=True)]
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2] if strided else [1, 1])]
    last = {"Softmax": {"axis": 1}}.get(end, {})
    nodes.append(helper.make_node(end, ["y"], ["z"], **last))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(size))],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", outputs, "rows", "columns"])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    return path


def test_logits_are_those_of_torch_for_any_number_and_size(onnx_file, small):
    model = onnx.load(onnx_file)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [18]
    model.graph.output.append(helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    network = load_bundle(small).network
    for size in ((1, 3, 64, 96), (2, 3, 75, 50), (3, 3, 33, 129)):
        image = torch.randn(*size)
        with torch.inference_mode():
            wanted = network(image).numpy()
        probabilities, logits = session.run(None, {"image": image.numpy()})
        rows, columns = size[2:]
        assert np.abs(logits[..., :rows, :columns] - wanted).max() < 1e-4
        assert probabilities.shape == wanted.shape
        assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_the_metadata_are_those_that_deepness_reads(onnx_file):
    facts = metadata_of(onnx.load(onnx_file))
    assert facts["model_type"] == "Segmentor"
    assert facts["class_names"] == {"0": "background", "1": "Paved road"}
    assert facts["resolution"] == 50  # centimetres
    assert (facts["tile_size"], facts["tiles_overlap"]) == (512, 20)
    # values / 255, then these, come to the card's (x - mean) / std
    assert np.allclose((7 / 255 - np.array(facts["standardization_mean"])) / facts["standardization_std"], (7 - np.array([1, 2, 3])) / [4, 5, 6])
    shape = onnx.load(onnx_file).graph.input[0].type.tensor_type.shape
    assert [d.dim_param or d.dim_value for d in shape.dim] == ["images", 3, "rows", "columns"]


def test_what_came_as_onnx_goes_out_as_it_was(onnx_file, tmp_path):
    network, card, _ = read_onnx(onnx_file)
    save_bundle(tmp_path / "b", network, card)
    write_onnx(load_bundle(tmp_path / "b"), tmp_path / "again.onnx")
    first, second = (onnx.load(path).graph.SerializeToString() for path in (onnx_file, tmp_path / "again.onnx"))
    assert first == second


def test_a_foreign_model_predicts_with_what_its_metadata_say(tmp_path):
    names = "{0: '_background', 1: 'tree', 2: 'roof'}"  # as Python writes it
    metadata = {"class_names": names, "resolution": "30", "standardization_mean": "[0.5, 0.5, 0.5]", "standardization_std": "[0.25, 0.25, 0.25]"}
    network, card, notes = read_onnx(foreign(tmp_path / "a.onnx", metadata=metadata))
    assert ([c.name for c in card.classes], card.input.resolution_m, notes) == (["tree", "roof"], 0.3, [])
    assert card.input.mean == (127.5,) * 3
    image = torch.randn(2, 3, 40, 50)
    weight = torch.arange(9).reshape(3, 3) / 10
    wanted = torch.softmax(torch.einsum("oc,nchw->nohw", weight, image), dim=1)
    assert torch.allclose(torch.softmax(network(image), dim=1), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("end", "outputs", "gives", "channels"), [("Identity", 3, "logits", 3), ("Softmax", 3, "probabilities", 3), ("Sigmoid", 1, "probability", 2)]
)
def test_logits_and_probabilities_are_told_apart(end, outputs, gives, channels, tmp_path):
    network, card, notes = read_onnx(foreign(tmp_path / "a.onnx", end=end, outputs=outputs))
    assert (card.architecture.gives, card.outputs) == (gives, channels)
    image = torch.randn(1, 3, 32, 32)
    found = torch.softmax(network(image), dim=1)
    raw = torch.einsum("oc,nchw->nohw", torch.arange(outputs * 3).reshape(outputs, 3) / 10, image)
    wanted = torch.sigmoid(raw) if gives == "probability" else torch.softmax(raw, dim=1)[:, 1:]
    assert torch.allclose(found[:, 1:], wanted, atol=1e-4)
    assert any("does not name its classes" in note for note in notes)


def test_a_graph_for_one_size_alone_sees_larger_pictures_piece_by_piece(tmp_path):
    network, card, _ = read_onnx(foreign(tmp_path / "a.onnx", size=(1, 3, 64, 64)))
    assert (card.architecture.side, card.input.tile_size) == (64, 64)
    free, _, _ = read_onnx(foreign(tmp_path / "b.onnx"))
    image = torch.randn(2, 3, 100, 70)
    assert torch.allclose(network(image), free(image), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"size": ("n", "c", "h", "w")}, UnsupportedModelError, "how many bands"),
        ({"size": (1, 3, 64, 32)}, UnsupportedModelError, "64 x 32"),
        ({"strided": True}, UnsupportedModelError, "not a class for each pixel"),
        ({"end": "Identity", "outputs": 1}, UnsupportedModelError, "no probability"),
        ({"values": np.full((3, 3, 1, 1), np.nan, np.float32)}, BundleError, "no numbers"),
        ({"end": "Wonder"}, BundleError, "no valid ONNX model"),
        ({"metadata": {"terratune_card": json.dumps({"name": "x"})}}, BundleError, "card in a.onnx cannot be read"),
    ],
)
def test_what_cannot_be_used_is_refused(changes, error, words, tmp_path):
    with pytest.raises(error, match=words):
        read_onnx(foreign(tmp_path / "a.onnx", **changes))


def test_weights_in_other_files_are_not_fetched(tmp_path):
    model = onnx.load(foreign(tmp_path / "a.onnx"))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    (tmp_path / "b.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=r"other files|no valid"):
        read_onnx(tmp_path / "b.onnx")


def test_operations_that_need_code_of_their_maker_are_refused(tmp_path):
    model = onnx.load(foreign(tmp_path / "a.onnx"))
    model.graph.node[1].domain = "com.someone"
    model.opset_import.append(helper.make_opsetid("com.someone", 1))
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(BundleError, match=r"com\.someone\.Softmax"):
        read_onnx(tmp_path / "a.onnx")


def test_functions_within_the_file_are_looked_into(tmp_path):
    model = onnx.load(foreign(tmp_path / "a.onnx"))
    soft = helper.make_node("Softmax", ["a"], ["b"], axis=1)
    model.functions.append(helper.make_function("own", "Soft", ["a"], ["b"], [soft], [helper.make_opsetid("", 17)]))
    model.graph.node[1].CopyFrom(helper.make_node("Soft", ["y"], ["z"], domain="own"))
    model.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save(model, tmp_path / "a.onnx")
    assert read_onnx(tmp_path / "a.onnx")[1].architecture.gives == "probabilities"
    model.functions[0].node[0].domain = "com.someone"
    onnx.save(model, tmp_path / "b.onnx")
    with pytest.raises(BundleError, match=r"com\.someone\.Softmax|no valid"):
        read_onnx(tmp_path / "b.onnx")


def test_it_cannot_be_fine_tuned_and_says_so(tmp_path):
    network, card, _ = read_onnx(foreign(tmp_path / "a.onnx"))
    with pytest.raises(InputMismatchError, match="the bands it was made for"):
        adapt_bands(network, card.input.band_names, ("nir", "red", "green"))
    tiles = make_tile_set(tmp_path / "tiles", train=1, validation=1)
    with pytest.raises(TrainingError, match="predict, but not learn"):
        architecture_for("auto", open_tile_set(tiles.folder), OnnxArchitecture(size_bytes=1))
