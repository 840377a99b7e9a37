"""Recurrent layers unrolled: each step of a GRU or LSTM in terms of matrix products, sigmoids, tanhs and products."""

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.graph import Attribute, Graph, Node, Shape
from intsim.normalise.rewriting import Change, Site, fresh, in_place

MOST_STEPS = 256
"""Steps of a recurrent layer that are unrolled: each is a dozen steps of the Program, and as many tables."""

_GATES = {"GRU": 3, "LSTM": 4}
_FUNCTIONS = {"GRU": "Sigmoid,Tanh", "LSTM": "Sigmoid,Tanh,Tanh"}
_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


class _Layer(Struct, frozen=True, kw_only=True, eq=False):
    """What a layer is made of while it is unrolled."""

    site: Site
    node: Node
    nodes: list[Node]
    shapes: dict[str, Shape]
    constants: dict[str, np.ndarray]

    def then(self, op: str, *inputs: str, shape: Shape, **attributes: Attribute) -> str:
        """The output of a new node."""
        index = len(self.nodes)
        out = fresh(self.site, f"{self.node.name}_{op.lower()}_{index}_y")
        name = fresh(self.site, f"{self.node.name}_{op.lower()}_{index}")
        self.nodes.append(Node(name=name, op=op, inputs=inputs, outputs=(out,), attributes=attributes))
        self.shapes[out] = shape
        return out

    def constant(self, what: str, values: np.ndarray) -> str:
        """The name of a new constant."""
        name = fresh(self.site, f"{self.node.name}_{what}")
        while name in self.constants:
            name += "_"
        self.constants[name] = values
        return name

    def part(self, x: str, begin: int, end: int) -> str:
        """Some features of a vector."""
        cut: dict[str, Attribute] = {"axes": (1,), "starts": (begin,), "ends": (end,), "steps": (1,)}
        return self.then("Slice", x, shape=(end - begin,), **cut)


def recurrent(site: Site, node: Node) -> Change | None:
    """GRU(x)[t] = n + z (h - n), LSTM(x)[t] = o tanh(c) with c = f c' + i g, one after the other for every step of x.

    The products with x are one matrix product over all steps; those with the state h, one for every step.
    """
    if node.op not in _GATES or node.attributes.get("layout") != 1 or recurrent_problem(site.graph, node):
        return None
    constants, (steps, _) = site.graph.constants, site.graph.shapes[node.inputs[0]]
    w, r = (constants[name].astype(np.float64) for name in node.inputs[1:3])
    count, hidden = len(w), r.shape[2]
    b = np.zeros((count, 2 * w.shape[1]))
    if len(node.inputs) > 3 and node.inputs[3]:
        b = constants[node.inputs[3]].astype(np.float64)
    layer = _Layer(site=site, node=node, nodes=[], shapes={}, constants={})
    starts = [constants[name][0].astype(np.float64) if name else np.zeros((count, hidden)) for name in _starts(node)]
    reverse = node.attributes.get("direction") == "reverse"
    ways = []
    for way in range(count):
        order = [*range(steps)][:: -1 if reverse or way else 1]
        h, c = _unrolled(layer, order, (w[way], r[way], b[way]), [start[way] for start in starts])
        ways.append((h if order[0] == 0 else h[::-1], h[-1], c))
    made = _outputs(layer, ways, steps, hidden)
    return in_place(node, *made, constants=layer.constants, shapes=layer.shapes)


def recurrent_problem(graph: Graph, node: Node) -> str | None:
    """Why the node cannot be unrolled; None where it can."""
    constants, a, inputs = graph.constants, node.attributes, (*node.inputs, *[""] * 8)[:8]
    if a.get("layout", 0) != 1:
        return "its batch is not the axis behind its steps"
    x, direction = graph.shapes[inputs[0]], str(a.get("direction", "forward"))
    functions = ",".join([_FUNCTIONS[node.op]] * _DIRECTIONS.get(direction, 1))
    if direction not in _DIRECTIONS or str(a.get("activations", functions)) not in (functions, ""):
        return f"its functions are {a.get('activations')}, and {functions} can be lowered"
    if "clip" in a or a.get("input_forget", 0) or inputs[4] or any(inputs[7:]):
        return "clips, couples gates, has peepholes, or sequences of several lengths"
    if any(name and name not in constants for name in inputs[1:7]) or any(inputs[i] == "" for i in (1, 2)):
        return "its weights or its first state are computed"
    if len(x) != 2 or x[0] > MOST_STEPS:
        return f"has {x[0]} steps, and {MOST_STEPS} can be unrolled"
    count, rows = _DIRECTIONS[direction], constants[inputs[1]].shape[1:2]
    hidden = rows[0] // _GATES[node.op] if rows else 0
    wanted = {
        1: (count, _GATES[node.op] * hidden, x[1]),
        2: (count, _GATES[node.op] * hidden, hidden),
        3: (count, 2 * _GATES[node.op] * hidden),
        5: (1, count, hidden),
        6: (1, count, hidden),
    }
    fit = all(not inputs[index] or constants[inputs[index]].shape == shape for index, shape in wanted.items())
    return None if fit and hidden else "its weights do not fit its input"


def _starts(node: Node) -> list[str]:
    """The first h and c; "" where they are 0."""
    return [node.inputs[index] if len(node.inputs) > index else "" for index in (5, 6)]


def _unrolled(
    layer: _Layer, order: list[int], weights: tuple[np.ndarray, np.ndarray, np.ndarray], starts: list[np.ndarray]
) -> tuple[list[str], str]:
    """h after every step, in that order of the steps, and the last c."""
    (w, r, b), op = weights, layer.node.op
    rows, hidden = w.shape[0], r.shape[1]
    own, other = b[:rows].copy(), b[rows:].copy()
    if op == "LSTM":
        own, other = own + other, np.zeros(0)
    else:  # what stands inside of the reset gate stays with the state
        inside = 2 * hidden if layer.node.attributes.get("linear_before_reset", 0) else rows
        own[:inside], other = own[:inside] + other[:inside], other[inside:]
    x, steps = layer.node.inputs[0], len(order)
    columns, added = layer.constant("input", w.T.copy()), layer.constant("bias", own)
    products = layer.then("MatMul", x, columns, shape=(steps, rows))
    every = layer.then("Add", products, added, shape=(steps, rows))
    states = list[str]()
    h = c = ""
    step = _Step(layer=layer, r=r, other=other, starts=starts, hidden=hidden)
    for t in order:
        cut: dict[str, Attribute] = {"axes": (1,), "starts": (t,), "ends": (t + 1,), "steps": (1,)}
        row = layer.then("Slice", every, shape=(1, rows), **cut)
        row = layer.then("Flatten", row, shape=(rows,))
        h, c = _gru(step, row, h) if op == "GRU" else _lstm(step, row, h, c)
        states.append(h)
    return states, c


class _Step(Struct, frozen=True, kw_only=True, eq=False):
    """The weights of the states `[rows, hidden]`, the biases that stay with them, and the first states."""

    layer: _Layer
    r: np.ndarray
    other: np.ndarray
    starts: list[np.ndarray]
    hidden: int

    def times(self, h: str, begin: int, end: int, *, what: str, bias: np.ndarray | None = None) -> str:
        """Some rows of the weights times the state; every step has the same constants."""
        known = f"{self.layer.node.name}_{what}"
        found = [name for name in self.layer.constants if name.startswith(known) and name.endswith("state")]
        matched = [n for n in found if np.array_equal(self.layer.constants[n], self.r[begin:end])]
        weight = matched[0] if matched else self.layer.constant(f"{what}_{len(found)}_state", self.r[begin:end].copy())
        added = [] if bias is None or not bias.any() else [self.layer.constant(f"{what}_bias", bias)]
        return self.layer.then("Gemm", h, weight, *added, shape=(end - begin,))

    def plus(self, a: str, values: np.ndarray) -> str:
        """A vector and constants, if there are any."""
        if not values.any():
            return a
        return self.layer.then("Add", a, self.layer.constant("added", values), shape=(len(values),))


def _lstm(step: _Step, row: str, h: str, c: str) -> tuple[str, str]:
    """o tanh(c), and c = f c' + i g; the gates in the order i, o, f, g."""
    layer, n = step.layer, step.hidden
    if h:
        row = layer.then("Add", row, step.times(h, 0, 4 * n, what="lstm"), shape=(4 * n,))
    else:
        row = step.plus(row, step.r @ step.starts[0])
    gates = layer.then("Sigmoid", layer.part(row, 0, 3 * n), shape=(3 * n,))
    i, o, f = (layer.part(gates, k * n, (k + 1) * n) for k in range(3))
    new = layer.then("Mul", i, layer.then("Tanh", layer.part(row, 3 * n, 4 * n), shape=(n,)), shape=(n,))
    if c or step.starts[1].any():
        before = c or layer.constant("cell", step.starts[1])
        new = layer.then("Add", layer.then("Mul", f, before, shape=(n,)), new, shape=(n,))
    return layer.then("Mul", o, layer.then("Tanh", new, shape=(n,)), shape=(n,)), new


def _gru(step: _Step, row: str, h: str) -> tuple[str, str]:
    """n + z (h - n); the gates in the order z, r, n."""
    layer, n, first = step.layer, step.hidden, step.starts[0]
    linear = bool(layer.node.attributes.get("linear_before_reset", 0))
    gates, inner = layer.part(row, 0, 2 * n), layer.part(row, 2 * n, 3 * n)
    kept = ""
    if h and linear:
        bias = np.concatenate([np.zeros(2 * n), step.other])
        products = step.times(h, 0, 3 * n, what="gru", bias=bias)
        gates = layer.then("Add", gates, layer.part(products, 0, 2 * n), shape=(2 * n,))
        kept = layer.part(products, 2 * n, 3 * n)
    elif h:
        gates = layer.then("Add", gates, step.times(h, 0, 2 * n, what="gru"), shape=(2 * n,))
    else:
        gates = step.plus(gates, step.r[: 2 * n] @ first)
    gates = layer.then("Sigmoid", gates, shape=(2 * n,))
    z, r = layer.part(gates, 0, n), layer.part(gates, n, 2 * n)
    if not h and linear:
        kept_values = step.r[2 * n :] @ first + step.other
        kept = layer.constant("kept", kept_values) if kept_values.any() else ""
    if linear:
        reset = layer.then("Mul", r, kept, shape=(n,)) if kept else ""
    elif h or first.any():
        state = layer.then("Mul", r, h or layer.constant("state", first), shape=(n,))
        reset = step.times(state, 2 * n, 3 * n, what="gru")
    else:
        reset = ""
    new = layer.then("Tanh", layer.then("Add", inner, reset, shape=(n,)) if reset else inner, shape=(n,))
    if not h and not first.any():
        return layer.then("Sub", new, layer.then("Mul", z, new, shape=(n,)), shape=(n,)), ""
    before = h or layer.constant("first", first)
    more = layer.then("Mul", z, layer.then("Sub", before, new, shape=(n,)), shape=(n,))
    return layer.then("Add", new, more, shape=(n,)), ""


def _outputs(layer: _Layer, ways: list[tuple[list[str], str, str]], steps: int, hidden: int) -> list[Node]:
    """The layer's nodes, the last of which make its outputs: all h [steps, ways, hidden], the last h, the last c."""
    node, site = layer.node, layer.site
    wanted = [name for name in node.outputs if name in site.readers or name in site.graph.outputs]

    def joined(parts: list[str], axis: int, shape: Shape) -> str:
        return parts[0] if len(parts) == 1 else layer.then("Concat", *parts, axis=axis, shape=shape)

    for index, name in enumerate(node.outputs):
        if name not in wanted:
            continue
        count = len(ways)
        if index == 0:
            rows = [
                joined(
                    [layer.then("Reshape", h[t], shape_=(1, 1, hidden), shape=(1, 1, hidden)) for h, _, _ in ways],
                    2,
                    (1, count, hidden),
                )
                for t in range(steps)
            ]
            found = joined(rows, 1, (steps, count, hidden))
        else:
            last = [h if index == 1 else c for _, h, c in ways]
            each = [layer.then("Reshape", one, shape_=(1, hidden), shape=(1, hidden)) for one in last]
            found = joined(each, 1, (count, hidden))
        shape = layer.shapes[found]
        layer.nodes.append(
            Node(name=fresh(site, f"{node.name}_out_{index}"), op="Reshape", inputs=(found,), outputs=(name,),
                 attributes={"shape": shape})
        )  # fmt: skip
    return [replace(each, attributes=_named(each.attributes)) for each in layer.nodes]


def _named(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
    return {name.removesuffix("_"): value for name, value in attributes.items()}
