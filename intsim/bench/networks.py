"""Whole networks as works: those that ship, a ResNet-20-like one and a perceptron, with integers at their doors."""

import functools
import itertools
from collections.abc import Mapping

import numpy as np
from msgspec.structs import replace

from intsim.bench.records import Goal, Work
from intsim.build import load
from intsim.calibrate import ranges
from intsim.doors import enter
from intsim.errors import IntsimError
from intsim.graph import Graph, Node, Shape
from intsim.lower import lower
from intsim.program import Clip, Program, outside
from intsim.quantize import quantize
from intsim.quantized import QuantizedGraph
from intsim.reference import ort
from intsim.target import Target
from intsim.targets import TARGETS

WEIGHT_BITS = 7
"""With these no pair of products leaves 16 bits: onnxruntime's kernels give the same integers on every x86."""

IMAGES = 64
"""Images to calibrate with."""


def host_machine() -> Target:
    """What onnxruntime is on this CPU, as a machine; the x86 one with VNNI where the catalogue has none."""
    return TARGETS.get(ort.host_profile(), TARGETS["ort_x86_vnni"])


def integers_in(program: Program) -> Program:
    """The same Program, whose doors take the integers themselves."""
    doors = {name: replace(door, pixels=None, table=None) for name, door in program.inputs.items()}
    return replace(program, inputs=doors)


def entered(program: Program, pixels: np.ndarray) -> np.ndarray:
    """The integers that images become at the Program's only door, `[n, c, ...]`."""
    (array,) = enter(program, pixels).values()
    return outside(array)


# ---- networks --------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=16)
def float_network(name: str) -> Graph:
    """The float network: one that ships, "resnet20" or "mlp256". IntsimError for any other."""
    import intsim_models

    if name == "resnet20":
        return resnet20()
    if name == "mlp256":
        return perceptron((784, 256, 10))
    if name not in intsim_models.NAMES:
        raise IntsimError(f'there is no network "{name}"', where="bench")
    graph = load(intsim_models.path(name))
    assert isinstance(graph, Graph)
    return replace(graph, name=name)


def pixels_of(graph: Graph, n: int) -> np.ndarray:
    """Images for the network: the first that ship where they fit, otherwise noise."""
    import intsim_models

    shape = graph.shapes[graph.inputs[0]]
    shipped = intsim_models.images().x
    if shape == shipped.shape[1:]:
        return np.resize(shipped, (n, *shape))
    return np.random.default_rng(1).integers(0, 256, (n, *shape)).astype(np.uint8)


@functools.lru_cache(maxsize=16)
def quantized_network(name: str) -> QuantizedGraph:
    """The network in integers as onnxruntime takes them: u8 activations, s8 weights of 7 bits."""
    graph = float_network(name)
    return quantize(graph, ranges(graph, pixels_of(graph, IMAGES)), host_machine().scheme, weight_bits=WEIGHT_BITS)


def network(
    name: str,
    batch: int,
    *,
    threads: int = 1,
    section: str = "",
    goals: Mapping[str, Goal] | None = None,
) -> Work:
    """The work of a network by name on `batch` images."""
    import intsim_models

    shipped = name in intsim_models.NAMES
    model = intsim_models.path(name).read_bytes() if shipped else b""
    work = of(quantized_network(name), name, batch, threads=threads, float_model=model)
    return replace(work, section=section, goals=dict(goals or {}))


def of(quantized: QuantizedGraph, name: str, batch: int, *, threads: int = 1, float_model: bytes = b"") -> Work:
    """The work of a quantized network on `batch` images, on the machine that onnxruntime is here.

    Raises IntsimError where it has several inputs or outputs.
    """
    graph = quantized.graph
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        what = f"{len(graph.inputs)} inputs and {len(graph.outputs)} outputs"
        raise IntsimError(f"has {what}; the bench takes one of each", where=name)
    program = lower(quantized, host_machine())
    x = np.ascontiguousarray(entered(program, pixels_of(graph, batch)))
    unit = f"{name}, batch {batch}"
    return Work(name=unit, program=integers_in(program), x=x, threads=threads, float_model=float_model)


def without_idle_clips(program: Program) -> QuantizedGraph:
    """The Program's network without the ReLUs that change no integer, because their input starts at zero already.

    onnxruntime's own quantizer leaves these out of its files, and its kernels do not: with them it would be slower.
    """
    source, known = program.source, program.tensors
    idle: dict[str, str] = {}
    for step in program.steps:
        if isinstance(step.compute, Clip) and step.outputs[0] not in source.graph.outputs:
            type_ = known[step.inputs[0]].affine.type
            if step.compute.low <= type_.low and type_.high <= step.compute.high:
                idle[step.outputs[0]] = idle.get(step.inputs[0], step.inputs[0])
    nodes = tuple(
        replace(node, inputs=tuple(idle.get(name, name) for name in node.inputs))
        for node in source.graph.nodes
        if node.outputs[0] not in idle
    )
    shapes = {name: shape for name, shape in source.graph.shapes.items() if name not in idle}
    affines = {name: affine for name, affine in source.affines.items() if name not in idle}
    return QuantizedGraph(graph=replace(source.graph, nodes=nodes, shapes=shapes), affines=affines)


# ---- networks that are not shipped, with weights drawn at random -----------------------------------------------


def resnet20(seed: int = 0) -> Graph:
    """A CIFAR ResNet-20: 3x32x32 in, three stages of three blocks with 16, 32 and 64 channels, 10 logits out.

    Source: He et al., Deep Residual Learning for Image Recognition, 2015, section 4.2 (there with identity
    shortcuts; here 1x1 convolutions where the shape changes). 41 million products an image.
    """
    rng = np.random.default_rng(seed)
    nodes: list[Node] = []
    constants: dict[str, np.ndarray] = {}
    shapes: dict[str, Shape] = {"image": (3, 32, 32)}

    def add(op: str, inputs: tuple[str, ...], shape: Shape, **attributes: int | tuple[int, ...]) -> str:
        name = f"{op.lower()}{len(nodes)}"
        nodes.append(Node(name=name, op=op, inputs=inputs, outputs=(f"{name}_y",), attributes=dict(attributes)))
        shapes[f"{name}_y"] = shape
        return f"{name}_y"

    def conv(x: str, outputs: int, kernel: int, stride: int) -> str:
        c, h, w = shapes[x]
        name = f"conv{len(nodes)}"
        scale = np.sqrt(2 / (c * kernel * kernel))
        constants[f"{name}_w"] = rng.normal(0, scale, (outputs, c, kernel, kernel)).astype(np.float32)
        constants[f"{name}_b"] = rng.normal(0, 0.05, outputs).astype(np.float32)
        return add(
            "Conv",
            (x, f"{name}_w", f"{name}_b"),
            (outputs, h // stride, w // stride),
            kernel_shape=(kernel, kernel),
            strides=(stride, stride),
            dilations=(1, 1),
            pads=(kernel // 2,) * 4,
            group=1,
        )

    def relu(x: str) -> str:
        return add("Relu", (x,), shapes[x])

    x = relu(conv("image", 16, 3, 1))
    for channels in (16, 32, 64):
        for block in range(3):
            stride = 2 if channels > 16 and block == 0 else 1
            shortcut = conv(x, channels, 1, stride) if stride == 2 else x
            body = conv(relu(conv(x, channels, 3, stride)), channels, 3, 1)
            x = relu(add("Add", (body, shortcut), shapes[body]))
    x = add("Flatten", (add("GlobalAveragePool", (x,), (64, 1, 1)),), (64,), axis=1)
    constants |= {"gemm_w": rng.normal(0, 0.1, (10, 64)).astype(np.float32), "gemm_b": np.zeros(10, np.float32)}
    y = add("Gemm", (x, "gemm_w", "gemm_b"), (10,))
    return Graph(
        name="resnet20", inputs=("image",), outputs=(y,), nodes=tuple(nodes), constants=constants, shapes=shapes
    )


def perceptron(sizes: tuple[int, ...], seed: int = 0) -> Graph:
    """Linear layers of these sizes with ReLU between them, on images of 1 x 28 x 28."""
    rng = np.random.default_rng(seed)
    nodes = [Node(name="flat", op="Flatten", inputs=("image",), outputs=("x0",), attributes={"axis": 1})]
    constants: dict[str, np.ndarray] = {}
    shapes: dict[str, Shape] = {"image": (1, 28, 28), "x0": (784,)}
    for i, (k, n) in enumerate(itertools.pairwise(sizes)):
        constants[f"w{i}"] = rng.normal(0, np.sqrt(2 / k), (n, k)).astype(np.float32)
        constants[f"b{i}"] = rng.normal(0, 0.05, n).astype(np.float32)
        last = i == len(sizes) - 2
        out = f"x{i + 1}" if last else f"sum{i}"
        nodes.append(Node(name=f"gemm{i}", op="Gemm", inputs=(f"x{i}", f"w{i}", f"b{i}"), outputs=(out,)))
        shapes |= {out: (n,), f"x{i + 1}": (n,)}
        if not last:
            nodes.append(Node(name=f"relu{i}", op="Relu", inputs=(out,), outputs=(f"x{i + 1}",)))
    last_name = f"x{len(sizes) - 1}"
    return Graph(
        name="mlp256",
        inputs=("image",),
        outputs=(last_name,),
        nodes=tuple(nodes),
        constants=constants,
        shapes=shapes,
    )
