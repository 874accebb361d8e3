"""ONNX files: what is looked at before one is run, and the facts that are kept in its metadata."""

from __future__ import annotations

import ast
import json
from typing import Any

import numpy as np

from errors import BundleError

AGAIN = "Export the model again, or ask its maker for a sound file."
KNOWN = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Sets of operations that are part of ONNX Runtime itself."""
CARD_KEY = "terratune_card"
"""Our whole card, as JSON."""
STRIDE_KEY = "terratune_stride"
"""Pixels that the network's coarsest features span: where windows are laid, so that a map is the same as with the network itself."""


def parse_graph(content: bytes, name: str) -> Any:
    """The parsed model (onnx.ModelProto), checked: complete in itself, standard operations only, all weights numbers.

    Raises:
        BundleError: it is damaged, leads to other files, needs program code of its maker, or has weights that are no numbers.
    """
    try:
        import onnx
        import onnx.inliner
        from onnx import numpy_helper
        from onnx.external_data_helper import uses_external_data
    except ImportError as error:
        raise BundleError("ONNX models need the library onnx, which is not installed here.", "Install it with: pip install onnx onnxruntime") from error
    try:
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's and the checker's errors have no base of their own
        raise BundleError(f"{name} is no valid ONNX model ({_first_line(error)}).", AGAIN) from error
    graph = onnx.inliner.inline_local_functions(model).graph if model.functions else model.graph
    foreign = sorted({f"{node.domain}.{node.op_type}" for node in _nodes(graph) if node.domain not in KNOWN})
    if foreign:
        raise BundleError(f"{name} uses operations that ONNX Runtime does not bring: {', '.join(foreign[:5])}.", "Export it with standard operations only.")
    for tensor in _tensors(graph):
        if uses_external_data(tensor):
            raise BundleError(f"{name} keeps its weights in other files.", "Save it as one file (onnx.save with all tensors inside).")
        real = tensor.dims and tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)
        if real and not np.isfinite(numpy_helper.to_array(tensor)).all():
            raise BundleError(f"{name}: some weights are no numbers ({tensor.name}).", "A training that went wrong leaves such files.")
    return model


def metadata_of(model: Any) -> dict[str, Any]:
    """The model's metadata, each value parsed as JSON or as Python writes plain values; a value that is neither stays text."""
    return {entry.key: _value(entry.value) for entry in model.metadata_props}


def with_metadata(model: Any, facts: dict[str, Any]) -> None:
    """Write facts as JSON into the model's metadata, over those of the same names, in place."""
    kept = {entry.key: entry.value for entry in model.metadata_props} | {key: json.dumps(value) for key, value in facts.items()}
    del model.metadata_props[:]
    for key, value in kept.items():
        model.metadata_props.add(key=key, value=value)


def _value(text: str) -> Any:
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return text


def _nodes(graph: Any) -> list[Any]:
    """All nodes, those of graphs within nodes included."""
    found = []
    for node in graph.node:
        found.append(node)
        for inner in _inner_graphs(node):
            found += _nodes(inner)
    return found


def _tensors(graph: Any) -> list[Any]:
    """Initialisers and constants."""
    found = [*graph.initializer, *(part for sparse in graph.sparse_initializer for part in (sparse.values, sparse.indices))]
    for node in graph.node:
        found += [a.t for a in node.attribute if a.HasField("t")] + [t for a in node.attribute for t in a.tensors]
        for inner in _inner_graphs(node):
            found += _tensors(inner)
    return found


def _inner_graphs(node: Any) -> list[Any]:
    return [a.g for a in node.attribute if a.HasField("g")] + [g for a in node.attribute for g in a.graphs]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
