"""Which steps have routines, and what they are called with."""

from intsim.engine import depthwise, elements, gathering, pooling, tabled
from intsim.engine.accumulator import Free, Ordered, Sums
from intsim.engine.calls import COUNTS, Call, Native, Other
from intsim.engine.narrow import narrow_sums
from intsim.engine.planning import Planned
from intsim.engine.rests import native_rest
from intsim.engine.rooms import Room
from intsim.engine.settling import settle_calls, settled, settles
from intsim.engine.shifting import block_of_products
from intsim.engine.wide import Block, Form, block_of_sums, forms
from intsim.program import (
    Add,
    AveragePool,
    Clip,
    Convert,
    Dot,
    Extreme,
    Interpolate,
    Lookup,
    MaxPool,
    Multiply,
    Offset,
    Pad,
    Program,
    Rearrange,
    Take,
    Window,
)
from intsim.ranges import Interval


def native(
    program: Program, planned: Planned, rooms: dict[str, Room], known: dict[str, Interval], counts: int = COUNTS
) -> tuple[Native, ...] | None:
    """The step as routines on these rooms, or None where it has to run by arrays.

    `counts`: where in the arena the step may count, see `calls.Other`.
    """
    step = planned.step
    inputs, out = [rooms[name] for name in step.inputs], rooms[step.outputs[0]]
    xs, y = [program.tensors[name] for name in step.inputs], program.tensors[step.outputs[0]]
    match step.compute:
        case Dot() if planned.sums is not None and depthwise.one_channel(
            step.compute, planned.sums, padded(step.compute, known[step.inputs[0]])
        ):
            return _depthwise(step.compute, planned.sums, inputs[0], out)
        case Dot():
            lanes = rooms.get(lanes_of(step.name))
            return _dot(step.compute, planned.sums, inputs[0], lanes, out, known[step.inputs[0]], counts)
        case MaxPool():
            return pooling.max_pool(step.compute, xs[0].shape, inputs[0], out)
        case AveragePool() if covered(inputs[0], step.compute.window, step.compute.input_zero_point):
            return pooling.average_pool(step.compute, xs[0].shape, known[step.inputs[0]], inputs[0], out)
        case Add() | Multiply() | Convert() if step.compute.rest is not None:
            return native_rest(step.compute, [known[name] for name in step.inputs], xs, y, inputs, out)
        case Add() | Multiply() | Extreme() if step.compute.constant is not None:
            return tabled.by_channel(step.compute, planned.run, xs[0], y, inputs[0], out)
        case Add():
            return elements.add(step.compute, xs, y, inputs, out)
        case Multiply():
            return tabled.multiply(step.compute, [known[name] for name in step.inputs], xs, y, inputs, out)
        case Lookup():
            return tabled.lookup(step.compute, xs[0], inputs[0], out)
        case Clip():
            return elements.clip(step.compute, xs[0], inputs[0], out)
        case Convert():
            return elements.convert(step.compute, xs, y, inputs, out)
        case Offset():
            return elements.offset(step.compute, xs[0], inputs[0], out)
        case Rearrange():
            return gathering.rearrange(step.compute, xs[0], inputs[0], out)
        case Pad():
            return gathering.pad(step.compute, xs[0], y, inputs[0], out)
        case Interpolate():
            return gathering.interpolate(step.compute, xs[0], known[step.inputs[0]], inputs[0], out)
        case Take():
            return gathering.take(step.compute, xs[0], inputs[0], out)
    return None


def lanes_of(step: str) -> str:
    """The name of the room for a copy of the step's input."""
    return f"{step}:lanes"


def covered(at: Room, window: Window, fill: int) -> bool:
    """Whether the room's border is what the window needs."""
    axes = len(window.kernel)
    if axes > 2:
        return False
    top_left, bottom_right = ((0,) * (2 - axes) + pad for pad in (window.begin, window.end))
    needs = (*top_left, *bottom_right)
    return not any(needs) or (at.fill == fill + at.shift and all(n <= b for n, b in zip(needs, at.border, strict=True)))


def _depthwise(dot: Dot, sums: Sums, at: Room, out: Room) -> tuple[Native, ...] | None:
    """A sum of products with one input channel an output."""
    if sums.free is None or at.dtype not in depthwise.TYPES or not covered(at, dot.window, dot.input_zero_point):
        return None
    found = depthwise.block_of_dot(dot, sums.free, at, out.item)
    calls = None if found is None else _settled(dot, sums, found, out)
    if found is None or calls is None:
        return None
    return (Native(calls=calls, rows=found.rows, block=found.block, kernel="depthwise"),)


def _dot(
    dot: Dot, sums: Sums | None, at: Room, lanes: Room | None, out: Room, x: Interval, counts: int
) -> tuple[Native, ...] | None:
    """A dense sum of products, from its input's room or, where that is not what the tiles want, from a copy's."""
    from intsim_kernels.moves import copying

    source = at if lanes is None else lanes
    if sums is None or not covered(source, dot.window, dot.input_zero_point):
        return None
    form = dense_form(dot, sums, x, source)
    if form is not None:
        native = _wide(dot, sums, form, source, out)
    elif sums.shifting is not None:
        native = _shifting(dot, sums, sums.shifting, source, out)
    else:
        native = None if sums.ordered is None else _narrow(dot, sums, sums.ordered, source, out, x, counts)
    if lanes is None or native is None:
        return None if native is None else (native,)
    copy = Call(routine=copying(at.dtype, lanes.dtype), words=copied(at, lanes))
    return Native(calls=(copy,), rows=at.height), native


def _wide(dot: Dot, sums: Sums, form: Form, at: Room, out: Room) -> Native | None:
    """A sum of products in any order."""
    found = block_of_sums(dot, form, at, out.item)
    calls = None if found is None else _settled(dot, sums, found, out)
    if found is None or calls is None:
        return None
    kernel = f"tiles of {form.kind}" + (" in 64 bits" if found.dtype == "int64" else "")
    return Native(calls=calls, rows=found.rows, block=found.block, kernel=kernel)


def _shifting(dot: Dot, sums: Sums, free: Free, at: Room, out: Room) -> Native | None:
    """A sum of products that are shifted one by one."""
    found = block_of_products(dot, free, at, out.item)
    calls = None if found is None else _settled(dot, sums, found, out)
    if found is None or calls is None:
        return None
    return Native(calls=calls, rows=found.rows, block=found.block, kernel="shifted products")


def _narrow(dot: Dot, sums: Sums, order: Ordered, at: Room, out: Room, x: Interval, counts: int) -> Native | None:
    """A sum of products in the machine's own order."""
    found = narrow_sums(dot, order, padded(dot, x), at, out.item, counts)
    calls = None if found is None else _settled(dot, sums, found.block, out)
    if found is None or calls is None:
        return None
    other = None
    if found.other is not None:
        more = _settled(dot, sums, found.other, out)
        assert more is not None
        other = Other(calls=more, block=found.other.block, counts=counts, share=found.share)
    block = found.block
    return Native(calls=calls, rows=block.rows, block=block.block, kernel=found.kernel, other=other)


def _settled(dot: Dot, sums: Sums, found: Block, out: Room) -> tuple[Call, ...] | None:
    """The calls of a block and those that requantize its sums, or None where no routine does that."""
    requantizer = settled(dot.rescale, len(dot.weight), found.columns, sums.value)
    if not settles(requantizer, found.columns, out.shift):
        return None
    return *found.calls, *settle_calls(requantizer, found.dtype, found.columns, found.source, found.used, out)


def dense_form(dot: Dot, sums: Sums, x: Interval, at: Room) -> Form | None:
    """The fastest form whose inputs lie in the room as they do."""
    found = forms(dot, sums, padded(dot, x))
    return next((form for form in found if (form.dtype, form.shift) == (at.dtype, at.shift)), None)


def padded(dot: Dot, x: Interval) -> Interval:
    """The inputs with their padding."""
    if any(dot.window.begin + dot.window.end):
        return min(x[0], dot.input_zero_point), max(x[1], dot.input_zero_point)
    return x


def copied(at: Room, goal: Room) -> tuple[int, ...]:
    """The parameters of `moves.copy`: all integers of a room, row by row, to another room."""
    return (
        at.offset + at.origin,
        at.size,
        at.pitch,
        goal.offset + goal.origin,
        goal.size,
        goal.pitch,
        at.height,
        at.width * at.channels,
        goal.shift - at.shift,
    )
