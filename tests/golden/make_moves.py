"""Asks LiteRT's three resolvers and TFLite Micro for the golden integers in moves.npz.xz; run as make_litert.py is."""

import sys
from importlib.metadata import version

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from golden.files import keep
from golden.layers import Layer, packed
from golden.make_litert import RESOLVERS, ask, ask_micro
from golden.moves import moves

TYPES = {np.dtype(k): getattr(schema.TensorType, k.upper()) for k in ("int8", "uint8", "int16", "int32")}


def flat(one: Layer) -> bytes:
    """The layer as a .tflite."""
    graph, affines, constants = schema.SubGraphT(), one.source.affines, one.source.graph.constants
    graph.tensors, graph.operators, buffers = [], [], [schema.BufferT()]

    def tensor(name: str, shape: tuple[int, ...], dtype: np.dtype, data: np.ndarray | None = None) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name, list(shape), TYPES[np.dtype(dtype)], 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            buffers.append(buffer)
            made.buffer = len(buffers) - 1
        if name in ("x0", "y", "w", "b"):
            scale = affines[name].scale
            if name == "b":
                scale = tuple(affines["x0"].scale[0] * s for s in affines["w"].scale)
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = [float(np.float32(s)) for s in scale]
            made.quantization.zeroPoint = [affines[name].zero] * len(scale)
            made.quantization.quantizedDimension = 0
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    x = one.x[0]
    shape = one.source.graph.shapes["y"]
    result = (len(x), *shape[1:], shape[0])
    source = tensor("x0", x.shape, x.dtype)
    output = tensor("y", result, affines["y"].type.dtype)
    op, options, values = _operator(one)
    if op == "TRANSPOSE_CONV":
        w = np.ascontiguousarray(constants["w"].transpose(1, 2, 3, 0))
        size = tensor("size", (4,), np.dtype("int32"), np.array(result, np.int32))
        bias = tensor("b", constants["b"].shape, np.dtype("int32"), constants["b"].astype(np.int32))
        inputs = [size, tensor("w", w.shape, w.dtype, w), source, bias]
    elif op == "QUANTIZE":
        inputs = [source]
    else:
        inputs = [source, tensor("size", (2,), np.dtype("int32"), np.array(shape[1:], np.int32))]
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = getattr(schema.BuiltinOperator, op)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 3
    operator.inputs, operator.outputs, operator.opcodeIndex = inputs, [output], 0
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
    operator.builtinOptions = getattr(schema, f"{options}T")()
    for key, value in values.items():
        setattr(operator.builtinOptions, key, value)
    graph.operators, graph.inputs, graph.outputs = [operator], [source], [output]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.buffers, model.subgraphs = 3, [code], buffers, [graph]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _operator(one: Layer) -> tuple[str, str, dict[str, int]]:
    """The operator's name, its options' name, and their values."""
    attributes = one.node.attributes
    match one.node.op:
        case "ConvTranspose":
            high, wide = attributes["strides"]
            same = one.name.endswith("same")
            values = {"padding": 0 if same else 1, "strideH": high, "strideW": wide}
            return "TRANSPOSE_CONV", "TransposeConvOptions", values
        case "Resize":
            coordinate = attributes["coordinate"]
            values = {"alignCorners": coordinate == "align_corners", "halfPixelCenters": coordinate == "half_pixel"}
            if attributes["mode"] == "linear":
                return "RESIZE_BILINEAR", "ResizeBilinearOptions", values
            return "RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions", values
        case _:
            return "QUANTIZE", "QuantizeOptions", {}


def main() -> None:
    kept: dict[str, np.ndarray] = {
        "versions": np.array(f"ai-edge-litert {version('ai-edge-litert')}, tflite-micro {version('tflite_micro')}")
    }
    for one in moves():
        model = flat(one)
        answers = {name: ask(model, one.x, resolver) for name, resolver in RESOLVERS.items()}
        try:
            answers["tflm"] = ask_micro(model, one.x)
        except RuntimeError as reason:  # it lacks some types
            sys.stdout.write(f"{one.name}: tflm refuses ({reason})\n")
        for key, array in (packed(one) | {f"answer {k}": v for k, v in answers.items()}).items():
            kept[f"{one.name}/{key}"] = array
        differ = {k: int((v != answers["litert_ref"]).sum()) for k, v in answers.items()}
        sys.stdout.write(f"{one.name}: {answers['litert_ref'].size} values, differing from litert_ref: {differ}\n")
    keep("moves", kept)


if __name__ == "__main__":
    main()
