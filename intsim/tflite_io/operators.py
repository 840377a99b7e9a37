"""Operators that go into the file that is being written, with the activations that are fused into them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from intsim.graph import Node
from intsim.integers import Affine
from intsim.quantized import quantized
from intsim.tflite_io import layout
from intsim.tflite_io.file import Operator
from intsim.tflite_io.writing import Site, Writing, activation


def operator(writing: Writing, op: str, inputs: Sequence[int], output: int, **options: Any) -> None:
    """Adds an operator."""
    writing.operators.append(Operator(op=op, inputs=tuple(inputs), outputs=(output,), options=options))


def finish(site: Site, op: str, inputs: Sequence[int], **options: Any) -> None:
    """Adds the operator that computes the node's output, with the clip that follows fused into it where it can be."""
    name, fused = fused_clip(site)
    operator(site.writing, op, inputs, activation(site.writing, name), FusedActivationFunction=fused, **options)


def fused_clip(site: Site) -> tuple[str, int]:
    """The tensor that is the result, and the number of the fused activation.

    A Relu or Clip that alone reads the node's output is fused where its integer bounds are those of an activation.
    """
    writing, (name,) = site.writing, site.node.outputs
    readers = writing.readers.get(name, [])
    if len(readers) != 1 or readers[0].op not in ("Relu", "Clip") or name in writing.graph.outputs:
        return name, 0
    after, affine = readers[0], site.result
    if writing.source.affines[after.outputs[0]] != affine:
        return name, 0
    activation_name = as_activation(bounds(after, affine), affine)
    if activation_name is None:
        return name, 0
    writing.done.add(after.name)
    return after.outputs[0], {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}[activation_name]


def bounds(node: Node, affine: Affine) -> tuple[int, int]:
    """The integers to which a Relu or Clip clips, as its lowering has them."""
    low, high = (
        (0.0, np.inf)
        if node.op == "Relu"
        else (
            float(node.attributes.get("min", -np.inf)),  # type: ignore[arg-type]
            float(node.attributes.get("max", np.inf)),  # type: ignore[arg-type]
        )
    )
    return (
        affine.type.low if low == -np.inf else int(quantized(np.float32(low), affine)),
        affine.type.high if high == np.inf else int(quantized(np.float32(high), affine)),
    )


def as_activation(clipped: tuple[int, int], affine: Affine) -> str | None:
    """TFLite's activation that clips to these integers, if there is one."""
    names = ("RELU", "RELU6", "RELU_N1_TO_1")
    return next((name for name in names if layout.activation_range(name, affine) == clipped), None)
