"""onnxruntime as fast as it goes: a model's inputs and outputs bound to arrays, layers in its channels-last form."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from intsim.errors import IntsimError
from intsim.program import Dot

MICROSOFT = "com.microsoft"

Bound = Callable[[], np.ndarray]
"""Runs the model on the arrays that it is bound to; gives its first output, the same array every time."""


def bound(model: bytes, feeds: Mapping[str, np.ndarray], threads: int = 1) -> Bound:
    """The model at onnxruntime's best level, bound to `feeds` and to an array of its own for each output."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        results = [np.empty_like(result) for result in session.run(names, dict(feeds))]
    except Exception as reason:  # onnxruntime's own exceptions have no common base but this
        text = next((line.strip() for line in str(reason).splitlines() if line.strip()), type(reason).__name__)
        raise IntsimError(f"does not take this model ({text[:200]})", where="onnxruntime") from None
    binding = session.io_binding()
    kept = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
    for name, array in kept.items():
        binding.bind_cpu_input(name, array)
    for name, array in zip(names, results, strict=True):
        binding.bind_output(name, "cpu", 0, array.dtype.type, list(array.shape), array.ctypes.data)

    def run(alive: object = (kept, results)) -> np.ndarray:  # bound by address: the arrays must live as long
        session.run_with_iobinding(binding)
        return results[0]

    return run


def matmul(x: np.ndarray, w: np.ndarray, threads: int = 1) -> Bound:
    """x[m, k] @ w[k, n]: MatMulInteger for integers, MatMul for floats."""
    op = "MatMul" if x.dtype.kind == "f" else "MatMulInteger"
    return bound(_model(op, "", {"w": w}, x, np.float32 if x.dtype.kind == "f" else np.int32, 2), {"x": x}, threads)


def conv_u8s8(x: np.ndarray, dot: Dot, scale: np.ndarray, zero_point: int, threads: int = 1) -> Bound:
    """com.microsoft.QLinearConv on x[n, h, w, c], channels last; `scale[o]`: from accumulators to the output."""
    constants: dict[str, Any] = {
        "sx": np.float32(1),
        "zx": np.array(dot.input_zero_point, np.uint8),
        "w": np.ascontiguousarray(np.moveaxis(dot.weight, -1, 1)),
        "sw": np.broadcast_to(scale, len(dot.weight)).astype(np.float32),
        "zw": np.zeros(len(dot.weight), np.int8),
        "sy": np.float32(1),
        "zy": np.array(zero_point, np.uint8),
        "b": dot.bias.astype(np.int32),
    }
    model = _model("QLinearConv", MICROSOFT, constants, x, np.uint8, x.ndim, channels_last=1, **_geometry(dot))
    return bound(model, {"x": x}, threads)


def conv_float(x: np.ndarray, dot: Dot, threads: int = 1) -> Bound:
    """Conv in float32 on x[n, c, h, w]."""
    constants = {
        "w": np.ascontiguousarray(np.moveaxis(dot.weight, -1, 1).astype(np.float32)),
        "b": dot.bias.astype(np.float32),
    }
    return bound(_model("Conv", "", constants, x, np.float32, x.ndim, **_geometry(dot)), {"x": x}, threads)


def _geometry(dot: Dot) -> dict[str, int | list[int]]:
    window = dot.window
    return {
        "kernel_shape": list(window.kernel),
        "strides": list(window.strides),
        "dilations": list(window.dilations),
        "pads": [*window.begin, *window.end],
        "group": dot.group,
    }


def _model(
    op: str,
    domain: str,
    constants: Mapping[str, Any],
    x: np.ndarray,
    out: type,
    rank: int,
    **attributes: Any,
) -> bytes:
    """One node that reads x and the constants, in their order."""
    import onnx
    from onnx import helper, numpy_helper

    node = helper.make_node(op, ["x", *constants], ["y"], domain=domain, **attributes)
    kinds = {name: helper.np_dtype_to_tensor_dtype(np.dtype(kind)) for name, kind in (("x", x.dtype), ("y", out))}
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", kinds["x"], list(x.shape))],
        [helper.make_tensor_value_info("y", kinds["y"], [None] * rank)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(model.SerializeToString())
