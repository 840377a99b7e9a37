"""Asks LiteRT's three resolvers and TFLite Micro for the golden integers in litert.npz.

Run by hand, in an environment of its own: pip install ai-edge-litert==2.3.0 tflite-micro flatbuffers msgspec tomli-w,
then `PYTHONPATH=.:tests python tests/golden/make_litert.py` on an x86 machine with AVX2. A .tflite is written with the
schema that the runtime's own wheel carries.
"""

import sys
from importlib.metadata import version
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_micro.python.tflite_micro import runtime as micro

from golden.layers import Layer, layers, packed

RESOLVERS = {
    "litert_ref": "BUILTIN_REF",
    "litert_ruy_x86": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "litert_xnnpack": "AUTO",
}
TYPES = {"int8": schema.TensorType.INT8, "int32": schema.TensorType.INT32}


def flat(one: Layer) -> bytes:
    """The layer as an int8 .tflite."""
    graph, affines = schema.SubGraphT(), one.source.affines
    graph.tensors, graph.operators, buffers = [], [], [schema.BufferT()]

    def tensor(name: str, shape: tuple[int, ...], dtype: str, data: np.ndarray | None = None, axis: int = 0) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name, list(shape), TYPES[dtype], 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            buffers.append(buffer)
            made.buffer = len(buffers) - 1
        if name in affines or name == "bias":
            scale, zero = (
                (affines[name].scale, affines[name].zero_point) if name in affines else (_bias_scale(one), (0,))
            )
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = [float(np.float32(s)) for s in scale]
            made.quantization.zeroPoint = list(zero) * (len(scale) // len(zero))
            made.quantization.quantizedDimension = axis
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    op, options, values = _operator(one)
    inputs = [tensor(f"x{i}", x.shape, "int8") for i, x in enumerate(one.x)]
    constants = one.source.graph.constants
    if "w" in constants:
        weight = np.moveaxis(constants["w"], 1, -1)
        depthwise = op == "DEPTHWISE_CONV_2D"
        weight = np.moveaxis(weight, 0, -1).reshape(1, 3, 3, -1) if depthwise else weight
        all_inputs = [*inputs, tensor("w", weight.shape, "int8", weight, 3 if depthwise else 0)]
        all_inputs.append(tensor("bias", constants["b"].shape, "int32", constants["b"].astype(np.int32)))
    elif op == "MEAN":
        all_inputs = [*inputs, tensor("axes", (2,), "int32", np.array([1, 2], np.int32))]
    else:
        all_inputs = inputs
    output = tensor("y", (len(one.x[0]), *_inside(one.source.graph.shapes["y"], op)), "int8")
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = getattr(schema.BuiltinOperator, op)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 5 if op == "FULLY_CONNECTED" else 3
    operator.inputs, operator.outputs, operator.opcodeIndex = all_inputs, [output], 0
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
    operator.builtinOptions = getattr(schema, f"{options}T")()
    for key, value in values.items():
        setattr(operator.builtinOptions, key, value)
    graph.operators, graph.inputs, graph.outputs = [operator], inputs, [output]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.buffers, model.subgraphs = 3, [code], buffers, [graph]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _bias_scale(one: Layer) -> list[float]:
    sx = one.source.affines["x0"].scale[0]
    return [sx * s for s in one.source.affines["w"].scale]


def _inside(shape: tuple[int, ...], op: str) -> tuple[int, ...]:
    return (shape[0],) if op == "MEAN" or len(shape) == 1 else (*shape[1:], shape[0])


def _operator(one: Layer) -> tuple[str, str, dict[str, int]]:
    attributes = one.node.attributes
    match one.node.op:
        case "Conv":
            unit = {"padding": 0, "strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
            if attributes["group"] == one.x[0].shape[-1]:
                return "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", unit | {"depthMultiplier": 1}
            return "CONV_2D", "Conv2DOptions", unit
        case "Gemm":
            return "FULLY_CONNECTED", "FullyConnectedOptions", {}
        case "Add":
            return "ADD", "AddOptions", {}
        case "AveragePool":
            k = attributes["kernel_shape"][0]
            sizes = {"strideW": k, "strideH": k, "filterWidth": k, "filterHeight": k}
            return "AVERAGE_POOL_2D", "Pool2DOptions", {"padding": 1, **sizes}
        case _:
            return "MEAN", "ReducerOptions", {"keepDims": False}


def ask(model: bytes, x: tuple[np.ndarray, ...], resolver: str) -> np.ndarray:
    """One of LiteRT's resolvers."""
    interpreter = Interpreter(
        model_content=model, num_threads=1, experimental_op_resolver_type=getattr(OpResolverType, resolver)
    )
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), x, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def ask_micro(model: bytes, x: tuple[np.ndarray, ...]) -> np.ndarray:
    """TFLite Micro."""
    interpreter = micro.Interpreter.from_bytes(model, arena_size=4 << 20)
    for index, value in enumerate(x):
        interpreter.set_input(value, index)
    interpreter.invoke()
    return np.array(interpreter.get_output(0))


def main() -> None:
    kept: dict[str, np.ndarray] = {
        "versions": np.array(f"ai-edge-litert {version('ai-edge-litert')}, tflite-micro {version('tflite_micro')}")
    }
    for one in layers():
        model = flat(one)
        answers = {name: ask(model, one.x, resolver) for name, resolver in RESOLVERS.items()}
        answers["tflm"] = ask_micro(model, one.x)
        for key, array in (packed(one) | {f"answer {k}": v for k, v in answers.items()}).items():
            kept[f"{one.name}/{key}"] = array
        differ = {k: int((v != answers["litert_ref"]).sum()) for k, v in answers.items()}
        sys.stdout.write(f"{one.name}: {answers['tflm'].size} values, differing from litert_ref: {differ}\n")
    np.savez_compressed(Path(__file__).with_name("litert.npz"), **kept)


if __name__ == "__main__":
    main()
