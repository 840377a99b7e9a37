"""ONNX files written as text, and what onnxruntime computes with them: for tests."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from naive import RUN, run_graph

from intsim.graph import Graph, Pixels
from intsim.normalise import normalise, unsupported
from intsim.onnx_io import read


def model(text: str, opset: int = 20, ir: int = 8) -> onnx.ModelProto:
    """The model of `graph (inputs) => (outputs) <constants> { nodes }`, in ONNX's own text format.

    `random[2,3] w` among the constants is float[2,3] w with random values, the same ones every time.
    """

    def values(match: re.Match[str]) -> str:
        shape = [int(size) for size in match[1].split(",")]
        drawn = np.random.default_rng(len(text) + match.start()).normal(size=shape)
        return f"float[{match[1]}] {match[2]} = {{{', '.join(f'{v:.6f}' for v in drawn.ravel())}}}"

    text = re.sub(r"random\[([\d, ]+)\] (\w+)", values, text)
    return onnx.parser.parse_model(f'<ir_version: {ir}, opset_import: ["" : {opset}]>\n{text}')


def saved(folder: Path, text: str, opset: int = 20, name: str = "net.onnx") -> Path:
    """The path of the model of that text."""
    path = folder / name
    onnx.save(model(text, opset), path)
    return path


def run_onnxruntime(path: Path, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def difference(
    graph: Graph, path: Path, batch: int = 3, last: Callable[[np.ndarray], np.ndarray] = np.asarray
) -> float:
    """The largest difference between a normalised graph and onnxruntime's run of the file, relative to its outputs.

    `last` is what the file computes after the graph's outputs: the Softmax that was dropped.
    The file sees pixels / 255, or bytes where it takes those; the graph what its own normalization makes of them.
    """
    rng = np.random.default_rng(0)
    file_inputs, graph_inputs = {}, {}
    for value in onnx.load(path).graph.input:
        shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
        name, drawn = value.name, rng.integers(0, 256, (shape[0] or batch, *shape[1:])).astype(np.float32)
        raw = value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
        file_inputs[name] = drawn.astype(np.uint8) if raw else drawn / np.float32(255)
        graph_inputs[name] = graph.pixels.get(name, Pixels()).enter(file_inputs[name])
    ours = run_graph(graph, graph_inputs)
    theirs = run_onnxruntime(path, file_inputs)
    return max(
        float(np.abs(last(ours[name]) - result).max() / max(np.abs(result).max(), 1e-9))
        for name, result in zip(graph.outputs, theirs, strict=True)
    )


def normalised(path: Path) -> tuple[Graph, tuple[str, ...]]:
    """The normalised graph and its notes; every node is canonical, and so is the graph normalised again."""
    graph, notes = normalise(read(path))
    assert unsupported(graph, RUN) == ()
    again, silence = normalise(graph)
    assert again.nodes == graph.nodes
    assert silence == ()
    return graph, notes


def ops(graph: Graph) -> Sequence[str]:
    return [node.op for node in graph.nodes]


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
