"""The whole way, in order, on one screen: a file, a float network, a quantized network, an integer program."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from intsim import archive, targets
from intsim.check import check
from intsim.errors import IntsimError
from intsim.graph import Graph, Pixels
from intsim.lower import lower, refused
from intsim.ops import OPS
from intsim.partition import Mixed, assigned, before_quantization
from intsim.program import Program
from intsim.quantized import QuantizedGraph
from intsim.target import Target

Model = Graph | QuantizedGraph | Program


def load(path: str | Path) -> Model:
    """What the file holds: a normalised float Graph or a QuantizedGraph (ONNX, TFLite), or a Program (.intsim).

    Raises IntsimError for a file that is missing, damaged, or holds what is not supported.
    """
    from intsim import adopt, onnx_io, tflite_io
    from intsim.normalise import normalise

    if Path(path).suffix == archive.SUFFIX:
        return check(archive.read(path))
    if tflite_io.is_tflite(path):
        return tflite_io.read_quantized(path)
    if onnx_io.is_quantized(path):
        return onnx_io.read_quantized(path) if onnx_io.is_own(path) else adopt.read(path)
    graph, _ = normalise(onnx_io.read(path))
    return supported(graph)


def supported(graph: Graph) -> Graph:
    """The normalised graph, if all of it can be lowered. IntsimError names the first node that cannot."""
    from intsim.normalise import unsupported

    found = unsupported(graph, OPS)
    for name, op, reason in found:
        more = f", and {len(found) - 1} more nodes cannot be lowered" if len(found) > 1 else ""
        raise IntsimError(f"{op}: {reason}{more}", where=name, mend="intsim inspect lists them all")
    return graph


def save(model: QuantizedGraph | Program, path: str | Path) -> None:
    """Writes a Program as .intsim, a QuantizedGraph as .tflite or QDQ .onnx; it appears whole or not at all."""
    from intsim import onnx_io, tflite_io

    if isinstance(model, Program):
        archive.write(model, path)
    elif Path(path).suffix == tflite_io.SUFFIX:
        tflite_io.write_tflite(model, path)
    else:
        onnx_io.write_qdq(model, path)


def build(
    model: str | Path | Model,
    target: str | Target | Mixed,
    *,
    calibration: np.ndarray | str | Path | None = None,
    nodes: Mapping[str, str | Target] | None = None,
    fallback: str | Target | None = None,
    pixels: Pixels | None = None,
    on_fallback: Callable[[str, IntsimError], object] | None = None,
    **quantization: Any,
) -> Program:
    """The integer program of `model` on `target`.

    `calibration`: images for a float model, `x[n, c, h, w]` (uint8 pixels, or float32 in the network's input range)
    or an .npz with such an `x`. `nodes`: other machines for some nodes, by the node's name or its output's; a `Mixed`
    says more. `fallback`: the machine for the nodes that `target` does not take; `on_fallback(node, reason)` is told of
    each. `pixels`: how images become the network's input, where that is not pixel / 255. `quantization`: see
    `intsim.quantize`; nodes of other machines are quantized as those take it. Raises IntsimError, with the mend, where
    a float model comes without calibration, or the quantization is none that the machine takes.
    """
    mixed = _mixed(target, nodes or {}, fallback)
    if isinstance(model, str | Path):
        model, pixels = told(load(model), model, pixels), None
    graph = _graph(model)
    others = assigned(mixed, graph)
    own = {node.name for node in graph.nodes} - others.keys()
    if isinstance(model, Graph):
        others = before_quantization(mixed, graph)
        model = _quantized(with_pixels(model, pixels), mixed.target, others, calibration, quantization)
    elif pixels is not None:
        raise IntsimError("is quantized already", where=graph.name, mend="leave out how pixels enter it")
    elif quantization:
        raise IntsimError("is quantized already", where=graph.name, mend=f"leave out {', '.join(quantization)}")
    source = model.source if isinstance(model, Program) else model
    if mixed.fallback is not None:
        for name, reason in refused(source, mixed.target).items():
            if name in own:
                others[name] = mixed.fallback
                if on_fallback is not None:
                    on_fallback(name, reason)
    return lower(source, mixed.target, nodes=others)


def _mixed(target: str | Target | Mixed, nodes: Mapping[str, str | Target], fallback: str | Target | None) -> Mixed:
    mixed = target if isinstance(target, Mixed) else Mixed(target=_machine(target))
    return Mixed(
        target=mixed.target,
        parts=mixed.parts,
        nodes={**mixed.nodes, **{name: _machine(other) for name, other in nodes.items()}},
        fallback=mixed.fallback if fallback is None else _machine(fallback),
    )


def _graph(model: Model) -> Graph:
    match model:
        case Graph():
            return model
        case QuantizedGraph():
            return model.graph
        case Program():
            return model.source.graph


def told(model: Model, path: str | Path, pixels: Pixels | None) -> Model:
    """What the file at `path` holds, whose images become its input by `pixels` where the file leaves that open.

    A float network does, and one that another tool quantized. IntsimError for any other.
    """
    if pixels is None:
        return model
    if isinstance(model, Graph):
        return with_pixels(model, pixels)
    if isinstance(model, QuantizedGraph) and not model.graph.pixels and _leaves_open(Path(path)):
        return replace(model, graph=with_pixels(model.graph, pixels))
    raise IntsimError("is quantized already", where=str(path), mend="leave out --input-scale, --mean and --std")


def _leaves_open(path: Path) -> bool:
    """Whether the quantized network's file has no word for how images enter it."""
    from intsim import onnx_io, tflite_io

    return tflite_io.is_tflite(path) or (path.suffix == ".onnx" and path.is_file() and not onnx_io.is_own(path))


def with_pixels(graph: Graph, pixels: Pixels | None) -> Graph:
    """The network whose images become its input by `pixels` (None: as it was); its own normalization stays."""
    if pixels is None:
        return graph
    for name in graph.inputs:
        channels = graph.shapes[name][0]
        for word, values in (("mean", pixels.mean), ("std", pixels.std)):
            if len(values) not in (1, channels):
                what = f"{len(values)} values, the network has {channels} channels"
                raise IntsimError(what, where=word, mend=f"give 1 or {channels}")
    before = {name: graph.pixels.get(name, Pixels()) for name in graph.inputs}
    known = {name: replace(pixels, own_mean=own.own_mean, own_std=own.own_std) for name, own in before.items()}
    return replace(graph, pixels=known)


def _machine(target: str | Target) -> Target:
    return targets.target(target) if isinstance(target, str) else target


def _quantized(
    graph: Graph,
    target: Target,
    others: Mapping[str, Target],
    calibration: np.ndarray | str | Path | None,
    options: Mapping[str, Any],
) -> QuantizedGraph:
    from intsim import tasks
    from intsim.quantize import quantize

    if calibration is None:
        raise IntsimError("is a float network", where=graph.name, mend="give images: --calibration X.npz")
    x = tasks.load(calibration).x if isinstance(calibration, str | Path) else calibration
    return quantize(graph, x, target.scheme, nodes={name: other.scheme for name, other in others.items()}, **options)
