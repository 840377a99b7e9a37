"""Asks LiteRT's three resolvers and TFLite Micro for the golden integers in functions.npz.xz: functions of activations.

Run by hand, in the environment of make_litert.py: `PYTHONPATH=tests python tests/golden/make_functions.py`, on an x86
machine with AVX2. With a number, so many cases of each kind go to a file of that name instead: a wider net.
"""

import sys
from importlib.metadata import version
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_micro.python.tflite_micro import runtime as micro

from golden.files import keep

RESOLVERS = {
    "litert_ref": "BUILTIN_REF",
    "litert_ruy_x86": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "litert_xnnpack": "AUTO",
}
VERSIONS = {"TANH": 3, "LOGISTIC": 3, "HARD_SWISH": 1, "PRELU": 1}
TYPES = {"int8": schema.TensorType.INT8, "int16": schema.TensorType.INT16}
Tensor = tuple[np.ndarray | tuple[int, ...], float, int, str]  # integers of a constant, or a shape; scale, zero, type


def flat(op: str, inputs: list[Tensor], output: Tensor, options: str = "", **fields: Any) -> bytes:
    """One operator as a .tflite; inputs that are arrays are constants."""
    graph, buffers, model = schema.SubGraphT(), [schema.BufferT()], schema.ModelT()
    graph.tensors = []
    for index, (data, scale, zero, kind) in enumerate([*inputs, output]):
        made = schema.TensorT()
        made.name, made.type, made.buffer = f"t{index}", TYPES[kind], 0
        made.shape = list(data.shape if isinstance(data, np.ndarray) else data)
        if isinstance(data, np.ndarray):
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.astype(kind).tobytes(), np.uint8)
            buffers.append(buffer)
            made.buffer = len(buffers) - 1
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = [float(np.float32(scale))], [zero]
        graph.tensors.append(made)
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = getattr(schema.BuiltinOperator, op)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), VERSIONS.get(op, 2)
    operator.inputs, operator.outputs, operator.opcodeIndex = list(range(len(inputs))), [len(inputs)], 0
    if options:
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        operator.builtinOptions = getattr(schema, f"{options}T")()
        for key, value in fields.items():
            setattr(operator.builtinOptions, key, value)
    graph.operators = [operator]
    graph.inputs = [i for i, (data, *_) in enumerate(inputs) if not isinstance(data, np.ndarray)]
    graph.outputs = [len(inputs)]
    model.version, model.operatorCodes, model.buffers, model.subgraphs = 3, [code], buffers, [graph]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def answers(model: bytes, x: list[np.ndarray]) -> dict[str, np.ndarray]:
    """What each runtime makes of the inputs."""
    found = {}
    for name, resolver in RESOLVERS.items():
        interpreter = Interpreter(
            model_content=model, num_threads=1, experimental_op_resolver_type=getattr(OpResolverType, resolver)
        )
        interpreter.allocate_tensors()
        for detail, value in zip(interpreter.get_input_details(), x, strict=True):
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        found[name] = np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    small = micro.Interpreter.from_bytes(model, arena_size=1 << 20)
    for index, value in enumerate(x):
        small.set_input(value, index)
    small.invoke()
    return {**found, "tflm": np.array(small.get_output(0))}


# ---- cases -----------------------------------------------------------------------------------------------------

EVERY = np.arange(-128, 128).astype(np.int8)


def affine(rng: np.random.Generator, index: int) -> tuple[float, int]:
    """A scale, every third a power of two, and a zero point."""
    scale = 2.0 ** rng.integers(-6, 0) if index % 3 == 0 else rng.uniform(0.004, 0.25)
    return float(np.float32(scale)), int(rng.integers(-128, 128))


# Where the float32 tables are not the nearest integers: one random scale in a hundred has such a place.
ROUGH = ((0.13375960290431976, -75), (0.060410019010305405, 69), (0.19093553721904755, 34), (0.013755498453974724, 75))


def curve(rng: np.random.Generator, index: int, op: str) -> dict[str, Any]:
    """LOGISTIC and TANH: all integers."""
    x = ROUGH[index] if index < len(ROUGH) else affine(rng, index)
    y = (1 / 256, -128) if op == "LOGISTIC" else (1 / 128, 0)
    return {"x": [EVERY[None]], "affines": [x, y], "model": flat(op, [((1, 256), *x, "int8")], ((1, 256), *y, "int8"))}


def curve16(rng: np.random.Generator, index: int, op: str) -> dict[str, Any]:
    """The same for integers of 16 bits, of which some."""
    scale = 2.0 ** (-12, -11, -13)[index // 2 % 3] if index % 2 == 0 else rng.uniform(1e-5, 1e-3)
    x, y = (float(np.float32(scale)), 0), (2.0**-15, 0)
    values = np.concatenate([rng.integers(-(1 << 15), 1 << 15, 1000), [-(1 << 15), (1 << 15) - 1, 0, -1, 1]])
    shape = (1, len(values))
    model = flat(op, [(shape, *x, "int16")], (shape, *y, "int16"))
    return {"x": [values.astype(np.int16)[None]], "affines": [x, y], "model": model}


def near(rng: np.random.Generator, x: tuple[float, int], index: int) -> tuple[float, int]:
    """An output's affine not far from the input's."""
    ratio = 2.0 ** rng.integers(-2, 3) if index % 2 else rng.uniform(0.3, 3)
    return float(np.float32(x[0] * ratio)), int(rng.integers(-128, 128))


def hard_swish(rng: np.random.Generator, index: int, op: str) -> dict[str, Any]:
    x = affine(rng, index)
    y = near(rng, x, index)
    return {"x": [EVERY[None]], "affines": [x, y], "model": flat(op, [((1, 256), *x, "int8")], ((1, 256), *y, "int8"))}


def leaky_relu(rng: np.random.Generator, index: int, op: str) -> dict[str, Any]:
    x = affine(rng, index)
    y, alpha = near(rng, x, index), float(np.float32(rng.choice([0.01, 0.1, 0.25, 0.5, rng.uniform(-0.5, 1.2)])))
    tensors = [((1, 256), *x, "int8")], ((1, 256), *y, "int8")
    model = flat(op, *tensors, "LeakyReluOptions", alpha=alpha)
    return {"x": [EVERY[None]], "affines": [x, y], "alpha": alpha, "model": model}


def prelu(rng: np.random.Generator, index: int, op: str) -> dict[str, Any]:
    x = affine(rng, index)
    y, slope = near(rng, x, index), rng.integers(-128, 128, (1, 1, 5)).astype(np.int8)
    of = (float(np.float32(rng.choice([2.0**-8, rng.uniform(0.002, 0.02)]))), int(rng.integers(-20, 20) * (index % 2)))
    values = np.repeat(EVERY.reshape(1, 16, 16, 1), 5, axis=3)
    model = flat(op, [(values.shape, *x, "int8"), (slope, *of, "int8")], (values.shape, *y, "int8"))
    return {"x": [values], "affines": [x, y, of], "slope": slope, "model": model}


def pair(rng: np.random.Generator, index: int, op: str) -> dict[str, Any]:
    """ADD, SUB, MUL of random integers, at the ends too."""
    a, b = affine(rng, index), affine(rng, index)
    scale = a[0] * b[0] * 2.0 ** rng.integers(4, 8) if op == "MUL" else max(a[0], b[0]) * 2.0 ** rng.integers(-1, 2)
    y = (float(np.float32(scale * (1 if index % 3 == 0 else rng.uniform(0.7, 1.3)))), int(rng.integers(-128, 128)))
    x = [rng.integers(-128, 128, (1, 8, 4, 16)).astype(np.int8) for _ in range(2)]
    x[0].flat[:4], x[1].flat[:4] = (-128, -128, 127, 127), (-128, 127, -128, 127)
    if index % 4 == 3:
        x[1] = x[1][:, :1, :1]
    tensors = [(x[0].shape, *a, "int8"), (x[1].shape, *b, "int8")], (x[0].shape, *y, "int8")
    options = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions"}[op]
    return {"x": x, "affines": [a, b, y], "model": flat(op, *tensors, options)}


# Rows on which fixed point and float32 differ; about one random row in 6000 does.
HARD = (
    (0.1, [-70, 46, 39, 76, -40, 122, 30, 25, -87, 111]),
    (0.1, [18, -42, -109, 4, 78, 97, 102, -101, 12, 72]),
    (0.05, [-66, -17, -7, 124, -89, -39, -94, 8, -51, -118]),
    (0.02, [-109, 127, -23, 69, 90, 28, -13, 103, 92, -78]),
    (0.15, [-89, -100, -41, -128, 86, -80, 88, 40, 33, 54]),
    (0.08, [-52, 48, 104, 72, -23, -48, -118, 11, 56, 37]),
)


def softmax(rng: np.random.Generator, index: int, op: str) -> dict[str, Any]:
    scale, row = HARD[index] if index < len(HARD) else (rng.uniform(0.005, 0.3), [])
    depth, beta = (10, 1.0) if row else (int(rng.integers(2, 40)), float(np.float32(rng.choice([1.0, 0.5, 2.0, 0.7]))))
    x = np.concatenate(
        [np.array(row or [[127] * depth], np.int8).reshape(1, depth), rng.integers(-128, 128, (15, depth))]
    )
    of, y = (float(np.float32(scale)), int(rng.integers(-128, 128))), (1 / 256, -128)
    model = flat(op, [(x.shape, *of, "int8")], (x.shape, *y, "int8"), "SoftmaxOptions", beta=beta)
    return {"x": [x.astype(np.int8)], "affines": [of, y], "beta": beta, "model": model}


# Distances from the largest at which the factor in float32 and the factor in float64 differ.
HARD16 = ((0.00023537391098216176, 1.3, (3504, 4451)), (0.001125746639445424, 0.7, (3107, 3460)))


def softmax16(rng: np.random.Generator, index: int, op: str) -> dict[str, Any]:
    """The same of 16 bits: logits of any spread, rows of any length."""
    depth, scale = int(rng.choice([2, 3, 10, 40, 200])), float(np.float32(2.0 ** rng.uniform(-14, -2)))
    beta = float(np.float32((1.0, 1.0, 0.5, 0.7, 2.3)[index % 5]))
    x = rng.standard_t(3, (max(1, 800 // depth), depth)) * rng.uniform(0.1, 4) / scale / beta
    x = x.clip(-(1 << 15), (1 << 15) - 1).astype(np.int16)
    x[0, 0] = (1 << 15) - 1
    if index < len(HARD16):
        scale, beta, distances = HARD16[index]
        beta, x = float(np.float32(beta)), np.array([[100, 100 - k] for k in distances], np.int16)
    of, y = (scale, 0), (2.0**-15, 0)
    model = flat(op, [(x.shape, *of, "int16")], (x.shape, *y, "int16"), "SoftmaxOptions", beta=beta)
    return {"x": [x], "affines": [of, y], "beta": beta, "model": model}


KINDS = {
    "logistic": (curve, "LOGISTIC"),
    "tanh": (curve, "TANH"),
    "logistic16": (curve16, "LOGISTIC"),
    "tanh16": (curve16, "TANH"),
    "hard_swish": (hard_swish, "HARD_SWISH"),
    "leaky_relu": (leaky_relu, "LEAKY_RELU"),
    "prelu": (prelu, "PRELU"),
    "add": (pair, "ADD"),
    "sub": (pair, "SUB"),
    "mul": (pair, "MUL"),
    "softmax": (softmax, "SOFTMAX"),
    "softmax16": (softmax16, "SOFTMAX"),
}


def main(count: int, file: str) -> None:
    """Writes `count` cases of every kind with their answers to a file of that name."""
    parts: dict[str, Any] = {}
    for kind, (make, op) in KINDS.items():
        rng = np.random.default_rng(5)
        for index in range(count):
            case, name = make(rng, index, op), f"{kind}_{index}"
            for i, x in enumerate(case["x"]):
                parts[f"{name}/x{i}"] = x
            parts[f"{name}/affines"] = np.array(case["affines"])
            for key in case.keys() & {"alpha", "beta", "slope"}:
                parts[f"{name}/{key}"] = np.asarray(case[key])
            parts |= {f"{name}/answer {key}": value for key, value in answers(case["model"], case["x"]).items()}
    versions = [f"{package} {version(package)}" for package in ("ai-edge-litert", "tflite-micro", "numpy")]
    keep(file, {"made_with": np.array(versions), **parts})


if __name__ == "__main__":
    many = sys.argv[1:]
    main(int(many[0]) if many else 8, many[0] if many else "functions")
