"""The TOSA reference model on Programs of one step: CONV2D, pools and RESCALE, in a process of its own.

TOSA has multipliers, shifts and zero points, no scales: those are the Program's own, chosen by the target's rule. What
is compared is what the specification says of the sums, the averages and the roundings.
"""

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.errors import IntsimError
from intsim.integers import Rounding
from intsim.program import AveragePool, Convert, Dot, MaxPool, Program, Rescale, inside, outside
from intsim.reference import Reference
from intsim.target import FixedPoint, Reciprocal

PROCESS = Path(__file__).with_name("tosa_process.py")
Graph = dict[str, Any]


class Answers(Struct, frozen=True, kw_only=True, eq=False):
    """What the model is, and each graph's output `[n, c, ...]`, or in a few words why there is none."""

    reference: Reference
    outputs: tuple[np.ndarray | str, ...]


def run(programs: Sequence[tuple[Program, Mapping[str, np.ndarray]]], python: Path) -> Answers:
    """Each Program of one step on its inputs, integers `[n, c, ...]` of the machine's own types.

    `python`: of the environment that has tosa-tools. Raises IntsimError where it is not there.
    """
    if not python.exists():
        raise IntsimError("is not installed", where="tosa-tools", mend="make conformance makes .venv-tosa")
    graphs: list[Graph] = []
    arrays: dict[str, np.ndarray] = {}
    outputs = [""] * len(programs)
    for number, (program, x) in enumerate(programs):
        try:
            graph, constants = _graph(program, {name: inside(q) for name, q in x.items()})
        except IntsimError as reason:
            outputs[number] = str(reason)
            continue
        graphs.append({**graph, "number": number})
        arrays |= {f"{number}/{name}": value for name, value in constants.items()}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "graphs.json").write_text(json.dumps(graphs))
        np.savez(Path(folder) / "arrays.npz", **arrays)  # type: ignore[arg-type]
        command = [str(python), str(PROCESS), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise IntsimError(f"ended with status {done.returncode} ({done.stderr[-300:]})", where="tosa-tools")
        said = json.loads((Path(folder) / "said.json").read_text())
        with np.load(Path(folder) / "outputs.npz") as found:
            shapes = {str(g["number"]): g["shape"] for g in graphs}
            given = {key: outside(found[key].reshape(shapes[key])) for key in found.files}
    reference = Reference(name="TOSA reference model", version=said["version"])
    every = [given.get(str(n), said["wrong"].get(str(n), why)) for n, why in enumerate(outputs)]
    return Answers(reference=reference, outputs=tuple(every))


# ---- a step as TOSA's operators --------------------------------------------------------------------------------


def _graph(program: Program, x: Mapping[str, np.ndarray]) -> tuple[Graph, dict[str, np.ndarray]]:
    """Operators in turn, each reading the one before as its first input; the first reads "x"."""
    if len(program.steps) != 1 or len(x) != 1:
        raise IntsimError("is not one step of one input", where=program.name)
    (step,), ((name, values),) = program.steps, x.items()
    out = program.tensors[step.outputs[0]]
    shape = (len(values), *out.shape)
    arrays = {"x": values}
    type_ = f"INT{out.affine.type.bits}"
    match step.compute:
        case Dot() as dot:
            ops = _dot(dot, values, shape, arrays)
            ops.append(_rescale(dot.rescale, ops[-1]["shape"], type_, 0, "INT32", arrays))
        case AveragePool(rule=Reciprocal(normalized=True), rescale=None, include_pad=False) as pool:
            arrays |= {"zx": np.array([pool.input_zero_point]), "zy": np.array([pool.output_zero_point])}
            arguments = {"kernel": pool.window.kernel, "stride": pool.window.strides, "pad": _pads(pool.window)}
            ops = [_op("AVG_POOL2D", "AvgPool2d", arguments, ["x", "zx", "zy"], shape, type_)]
        case MaxPool(window=window):
            arguments = {"kernel": window.kernel, "stride": window.strides, "pad": _pads(window)}
            ops = [_op("MAX_POOL2D", "MaxPool2d", arguments, ["x"], shape, type_)]
        case Convert(rescales=(Rescale() as rescale,), input_zero_points=(zero,)):
            ops = [_rescale(rescale, shape, type_, zero, f"INT{program.tensors[name].affine.type.bits}", arrays)]
        case _:
            raise IntsimError(f"{step.op} is not written as TOSA here", where=step.name)
    return {"ops": ops, "shape": shape}, arrays


def _op(op: str, attribute: str, arguments: Any, inputs: list[str], shape: Sequence[int], type_: str) -> Graph:
    return {"op": op, "attribute": attribute, "arguments": arguments, "inputs": inputs, "shape": shape, "type": type_}


def _pads(window: Any) -> list[int]:
    """[top, bottom, left, right]."""
    return [side for pair in zip(window.begin, window.end, strict=True) for side in pair]


def _dot(dot: Dot, x: np.ndarray, shape: tuple[int, ...], arrays: dict[str, np.ndarray]) -> list[Graph]:
    weight, window, depthwise = dot.weight, dot.window, dot.group > 1
    if weight.ndim not in (2, 4) or (depthwise and (weight.shape[-1] != 1 or len(weight) != dot.group)):
        raise IntsimError("is neither CONV2D nor DEPTHWISE_CONV2D", where="TOSA")
    low, high = int(dot.bias.min()), int(dot.bias.max())
    if x.dtype != np.int8 or not -(1 << 31) <= low <= high < 1 << 31:
        raise IntsimError("has other types than int8 and int32", where="TOSA")
    plain = weight.ndim == 2
    if plain:
        arrays["x"] = x.reshape(len(x), 1, 1, -1)
        weight, shape = weight.reshape(len(weight), 1, 1, -1), (len(x), 1, 1, shape[-1])
    weight = np.moveaxis(weight, 0, -1).reshape(*weight.shape[1:3], -1, 1) if depthwise else weight
    zeros = np.unique(dot.weight_zero_point)
    if len(zeros) != 1:
        raise IntsimError("has a zero point per channel", where="TOSA")
    arrays |= {"w": weight, "b": dot.bias.astype(np.int32), "zx": np.array([dot.input_zero_point]), "zw": zeros}
    arguments = {
        "pad": [0] * 4 if plain else _pads(window),
        "stride": (1, 1) if plain else window.strides,
        "dilation": (1, 1) if plain else window.dilations,
    }
    op = ("DEPTHWISE_CONV2D", "DepthwiseConv2d") if depthwise else ("CONV2D", "Conv2d")
    return [_op(*op, arguments, ["x", "w", "b", "zx", "zw"], shape, "INT32")]


def _rescale(
    rescale: Rescale, shape: Sequence[int], type_: str, zero: int, source: str, arrays: dict[str, np.ndarray]
) -> Graph:
    rule, multiplier, exponent = rescale.rule, rescale.multiplier, rescale.exponent
    if not isinstance(rule, FixedPoint) or multiplier is None or exponent is None or rule.bits != 31:
        raise IntsimError("has a requantizer that RESCALE does not have", where="TOSA")
    double = rule.first is Rounding.HALF_UP and rule.rounding is Rounding.HALF_AWAY
    shift = 31 - exponent
    if shift.min() < 2 or shift.max() > 62:
        raise IntsimError(f"shifts by {shift.min()} to {shift.max()}, RESCALE by 2 to 62", where="TOSA")
    arrays |= {
        "m": multiplier.astype(np.int32),
        "s": shift.astype(np.int8),
        "rx": np.array([zero], np.dtype(source.lower())),
        "ry": np.array([rescale.zero_point]),
    }
    arguments = {"double": double, "per_channel": len(multiplier) > 1}
    return _op("RESCALE", "Rescale", arguments, ["", "m", "s", "rx", "ry"], shape, type_)
