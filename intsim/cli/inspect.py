"""`intsim inspect`: what is in a network, what of it can be lowered, and which accumulators it needs."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from intsim import named
from intsim.cli import advice, options, sources
from intsim.cli.console import Out, finish, line, table
from intsim.cli.machines import Machine, on_machines
from intsim.errors import IntsimError
from intsim.graph import Graph, Node, Pixels, producers
from intsim.program import Program
from intsim.quantized import QuantizedGraph

Found = Graph | QuantizedGraph | Program


@click.command(epilog="Example: intsim inspect cnn --target esp_dl_s3 --calibration fashion")
@click.argument("model")
@on_machines
@click.option("--input", "images", metavar="X.npz", help="Images on which the layers' sums are observed.")
@click.option("--attacked", metavar="A.npz", help="Attacked images on which they are observed.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=advice.LIMIT,
    metavar="N",
    help=f"The first N images of each (default: {advice.LIMIT}).",
)
@options.quantization
@options.images
@options.spoken
def inspect(
    model: str,
    machines: Sequence[Machine],
    images: str | None,
    attacked: str | None,
    limit: int,
    calibration: str | None,
    quantization: dict[str, Any],
    pixels: Pixels | None,
    out: Out,
) -> None:
    """Show the operators of MODEL, and all of those that are not supported.

    For a --target: whether it takes the network, and how many accumulator bits each layer needs, by proof: the
    smallest width in which no sum can overflow, whatever the image and the order. A float network needs
    --calibration for that. On the images of --calibration, --input and --attacked the sums are observed too.
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
    seen = {"images": images, "attacked": attacked, "limit": limit}
    on = [
        _on(model, machine, found, calibration, pixels, quantization, bool(unsupported), seen, out)
        for machine in machines
    ]
    numbers = {"model": model, "kind": _KIND[type(found)], "notes": notes, "targets": on}
    finish(out, "inspect", numbers | _numbers(graph, unsupported))


def read(model: str) -> tuple[Found, tuple[str, ...], tuple[tuple[str, str, str], ...]]:
    """What the model's file holds, the notes of its normalisation, and (node, op, reason) of what is not supported."""
    from intsim import archive, onnx_io, tflite_io
    from intsim.build import load
    from intsim.normalise import normalise, unsupported
    from intsim.ops import OPS

    path = named.network(model)
    if path.suffix == archive.SUFFIX or tflite_io.is_tflite(path):
        return load(path), (), ()
    if onnx_io.is_quantized(path):
        return (load(path), (), ()) if onnx_io.is_own(path) else _adopted(path)
    graph, notes = normalise(onnx_io.read(path))
    return graph, notes, unsupported(graph, OPS)


def _adopted(path: Path) -> tuple[Found, tuple[str, ...], tuple[tuple[str, str, str], ...]]:
    """What another tool quantized; a float network with a row for each float tensor, if it left any."""
    from intsim import adopt

    found = adopt.adopted(path)
    if not found.left:
        return adopt.complete(found), (), ()
    makers = producers(found.graph)
    ops = {name: makers[name].op if name in makers else "constant" for name in found.left}
    why = "is float in the quantized file: intsim quantize --quantize-rest calibrates it"
    return found.graph, ("quantized in part",), tuple((name, op, why) for name, op in ops.items())


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
    seen: dict[str, Any],
    out: Out,
) -> dict[str, Any]:
    """What there is to say about the network on one machine."""
    name = machine.target.name
    if isinstance(found, Graph) and (hopeless or calibration is None):
        why = "there are operators that are not supported" if hopeless else "give --calibration X.npz to see more"
        line(out, f"{name}: {why}")
        return {"target": name, "lowered": None, "refused": None, "accumulators": []}
    try:
        program = sources.program(
            model, machine, calibration=calibration, pixels=pixels, quantization=quantization, out=out
        )
    except IntsimError as error:
        line(out, f"{name}: refused: {error}")
        return {"target": name, "lowered": False, "refused": str(error), "accumulators": []}
    parts = {step.name: step.target for step in program.steps}
    if len(program.targets) > 1:
        steps = [(step.name, step.op, step.target) for step in program.steps]
        line(out, f"which machine runs what: {machine.name}")
        table(out, ("step", "op", "runs on"), steps)
    told = advice.show(program, advice.image_sets(program, calibration, **seen), out)
    return {"target": name, "lowered": True, "refused": None, "steps": parts, **told}
