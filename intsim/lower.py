"""A quantized network lowered for a machine, or for several: QuantizedGraph and Target to Program."""

from collections.abc import Mapping

import numpy as np

from intsim.check import check
from intsim.errors import IntsimError
from intsim.graph import Node, Pixels, Shape
from intsim.integers import Affine, IntType
from intsim.ops import OPS, output_shape
from intsim.ops.site import Site
from intsim.program import Compute, Door, Offset, Program, Step, Tensor, inside_shape
from intsim.program.names import between, copied, network_name
from intsim.quantized import QuantizedGraph, quantized
from intsim.target import Target
from intsim.targets import TARGETS


def lower(source: QuantizedGraph, target: Target, *, nodes: Mapping[str, Target] | None = None) -> Program:
    """The integer program of a quantized network on `target`, with other machines for some `nodes` (by name).

    Where a tensor crosses from one machine to another whose integers have the other sign, a step of its own says so;
    an input of the network enters in the integers of the first machine that reads it. Raises IntsimError, with the
    mend, where the quantization is none that the machine takes.
    """
    machines = {node.name: (nodes or {}).get(node.name, target) for node in source.graph.nodes}
    for name in nodes or {}:
        if name not in machines:
            raise IntsimError(f'there is no node "{name}"', mend="see intsim inspect")
    _one_name_each([target, *machines.values()])
    shapes = source.graph.shapes
    first = {name: node.name for node in reversed(source.graph.nodes) for name in node.inputs}
    doors = {name: machines[first[name]] if name in first else target for name in source.graph.inputs}
    affines = {name: own_affine(source, name, machine) for name, machine in doors.items()}
    makers = {node.outputs[0]: machines[node.name] for node in source.graph.nodes} | doors
    steps: list[Step] = []
    inner: dict[str, Tensor] = {}
    for node in source.graph.nodes:
        machine = machines[node.name]
        inputs = []
        for name in _activations(node, source):
            wanted = _crossing(source, name, makers[name], machine)
            crosses = wanted != affines[name]
            if crosses:
                steps += _border(name, affines, wanted, machine, shapes)
            inputs.append(copied(name, machine.name, shapes) if crosses else name)
        affines[node.outputs[0]] = own_affine(source, node.outputs[0], machine)
        steps += _steps(node, source, machine, tuple(inputs), affines, inner)
    program = Program(
        name=source.graph.name,
        inputs={name: _input_door(source, name, affines[name]) for name in source.graph.inputs},
        outputs={name: Door(tensor=name, shape=shapes[name], affine=affines[name]) for name in source.graph.outputs},
        tensors={
            name: Tensor(shape=inside_shape(shapes[network_name(name, shapes) or ""]), affine=affine)
            for name, affine in affines.items()
        }
        | inner,
        steps=tuple(steps),
        targets={machine.name: machine for machine in (target, *machines.values())},
        source=source,
    )
    return check(program)


def _steps(
    node: Node,
    source: QuantizedGraph,
    machine: Target,
    inputs: tuple[str, ...],
    affines: Mapping[str, Affine],
    inner: dict[str, Tensor],
) -> list[Step]:
    """The node's step; or several in turn, with tensors between them, OUTPUT#KIND, which are added to `inner`."""
    if node.op not in OPS:
        raise IntsimError(f"{node.op} is not supported", where=node.name, mend="see intsim inspect")
    _check_op(node, machine)
    _check_weights(node, source, machine)
    site = Site(
        target=machine,
        source=source,
        node=node,
        inputs=tuple(affines[name] for name in inputs),
        output=affines[node.outputs[0]],
    )
    lowered = OPS[node.op].lower(node, site)
    *first, last = lowered if isinstance(lowered, tuple) else (lowered,)
    steps, shape = [], site.shape(node.inputs[0]) if first else ()
    for compute in first:
        kind = type(compute).__name__.lower()
        name = between(node.outputs[0], kind, source.graph.shapes)
        shape = output_shape(compute, shape)
        inner[name] = Tensor(shape=shape, affine=site.inputs[0])
        steps.append(_step(f"{node.name}#{kind}", node, inputs, (name,), machine, compute))
        inputs = (name,)
    return [*steps, _step(node.name, node, inputs, node.outputs, machine, last)]


def _step(
    name: str, node: Node, inputs: tuple[str, ...], outputs: tuple[str, ...], machine: Target, compute: Compute
) -> Step:
    return Step(name=name, op=node.op, inputs=inputs, outputs=outputs, target=machine.name, compute=compute)


def _activations(node: Node, source: QuantizedGraph) -> list[str]:
    return [name for name in node.inputs if name and name not in source.graph.constants]


def _one_name_each(machines: list[Target]) -> None:
    known: dict[str, Target] = {}
    for machine in machines:
        if known.setdefault(machine.name, machine) != machine:
            raise IntsimError("two different machines have this name", where=machine.name, mend="rename one")


# ---- what a machine takes --------------------------------------------------------------------------------------


def own_affine(source: QuantizedGraph, tensor: str, machine: Target) -> Affine:
    """The tensor's affine in the machine's own integers: the same real numbers, perhaps with the other sign."""
    affine, scheme = source.affines[tensor], machine.scheme
    where = f"{tensor} on {machine.name}"
    fits = [t for t in scheme.activations if t.low <= affine.type.low and affine.type.high <= t.high]
    if not fits:
        wide = [t for t in scheme.activations if affine.type.bits <= t.bits]
        if not wide:
            takes = ", ".join(map(str, scheme.activations))
            others = [name for name, other in TARGETS.items() if affine.type in other.scheme.activations]
            mend = f"the machine takes {takes}" + (f"; {', '.join(others)} take {affine.type}" if others else "")
            raise IntsimError(f"activations are {affine.type}", where=where, mend=mend)
        affine = affine.shifted(IntType(affine.type.bits, wide[0].signed))
    if affine.zero != 0 and not scheme.zero_points:
        raise IntsimError(f"has zero point {affine.zero}, the machine has none", where=where, mend="quantize symmetric")
    if scheme.activation_scale not in (None, affine.scale[0]):
        raise IntsimError(
            f"has scale {affine.scale[0]:g}, the machine's numbers all have {scheme.activation_scale:g}",
            where=where,
            mend="quantize for this machine",
        )
    if scheme.power_of_two and np.frexp(affine.scale[0])[0] != 0.5:
        raise IntsimError(
            f"has scale {affine.scale[0]:g}, the machine takes powers of two",
            where=where,
            mend="quantize with power-of-two scales",
        )
    return affine


def refused(source: QuantizedGraph, target: Target) -> dict[str, IntsimError]:
    """The nodes that the machine does not take, by name, and why: op, activations, weights, numbers of its rules."""
    found = {}
    for node in source.graph.nodes:
        try:
            _check_op(node, target)
            names = _activations(node, source)
            affines = {name: own_affine(source, name, target) for name in (*names, *node.outputs)}
            _steps(node, source, target, tuple(names), affines, {})
        except IntsimError as error:
            found[node.name] = error
    return found


def _crossing(source: QuantizedGraph, tensor: str, maker: Target, reader: Target) -> Affine:
    """The tensor's affine on the machine that reads it. IntsimError names both machines where there is none."""
    try:
        return own_affine(source, tensor, reader)
    except IntsimError as error:
        if maker == reader:
            raise
        mend = f"{error.mend}, for both machines (as is done from a float network), or let one run both nodes"
        where = f"{tensor} from {maker.name} to {reader.name}"
        raise IntsimError(error.what, where=where, mend=mend) from None


def _check_op(node: Node, machine: Target) -> None:
    if machine.scheme.ops is not None and node.op not in machine.scheme.ops:
        takes = ", ".join(machine.scheme.ops)
        raise IntsimError(
            f"{node.op} is none of the operators that the machine takes",
            where=f"{node.name} on {machine.name}",
            mend=f"it takes {takes}; let another run it: --fallback TARGET",
        )


def _check_weights(node: Node, source: QuantizedGraph, machine: Target) -> None:
    if node.op not in ("Conv", "ConvTranspose", "Gemm") or node.inputs[1] not in source.graph.constants:
        return
    affine, scheme = source.affines[node.inputs[1]], machine.scheme
    where = f"{node.name} ({node.op}) on {machine.name}"
    takes = ", ".join(map(str, scheme.weights))
    fits = [t for t in scheme.weights if t.low <= affine.type.low and affine.type.high <= t.high]
    if not fits:
        raise IntsimError(f"weights are {affine.type}", where=where, mend=f"the machine takes {takes}")
    if any(affine.zero_point) and not (scheme.weight_zero_points and any(not t.narrow_range for t in fits)):
        raise IntsimError("weights have a zero point", where=where, mend="quantize weights symmetric")
    if affine.axis is not None and node.op not in scheme.per_channel:
        raise IntsimError("weights have a scale per channel", where=where, mend="quantize per tensor")
    if scheme.weight_scale is not None and set(affine.scale) != {scheme.weight_scale}:
        raise IntsimError(
            f"weights have scales other than {scheme.weight_scale:g}, the machine's only one",
            where=where,
            mend="quantize for this machine",
        )
    if scheme.power_of_two and any(np.frexp(s)[0] != 0.5 for s in affine.scale):
        raise IntsimError(
            "weights have scales that are no powers of two",
            where=where,
            mend="quantize with power-of-two scales",
        )


# ---- borders and doors -----------------------------------------------------------------------------------------


def _border(
    tensor: str, affines: dict[str, Affine], wanted: Affine, machine: Target, shapes: Mapping[str, Shape]
) -> list[Step]:
    """The step that re-expresses a tensor for another machine, unless it was taken already."""
    name = copied(tensor, machine.name, shapes)
    if name in affines:
        return []
    offset = wanted.zero - affines[tensor].zero
    affines[name] = wanted
    return [
        Step(
            name=name,
            op="Offset",
            inputs=(tensor,),
            outputs=(name,),
            target=machine.name,
            compute=Offset(offset=offset),
        )
    ]


def _input_door(source: QuantizedGraph, name: str, affine: Affine) -> Door:
    shape = source.graph.shapes[name]
    pixels = source.graph.pixels.get(name, Pixels())
    ramp = np.repeat(np.arange(256)[:, None], pixels.channels, axis=1)
    return Door(
        tensor=name,
        shape=shape,
        affine=affine,
        pixels=pixels,
        table=quantized(pixels.enter(pixels.to_input(ramp)), affine),
    )
