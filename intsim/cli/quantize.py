"""`intsim quantize`: a float network in integers, as ONNX or TFLite, or lowered for a machine as a Program's file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from intsim import named
from intsim.cli import options, sources
from intsim.cli.console import Out, finish, line, notice, progress, table
from intsim.cli.machines import Machine, on_machines, one
from intsim.errors import IntsimError
from intsim.graph import Graph, Pixels
from intsim.integers import IntType
from intsim.partition import before_quantization
from intsim.partition import machines as all_of
from intsim.program import Program
from intsim.quantized import QuantizedGraph
from intsim.target import Scheme
from intsim.targets import TARGETS

ONNX = replace(TARGETS["ideal"].scheme, bias=IntType(32))
"""What ONNX files can hold, and most machines run."""


@click.command(epilog="Example: intsim quantize cnn --calibration fashion --bits 6 -o cnn_6bit.onnx")
@click.argument("model")
@options.quantization
@on_machines
@options.images
@click.option("--quantize-rest", "rest", is_flag=True, help="What a quantized file leaves in float too.")
@click.option("--format", "form", type=click.Choice(["qdq", "qoperator"]), default="qdq", help="How ONNX says it.")
@options.output(required=True, help="OUT.onnx, OUT.tflite, or OUT.intsim: the Program for --target.")
@options.spoken
def quantize(
    model: str,
    calibration: str | None,
    quantization: dict[str, Any],
    machines: Sequence[Machine],
    pixels: Pixels | None,
    rest: bool,
    form: str,
    path: str,
    out: Out,
) -> None:
    """Quantize MODEL and write it down.

    With --target the result keeps to what those machines take; without, to what ONNX files can hold, or LiteRT runs.
    A file that another tool quantized keeps its integers; --quantize-rest calibrates what it leaves in float.
    """
    if Path(path).suffix not in (".onnx", ".tflite", ".intsim"):
        mend = "end it with .onnx, .tflite or .intsim"
        raise IntsimError("has no suffix that says what to write", where=path, mend=mend)
    scheme = TARGETS["litert_ref"].scheme if Path(path).suffix == ".tflite" else ONNX
    if rest:
        quantized = _with_rest(model, calibration, pixels, out)
    else:
        quantized = quantized_model(model, calibration, quantization, machines, pixels, out, scheme)
    if Path(path).suffix == ".intsim":
        _write_program(quantized, one(machines), path)
    else:
        _write(quantized, form, path)
        for name, door in quantized.graph.pixels.items():
            if (door.own_mean, door.own_std) != ((0.0,), (1.0,)):
                mean, std = (" ".join(f"{v:.6g}" for v in values) for values in (door.own_mean, door.own_std))
                notice(out, f"{path} takes its input normalized: {name} is (input - [{mean}]) / [{std}]")
    _say(quantized, out)
    line(out, f"written: {path}")
    finish(out, "quantize", {"path": path, "network": quantized.graph.name, "tensors": _tensors(quantized)})


def _with_rest(model: str, calibration: str | None, pixels: Pixels | None, out: Out) -> QuantizedGraph:
    """The network of a file that another tool quantized in part, the rest calibrated."""
    from intsim import adopt
    from intsim.build import with_pixels

    path = named.network(model)
    found = adopt.adopted(path)
    images = sources.calibration_images(calibration)
    if found.left and images is None:
        raise IntsimError("leaves tensors in float", where=model, mend="give images: --calibration X.npz")
    for name in found.left:
        notice(out, f"{model}: {name} is float in the file, and calibrated")
    return adopt.complete(replace(found, graph=with_pixels(found.graph, pixels)), images)


def quantized_model(
    model: str,
    calibration: str | None,
    quantization: dict[str, Any],
    machines: Sequence[Machine],
    pixels: Pixels | None,
    out: Out,
    default: Scheme = ONNX,
) -> QuantizedGraph:
    """The model's integers for all machines at once, or as `default`; those that a file holds already, unchanged."""
    from intsim.calibrate import ranges
    from intsim.quantize import meet, quantize, saturated
    from intsim.quantize import options as given

    found = sources.model(model, pixels, out=out)
    if not isinstance(found, Graph):
        if quantization or calibration:
            raise IntsimError("is quantized already", where=model, mend="leave out --calibration and how to quantize")
        return found.source if isinstance(found, Program) else found
    images = sources.calibration_images(calibration)
    if images is None:
        raise IntsimError("is a float network", where=model, mend="give images: --calibration X.npz")
    schemes = [target.scheme for machine in machines for target in all_of(machine)]
    scheme, nodes = meet(schemes) if schemes else default, dict[str, Scheme]()
    if len(machines) == 1:
        scheme = machines[0].target.scheme
        nodes = {name: other.scheme for name, other in before_quantization(machines[0], found).items()}
    asked = given(**quantization)
    given_scales = scheme.activation_scale is not None or scheme.weight_scale is not None
    method = "mse" if given_scales else asked.method  # keeps histograms: what saturates can be counted
    with progress(out, "calibrating") as advance:
        seen = ranges(found, images, method=method, progress=lambda done, of: advance(done, of=of))
        quantized = quantize(found, seen, scheme, asked, nodes=nodes)
    if given_scales:
        for one in saturated(found, quantized, seen):
            many = f"{one.count:,} of {one.of:,} values" if one.count is not None else "some values"
            notice(
                out, f"{one.tensor}: {many} saturate, {one.low:.4g} to {one.high:.4g} in {one.least:g} to {one.most:g}"
            )
    return quantized


def _write_program(quantized: QuantizedGraph, machine: Machine | None, path: str) -> None:
    from intsim.build import build, save

    if machine is None:
        raise IntsimError("needs a machine", where=path, mend="add --target NAME")
    save(build(quantized, machine), path)


def _write(quantized: QuantizedGraph, form: str, path: str) -> None:
    from intsim import onnx_io
    from intsim.build import save

    if Path(path).suffix != ".onnx":
        save(quantized, path)
        return
    (onnx_io.write_qdq if form == "qdq" else onnx_io.write_qoperator)(quantized, path)


def _tensors(quantized: QuantizedGraph) -> dict[str, Any]:
    return {
        name: {"type": str(a.type), "scale": a.scale, "zero_point": a.zero_point, "axis": a.axis}
        for name, a in quantized.affines.items()
    }


def _say(quantized: QuantizedGraph, out: Out) -> None:
    constants = quantized.graph.constants
    rows = [
        (
            name,
            "constant" if name in constants else "activation",
            str(a.type),
            f"{min(a.scale):.6g}" + (f" to {max(a.scale):.6g}" if len(a.scale) > 1 else ""),
            "per channel" if len(a.zero_point) > 1 else a.zero_point[0],
        )
        for name, a in quantized.affines.items()
    ]
    table(out, ("tensor", "", "type", "scale", "zero point"), rows, right=("zero point",))
