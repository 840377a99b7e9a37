"""A quantized network lowered for a machine, or for several: QuantizedGraph and Target to Program."""

from collections.abc import Mapping

import numpy as np

from intsim.check import check
from intsim.errors import IntsimError
from intsim.graph import Node, Pixels, Shape
from intsim.integers import Affine, IntType
from intsim.ops import OPS
from intsim.ops.site import Site
from intsim.program import Door, Offset, Program, Step, Tensor, inside_shape
from intsim.quantized import QuantizedGraph, quantized
from intsim.target import Target


def lower(source: QuantizedGraph, target: Target, *, nodes: Mapping[str, Target] | None = None) -> Program:
    """The integer program of a quantized network on `target`, with other machines for some `nodes` (by name).

    Where a tensor crosses from one machine to another whose integers have the other sign, a step of its own says so.
    Raises IntsimError, with the mend, where the quantization is none that the machine takes.
    """
    machines = {node.name: (nodes or {}).get(node.name, target) for node in source.graph.nodes}
    for name in nodes or {}:
        if name not in machines:
            raise IntsimError(f'there is no node "{name}"', mend="see intsim inspect")
    _one_name_each([target, *machines.values()])
    shapes = source.graph.shapes
    affines = {name: own_affine(source, name, target) for name in source.graph.inputs}
    steps: list[Step] = []
    for node in source.graph.nodes:
        machine = machines[node.name]
        inputs = []
        for name in _activations(node, source):
            wanted = own_affine(source, name, machine)
            crosses = wanted != affines[name]
            if crosses:
                steps += _border(name, affines, wanted, machine, shapes)
            inputs.append(_crossed(name, machine, shapes) if crosses else name)
        affines[node.outputs[0]] = own_affine(source, node.outputs[0], machine)
        steps.append(_step(node, source, machine, tuple(inputs), affines))
    program = Program(
        name=source.graph.name,
        inputs={name: _input_door(source, name, affines[name]) for name in source.graph.inputs},
        outputs={name: Door(tensor=name, shape=shapes[name], affine=affines[name]) for name in source.graph.outputs},
        tensors={
            name: Tensor(shape=inside_shape(shapes[name if name in shapes else name.rpartition("@")[0]]), affine=a)
            for name, a in affines.items()
        },
        steps=tuple(steps),
        targets={machine.name: machine for machine in (target, *machines.values())},
        source=source,
    )
    return check(program)


def _step(
    node: Node,
    source: QuantizedGraph,
    machine: Target,
    inputs: tuple[str, ...],
    affines: Mapping[str, Affine],
) -> Step:
    if node.op not in OPS:
        raise IntsimError(f"{node.op} is not supported", where=node.name, mend="see intsim inspect")
    _check_weights(node, source, machine)
    site = Site(
        target=machine,
        source=source,
        node=node,
        inputs=tuple(affines[name] for name in inputs),
        output=affines[node.outputs[0]],
    )
    compute = OPS[node.op].lower(node, site)
    return Step(name=node.name, op=node.op, inputs=inputs, outputs=node.outputs, target=machine.name, compute=compute)


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
            raise IntsimError(f"activations are {affine.type}", where=where, mend=f"the machine takes {takes}")
        affine = affine.shifted(IntType(affine.type.bits, wide[0].signed))
    if affine.zero != 0 and not scheme.zero_points:
        raise IntsimError(f"has zero point {affine.zero}, the machine has none", where=where, mend="quantize symmetric")
    if scheme.power_of_two and np.frexp(affine.scale[0])[0] != 0.5:
        raise IntsimError(
            f"has scale {affine.scale[0]:g}, the machine takes powers of two",
            where=where,
            mend="quantize with power-of-two scales",
        )
    return affine


def _check_weights(node: Node, source: QuantizedGraph, machine: Target) -> None:
    if len(node.inputs) < 2 or node.inputs[1] not in source.graph.constants:
        return
    affine, scheme = source.affines[node.inputs[1]], machine.scheme
    where = f"{node.name} ({node.op}) on {machine.name}"
    takes = ", ".join(map(str, scheme.weights))
    if not any(t.low <= affine.type.low and affine.type.high <= t.high for t in scheme.weights):
        raise IntsimError(f"weights are {affine.type}", where=where, mend=f"the machine takes {takes}")
    if any(affine.zero_point) and not scheme.weight_zero_points:
        raise IntsimError("weights have a zero point", where=where, mend="quantize weights symmetric")
    if affine.axis is not None and node.op not in scheme.per_channel:
        raise IntsimError("weights have a scale per channel", where=where, mend="quantize per tensor")
    if scheme.power_of_two and any(np.frexp(s)[0] != 0.5 for s in affine.scale):
        raise IntsimError(
            "weights have scales that are no powers of two",
            where=where,
            mend="quantize with power-of-two scales",
        )


# ---- borders and doors -----------------------------------------------------------------------------------------


def _crossed(tensor: str, machine: Target, shapes: Mapping[str, Shape]) -> str:
    """TENSOR@MACHINE, a name that no tensor of the network has."""
    name = f"{tensor}@{machine.name}"
    while name in shapes:
        name += "_"
    return name


def _border(
    tensor: str, affines: dict[str, Affine], wanted: Affine, machine: Target, shapes: Mapping[str, Shape]
) -> list[Step]:
    """The step that re-expresses a tensor for another machine, unless it was taken already."""
    name = _crossed(tensor, machine, shapes)
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
