"""The sums that a layer really passes through: the least and the largest, in the machine's own order."""

from collections.abc import Callable
from itertools import product as every

import numpy as np
from msgspec import Struct

from intsim.arithmetic import cast
from intsim.ops.site import positions
from intsim.program import Dot
from intsim.target import Cast, Level

_CELLS = 1 << 18
"""Accumulators that are followed at once."""

Pair = tuple[int, int]


class Running(Struct, frozen=True, kw_only=True):
    """(least, largest) of every value that a register meets if no register is too narrow, 0 where it starts from it.

    `levels`: for each level of the machine's tree, inner to outer. `single`: for one register that adds every product
    in the machine's order. Both have the bias and what folded zero points owe where the machine adds them; the last
    level has the final sum too.
    """

    levels: tuple[Pair, ...]
    single: Pair

    def joined(self, other: "Running") -> "Running":
        """Of both together."""
        pairs = zip(self.levels, other.levels, strict=True)
        return Running(levels=tuple(_hull(a, b) for a, b in pairs), single=_hull(self.single, other.single))


def running(dot: Dot, x: np.ndarray) -> Running:
    """What the sums of `x[n, *spatial, c]` pass through."""
    found = None
    for image in range(len(x)):
        columns = _columns(dot, x[image : image + 1])
        step = max(1, _CELLS // len(dot.weight))
        for first in range(0, len(columns), step):
            part = _followed(dot, columns[first : first + step])
            found = part if found is None else found.joined(part)
    assert found is not None
    return found


def _hull(a: Pair, b: Pair) -> Pair:
    return min(a[0], b[0]), max(a[1], b[1])


# ---- operands --------------------------------------------------------------------------------------------------


def _columns(dot: Dot, x: np.ndarray) -> np.ndarray:
    """The inputs of every place, `[n * places, group, k]` in the machine's order, raw; padding is the zero point."""
    win = dot.window
    pad = [(0, 0), *zip(win.begin, win.end, strict=True), (0, 0)]
    padded = np.pad(x, pad, constant_values=dot.input_zero_point)
    count = positions(x.shape[1:], win)
    taps = []
    for tap in every(*map(range, win.kernel)):
        starts = [t * d for t, d in zip(tap, win.dilations, strict=True)]
        cut = tuple(slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(starts, count, win.strides, strict=True))
        taps.append(padded[(slice(None), *cut)].reshape(-1, dot.group, x.shape[-1] // dot.group))
    stacked = np.stack(taps, 2)
    ordered = stacked.swapaxes(2, 3) if dot.mac.order == "chw" else stacked
    return ordered.reshape(len(stacked), dot.group, -1)


def weights(dot: Dot) -> np.ndarray:
    """The weights `[o, k]` in the machine's order, raw, int64."""
    w = dot.weight.astype(np.int64).reshape(len(dot.weight), -1, dot.weight.shape[-1])
    return (w.swapaxes(1, 2) if dot.mac.order == "chw" else w).reshape(len(w), -1)


def _owed(dot: Dot, columns: np.ndarray) -> np.ndarray:
    """What is added to the products' sum, `[places, o]`: the bias, and what folded zero points owe."""
    w, zw = weights(dot), dot.weight_zero_point
    owed = np.broadcast_to(dot.bias, (len(columns), len(w)))
    if dot.mac.zero_point == "in_operand":
        return owed
    zx, k = dot.input_zero_point, w.shape[1]
    sums = np.repeat(columns.sum(2, dtype=np.int64), len(w) // dot.group, axis=1)
    zeros = np.broadcast_to(zw, (len(w),))
    return owed - zx * w.sum(1) - zeros * sums + k * zx * zeros


def _products(dot: Dot) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """From raw inputs `[places, group]` and raw weights `[o]` to the products `[places, o]` in their register."""
    each, zx, zw = len(dot.weight) // dot.group, dot.input_zero_point, dot.weight_zero_point
    centred, table, register = dot.mac.zero_point == "in_operand", dot.mac.multiplier, dot.mac.product

    def products(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        x = np.repeat(x.astype(np.int64), each, axis=1)
        if centred:
            x, w = x - zx, w - zw
        exact = x * w if table is None else table.entries[x & 255, np.broadcast_to(w, x.shape) & 255].astype(np.int64)
        return exact if register is None else _cast(exact, register)

    return products


def _cast(values: np.ndarray, to: Cast) -> np.ndarray:
    distinct, where = np.unique(values, return_inverse=True)
    return np.array([cast(int(v), to) for v in distinct], np.int64)[where.reshape(values.shape)]


# ---- the tree --------------------------------------------------------------------------------------------------


class _Register(Struct, kw_only=True):
    """One level while products arrive: its sum, what it met, and how many items it has added."""

    level: Level
    total: np.ndarray
    low: int
    high: int
    items: int = 0
    done: bool = False


def _followed(dot: Dot, columns: np.ndarray) -> Running:
    owed = _owed(dot, columns)
    start = owed if dot.bias_rule.when == "init" else np.zeros_like(owed)
    tree = [_register(level, start if level.size is None else np.zeros_like(owed)) for level in dot.mac.levels]
    single = _register(Level(), start)
    products, w = _products(dot), weights(dot)
    for k in range(w.shape[1]):
        terms = products(columns[:, :, k], w[:, k])
        _add(single, terms)
        _push(tree, 0, terms)
    for index in range(len(tree) - 1):
        if tree[index].items:
            _emptied(tree, index)
    if dot.bias_rule.when == "end":
        for last in (single, tree[-1]):
            last.total = last.total if dot.mac.write_back is None else _cast(last.total, dot.mac.write_back)
            _add(last, owed)
    return Running(levels=tuple((r.low, r.high) for r in tree), single=(single.low, single.high))


def _register(level: Level, start: np.ndarray) -> _Register:
    return _Register(level=level, total=start.copy(), low=min(0, int(start.min())), high=max(0, int(start.max())))


def _add(register: _Register, terms: np.ndarray) -> None:
    register.total += terms
    register.items += 1
    register.low = min(register.low, int(register.total.min()))
    register.high = max(register.high, int(register.total.max()))


def _push(tree: list[_Register], index: int, terms: np.ndarray) -> None:
    """The terms into a level; a full group goes on to the next."""
    register = tree[index]
    if register.done:
        _push(tree, index + 1, terms)
        return
    _add(register, terms)
    if register.items == register.level.size:
        _emptied(tree, index)


def _emptied(tree: list[_Register], index: int) -> None:
    register = tree[index]
    terms, register.total, register.items = register.total, np.zeros_like(register.total), 0
    register.done = register.level.first_only
    _push(tree, index + 1, terms)


def bits(pair: Pair) -> int:
    """The smallest two's complement width that holds both."""
    low, high = pair
    return 1 + max((~low if low < 0 else low).bit_length(), (~high if high < 0 else high).bit_length())
