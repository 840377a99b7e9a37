"""A process in the environment of tosa-tools: graphs of operators from a folder through the TOSA reference model."""

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np


def attribute(ts: Any, name: str, arguments: dict[str, Any]) -> Any:
    """The serializer's attribute of that name."""
    made = ts.TosaSerializerAttribute()
    a = arguments
    match name:
        case "Conv2d":
            made.Conv2dAttribute(a["pad"], a["stride"], a["dilation"], False, ts.DType.INT32)
        case "DepthwiseConv2d":
            made.DepthwiseConv2dAttribute(a["pad"], a["stride"], a["dilation"], False, ts.DType.INT32)
        case "AvgPool2d":
            made.AvgPool2dAttribute(a["kernel"], a["stride"], a["pad"], ts.DType.INT32)
        case "MaxPool2d":
            made.MaxPool2dAttribute(a["kernel"], a["stride"], a["pad"], ts.NanPropagationMode.PROPAGATE)
        case "Rescale":
            mode = ts.RoundingMode.DOUBLE_ROUND if a["double"] else ts.RoundingMode.SINGLE_ROUND
            made.RescaleAttribute(True, mode, a["per_channel"], False, False)
    return made


def run(graph: dict[str, Any], arrays: dict[str, np.ndarray], scratch: str) -> np.ndarray:
    """The last operator's output. ValueError where the model reports an error."""
    import tosa_reference_model as model
    import tosa_serializer as ts

    serializer = ts.TosaSerializer(scratch, ts.ConstMode.EMBED)
    x = arrays["x"]
    last = serializer.addPlaceholder(list(x.shape), getattr(ts.DType, f"INT{8 * x.itemsize}"), np.zeros_like(x))
    if not list(serializer.currRegion.currBasicBlock.inputs):
        serializer.addInputTensor(last)
    types = {"x": x.dtype, "w": np.dtype(np.int8), "zw": np.dtype(np.int8), "zx": x.dtype}
    for number, op in enumerate(graph["ops"]):
        final = number == len(graph["ops"]) - 1
        out = np.dtype(op["type"].lower())
        inputs = [getattr(last, "name", last)]
        for name in op["inputs"][1:]:
            value = arrays[name]
            value = value.astype(types.get(name, out if name in ("ry", "zy") else value.dtype))
            made = serializer.addConst(list(value.shape), getattr(ts.DType, f"INT{8 * value.itemsize}"), value)
            inputs.append(getattr(made, "name", made))
        add = serializer.addOutput if final else serializer.addIntermediate
        last = add(list(op["shape"]), getattr(ts.DType, op["type"]))
        serializer.addOperator(
            getattr(ts.Op, op["op"]),
            inputs,
            [getattr(last, "name", last)],
            attribute(ts, op["attribute"], op["arguments"]),
        )
    outputs, status = model.run(serializer.serialize(), [x])
    if "VALID" not in str(status) or "UN" in str(status):
        raise ValueError(str(status))
    return np.frombuffer(np.ascontiguousarray(outputs[0]).tobytes(), np.dtype(graph["ops"][-1]["type"].lower()))


def main(folder: Path) -> None:
    """Reads graphs.json and arrays.npz, writes outputs.npz and said.json."""
    graphs = json.loads((folder / "graphs.json").read_text())
    found, wrong = {}, {}
    with np.load(folder / "arrays.npz") as file, tempfile.TemporaryDirectory() as scratch:
        for graph in graphs:
            mine = f"{graph['number']}/"
            arrays = {key.removeprefix(mine): file[key] for key in file.files if key.startswith(mine)}
            try:
                found[str(graph["number"])] = run(graph, arrays, f"{scratch}/")
            except (ValueError, RuntimeError, TypeError, AttributeError) as reason:
                wrong[str(graph["number"])] = f"{type(reason).__name__}: {reason}"[:200]
    np.savez(folder / "outputs.npz", **found)  # type: ignore[arg-type]
    (folder / "said.json").write_text(json.dumps({"version": version("tosa-tools"), "wrong": wrong}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
