"""Networks that put the batch behind other axes on the way, rewritten so that it always stands in front.

torch's exporter moves it for sequences ([steps, batch, features]) and merges it with heads ([batch heads, ...]). A
tensor of such a shape is held with the batch taken to the front; every node between is put into these terms.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.graph import Node, Shape

_EACH = """
    Abs Add Cast Ceil Clip Div Dropout Elu Erf Exp Gelu HardSigmoid HardSwish Identity LeakyRelu Log Max Min Mish Mul
    Neg Pow Reciprocal Relu Sigmoid Softplus Sqrt Sub Sum Tanh
""".split()  # noqa: SIM905
_RESHAPES = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
_ALONG = ("Concat", "Gather", "LayerNormalization", "Softmax", "Split")
REPEATS = ("Add", "Concat", "Div", "GRU", "LSTM", "Max", "Min", "Mul", "Sub")
"""What takes a constant with one entry for all samples where the file repeats it for each."""


class Place(Struct, frozen=True, kw_only=True):
    """Where a tensor's batch is: in the file's `axis`, which is before * batch * after long; `dims`: 0 there."""

    dims: Shape
    axis: int
    before: int = 1
    after: int = 1

    @property
    def ordinary(self) -> bool:
        """Whether the batch is the first axis."""
        return (self.axis, self.before, self.after) == (0, 1, 1)

    @property
    def outer(self) -> int:
        """How many numbers of one sample's map stand before the batch."""
        return prod(self.dims[: self.axis]) * self.before

    @property
    def labels(self) -> list[int | str]:
        """The axes behind the batch when that is in front: the file's, or parts of the one that it is in there."""
        found: list[int | str] = []
        for axis in range(len(self.dims)):
            parts = (("before", self.before), ("after", self.after))
            found += [name for name, size in parts if size > 1] if axis == self.axis else [axis]
        return found

    @property
    def shape(self) -> Shape:
        """One sample's shape."""
        sizes = {"before": self.before, "after": self.after}
        return tuple(sizes[label] if isinstance(label, str) else self.dims[label] for label in self.labels)


class Draft(Struct, frozen=True, kw_only=True, eq=False):
    """What is known while nodes are rewritten: places of tensors, sizes of those that move the batch, constants.

    `sizes`: dims with 0 for the batch's axis, that axis, and how many times the batch it is long.
    """

    sizes: Mapping[str, tuple[Shape, int, int]]
    places: dict[str, Place]
    constants: dict[str, np.ndarray]

    def constant(self, name: str, values: np.ndarray) -> str:
        """A new constant, called like that."""
        while name in self.constants or name in self.sizes or name in self.places:
            name += "_"
        self.constants[name] = values
        return name


def sized(a: Shape, b: Shape, batches: tuple[int, int]) -> tuple[Shape, int, int] | None:
    """What two walks say of a tensor with one axis that is a multiple of the batch; None for every other."""
    if len(a) != len(b):
        return None
    differ = [axis for axis, pair in enumerate(zip(a, b, strict=True)) if pair[0] != pair[1]]
    if len(differ) != 1 or not all(a):
        return None
    (axis,) = differ
    times = a[axis] // batches[0]
    if times < 1 or (a[axis], b[axis]) != (times * batches[0], times * batches[1]):
        return None
    return tuple(0 if i == axis else size for i, size in enumerate(a)), axis, times


def repeated(a: np.ndarray, b: np.ndarray, batches: tuple[int, int]) -> np.ndarray | None:
    """A constant that only repeats one sample's for the batch, with one entry there; None for every other."""
    found = sized(a.shape, b.shape, batches)
    if found is None or found[2] != 1 or not a.size or not b.size:
        return None
    one = a.take([0], found[1])
    return one if (a == one).all() and (b == one).all() else None


def batch_first(
    nodes: Sequence[Node],
    shapes: dict[str, Shape],
    constants: dict[str, np.ndarray],
    sizes: Mapping[str, tuple[Shape, int, int]],
    outputs: Sequence[str],
) -> list[Node]:
    """The nodes with every tensor's batch in front; `shapes` and `constants` get what is new.

    A node that cannot be put so stays as it is, and what it makes has no shape; so do outputs that keep the batch
    elsewhere.
    """
    if not any(name not in shapes for name in sizes):
        return list(nodes)
    places = {name: Place(dims=(0, *shape), axis=0) for name, shape in shapes.items()}
    draft, made = Draft(sizes=sizes, places=places, constants=constants), []
    for node in nodes:
        read = node.inputs[:1] if node.op in _RESHAPES else node.inputs  # a target may be computed from the batch
        activations = [name for name in read if name and name not in constants]
        moved = any(name in sizes and name not in shapes for name in (*activations, *node.outputs))
        moved = moved or any(name in places and not places[name].ordinary for name in activations)
        if not moved or not activations or any(name not in places for name in activations):
            made.append(node)
            continue
        found = _rewritten(node, draft)
        if any(name in outputs and name in places and not places[name].ordinary for name in node.outputs):
            found = None
        for name in node.outputs:
            if found is None:
                places.pop(name, None)
                shapes.pop(name, None)
            elif name in places:
                shapes[name] = places[name].shape
        made += [node] if found is None else found
    for name, place in places.items():
        shapes.setdefault(name, place.shape)
    return made


def _rewritten(node: Node, draft: Draft) -> list[Node] | None:
    """The nodes in its place, with the places of their outputs in the draft; None where there are none."""
    handlers: dict[str, Callable[[Node, Draft], list[Node] | None]] = {
        **dict.fromkeys(_EACH, _each),
        **dict.fromkeys(_ALONG, _along),
        **dict.fromkeys(_RESHAPES, _reshaped),
        **dict.fromkeys(("GRU", "LSTM"), _recurrent),
        "Transpose": _transposed,
        "Slice": _sliced,
        "MatMul": _matmul,
        "Gemm": _gemm,
    }
    return handlers[node.op](node, draft) if node.op in handlers else None


def _put(draft: Draft, name: str, axis: int, before: int, after: int) -> bool:
    """The output's place, where the walks found its batch's axis to be that; outputs of ordinary shape too."""
    dims, found, times = draft.sizes.get(name, ((), -1, 0))
    if found != axis or times != before * after:
        return False
    draft.places[name] = Place(dims=dims, axis=axis, before=before, after=after)
    return True


def _transposed(node: Node, draft: Draft) -> list[Node] | None:
    x, perm = draft.places[node.inputs[0]], node.attributes.get("perm")
    order = [int(axis) for axis in perm] if isinstance(perm, tuple) else [*reversed(range(len(x.dims)))]
    if not _put(draft, node.outputs[0], order.index(x.axis), x.before, x.after):
        return None
    wanted = [order[label] if isinstance(label, int) else label for label in draft.places[node.outputs[0]].labels]
    return [replace(node, attributes={"perm": (0, *(1 + x.labels.index(label) for label in wanted))})]


def _reshaped(node: Node, draft: Draft) -> list[Node] | None:
    """The numbers before the batch stay before it, those after it after it: so the batch can be taken out."""
    x, out = draft.places[node.inputs[0]], node.outputs[0]
    if out not in draft.sizes:
        return None
    dims, axis, times = draft.sizes[out]
    before, left = divmod(x.outer, prod(dims[:axis]))
    if left or times % before or not _put(draft, out, axis, before, times // before):
        return None
    target = draft.constant(f"{node.name}_target", np.array([-1, *draft.places[out].shape], np.int64))
    return [replace(node, op="Reshape", inputs=(node.inputs[0], target), attributes={})]


def _alike(node: Node, draft: Draft) -> Place | None:
    """The place of all activations that the node reads, where they agree but for axes of one."""
    places = [draft.places[name] for name in node.inputs if name and name not in draft.constants]
    first = max(places, key=lambda place: len(place.dims))
    same = all(
        (len(p.dims), p.axis, p.before, p.after) == (len(first.dims), first.axis, first.before, first.after)
        for p in places
    )
    return first if same else None


def _each(node: Node, draft: Draft) -> list[Node] | None:
    x = _alike(node, draft)
    if x is None or not _put(draft, node.outputs[0], x.axis, x.before, x.after):
        return None
    inputs = []
    for name in node.inputs:
        inputs.append(name)
        if name in draft.constants and draft.constants[name].size > 1:
            k = draft.constants[name]
            k = k.reshape((1,) * (len(x.dims) - k.ndim) + k.shape)
            if k.ndim != len(x.dims) or k.shape[x.axis] != 1:
                return None
            sizes = (k.shape[label] if isinstance(label, int) else 1 for label in x.labels)
            inputs[-1] = draft.constant(f"{node.name}_constant", k.reshape(1, *sizes))
    return [replace(node, inputs=tuple(inputs))]


def _along(node: Node, draft: Draft) -> list[Node] | None:
    """An operator along an axis of each sample."""
    x, axis = _alike(node, draft), node.attributes.get("axis", 0)
    if x is None or not isinstance(axis, int):
        return None
    axis %= len(x.dims)
    if axis == x.axis or (node.op == "LayerNormalization" and (axis < x.axis or axis != len(x.dims) - 1)):
        return None
    gone = node.op == "Gather" and draft.constants.get(node.inputs[1], np.zeros((1, 1))).ndim == 0
    if node.op == "Gather" and draft.constants.get(node.inputs[1], np.zeros((1, 1))).ndim > 1:
        return None
    inputs = list(node.inputs)
    if node.op == "Concat":
        for index, name in enumerate(inputs):
            if name in draft.constants:
                k = draft.constants[name]
                if k.ndim != len(x.dims) or k.shape[x.axis] != 1 or x.before * x.after > 1:
                    return None
                inputs[index] = draft.constant(f"{node.name}_constant", np.moveaxis(k, x.axis, 0))
    for name in node.outputs:
        if not _put(draft, name, x.axis - (gone and axis < x.axis), x.before, x.after):
            return None
    new = {**node.attributes, "axis": 1 + x.labels.index(axis)}
    return [replace(node, inputs=tuple(inputs), attributes=new)]


def _sliced(node: Node, draft: Draft) -> list[Node] | None:
    """A cut along axes of each sample, all of them named."""
    x, given = draft.places.get(node.inputs[0]), [draft.constants.get(name) for name in node.inputs[1:4]]
    if x is None or len(given) != 3 or any(k is None for k in given):
        return None
    axes = [int(axis) % len(x.dims) for axis in draft.constants[node.inputs[3]].ravel()]
    if x.axis in axes or not _put(draft, node.outputs[0], x.axis, x.before, x.after):
        return None
    where = draft.constant(f"{node.name}_axes", np.array([1 + x.labels.index(axis) for axis in axes], np.int64))
    return [replace(node, inputs=(*node.inputs[:3], where, *node.inputs[4:]))]


def _matmul(node: Node, draft: Draft) -> list[Node] | None:
    """The axes that are multiplied stay the last two; a constant matrix needs only the last."""
    x = _alike(node, draft)
    if x is None or not _put(draft, node.outputs[0], x.axis, x.before, x.after):
        return None
    constants = [draft.constants[name] for name in node.inputs if name in draft.constants]
    kept = len(x.dims) - (1 if constants else 2)
    if x.axis >= kept or any(k.ndim != 2 for k in constants) or node.inputs[0] in draft.constants:
        return None
    return [node]


def _gemm(node: Node, draft: Draft) -> list[Node] | None:
    """x[before batch after, k] w + b, in terms of MatMul and Add on [batch, before, after, k]."""
    x, w = draft.places.get(node.inputs[0]), draft.constants.get(node.inputs[1])
    b = draft.constants.get(node.inputs[2]) if len(node.inputs) > 2 else None
    if x is None or w is None or x.axis != 0 or len(x.dims) != 2 or node.attributes.get("transA"):
        return None
    if (len(node.inputs) > 2 and b is None) or not _put(draft, node.outputs[0], 0, x.before, x.after):
        return None
    alpha, beta = (np.float32(str(node.attributes.get(name, 1.0))) for name in ("alpha", "beta"))
    columns = (w.T if node.attributes.get("transB") else w) * alpha
    rows, out = draft.constant(f"{node.name}_columns", np.ascontiguousarray(columns)), node.outputs[0]
    if b is None:
        return [replace(node, op="MatMul", inputs=(node.inputs[0], rows), attributes={})]
    added, between = draft.constant(f"{node.name}_added", b.ravel() * beta), f"{out}_products"
    draft.places[between] = draft.places[out]
    first = Node(name=f"{node.name}_products", op="MatMul", inputs=(node.inputs[0], rows), outputs=(between,))
    return [first, replace(node, op="Add", inputs=(between, added), attributes={})]


def _recurrent(node: Node, draft: Draft) -> list[Node] | None:
    """layout 0, [steps, batch, ...], is layout 1, [batch, steps, ...]."""
    x = draft.places.get(node.inputs[0])
    if node.attributes.get("layout", 0) != 0 or x is None or (x.axis, x.before, x.after) != (1, 1, 1):
        return None
    inputs = list(node.inputs)
    for index, name in enumerate(inputs[5:7], start=5):
        if name:
            k = draft.constants.get(name)
            if k is None or k.ndim != 3 or k.shape[1] != 1:
                return None
            inputs[index] = draft.constant(f"{node.name}_start", np.moveaxis(k, 1, 0))
    for index, name in enumerate(node.outputs):
        if name in draft.sizes and not _put(draft, name, 2 if index == 0 else 1, 1, 1):
            return None
    return [replace(node, inputs=tuple(inputs), attributes={**node.attributes, "layout": 1})]
