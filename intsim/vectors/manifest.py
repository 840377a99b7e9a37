"""What the files of a folder of vectors are: `manifest.json`."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from intsim.archive import digest
from intsim.program import Program
from intsim.vectors import checking
from intsim.vectors.layers import Layer
from intsim.vectors.words import rules

FORMAT = 1
MANIFEST = "manifest.json"


def manifest(
    program: Program, chosen: Sequence[Layer], images: int, texts: Mapping[str, bytes], unwritten: Mapping[int, str]
) -> dict[str, Any]:
    """The fields of `manifest.json`: the network, its machines, every layer and every file."""
    import intsim

    return {
        "format": FORMAT,
        "intsim": intsim.__version__,
        "network": program.name,
        "program": digest(program),
        "layout": "NHWC",
        "images": images,
        "targets": {name: toml_name(name) for name in program.targets},
        "compile": checking.COMPILE,
        "layers": [_described(program, one, unwritten.get(one.index)) for one in chosen],
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in texts.items()
        },
    }


def _described(program: Program, one: Layer, unwritten: str | None) -> dict[str, Any]:
    step = one.step
    return {
        "index": one.index,
        "name": step.name,
        "op": step.op,
        "target": step.target,
        "computes": type(step.compute).__name__,
        "inputs": [_tensor(program, name) for name in step.inputs],
        "output": _tensor(program, step.outputs[0]),
        "rules": rules(step),
        "fields": _fields(step.compute),
        "formula_in_c": unwritten is None,
        "why_not": unwritten,
        "header": f"{one.stem}.h",
        "npz": f"{one.stem}.npz",
        "arrays": [
            {
                "name": array.name,
                "what": array.what,
                "memh": f"{one.stem}.{array.name}.memh",
                "shape": list(array.values.shape),
                "axes": list(array.axes),
                "bits": array.bits,
                "signed": array.signed,
                "float": array.values.dtype.kind == "f",
            }
            for array in one.arrays
        ],
    }


def _tensor(program: Program, name: str) -> dict[str, Any]:
    tensor = program.tensors[name]
    affine = tensor.affine
    return {
        "tensor": name,
        "shape": list(tensor.shape),
        "type": str(affine.type),
        "scale": affine.scale[0],
        "zero_point": affine.zero,
    }


def _fields(compute: Any) -> dict[str, Any]:
    """The computation's fields as a target's TOML spells them; arrays stand in files of their own."""
    plain = msgspec.to_builtins(compute, enc_hook=lambda value: {"array": list(value.shape)})
    return _finite(plain)


def _finite(value: Any) -> Any:
    """The same for JSON, which has no infinity."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def toml_name(target: str) -> str:
    """The name of the file that holds a target's rules."""
    return f"target_{re.sub(r'[^A-Za-z0-9_.-]+', '_', target)}.toml"
