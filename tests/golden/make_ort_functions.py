"""Asks onnxruntime for the golden integers in ort_functions.npz.xz: its QLinear functions, products and softmax.

Run by hand: `PYTHONPATH=tests python tests/golden/make_ort_functions.py`. These kernels give the same on every CPU that
was tried. With a number, so many cases of each kind go to a file of that name instead: a wider net.
"""

import sys
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from golden.files import keep

TYPES = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8}


def answer(op: str, x: list[np.ndarray], affines: list[tuple[float, int]], **fields: Any) -> np.ndarray:
    """What the operator makes of `x`; `affines` are those of its inputs and its output."""
    kind, names, constants = x[0].dtype, list[str](), []
    for index, (scale, zero) in enumerate(affines):
        if index < len(x):
            names.append(f"x{index}")
        names += [f"s{index}", f"z{index}"]
        constants.append(numpy_helper.from_array(np.float32(scale).reshape(()), f"s{index}"))
        constants.append(numpy_helper.from_array(np.array(zero, kind), f"z{index}"))
    inputs = [helper.make_tensor_value_info(f"x{i}", TYPES[kind.name], v.shape) for i, v in enumerate(x)]
    output = helper.make_tensor_value_info("y", TYPES[kind.name], None)
    node = helper.make_node(op, names, ["y"], domain="com.microsoft", **fields)
    graph = helper.make_graph([node], op, inputs, [output], constants)
    imports = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {f"x{i}": v for i, v in enumerate(x)})[0])


def case(rng: np.random.Generator, kind: str, index: int) -> dict[str, Any]:
    """One case: scales that are powers of two every second time, where ties abound."""
    dtype = np.dtype(("uint8", "int8")[index // 2 % 2])
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)

    def zero() -> int:
        return int(rng.integers(low, high + 1))

    def scale(least: float, most: float) -> float:
        drawn = rng.uniform(least, most)
        return float(np.float32(2.0 ** round(np.log2(drawn)) if index % 2 else drawn))

    every = np.arange(low, high + 1).astype(dtype)[None]
    x = (scale(0.01, 0.2), zero())
    match kind:
        case "mul":
            pair = [rng.integers(low, high + 1, (1, 4, 8, 32)).astype(dtype) for _ in range(2)]
            other = (scale(0.01, 0.2), zero())
            y = (float(np.float32(x[0] * other[0] * 2.0 ** rng.integers(3, 8))), zero())
            return {"x": pair, "affines": [x, other, y], "answer": answer("QLinearMul", pair, [x, other, y])}
        case "sigmoid":
            y = (1 / 256, low) if index % 3 == 0 else (scale(0.003, 0.01), zero())
            return {"x": [every], "affines": [x, y], "answer": answer("QLinearSigmoid", [every], [x, y])}
        case "leaky_relu":
            y, alpha = (
                (scale(0.01, 0.2), zero()),
                float(np.float32(rng.choice([0.01, 0.25, 0.5, rng.uniform(-0.5, 1)]))),
            )
            given = answer("QLinearLeakyRelu", [every], [x, y], alpha=alpha)
            return {"x": [every], "affines": [x, y], "alpha": alpha, "answer": given}
    rows = rng.integers(low, high + 1, (16, int(rng.integers(2, 40)))).astype(dtype)
    y = (1 / 256, low)
    given = answer("QLinearSoftmax", [rows], [x, y], axis=1, opset=13)
    return {"x": [rows], "affines": [x, y], "beta": 1.0, "answer": given}


def main(count: int, file: str) -> None:
    """Writes `count` cases of every kind with their answers to a file of that name."""
    parts: dict[str, Any] = {"made_with": np.array(f"onnxruntime {onnxruntime.__version__}")}
    for kind in ("mul", "sigmoid", "leaky_relu", "softmax"):
        rng = np.random.default_rng(7)
        for index in range(count):
            found, name = case(rng, kind, index), f"{kind}_{index}"
            parts |= {f"{name}/x{i}": x for i, x in enumerate(found["x"])}
            parts |= {f"{name}/{key}": np.asarray(found[key]) for key in found.keys() & {"alpha", "beta", "affines"}}
            parts[f"{name}/answer ort_x86_avx2"] = found["answer"]
    keep(file, parts)


if __name__ == "__main__":
    many = sys.argv[1:]
    main(int(many[0]) if many else 8, f"ort_{many[0]}" if many else "ort_functions")
