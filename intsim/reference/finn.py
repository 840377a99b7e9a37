"""FINN's form of a quantized network, run by qonnx: sums of integers, then MultiThreshold; no register, no multiplier.

A bias and a scale stand before the thresholds, in float64, as FINN has them before it folds them into integers. The
thresholds lie at half steps of the output's scale, and a value that meets one counts.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.errors import IntsimError
from intsim.graph import Node
from intsim.integers import Affine
from intsim.onnx_io.spelling import ints
from intsim.quantized import QuantizedGraph
from intsim.reference import Reference, Runner
from intsim.reference.qonnx import DOMAIN, attributes

FLOAT, DOUBLE = np.float32, np.float64
SUMS = ("Conv", "ConvTranspose", "Gemm")
MOVES = ("MaxPool", "Max", "Min")
"""Operators that only choose integers, and run as ONNX has them."""


def describe() -> Reference:
    """What was compared with."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return Reference(name="QONNX's MultiThreshold", version=version("qonnx"))
    except PackageNotFoundError:
        raise IntsimError("is not installed", where="qonnx", mend="pip install qonnx") from None


def network(quantized: QuantizedGraph, threads: int) -> Runner:
    """From the inputs' integers to the outputs'; qonnx runs on one thread of its own.

    Raises IntsimError where qonnx is not installed, for zero points, for an operator that FINN does not have, and for
    sums that the executor's float32 does not hold.
    """
    try:
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.core.onnx_exec import execute_onnx
    except ImportError:
        raise IntsimError("is not installed", where="qonnx", mend="pip install qonnx") from None
    zeros = [name for name, affine in quantized.affines.items() if any(affine.zero_point)]
    if zeros:
        raise IntsimError("has a zero point, FINN has none", where=zeros[0])
    graph = quantized.graph

    def run(x: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        draft = _Draft(source=quantized, batch=len(x[graph.inputs[0]]))
        for name in graph.inputs:
            draft.types[name] = FLOAT, _shape(draft, name)
        for node in graph.nodes:
            _node(draft, node)
        found = execute_onnx(ModelWrapper(_model(draft)), {name: x[name].astype(FLOAT) for name in graph.inputs})
        return {n: found[n].astype(quantized.affines[n].type.dtype) for n in graph.outputs}

    return run


# ---- an ONNX graph as it grows ---------------------------------------------------------------------------------


class _Draft(Struct, kw_only=True, eq=False):
    """Nodes, constants, and the type and shape of every tensor."""

    source: QuantizedGraph
    batch: int
    nodes: list[Any] = []
    constants: dict[str, np.ndarray] = {}
    types: dict[str, tuple[Any, tuple[int, ...]]] = {}


def _shape(draft: _Draft, name: str) -> tuple[int, ...]:
    return (draft.batch, *draft.source.graph.shapes[name])


def _constant(draft: _Draft, values: Any, dtype: Any) -> str:
    name = f"constant:{len(draft.constants)}"
    draft.constants[name] = np.asarray(values, dtype)
    return name


def _add(
    draft: _Draft, op: str, inputs: list[str], out: str, dtype: Any, shape: tuple[int, ...], **attributes: Any
) -> str:
    from onnx import helper

    draft.nodes.append(helper.make_node(op, inputs, [out], **attributes))
    draft.types[out] = dtype, shape
    return out


def _model(draft: _Draft) -> Any:
    from onnx import helper, numpy_helper

    graph = draft.source.graph
    infos = {
        name: helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
        for name, (dtype, shape) in draft.types.items()
    }
    made = helper.make_graph(
        draft.nodes,
        "finn",
        [infos[name] for name in graph.inputs],
        [infos[name] for name in graph.outputs],
        [numpy_helper.from_array(array, name) for name, array in draft.constants.items()],
        value_info=[info for name, info in infos.items() if name not in (*graph.inputs, *graph.outputs)],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8)


# ---- nodes -----------------------------------------------------------------------------------------------------


def _node(draft: _Draft, node: Node) -> None:
    source, (out,) = draft.source, node.outputs
    scales = [DOUBLE(source.affines[name].scale[0]) if name in source.affines else None for name in node.inputs]
    x, y = node.inputs[0], source.affines[out]
    if node.op in SUMS:
        _sum(draft, node)
    elif node.op == "Requantize":
        _thresholds(draft, _scaled(draft, x, scales[0]), y, out)
    elif node.op in ("Add", "Sub", "Mul"):
        a, b = (_scaled(draft, name, scale) for name, scale in zip(_activations(draft, node), scales, strict=True))
        real = _add(draft, node.op, [a, b], f"{out}:real", DOUBLE, _shape(draft, out))
        _thresholds(draft, real, y, out)
    elif node.op == "AveragePool":
        _average(draft, node)
    elif node.op == "GlobalAveragePool":
        _mean(draft, node)
    elif node.op == "Concat":
        parts = [
            name
            if source.affines[name] == y
            else _thresholds(draft, _scaled(draft, name, scale), y, f"{name}:for:{out}")
            for name, scale in zip(node.inputs, scales, strict=True)
        ]
        _add(draft, "Concat", parts, out, FLOAT, _shape(draft, out), axis=node.attributes["axis"])
    elif node.op in MOVES:
        _add(draft, node.op, list(node.inputs), out, FLOAT, _shape(draft, out), **attributes(node))
    elif node.op == "Pad":
        begin, end = np.split(np.array(ints(node.attributes["pads"])), 2)
        pads = _constant(draft, [0, *begin, 0, *end], np.int64)
        _add(draft, "Pad", [x, pads, _constant(draft, 0, FLOAT)], out, FLOAT, _shape(draft, out))
    else:
        raise IntsimError(f"{node.op} is none of FINN's operators that are written here", where=node.name)


def _activations(draft: _Draft, node: Node) -> list[str]:
    graph = draft.source.graph
    return [_constant(draft, graph.constants[n], FLOAT) if n in graph.constants else n for n in node.inputs]


def _scaled(draft: _Draft, name: str, scale: Any) -> str:
    """The integers' real numbers, in float64."""
    shape = draft.types[name][1] if name in draft.types else draft.constants[name].shape
    number = len(draft.nodes)
    wide = _add(draft, "Cast", [name], f"{name}:wide:{number}", DOUBLE, shape, to=11)
    return _add(draft, "Mul", [wide, _constant(draft, scale, DOUBLE)], f"{name}:real:{number}", DOUBLE, shape)


def _thresholds(draft: _Draft, real: str, y: Affine, out: str) -> str:
    """Low, and one more for every half step that the real number reaches."""
    shape, low = draft.types[real][1], y.type.low
    steps = (np.arange(low, y.type.high) + DOUBLE(0.5)) * DOUBLE(y.scale[0])
    names = [real, _constant(draft, steps.reshape(1, -1), DOUBLE)]
    layout = {2: "NC", 3: "NCW", 4: "NCHW"}.get(len(shape), "")
    wide = _add(draft, "MultiThreshold", names, f"{out}:counted", DOUBLE, shape, domain=DOMAIN, out_dtype="INT32",
                     out_bias=float(low), data_layout=layout)  # fmt: skip
    return _add(draft, "Cast", [wide], out, FLOAT, shape, to=1)


def _sum(draft: _Draft, node: Node) -> None:
    source, (x, w, *b), (out,) = draft.source, node.inputs, node.outputs
    weight, shape = source.graph.constants[w], _shape(draft, out)
    reach = max(abs(source.affines[x].type.low), source.affines[x].type.high)
    axis = 1 if node.op == "ConvTranspose" else 0
    rows = np.abs(np.moveaxis(weight.astype(np.int64), axis, 0)).reshape(weight.shape[axis], -1).sum(1)
    if reach * int(rows.max()) >= 1 << 24:
        raise IntsimError("has sums that the executor's float32 may not hold", where="qonnx")
    inputs = [x, _constant(draft, weight, FLOAT)]
    acc = _add(draft, node.op, inputs, f"{out}:sum", FLOAT, shape, **attributes(node))
    whole = _add(draft, "Cast", [acc], f"{out}:whole", DOUBLE, shape, to=11)
    channel = (1, shape[1], *(1,) * (len(shape) - 2))
    if b:
        bias = np.broadcast_to(source.graph.constants[b[0]].reshape(-1), shape[1]).reshape(channel)
        whole = _add(draft, "Add", [whole, _constant(draft, bias, DOUBLE)], f"{out}:biased", DOUBLE, shape)
    scale = DOUBLE(source.affines[x].scale[0]) * np.array(source.affines[w].scale, DOUBLE)
    scale = np.broadcast_to(scale, shape[1]).reshape(channel)
    real = _add(draft, "Mul", [whole, _constant(draft, scale, DOUBLE)], f"{out}:real", DOUBLE, shape)
    _thresholds(draft, real, source.affines[out], out)


def _average(draft: _Draft, node: Node) -> None:
    """QuantAvgPool2d: a sum, shifted right; it divides by powers of two."""
    (x,), (out,) = node.inputs, node.outputs
    kernel, strides, pads = (ints(node.attributes[name]) for name in ("kernel_shape", "strides", "pads"))
    if len(set(kernel)) > 1 or len(kernel) != 2 or kernel[0] & (kernel[0] - 1) or len(set(strides)) > 1 or any(pads):
        raise IntsimError("is no window that QuantAvgPool2d divides by its size", where=node.name)
    before, after = draft.source.affines[x], draft.source.affines[out]
    bits = {"ibits": before.type.bits, "obits": before.type.bits, "signed": int(before.type.signed)}
    name = out if before == after else f"{out}:mean"
    _add(draft, "QuantAvgPool2d", [x], name, FLOAT, _shape(draft, out), domain=DOMAIN, kernel=kernel[0],
              stride=strides[0], data_layout="NCHW", **bits)  # fmt: skip
    if before != after:
        _thresholds(draft, _scaled(draft, name, before.scale[0]), after, out)


def _mean(draft: _Draft, node: Node) -> None:
    """GlobalAccPool's sum, of which 1/n belongs to the scale."""
    (x,), (out,) = node.inputs, node.outputs
    size = draft.source.graph.shapes[x][1:]
    axes = _constant(draft, range(2, 2 + len(size)), np.int64)
    real = _scaled(draft, x, draft.source.affines[x].scale[0])
    total = _add(draft, "ReduceSum", [real, axes], f"{out}:sum", DOUBLE, _shape(draft, out), keepdims=1)
    count = _constant(draft, math.prod(size), DOUBLE)
    mean = _add(draft, "Div", [total, count], f"{out}:mean", DOUBLE, _shape(draft, out))
    _thresholds(draft, mean, draft.source.affines[out], out)
