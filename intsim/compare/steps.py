"""Some steps of a Program as a Program of their own: fed from anywhere, or put on another machine."""

from collections.abc import Mapping, Sequence

from intsim.compare.vocabulary import rules_of
from intsim.graph import Graph, Shape
from intsim.lower import lower
from intsim.ops import OPS
from intsim.program import Door, Program, Step, Tensor
from intsim.program.names import network_name
from intsim.quantized import QuantizedGraph
from intsim.target import Target


def one_step(program: Program, step: Step) -> Program:
    """The Program that runs this step alone, on integers of its own types; what it gives is to be traced."""
    return some_steps(program, (step,))


def some_steps(program: Program, steps: Sequence[Step]) -> Program:
    """The Program that runs these steps alone, fed with the integers of whatever they do not make themselves."""
    made = {name for step in steps for name in step.outputs}
    tensors = {name: program.tensors[name] for step in steps for name in (*step.inputs, *step.outputs)}
    return Program(
        name=f"{program.name}: {steps[-1].name}",
        inputs={name: _door(name, tensor) for name, tensor in tensors.items() if name not in made},
        outputs={},  # a door would turn all these integers into floats
        tensors=tensors,
        steps=tuple(steps),
        targets={step.target: program.targets[step.target] for step in steps},
        source=program.source,
    )


def reaching_back(program: Program, step: Step, known: Sequence[str]) -> tuple[Step, ...]:
    """The steps from tensors that are `known` to this one's output.

    More than the step itself only where it clips or moves what a tensor holds that is not known: a runtime that fuses
    an activation has no tensor before it.
    """
    made = {name: other for other in program.steps for name in other.outputs}
    steps = [step]
    while _between(program, made, steps[0]) or (steps[0].op in OPS and not rules_of(steps[0].op)):
        (name, *_) = steps[0].inputs
        if _between(program, made, steps[0]):
            steps.insert(0, made[name])
            continue
        if (
            network_name(name, program.source.graph.shapes) in known
            or name not in made
            or made[name].target != step.target
        ):
            break
        steps.insert(0, made[name])
    return tuple(steps)


def _between(program: Program, made: Mapping[str, Step], step: Step) -> bool:
    """Whether the step reads a tensor that no node has: one between the several steps of its own node."""
    name = step.inputs[0]
    return name in made and network_name(name, program.source.graph.shapes) is None


def some_nodes(source: QuantizedGraph, names: Sequence[str]) -> QuantizedGraph:
    """The quantized network of these nodes alone, a chain; its last one's output is the output."""
    graph = source.graph
    nodes = tuple(node for node in graph.nodes if node.name in names)
    read = dict.fromkeys(name for node in nodes for name in node.inputs if name)
    made = [name for node in nodes for name in node.outputs]
    tensors = [*read, *made]
    alone = Graph(
        name=f"{graph.name}: {nodes[-1].name}",
        inputs=tuple(name for name in read if name not in graph.constants and name not in made),
        outputs=nodes[-1].outputs,
        nodes=nodes,
        constants={name: graph.constants[name] for name in read if name in graph.constants},
        shapes={name: graph.shapes[name] for name in tensors if name in graph.shapes},
    )
    return QuantizedGraph(graph=alone, affines={name: source.affines[name] for name in tensors})


def placed(alone: QuantizedGraph, target: Target) -> Program:
    """A few nodes on another machine, fed with integers. IntsimError where the machine does not take them."""
    lowered = lower(alone, target)
    return some_steps(lowered, lowered.steps)


def _door(name: str, tensor: Tensor) -> Door:
    return Door(tensor=name, shape=_outside_shape(tensor.shape), affine=tensor.affine)


def _outside_shape(shape: Shape) -> Shape:
    return (shape[-1], *shape[:-1])


def read_from(program: Program) -> dict[str, str]:
    """By a Program's inputs, the network's tensors that these are, or are copies of."""
    network = program.source.graph.shapes
    return {name: network_name(name, network) or name for name in program.inputs}
