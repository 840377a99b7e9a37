"""What firmware and RTL are held to: every layer's inputs, numbers, accumulators and outputs, as files."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.doors import admitted
from intsim.errors import IntsimError, unknown
from intsim.files import write_atomically
from intsim.program import Dot, Program, Step, inside
from intsim.targets import toml
from intsim.vectors import checking, formulas
from intsim.vectors.layers import Layer, layer, numbers, traced_names
from intsim.vectors.manifest import MANIFEST, manifest, toml_name
from intsim.vectors.text import header, memh
from intsim.vectors.words import limits, rules

__all__ = ["Plan", "Written", "planned", "vectors"]

Images = np.ndarray | Mapping[str, np.ndarray]
_MOST = 1 << 32  # bytes: what nobody wants by accident


class Plan(Struct, frozen=True, kw_only=True):
    """What is to be written: steps by their place in the Program, so many images, about so many bytes."""

    steps: tuple[int, ...]
    images: int
    bytes: int


class Written(Struct, frozen=True, kw_only=True):
    """What was written: the layers' names, file names with their sizes in bytes, and layers without a formula in C."""

    directory: str
    layers: tuple[str, ...]
    images: int
    files: dict[str, int]
    unwritten: dict[str, str]


def vectors(
    program: Program,
    x: Images,
    directory: str | Path,
    *,
    layers: Sequence[str] = (),
    images: int | None = None,
    run: Callable[..., Any] | None = None,
) -> Written:
    """Writes what every layer of the Program takes and gives on images `x[n, c, ...]` into `directory`.

    `layers`: only these, by the step's or its output's name. `images`: only the first so many. `run` runs the Program:
    `intsim.engine.run`, unless `intsim.oracle.run` is wanted. docs/vectors.md tells what the files hold. Integers are
    written channels last (NHWC). A directory that holds vectors is written anew. Raises IntsimError where x does not
    fit the Program, a layer does not exist, or the directory holds something else.
    """
    plan = planned(program, x, layers=layers, images=images)
    folder = Path(directory)
    _make_room(folder)
    some = {name: array[: plan.images] for name, array in admitted(program, x).items()}
    chosen = _layers(program, some, plan, run or _engine())
    texts: dict[str, bytes] = {}
    unwritten: dict[int, str] = {}
    parts = []
    for one in chosen:
        texts |= _files(program, one)
        try:
            parts.append((one, formulas.function(program, one)))
        except formulas.UnwrittenError as reason:
            unwritten[one.index] = str(reason)
    texts["formulas.h"] = files("intsim.vectors").joinpath("formulas.h").read_bytes()
    texts["layers.c"] = _layers_c(program, parts).encode("ascii")
    texts["check.c"] = checking.program(program.name, list(program.targets), chosen, unwritten).encode("ascii")
    texts["images.npz"] = _npz({"x": next(iter(some.values()))} if len(some) == 1 else some)
    outputs = {one.step.outputs[0]: one.array("output").values for one in chosen}
    texts["tensors.npz"] = _npz({name: q for name, q in outputs.items() if name in program.source.graph.shapes})
    texts |= {toml_name(target.name): toml(target).encode() for target in program.targets.values()}
    texts[MANIFEST] = json.dumps(manifest(program, chosen, plan.images, texts, unwritten), indent=1).encode() + b"\n"
    for name, data in texts.items():
        write_atomically(folder / name, data)
    return Written(
        directory=str(directory),
        layers=tuple(one.step.name for one in chosen),
        images=plan.images,
        files={name: len(data) for name, data in texts.items()},
        unwritten={program.steps[index].name: why for index, why in unwritten.items()},
    )


def planned(program: Program, x: Images, *, layers: Sequence[str] = (), images: int | None = None) -> Plan:
    """What `vectors` would write, and about how much that is. Raises IntsimError as it does."""
    if images is not None and images < 1:
        raise IntsimError(f"{images} images", where="images", mend="1 or more")
    found = len(next(iter(admitted(program, x).values())))
    count = found if images is None else min(images, found)
    if count < 1:
        raise IntsimError("holds no image", where="input")
    steps = tuple(_selected(program, layers))
    size = 60_000 + sum(_size(program, program.steps[index], count) for index in steps)
    if size > _MOST:
        mend = "fewer layers (--layers) or images (--images)"
        raise IntsimError(f"would be {size >> 20:,} MiB of files", where="vectors", mend=mend)
    return Plan(steps=steps, images=count, bytes=size)


def _selected(program: Program, names: Sequence[str]) -> list[int]:
    known = {name: i for i, step in enumerate(program.steps) for name in (step.outputs[0], step.name)}
    for name in names:
        if name not in known:
            raise unknown("layer", name, known)
    return sorted({known[name] for name in names}) if names else list(range(len(program.steps)))


def _size(program: Program, step: Step, images: int) -> int:
    """About how many bytes the files of a layer have: .npz, .memh and C together."""
    tensors = [*step.inputs, *step.outputs]
    words = images * sum(int(np.prod(program.tensors[name].shape)) for name in tensors)
    sums = images * int(np.prod(program.tensors[step.outputs[0]].shape)) if isinstance(step.compute, Dot) else 0
    fixed = sum(array.values.size for array in numbers(program, step))
    return 9 * words + 25 * sums + 12 * fixed + 6500


def _make_room(folder: Path) -> None:
    """An empty folder, or one without the vectors that were in it."""
    try:
        folder.mkdir(exist_ok=True)
        found = {path.name for path in folder.iterdir()}
        if not found:
            return
        old = json.loads((folder / MANIFEST).read_bytes())["files"] if MANIFEST in found else None
        if old is None or any(Path(name).name != name for name in old):
            raise IntsimError("holds other files", where=str(folder), mend="name a new folder, or an empty one")
        for name in {*old, MANIFEST} & found:
            (folder / name).unlink()
    except FileNotFoundError:
        raise IntsimError(f"there is no folder {folder.parent}", where=str(folder), mend="make it") from None
    except (KeyError, TypeError, ValueError):
        what = f"holds a {MANIFEST} that is none of ours"
        raise IntsimError(what, where=str(folder), mend="name a new folder, or an empty one") from None
    except OSError as reason:
        raise IntsimError(f"cannot be written: {reason.strerror}", where=str(folder)) from None


def _engine() -> Callable[..., Any]:
    from intsim.engine import run

    return run


def _layers(program: Program, x: Images, plan: Plan, run: Callable[..., Any]) -> list[Layer]:
    wanted = [name for index in plan.steps for name in traced_names(program.steps[index])]
    traced = run(program, x, trace=tuple(dict.fromkeys(wanted))).traced
    seen = {name: inside(array) for name, array in traced.items()}
    return [layer(program, index, seen) for index in plan.steps]


# ---- files -----------------------------------------------------------------------------------------------------


def _files(program: Program, one: Layer) -> dict[str, bytes]:
    title = f"layer {one.index}: {one.step.name} ({one.step.op}) on {one.step.target}"
    found = {f"{one.stem}.npz": _npz({array.name: array.values for array in one.arrays})}
    found |= {f"{one.stem}.{array.name}.memh": memh(array, title).encode("ascii") for array in one.arrays}
    text = header(one, one.step.target, rules(one.step), limits(program, one.step))
    return {**found, f"{one.stem}.h": text.encode("ascii")}


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **dict(arrays))  # type: ignore[arg-type]
    return buffer.getvalue()


def _layers_c(program: Program, parts: Sequence[tuple[Layer, str]]) -> str:
    bits = max([formulas.wide_bits(program, one) for one, _ in parts], default=0)
    wide = ["#define WIDE __int128 /* some numbers on the way do not fit 64 bits */"] if bits > 62 else []
    lines = [
        "/* The layers in plain C, by the target's formulas: slow, for comparison. Made by intsim. */",
        *wide,
        '#include "formulas.h"',
        *(f'#include "{one.stem}.h"' for one, _ in parts),
        "",
    ]
    for one, text in parts:
        lines += [f"#ifndef LAYER_{one.index}", text, "#endif", ""]
    return "\n".join(lines)
