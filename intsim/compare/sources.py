"""Where the integers come from that a Program is compared with: a runtime, another machine, a file, a function."""

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from intsim import targets
from intsim.compare.integers import Integers
from intsim.errors import IntsimError, unknown
from intsim.files import DAMAGE
from intsim.lower import lower
from intsim.program import Program, Result, inside_shape, outside
from intsim.quantized import QuantizedGraph
from intsim.reference import RUNTIMES, Reference, runtime
from intsim.target import Target

TRACE = "trace:"
"""What `intsim run` puts before the names of traced tensors in its file."""

Images = np.ndarray | Mapping[str, np.ndarray]
Run = Callable[..., Result]


Tensors = Callable[[Images, Mapping[str, Integers], int], Mapping[str, Integers]]
"""From a batch of images, the integers in which they enter the network, and the first image's index, to the tensors."""


class Source(Struct, frozen=True, kw_only=True):
    """Tensors to compare with, and what they are the tensors of.

    `computed`: for some tensors, the operator that computes them there. `program`: what is run, where it is ours.
    """

    reference: Reference
    tensors: Tensors
    computed: Mapping[str, str] = {}
    program: Program | None = None


def source(
    reference: Any, program: Program, images: int, run: Run, threads: int, options: Mapping[str, str] | None = None
) -> Source:
    """The `Source` that `reference` names, for `images` images; `options`: what a runtime takes beside the network.

    "onnxruntime", a target's name, DUMP.npz, "module:function", a reference of an installed package; a Program of the
    same quantized network, a Target, a Path or a function itself. Raises IntsimError for anything else.
    """
    if isinstance(reference, str):
        if reference in RUNTIMES:
            return _runtime(reference, program, threads, options or {})
        reference = _named(reference)
    if isinstance(reference, Path):
        return _dump(reference, program, images, _layout(options or {}, reference))
    if options:
        raise IntsimError(
            "is no runtime and takes no options", where=str(reference), mend=f"leave out {_listed(options)}"
        )
    if isinstance(reference, Target):
        reference = lower(program.source, reference)
    if isinstance(reference, Program):
        return _program(reference, program, run)
    if callable(reference):
        return _function(reference, program)
    raise IntsimError(f"{type(reference).__name__} is no reference", mend="give a name, a Program or a function")


def _named(name: str) -> Any:
    """What a name of the command line stands for."""
    if name.endswith(".npz"):
        return Path(name)
    plugins = {point.name: point for point in entry_points(group="intsim.references")}
    if name in plugins:
        return plugins[name].load()
    if ":" in name and not name.endswith(".toml"):
        module, _, attribute = name.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as reason:
            raise IntsimError(f"cannot be imported ({reason})", where=name, mend="write module:function") from None
    try:
        return targets.target(name)
    except IntsimError as error:
        if name.endswith(".toml"):
            raise
        raise unknown("reference", name, [*RUNTIMES, *plugins, *targets.TARGETS]) from error


# ---- the kinds -----------------------------------------------------------------------------------------------


def _runtime(name: str, program: Program, threads: int, options: Mapping[str, str]) -> Source:
    asked, affines = runtime(name, options), program.source.affines
    run = asked.network(program.source, threads)

    def tensors(images: Images, entered: Mapping[str, Integers], first: int) -> Mapping[str, Integers]:
        found = run({n: e.with_zero(affines[n].zero, affines[n].type.dtype) for n, e in entered.items()})
        return {n: Integers(q, affines[n].zero) for n, q in found.items() if n in affines}

    return Source(reference=asked.describe(), tensors=tensors, computed=asked.computed(program.source))


def _listed(options: Iterable[str]) -> str:
    return ", ".join(f"--{option}" for option in options)


def _program(other: Program, program: Program, run: Run) -> Source:
    import intsim

    theirs = other.source
    if not _same(program.source, theirs):
        raise IntsimError(
            "comes from another quantized network", where=other.name, mend="lower the same one for both machines"
        )

    def tensors(images: Images, entered: Mapping[str, Integers], first: int) -> Mapping[str, Integers]:
        traced = run(other, images, trace=("*",)).traced
        return {
            name: Integers(q, other.tensors[name].affine.zero)
            for name, q in traced.items()
            if name in theirs.graph.shapes
        }

    said = Reference(name=" + ".join(other.targets), version=intsim.__version__)
    return Source(reference=said, tensors=tensors, program=other)


def _same(a: QuantizedGraph, b: QuantizedGraph) -> bool:
    """Whether two machines were given the same quantized network."""
    return a is b or (
        a.graph.nodes == b.graph.nodes
        and a.affines == b.affines
        and a.graph.constants.keys() == b.graph.constants.keys()
        and all(np.array_equal(array, b.graph.constants[name]) for name, array in a.graph.constants.items())
    )


def _is_tensor(name: str, names: Sequence[str]) -> bool:
    """Of a file that `intsim run --trace` wrote, only the traced tensors are dumps."""
    traces = any(other.startswith(TRACE) for other in names)
    return name.startswith(TRACE) and not name.endswith(":accumulator") if traces else True


LAYOUTS = ("auto", "nchw", "nhwc")
"""How the images of a dump lie; "auto": as their shapes say."""


def _layout(options: Mapping[str, str], path: Path) -> str:
    if strange := [name for name in options if name != "layout"]:
        raise IntsimError(f"takes no {_listed(strange)}", where=str(path), mend="it takes --layout")
    if (layout := options.get("layout", "auto")) not in LAYOUTS:
        raise unknown("layout", layout, LAYOUTS)
    return layout


def _dump(path: Path, program: Program, images: int, layout: str) -> Source:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name.removeprefix(TRACE): file[name] for name in file.files if _is_tensor(name, file.files)}
    except FileNotFoundError:
        raise IntsimError("does not exist", where=str(path)) from None
    except (OSError, AttributeError, TypeError, *DAMAGE):
        raise IntsimError("is no .npz of integers, or a damaged one", where=str(path)) from None
    read = _checked(arrays, program, images, str(path), layout)

    def tensors(batch: Images, entered: Mapping[str, Integers], first: int) -> Mapping[str, Integers]:
        count = len(next(iter(entered.values())).q)
        return {name: _stated(q[first : first + count], name, program, str(path)) for name, q in read.items()}

    return Source(reference=Reference(name=path.name), tensors=tensors)


def _function(function: Callable[..., Any], program: Program) -> Source:
    called = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', type(function).__name__)}"

    def tensors(images: Images, entered: Mapping[str, Integers], first: int) -> Mapping[str, Integers]:
        found = function(images)
        if not isinstance(found, Mapping):
            raise IntsimError(f"gave {type(found).__name__}", where=called, mend="give {tensor name: integers}")
        count = len(next(iter(entered.values())).q)
        read = _checked(found, program, count, called)
        return {name: _stated(q, name, program, called) for name, q in read.items()}

    return Source(reference=Reference(name=called), tensors=tensors)


# ---- integers that somebody else gives ------------------------------------------------------------------------


def _checked(
    arrays: Mapping[str, Any], program: Program, images: int, where: str, layout: str = "auto"
) -> dict[str, np.ndarray]:
    """The arrays by tensor name, channels first, integers of the shapes that the network has, one for every image.

    `layout` "auto": an array is channels last if its shape says so; where a shape says nothing, the others' counts.
    """
    tensor_of = {step.name: step.outputs[0] for step in program.steps}
    shapes = program.source.graph.shapes
    known = [name for name in program.tensors if name in shapes]
    read: dict[str, np.ndarray] = {}
    fits: dict[str, list[str]] = {}
    for key, value in arrays.items():
        name = key if key in known else tensor_of.get(key, key)
        if name not in known:
            raise _unknown(key, [*known, *tensor_of], where)
        array, here = np.asarray(value), f"{where}, {key}"
        if array.dtype.kind not in "iu":
            raise IntsimError(f"holds {array.dtype}", where=here, mend="give the integers that the device computed")
        wanted = {"nchw": (images, *shapes[name]), "nhwc": (images, *inside_shape(shapes[name]))}
        if array.shape not in [shape for key, shape in wanted.items() if layout in ("auto", key)]:
            mend = f"{images} images need {' or '.join(map(str, dict.fromkeys(wanted.values())))}"
            raise IntsimError(f"has shape {array.shape}", where=here, mend=mend)
        fits[name] = [key for key, shape in wanted.items() if shape == array.shape]
        read[name] = array
    if not read:
        raise IntsimError("holds no tensor", where=where, mend=f"name them as the network does: {known[-1]} ...")
    said = {found[0] for found in fits.values() if len(found) == 1} if layout == "auto" else {layout}
    last = {name for name, found in fits.items() if (found == ["nhwc"] or (len(found) == 2 and said == {"nhwc"}))}
    return {name: outside(array) if name in last else array for name, array in read.items()}


def _unknown(name: str, known: Iterable[str], where: str) -> IntsimError:
    error = unknown("tensor", name, known)
    return IntsimError(error.what, where=where, mend=error.mend)


def _stated(q: np.ndarray, name: str, program: Program, where: str) -> Integers:
    """The array's type says whether its integers have the machine's sign or the quantized network's own."""
    own, network = program.tensors[name].affine, program.source.affines[name]
    chosen = network if q.dtype == network.type.dtype != own.type.dtype else own
    low, high = int(q.min()), int(q.max())
    if not chosen.type.low <= low <= high <= chosen.type.high:
        raise IntsimError(f"holds {low} to {high}, outside {chosen.type}", where=f"{where}, {name}")
    return Integers(q, chosen.zero)
