"""A model as ONNX, for other programs: any number of images of any size in, probabilities out, the contract in the metadata.

QGIS Deepness reads the metadata; its names, units and habits (values / 255, then mean and deviation) are kept.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from errors import BundleError
from models.bundle import ModelBundle
from models.card import ModelCard
from models.network import SegmentationNetwork
from models.packages.graph import CARD_KEY, STRIDE_KEY, parse_graph, with_metadata
from models.packages.onnx_network import OnnxNetwork
from workspace.files import replaced_on_success

OPSET = 18
IR_VERSION = 8
"""Read by ONNX Runtime from 1.14 on (2023)."""
TILE_PX = 512
OVERLAP_PERCENT = 20
BYTE = 255.0
LOGITS = "logits"
"""Name of the values within the graph of which the probabilities are made."""


class _ForExport(nn.Module):
    """Pads to the stride by mirroring, as the network does, but without asking about sizes, which are not known while exporting."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        rows, columns = image.shape[-2:]
        stride = self.network.stride
        padded = F.pad(image, (0, -columns % stride, 0, -rows % stride), mode="reflect")
        logits = self.network.head(self.network.decoder(self.network.encode(padded))).float()
        return torch.softmax(logits[..., :rows, :columns], dim=1)


def write_onnx(bundle: ModelBundle[SegmentationNetwork], file: Path) -> None:
    """Write `file`. The input `image` is (n, bands, rows, columns) float32, (value - mean) / std, at least a stride of the network on each side; the output
    `probabilities` is (n, outputs, rows, columns).

    Raises:
        BundleError: the library for it is not installed.
        DiskFullError: no room.
    """
    model = _graph_of(bundle)
    with_metadata(model, contract(bundle.card) | {STRIDE_KEY: bundle.network.stride})
    with replaced_on_success(file) as temporary:
        temporary.write_bytes(model.SerializeToString())


def contract(card: ModelCard) -> dict[str, Any]:
    """What the metadata says of the model: Deepness's keys, and our card."""
    facts: dict[str, Any] = {
        "model_type": "Segmentor",
        "class_names": {"0": "background"} | {str(i): c.name for i, c in enumerate(card.classes, 1)},
        "tile_size": TILE_PX,  # what Deepness reads
        "tiles_size": TILE_PX,  # what its documentation says
        "tiles_overlap": OVERLAP_PERCENT,
        "standardization_mean": [m / BYTE for m in card.input.mean],
        "standardization_std": [s / BYTE for s in card.input.std],
        "seg_thresh": 0.0,
        CARD_KEY: card.model_dump(mode="json", by_alias=True),
    }
    return facts if card.input.resolution_m is None else facts | {"resolution": 100 * card.input.resolution_m}


def _graph_of(bundle: ModelBundle[SegmentationNetwork]) -> Any:
    network = bundle.network
    if isinstance(network, OnnxNetwork):
        return parse_graph(network.graph.numpy().tobytes(), bundle.card.title)
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise BundleError(
            f"Writing ONNX needs the library {error.name}, which is not installed here.", "Install it with: pip install onnx onnxscript onnxruntime"
        ) from error
    example = torch.zeros(2, network.bands, 5 * network.stride + 3, 3 * network.stride + 5)  # unlike numbers: equal ones would be taken for the same
    dynamic = {"image": dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.onnx.export(
            _ForExport(network).eval(),
            (example,),
            input_names=["image"],
            output_names=["probabilities"],
            dynamic_shapes=dynamic,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert made is not None
    model = made.model_proto
    model.ir_version = IR_VERSION
    last = next(node for node in model.graph.node if "probabilities" in node.output)
    _rename(model.graph, last.input[0], LOGITS)
    names = (("image", model.graph.input[0]), ("probabilities", model.graph.output[0]))
    for name, value in names:
        assert value.name == name
        for axis, plain in ((0, "images"), (2, "rows"), (3, "columns")):
            value.type.tensor_type.shape.dim[axis].dim_param = plain
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    return model


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
