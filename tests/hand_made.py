"""Files made by hand from records, with what our writer never writes, and what a machine makes of them."""

import numpy as np
from msgspec.structs import replace

from intsim.engine import run
from intsim.lower import lower
from intsim.program import inside, outside
from intsim.quantized import QuantizedGraph
from intsim.targets import TARGETS
from intsim.tflite_io.encode import encode
from intsim.tflite_io.file import File, Operator, Tensor

CONV = {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}


def tensor(
    name: str,
    shape: tuple[int, ...],
    kind: str = "INT8",
    data: np.ndarray | list | None = None,
    scale: tuple[float, ...] = (0.1,),
    zero: tuple[int, ...] = (0,),
    axis: int = 0,
) -> Tensor:
    """A tensor of a file; numbers that say where have no scale."""
    if kind in ("INT32", "INT64", "FLOAT32"):
        scale, zero = (), ()
    types = {"INT8": "i1", "UINT8": "u1", "INT16": "i2", "INT32": "i4", "INT64": "i8", "FLOAT32": "f4"}
    held = None if data is None else np.frombuffer(np.asarray(data, types.get(kind)).tobytes(), np.uint8)
    return Tensor(
        index=0,
        name=name,
        shape=shape,
        kind=kind,
        scale=np.array(scale, np.float32),
        zero_point=np.array(zero, np.int64),
        axis=axis,
        data=held,
    )


def file(
    tensors: list[Tensor],
    operators: list[tuple[str, list[str], list[str], dict]],
    inputs: list[str] | None = None,
    outputs: list[str] | None = None,
) -> bytes:
    """The file; "" is an input that is left out. By default x goes in and y comes out."""
    index = {one.name: i for i, one in enumerate(tensors)} | {"": -1}
    return encode(
        File(
            tensors=tuple(replace(one, index=i) for i, one in enumerate(tensors)),
            operators=tuple(
                Operator(op=op, inputs=tuple(index[n] for n in i), outputs=tuple(index[n] for n in o), options=options)
                for op, i, o, options in operators
            ),
            inputs=tuple(index[n] for n in inputs or ["x"]),
            outputs=tuple(index[n] for n in outputs or ["y"]),
            metadata={},
        )
    )


def numbers(name: str, values: list | tuple) -> Tensor:
    return tensor(name, np.shape(values), "INT32", list(values))


def answers(quantized: QuantizedGraph, *x: np.ndarray, machine: str = "litert_ref") -> list[np.ndarray]:
    """The outputs' integers, of integers `[n, *spatial, c]`; channels last, too."""
    program = lower(quantized, TARGETS[machine])
    doors = {name: replace(door, pixels=None, table=None) for name, door in program.inputs.items()}
    fed = {name: outside(values) for name, values in zip(doors, x, strict=True)}
    found = run(replace(program, inputs=doors), fed).integers
    return [inside(found[name]) for name in program.outputs]


def ramp(*shape: int) -> np.ndarray:
    """Different integers, so that none can be taken for another."""
    size = int(np.prod(shape))
    assert size <= 256
    return (np.arange(size) - 128).astype(np.int8).reshape(shape)
