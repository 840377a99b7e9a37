"""A torch network as one .onnx file, complete in itself, that names nothing of the machine it was made on."""

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

SHAPE = (1, 28, 28)
TOLERANCE = 1e-4


def export(
    network: nn.Module,
    path: Path | str,
    *,
    legacy: bool = False,
    static_batch: bool = False,
    opset: int | None = None,
) -> None:
    """`network` in eval mode at `path`: input "image" [n, 1, 28, 28], output "logits" [n, 10].

    The exporter is torch's default one (torch.export, "dynamo"), or with `legacy` the old one (TorchScript).
    With `static_batch` n is 1, otherwise any; `opset` None is what the exporter prefers.

    Raises ValueError where onnxruntime and torch disagree about random images by more than 1e-4.
    """
    image = torch.zeros(1 if static_batch else 2, *SHAPE)
    options: dict[str, Any] = {"input_names": ["image"], "output_names": ["logits"], "opset_version": opset}
    network = copy.deepcopy(network).eval()
    with _quiet():
        if legacy:
            options["dynamic_axes"] = None if static_batch else {"image": {0: "n"}, "logits": {0: "n"}}
            options["f"] = buffer = io.BytesIO()
            torch.onnx.export(network, (image,), dynamo=False, **options)
            model = onnx.load_model_from_string(buffer.getvalue())
        else:
            options["dynamic_shapes"] = None if static_batch else ({0: torch.export.Dim("n")},)
            program = torch.onnx.export(network, (image,), verbose=False, **options)
            assert program is not None, "the default exporter returns what it made"
            model = readable(program.model_proto)
    content = _anonymous(model).SerializeToString(deterministic=True)
    _agree(network, content, static_batch=static_batch)
    Path(path).write_bytes(content)


def readable(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` itself with its nodes, and what they compute, called conv_1, relu_1, conv_2 ... in running order."""
    counts: dict[str, int] = {}
    names: dict[str, str] = {value.name: value.name for value in (*model.graph.input, *model.graph.output)}
    for node in model.graph.node:
        kind = node.op_type.lower()
        counts[kind] = counts.get(kind, 0) + 1
        node.name = f"{kind}_{counts[kind]}"
        for index, output in enumerate(node.output):
            names.setdefault(output, node.name if index == 0 else f"{node.name}_{index}")
    for node in model.graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(value, value) for value in values]
    for info in model.graph.value_info:
        info.name = names.get(info.name, info.name)
    return model


def _anonymous(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` itself without documentation and metadata: the stack traces there carry paths."""
    model.doc_string = ""
    del model.metadata_props[:]
    graph = model.graph
    graph.doc_string = ""
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        part.doc_string = ""
        del part.metadata_props[:]
    return model


def _agree(network: nn.Module, content: bytes, *, static_batch: bool) -> None:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).random((16, *SHAPE), dtype=np.float32)
    batches = np.split(images, 16) if static_batch else [images]
    theirs = np.concatenate([session.run(None, {"image": batch})[0] for batch in batches])
    with torch.no_grad():
        ours = network(torch.from_numpy(images)).numpy()
    difference = float(np.abs(theirs - ours).max())
    if not difference <= TOLERANCE:
        raise ValueError(f"the exported file differs from torch by {difference:.2g}, more than {TOLERANCE}")


@contextmanager
def _quiet() -> Iterator[None]:
    """What the exporters say about themselves is kept off: missing torchvision, their own deprecations."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
            warnings.filterwarnings("ignore", r"You are using the legacy TorchScript", DeprecationWarning)
            warnings.filterwarnings("ignore", r"The feature will be removed", DeprecationWarning, "torch.onnx")
            yield
    finally:
        registration.setLevel(level)
