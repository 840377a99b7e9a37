"""One step of a Program as a Program of its own, so that it can be fed from anywhere."""

from intsim.graph import Shape
from intsim.program import Door, Program, Step, Tensor


def one_step(program: Program, step: Step) -> Program:
    """The Program that runs this step alone, on integers of its own types; what it gives is to be traced."""
    tensors = {name: program.tensors[name] for name in (*step.inputs, *step.outputs)}
    return Program(
        name=f"{program.name}: {step.name}",
        inputs={name: _door(name, tensors[name]) for name in dict.fromkeys(step.inputs)},
        outputs={},  # a door would turn all these integers into floats
        tensors=tensors,
        steps=(step,),
        targets={step.target: program.targets[step.target]},
        source=program.source,
    )


def _door(name: str, tensor: Tensor) -> Door:
    return Door(tensor=name, shape=_outside_shape(tensor.shape), affine=tensor.affine)


def _outside_shape(shape: Shape) -> Shape:
    return (shape[-1], *shape[:-1])


def network_name(program: Program, tensor: str) -> str:
    """The name that the network has for a tensor, which may be a copy for another machine (TENSOR@MACHINE)."""
    return tensor if tensor in program.source.graph.shapes else tensor.rpartition("@")[0]
