"""`intsim inspect`: what is in a network, what of it can be lowered, and which accumulators it needs."""

import math
from collections.abc import Sequence
from typing import Any

import click
import numpy as np

from intsim.cli import options, sources
from intsim.cli.console import Out, finish, line, table
from intsim.cli.machines import Machine, on_machines
from intsim.cli.targets import accumulator
from intsim.errors import IntsimError
from intsim.graph import Graph, Node, Pixels
from intsim.program import Dot, Program
from intsim.quantized import QuantizedGraph

Found = Graph | QuantizedGraph | Program


@click.command(epilog="Example: intsim inspect cnn --target esp_dl_s3 --calibration fashion")
@click.argument("model")
@on_machines
@options.quantization
@options.images
@options.spoken
def inspect(
    model: str,
    machines: Sequence[Machine],
    calibration: str | None,
    quantization: dict[str, Any],
    pixels: Pixels | None,
    out: Out,
) -> None:
    """Show the operators of MODEL, and all of those that are not supported.

    For a --target: whether it takes the network, and how many accumulator bits each layer needs, by proof: the
    smallest width in which no sum can overflow, whatever the image and the order. A float network needs
    --calibration for that.
    """
    found, notes, unsupported = read(model)
    graph = _graph(found)
    _say(model, found, graph, out)
    for note in notes:
        line(out, f"note: {note}")
    rows = [(node.name, node.op, _shape(graph, node), _size(graph, node), _macs(graph, node)) for node in graph.nodes]
    table(out, ("node", "op", "output", "weights", "MACs"), rows, right=("weights", "MACs"))
    if unsupported:
        table(out, ("node", "op", "why"), unsupported, title="not supported")
    on = [_on(model, machine, found, calibration, pixels, quantization, bool(unsupported), out) for machine in machines]
    numbers = {"model": model, "kind": _KIND[type(found)], "notes": notes, "targets": on}
    finish(out, "inspect", numbers | _numbers(graph, unsupported))


def read(model: str) -> tuple[Found, tuple[str, ...], tuple[tuple[str, str, str], ...]]:
    """What the model's file holds, the notes of its normalisation, and (node, op, reason) of what is not supported."""
    from intsim import archive, onnx_io
    from intsim.build import load
    from intsim.normalise import normalise, unsupported
    from intsim.ops import OPS

    path = sources.model_path(model)
    if path.suffix == archive.SUFFIX or onnx_io.is_quantized(path):
        return load(path), (), ()
    graph, notes = normalise(onnx_io.read(path))
    return graph, notes, unsupported(graph, OPS)


_KIND = {Graph: "float", QuantizedGraph: "quantized", Program: "program"}


def _graph(found: Found) -> Graph:
    if isinstance(found, Program):
        return found.source.graph
    return found if isinstance(found, Graph) else found.graph


def _say(model: str, found: Found, graph: Graph, out: Out) -> None:
    ends = [
        ", ".join(f"{name} {list(graph.shapes[name])}" for name in names) for names in (graph.inputs, graph.outputs)
    ]
    line(out, f"{model}: a {_KIND[type(found)]} network, {ends[0]} to {ends[1]}")
    if isinstance(found, Program):
        line(out, f"lowered for {', '.join(found.targets)}")


def _shape(graph: Graph, node: Node) -> str:
    return ", ".join(str(list(graph.shapes[name])) if name in graph.shapes else "?" for name in node.outputs)


def _size(graph: Graph, node: Node) -> int | None:
    sizes = [graph.constants[name].size for name in node.inputs if name in graph.constants]
    return sum(sizes) if sizes else None


def _macs(graph: Graph, node: Node) -> int | None:
    """Products for one sample; None where there are none."""
    if node.op not in ("Conv", "Gemm") or node.inputs[1] not in graph.constants or node.outputs[0] not in graph.shapes:
        return None
    weight = graph.constants[node.inputs[1]]
    return math.prod(graph.shapes[node.outputs[0]]) * math.prod(weight.shape[1:])


def _numbers(graph: Graph, unsupported: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    return {
        "inputs": {name: graph.shapes[name] for name in graph.inputs},
        "outputs": {name: graph.shapes.get(name) for name in graph.outputs},
        "nodes": [
            {
                "name": node.name,
                "op": node.op,
                "output": graph.shapes.get(node.outputs[0]),
                "weights": _size(graph, node),
                "macs": _macs(graph, node),
            }
            for node in graph.nodes
        ],
        "unsupported": [{"name": name, "op": op, "reason": reason} for name, op, reason in unsupported],
    }


# ---- on a machine ----------------------------------------------------------------------------------------------


def _on(
    model: str,
    machine: Machine,
    found: Found,
    calibration: str | None,
    pixels: Pixels | None,
    quantization: dict[str, Any],
    hopeless: bool,
    out: Out,
) -> dict[str, Any]:
    """What there is to say about the network on one machine."""
    name = machine.target.name
    if isinstance(found, Graph) and (hopeless or calibration is None):
        why = "there are operators that are not supported" if hopeless else "give --calibration X.npz to see more"
        line(out, f"{name}: {why}")
        return {"target": name, "lowered": None, "refused": None, "accumulators": []}
    try:
        program = sources.program(model, machine, calibration=calibration, pixels=pixels, quantization=quantization)
    except IntsimError as error:
        line(out, f"{name}: refused: {error}")
        return {"target": name, "lowered": False, "refused": str(error), "accumulators": []}
    rows = _accumulators(program)
    columns = ("layer", "runs on", "products a sum", "accumulator", "bits needed", "holds any image")
    table(
        out, columns, [tuple(row.values())[:6] for row in rows], title=f"accumulators on {name}", right=columns[2:5:2]
    )
    return {"target": name, "lowered": True, "refused": None, "accumulators": rows}


def _accumulators(program: Program) -> list[dict[str, Any]]:
    """One row a layer: the proven width, the machine's, and whether every register is proven wide enough."""
    from intsim import ranges

    intervals = ranges.intervals(program)
    rows = []
    for step in program.steps:
        if not isinstance(step.compute, Dot):
            continue
        low, high = intervals[step.inputs[0]]
        bits = ranges.bounds(step.compute, low, high).bits
        rows.append(
            {
                "layer": step.name,
                "target": step.target,
                "products": math.prod(step.compute.weight.shape[1:]),
                "accumulator": accumulator(step.compute.mac),
                "needed": int(np.max(bits)),
                "proven": bool(np.all(ranges.cannot_overflow(step.compute, low, high))),
                "needed_by_channel": [int(b) for b in bits],
            }
        )
    return rows
