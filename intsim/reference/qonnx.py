"""A QONNX execution of a quantized network: float operators between Quant nodes, run node by node."""

from collections.abc import Callable
from typing import Any

import numpy as np

from intsim.errors import IntsimError
from intsim.graph import Node
from intsim.integers import Affine, IntType
from intsim.quantized import QuantizedGraph, dequantized

DOMAIN = "qonnx.custom_op.general"


def network(
    quantized: QuantizedGraph, batch: int, accumulator: int | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """From the input's real numbers `[batch, c, ...]` to the output's, by qonnx's own executor.

    `accumulator`: bits to which a sum is clipped once it is complete; QONNX has no register that saturates at every
    add. Raises IntsimError where qonnx is not installed, and for operators other than those of the CNN.
    """
    try:
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.core.onnx_exec import execute_onnx
    except ImportError:
        raise IntsimError("is not installed", where="qonnx", mend="pip install qonnx") from None
    from qonnx.transformation.infer_shapes import InferShapes

    model = ModelWrapper(_model(quantized, batch, accumulator)).transform(InferShapes())
    (source,), (out,) = quantized.graph.inputs, quantized.graph.outputs

    def run(x: np.ndarray) -> np.ndarray:
        return np.asarray(execute_onnx(model, {source: x})[f"{out}:quantized"])

    return run


def _model(quantized: QuantizedGraph, batch: int, accumulator: int | None) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    graph, nodes, constants = quantized.graph, [], {}

    def constant(name: str, values: Any) -> str:
        constants[name] = numpy_helper.from_array(np.asarray(values, np.float32), name)
        return name

    def quant(name: str, source: str, affine: Affine, type_: IntType, scale: Any) -> str:
        numbers = [
            constant(f"{name}:scale", scale),
            constant(f"{name}:zero", float(affine.zero)),
            constant(f"{name}:bits", float(type_.bits)),
        ]
        nodes.append(
            helper.make_node(
                "Quant",
                [source, *numbers],
                [name],
                domain=DOMAIN,
                signed=int(type_.signed),
                narrow=int(type_.narrow_range),
                rounding_mode="ROUND",
            )
        )
        return name

    def activation(name: str, source: str) -> str:
        affine = quantized.affines[name]
        return quant(f"{name}:quantized", source, affine, affine.type, affine.scale[0])

    held = {name: activation(name, name) for name in graph.inputs}
    for node in graph.nodes:
        inputs = [held.get(name, name) for name in node.inputs]
        if node.op in ("Conv", "Gemm"):
            weight, affine = graph.constants[node.inputs[1]], quantized.affines[node.inputs[1]]
            name = constant(f"{node.inputs[1]}:real", dequantized(weight, affine))
            inputs[1] = quant(f"{node.inputs[1]}:quantized", name, affine, affine.type, affine.scale[0])
            step = quantized.affines[node.inputs[0]].scale[0] * affine.scale[0]
            if len(inputs) > 2:
                inputs[2] = constant(f"{node.inputs[2]}:real", graph.constants[node.inputs[2]] * np.float32(step))
        (out,) = node.outputs
        nodes.append(helper.make_node(node.op, inputs, [out], **attributes(node)))
        held[out] = out
        if node.op in ("Conv", "Gemm"):
            source = out
            if accumulator is not None:
                register = IntType(accumulator)
                source = quant(f"{out}:register", out, Affine(scale=(1.0,), type=register), register, step)
            held[out] = activation(out, source)
        elif node.op == "GlobalAveragePool":
            held[out] = activation(out, out)
        elif node.op not in ("Relu", "MaxPool", "Flatten"):
            raise IntsimError(f"{node.op} is not written as QONNX here", where=node.name)
    (source,), (last,) = graph.inputs, graph.outputs
    if held[last] != f"{last}:quantized":
        raise IntsimError("ends in an operator that makes no new integers", where=graph.name)
    made = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, [batch, *graph.shapes[source]])],
        [helper.make_tensor_value_info(held[last], TensorProto.FLOAT, [batch, *graph.shapes[last]])],
        list(constants.values()),
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8)


def attributes(node: Node) -> dict[str, Any]:
    """The node's attributes as ONNX spells them."""
    if node.op == "Gemm":
        return {"transB": 1}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in node.attributes.items()}
