"""A process in the environment of tosa-tools: graphs of operators from a folder through the TOSA reference model."""

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np


def attribute(ts: Any, op: str, a: dict[str, Any]) -> Any:
    """The serializer's attribute of the operator, with the arguments that it has."""
    made = ts.TosaSerializerAttribute()
    ignored = ts.NanPropagationMode.PROPAGATE
    match op:
        case "CONV2D":
            made.Conv2dAttribute(a["pad"], a["stride"], a["dilation"], False, getattr(ts.DType, a["accumulator"]))
        case "DEPTHWISE_CONV2D":
            kind = getattr(ts.DType, a["accumulator"])
            made.DepthwiseConv2dAttribute(a["pad"], a["stride"], a["dilation"], False, kind)
        case "AVG_POOL2D":
            made.AvgPool2dAttribute(a["kernel"], a["stride"], a["pad"], ts.DType.INT32)
        case "MAX_POOL2D":
            made.MaxPool2dAttribute(a["kernel"], a["stride"], a["pad"], ignored)
        case "RESCALE":
            mode = ts.RoundingMode.DOUBLE_ROUND if a["double"] else ts.RoundingMode.SINGLE_ROUND
            made.RescaleAttribute(a["scale32"], mode, a["per_channel"], False, False)
        case "CONCAT":
            made.ConcatAttribute(a["axis"])
        case "REDUCE_SUM":
            made.ReduceSumAttribute(a["axis"])
        case "MAXIMUM":
            made.MaximumAttribute(ignored)
        case "MINIMUM":
            made.MinimumAttribute(ignored)
        case _:
            getattr(made, f"{op.title().replace('_', '')}Attribute")()
    return made


def run(graph: dict[str, Any], arrays: dict[str, np.ndarray], scratch: str) -> np.ndarray:
    """The last operator's output. ValueError where the model reports an error."""
    import tosa_reference_model as model
    import tosa_serializer as ts

    serializer = ts.TosaSerializer(scratch, ts.ConstMode.EMBED)
    tensors = {}
    for name in graph["inputs"]:
        x = arrays[name]
        last = serializer.addPlaceholder(list(x.shape), getattr(ts.DType, graph["types"][name]), np.zeros_like(x))
        if getattr(last, "name", last) not in list(serializer.currRegion.currBasicBlock.inputs):
            serializer.addInputTensor(last)
        tensors[name] = last
    for op in graph["ops"]:
        for name in op["inputs"]:
            if name not in tensors:
                shape, kind = list(arrays[name].shape), getattr(ts.DType, graph["types"][name])
                tensors[name] = serializer.addConst(shape, kind, arrays[name])
        add = serializer.addOutput if op is graph["ops"][-1] else serializer.addIntermediate
        last = add(list(op["shape"]), getattr(ts.DType, graph["types"][op["out"]]))
        tensors[op["out"]] = last
        serializer.addOperator(
            getattr(ts.Op, op["op"]),
            [getattr(tensors[name], "name", tensors[name]) for name in op["inputs"]],
            [getattr(last, "name", last)],
            attribute(ts, op["op"], op["arguments"]),
        )
    outputs, status = model.run(serializer.serialize(), [arrays[name] for name in graph["inputs"]])
    if "VALID" not in str(status) or "UN" in str(status):
        raise ValueError(str(status))
    kind = np.dtype(graph["types"][graph["ops"][-1]["out"]].lower())
    return np.frombuffer(np.ascontiguousarray(outputs[0]).tobytes(), kind)


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
