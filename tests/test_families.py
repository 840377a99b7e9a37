"""Blocks of the network families as exporters write them: they run in integers, or the reason why not stands here."""

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx_text import difference, normalised, ops, saved

from intsim import TARGETS, engine, oracle
from intsim.calibrate.forward import forward
from intsim.graph import Graph
from intsim.lower import lower
from intsim.normalise import normalise, unsupported
from intsim.onnx_io import read, read_quantized, write_qdq
from intsim.ops import OPS
from intsim.quantize import quantize

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

Tensor = torch.Tensor
CLOSE = 1e-5


# ---- the spellings of an operator ------------------------------------------------------------------------------

SCALARS = """float two = {2}, float half = {0.5}, float one = {1}, float three = {3}, float six = {6}, float zero = {0},
    float root2 = {1.4142135}, float s = {0.7978846}, float k = {0.044715}, float cube = {3}, float e = {0.00001},
    float far = {20}, float fifth = {0.2}"""
SPELLED = {
    "Gelu by Erf, torch": ("a = Div(x, root2) b = Erf(a) c = Add(b, one) d = Mul(x, c) y = Mul(d, half)", "Gelu"),
    "Gelu by Erf, halved": ("h = Mul(x, half) a = Div(x, root2) b = Erf(a) c = Add(one, b) y = Mul(h, c)", "Gelu"),
    "Gelu by Tanh": (
        """p = Pow(x, cube) q = Mul(k, p) r = Add(x, q) t = Mul(s, r) u = Tanh(t) v = Add(u, one) w = Mul(half, x)
        y = Mul(w, v)""",
        "Gelu",
    ),
    "HardSwish by Clip": ("a = Add(x, three) b = Clip(a, zero, six) c = Mul(x, b) y = Div(c, six)", "HardSwish"),
    "HardSwish by HardSigmoid": ("a = HardSigmoid<alpha = 0.16666667>(x) y = Mul(a, x)", "HardSwish"),
    "HardSigmoid by Clip": ("a = Mul(x, fifth) b = Add(a, half) y = Clip(b, zero, one)", "HardSigmoid"),
    "Mish": ("a = Softplus(x) b = Tanh(a) y = Mul(x, b)", "Mish"),
    "Softplus by Exp and Log": ("a = Exp(x) b = Add(one, a) y = Log(b)", "Softplus"),
    "Softplus with a threshold": ("a = Softplus(x) b = Greater(x, far) y = Where(b, x, a)", "Softplus"),
    "LeakyRelu by Where": ("a = Mul(x, fifth) b = Greater(x, zero) y = Where(b, x, a)", "LeakyRelu"),
    "LeakyRelu by Max": ("a = Mul(x, fifth) y = Max(x, a)", "LeakyRelu"),
    "square": ("y = Pow(x, two)", "Mul"),
}


@pytest.mark.parametrize("name", SPELLED)
def test_a_function_is_found_in_every_spelling(name: str, tmp_path: Path) -> None:
    body, op = SPELLED[name]
    path = saved(tmp_path, f"net (float[n,3,4,4] z) => (float[n,3,4,4] y) <{SCALARS}> {{ x = Relu(z) {body} }}")
    graph, _ = normalised(path)
    assert ops(graph) == ["Relu", op]
    path = saved(tmp_path, f"net (float[n,3,4,4] x) => (float[n,3,4,4] y) <{SCALARS}> {{ {body} }}")
    assert difference(normalised(path)[0], path) < CLOSE


@pytest.mark.parametrize(
    "body",
    [
        "a = Sigmoid(x) y = Mul(x, a)",
        "a = Div(x, two) b = Erf(a) c = Add(b, one) d = Mul(x, c) y = Mul(d, half)",
        "a = Softplus(x) b = Tanh(a) d = Mul(x, b) y = Add(d, b)",
    ],
)
def test_what_is_only_like_a_function_or_is_read_inside_stays(body: str, tmp_path: Path) -> None:
    path = saved(tmp_path, f"net (float[n,3,4,4] x) => (float[n,3,4,4] y) <{SCALARS}> {{ {body} }}")
    assert not {"Gelu", "Mish", "HardSwish"} & set(ops(normalise(read(path))[0]))


MOVES = {
    "DepthToSpace, DCR": ("float[n,8,3,4]", "float[n,2,6,8]", "", "y = DepthToSpace<blocksize = 2>(x)"),
    "DepthToSpace, CRD": ("float[n,8,3,4]", "float[n,2,6,8]", "", 'y = DepthToSpace<blocksize = 2, mode = "CRD">(x)'),
    "SpaceToDepth": ("float[n,2,6,8]", "float[n,8,3,4]", "", "y = SpaceToDepth<blocksize = 2>(x)"),
    "Gather, one": ("float[n,3,4,5]", "float[n,3,5]", "int64 i = {-1}", "y = Gather<axis = 2>(x, i)"),
    "Gather, steps": ("float[n,6,4]", "float[n,3,4]", "int64[3] i = {4,2,0}", "y = Gather<axis = 1>(x, i)"),
    "Gather, any": ("float[n,6,4]", "float[n,5,4]", "int64[5] i = {4,4,0,1,5}", "y = Gather<axis = 1>(x, i)"),
    "mean of rows": ("float[n,3,4,5]", "float[n,3,5]", "int64[1] i = {2}", "y = ReduceMean<keepdims = 0>(x, i)"),
    "mean of channels": ("float[n,3,4,5]", "float[n,1,4,5]", "int64[1] i = {1}", "y = ReduceMean(x, i)"),
    "maximum of channels": ("float[n,3,4,5]", "float[n,1,4,5]", "int64[1] i = {-3}", "y = ReduceMax(x, i)"),
    "maximum of all": ("float[n,3,4,5]", "float[n,1,1,1]", "int64[3] i = {1,2,3}", "y = ReduceMax(x, i)"),
    "sum of a map": ("float[n,3,4,5]", "float[n,3]", "int64[2] i = {2,3}", "y = ReduceSum<keepdims = 0>(x, i)"),
    "sum of features": ("float[n,7]", "float[n,1]", "int64[1] i = {1}", "y = ReduceSum(x, i)"),
    "expanded": (
        "float[n,3,4,5]", "float[n,3,4,5]", "int64[4] i = {1,3,4,5}",
        "g = GlobalAveragePool(x) b = Expand(g, i) y = Mul(b, x)",
    ),
    "linear on a sequence": (
        "float[n,5,4]", "float[n,5,3]", "random[4,3] w, random[3] b", "z = Add(x, x) m = MatMul(z, w) y = Add(m, b)",
    ),
    "linear on a map": ("float[n,5,2,4]", "float[n,5,2,3]", "random[4,3] w", "z = Add(x, x) y = MatMul(z, w)"),
    "layer normalization": (
        "float[n,5,4]", "float[n,5,4]", "random[4] w, random[4] b", "y = LayerNormalization<epsilon = 0.001>(x, w, b)",
    ),
    "instance normalization": (
        "float[n,3,5,4]", "float[n,3,5,4]", "random[3] w, random[3] b", "y = InstanceNormalization(x, w, b)",
    ),
    "layer normalization, spelled": (
        "float[n,5,4]", "float[n,5,4]", "int64[1] i = {-1}, float two = {2}, float e = {0.00001}",
        """m = ReduceMean(x, i) d = Sub(x, m) p = Pow(d, two) v = ReduceMean(p, i) a = Add(v, e) r = Sqrt(a)
        y = Div(d, r)""",
    ),
    "RMS normalization, spelled": (
        "float[n,5,4]", "float[n,5,4]", "int64[1] i = {-1}, float e = {0.00001}, random[4] w",
        "p = Mul(x, x) v = ReduceMean(p, i) a = Add(e, v) r = Sqrt(a) q = Reciprocal(r) z = Mul(x, q) y = Mul(z, w)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_what_works_along_axes_runs_in_integers(name: str, tmp_path: Path) -> None:
    """The float network is onnxruntime's; engine and oracle agree on it; the integers are near the floats."""
    x, y, constants, body = MOVES[name]
    path = saved(tmp_path, f"net ({x} x) => ({y} y) {f'<{constants}>' if constants else ''} {{ {body} }}")
    graph, _ = normalised(path)
    assert unsupported(graph, OPS) == ()
    assert difference(graph, path) < 1e-4
    near_the_floats(graph, 6 if "normalization" in name else 2, images(graph, 8), "litert_ref")


def test_an_argmax_over_the_classes_goes_and_says_so(tmp_path: Path) -> None:
    text = """net (float[n,4] x) => (int64[n] y) <random[4,3] w> {
        l = MatMul(x, w) y = ArgMax<axis = -1, keepdims = 0>(l) }"""
    graph, notes = normalise(read(saved(tmp_path, text)))
    assert ops(graph) == ["Gemm"]
    assert graph.shapes[graph.outputs[0]] == (3,)
    assert notes == ("argmax_1: ArgMax dropped at the output, which holds the logits that it would choose from",)


# ---- functions on every machine --------------------------------------------------------------------------------

FUNCTIONS = """net (float[n,2,3,3] x) => (float[n,3,3,3] y) <random[3,2,1,1] w> {
    c = Conv(x, w)  g = Gelu(c)  h = Gelu<approximate = "tanh">(g)  m = Mish(h)  s = HardSigmoid<alpha = 0.25>(c)
    y = Mul(m, s) }"""


@pytest.mark.parametrize("name", [n for n, t in TARGETS.items() if t.scheme.activations[0].bits <= 12])
def test_functions_and_normalizations_run_on_every_machine(name: str, tmp_path: Path) -> None:
    text = FUNCTIONS.replace("y = Mul(m, s)", "t = Mul(m, s)  y = LayerNormalization(t, g2)")
    text = text.replace("random[3,2,1,1] w", "random[3,2,1,1] w, float[3] g2 = {1, 1, 1}")
    graph, _ = normalised(saved(tmp_path, text))
    x, target = images(graph, 8), TARGETS[name]
    program = lower(quantize(graph, x, target.scheme), target)
    found = engine.run(program, x, threads=1).integers["y"]
    assert np.array_equal(found[:1], oracle.run(program, x[:1]).integers["y"])


def test_qdq_brings_the_functions_back(tmp_path: Path) -> None:
    graph, _ = normalised(saved(tmp_path, FUNCTIONS))
    x, target = images(graph, 8), TARGETS["ort_x86_avx2"]
    source = quantize(graph, x, target.scheme)
    write_qdq(source, tmp_path / "functions.onnx")
    again = read_quantized(tmp_path / "functions.onnx")
    assert again.graph.nodes == source.graph.nodes
    first, second = (engine.run(lower(one, target), x).integers["y"] for one in (source, again))
    assert np.array_equal(first, second)


# ---- families --------------------------------------------------------------------------------------------------


def images(graph: Graph, n: int) -> np.ndarray:
    (name,) = graph.inputs
    return np.random.default_rng(0).normal(size=(n, *graph.shapes[name])).astype(np.float32)


def near_the_floats(graph: Graph, steps: float, x: np.ndarray, name: str) -> None:
    """The integers of the engine are the oracle's, and on average at most `steps` output steps off the floats."""
    target = TARGETS[name]
    source = quantize(graph, x, target.scheme)
    program = lower(source, target)
    found = engine.run(program, x, threads=1)
    (output,) = graph.outputs
    assert np.array_equal(found.integers[output][:1], oracle.run(program, x[:1]).integers[output])
    floats = dict(forward(graph, {graph.inputs[0]: x}))[output]
    error = np.abs(found.logits[output] - floats) / source.affines[output].scale[0]
    assert error.mean() <= steps, error.mean()


def _conv(i: int, o: int, k: int = 3, s: int = 1, g: int = 1, act: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    return nn.Sequential(nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o), act())


class Block(nn.Module):
    """A network of the layers given by name and of what `run` does with them."""

    def __init__(self, run: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.run, self.f = run, nn.Linear(8, 5)
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def resnet() -> nn.Module:
    def run(s: Block, x: Tensor) -> Tensor:
        x = s.a(x)
        return s.f(torch.flatten(F.adaptive_avg_pool2d(F.relu(x + s.b(x)), 1), 1))

    return Block(run, a=_conv(3, 8), b=nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8)))


def inverted(act: Callable[[], nn.Module], gate: nn.Module) -> nn.Module:
    """MobileNetV2's block, MobileNetV3's with squeeze and excitation, EfficientNet's."""

    def run(s: Block, x: Tensor) -> Tensor:
        x = s.a(x)
        d = s.d(s.e(x))
        d = d * s.gate(s.up(F.relu(s.down(d.mean((2, 3), keepdim=True)))))
        return s.f((x + s.p(d)).mean((2, 3)))

    return Block(
        run, a=_conv(3, 8, act=act), e=_conv(8, 16, 1, act=act), d=_conv(16, 16, 3, 1, 16, act=act), gate=gate,
        p=nn.Sequential(nn.Conv2d(16, 8, 1), nn.BatchNorm2d(8)), down=nn.Conv2d(16, 4, 1), up=nn.Conv2d(4, 16, 1),
    )  # fmt: skip


def squeezenet() -> nn.Module:
    def run(s: Block, x: Tensor) -> Tensor:
        q = F.relu(s.q(s.a(x)))
        return s.c(F.max_pool2d(torch.cat([F.relu(s.x(q)), F.relu(s.y(q))], 1), 2)).mean((2, 3))

    return Block(
        run, a=_conv(3, 8), q=nn.Conv2d(8, 4, 1), x=nn.Conv2d(4, 8, 1), y=nn.Conv2d(4, 8, 3, padding=1),
        c=nn.Conv2d(16, 5, 1),
    )  # fmt: skip


def shufflenet() -> nn.Module:
    def run(s: Block, x: Tensor) -> Tensor:
        left, right = s.a(x).chunk(2, 1)
        x = torch.cat([left, s.b(right)], 1)
        n, c, h, w = x.shape
        return s.f(x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w).mean((2, 3)))

    return Block(run, a=_conv(3, 8), b=nn.Sequential(_conv(4, 4, 1), nn.Conv2d(4, 4, 3, 1, 1, groups=4)))


def convnext() -> nn.Module:
    def run(s: Block, x: Tensor) -> Tensor:
        x = s.a(x)
        y = s.v(F.gelu(s.u(s.n(s.d(x).permute(0, 2, 3, 1))))) * s.scale
        return s.f((x + y.permute(0, 3, 1, 2)).mean((2, 3)))

    return Block(
        run, a=nn.Conv2d(3, 8, 2, 2), d=nn.Conv2d(8, 8, 3, 1, 1, groups=8), n=nn.LayerNorm(8), u=nn.Linear(8, 32),
        v=nn.Linear(32, 8), scale=nn.Parameter(torch.full((8,), 0.5)),
    )  # fmt: skip


def mixer() -> nn.Module:
    def run(s: Block, x: Tensor) -> Tensor:
        x = s.e(x).flatten(2).transpose(1, 2)
        x = x + s.b(F.gelu(s.a(s.n(x).transpose(1, 2)))).transpose(1, 2)
        return s.f((x + s.v(F.gelu(s.u(s.m(x))))).mean(1))

    return Block(
        run, e=nn.Conv2d(3, 8, 4, 4), n=nn.LayerNorm(8), m=nn.LayerNorm(8), a=nn.Linear(4, 6), b=nn.Linear(6, 4),
        u=nn.Linear(8, 16), v=nn.Linear(16, 8),
    )  # fmt: skip


def vit(product: Callable[[Tensor, Tensor, Tensor], Tensor]) -> nn.Module:
    """ViT and DeiT as timm has them: a class token, positions, one matrix for queries, keys and values."""

    def run(s: Block, x: Tensor) -> Tensor:
        x = s.e(x).flatten(2).transpose(1, 2)
        x = torch.cat([s.token.expand(x.shape[0], -1, -1), x], 1) + s.positions
        n, t, d = x.shape
        q, k, v = s.q(s.n(x)).reshape(n, t, 3, 2, d // 2).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + s.o(product(q, k, v).transpose(1, 2).reshape(n, t, d))
        x = x + s.v(F.gelu(s.u(s.m(x))))
        return s.f(s.l(x)[:, 0])

    return Block(
        run, e=nn.Conv2d(3, 8, 4, 4), n=nn.LayerNorm(8), q=nn.Linear(8, 24), o=nn.Linear(8, 8), m=nn.LayerNorm(8),
        u=nn.Linear(8, 16), v=nn.Linear(16, 8), l=nn.LayerNorm(8), token=nn.Parameter(torch.randn(1, 1, 8)),
        positions=nn.Parameter(torch.randn(1, 5, 8) / 4),
    )  # fmt: skip


def spelled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return ((q * 0.5) @ k.transpose(-2, -1)).softmax(-1) @ v


def divided(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.transpose(-1, -2) / 2).softmax(-1) @ v


def many_headed() -> nn.Module:
    """torch's own attention, as torchvision's ViT uses it: the batch stands behind the tokens inside of it."""

    def run(s: Block, x: Tensor) -> Tensor:
        x = s.e(x).flatten(2).transpose(1, 2)
        y = s.n(x)
        x = x + s.t(y, y, y, need_weights=False)[0]
        return s.f((x + s.v(F.gelu(s.u(s.m(x))))).mean(1))

    return Block(
        run, e=nn.Conv2d(3, 8, 4, 4), n=nn.LayerNorm(8), t=nn.MultiheadAttention(8, 2, batch_first=True),
        m=nn.LayerNorm(8), u=nn.Linear(8, 16), v=nn.Linear(16, 8),
    )  # fmt: skip


def yolo() -> nn.Module:
    """C2f, SPPF, Resize and Concat."""
    act = nn.SiLU

    def run(s: Block, x: Tensor) -> Tensor:
        x = s.a(x)
        y = [*s.c1(x).chunk(2, 1)]
        x = s.c2(torch.cat([*y, y[-1] + s.m(y[-1])], 1))
        pools = [s.p(x)]
        for _ in range(3):
            pools.append(F.max_pool2d(pools[-1], 5, 1, 2))
        z = F.interpolate(F.max_pool2d(s.q(torch.cat(pools, 1)), 2), scale_factor=2.0, mode="nearest")
        return s.o(torch.cat([z, x], 1)).flatten(2)

    return Block(
        run, a=_conv(3, 8, 3, 2, act=act), c1=_conv(8, 8, 1, act=act), m=_conv(4, 4, act=act), o=nn.Conv2d(16, 5, 1),
        c2=_conv(12, 8, 1, act=act), p=_conv(8, 4, 1, act=act), q=_conv(16, 8, 1, act=act),
    )  # fmt: skip


def autoencoder() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 4, 3, 2, 1, 1), nn.ReLU(),
        nn.Upsample(scale_factor=2), nn.Conv2d(4, 3, 3, 1, 1), nn.Sigmoid(),
    )  # fmt: skip


def spotter(kind: type[nn.Module]) -> nn.Module:
    """The last state of a sequence of rows."""
    return Block(lambda s, x: s.f(s.r(x.transpose(1, 2).flatten(2))[0][:, -1]), r=kind(24, 8, batch_first=True))


def both_ways(kind: type[nn.Module]) -> nn.Module:
    def run(s: Block, x: Tensor) -> Tensor:
        y, _ = s.r(x.transpose(1, 2).flatten(2))
        return s.f(s.o(y).mean(1))

    return Block(run, r=kind(24, 6, batch_first=True, bidirectional=True), o=nn.Linear(12, 8))


FAMILIES: dict[str, tuple[Callable[[], nn.Module], float]] = {
    "ResNet": (resnet, 2),
    "MobileNetV2": (lambda: inverted(nn.ReLU6, nn.Sigmoid()), 3),
    "MobileNetV3": (lambda: inverted(nn.Hardswish, nn.Hardsigmoid()), 3),
    "EfficientNet": (lambda: inverted(nn.SiLU, nn.Sigmoid()), 3),
    "SqueezeNet": (squeezenet, 3),
    "ShuffleNet": (shufflenet, 3),
    "ConvNeXt": (convnext, 5),
    "MLP-Mixer": (mixer, 5),
    "YOLO": (yolo, 4),
    "auto-encoder": (autoencoder, 3),
    "ViT": (lambda: vit(spelled), 6),
    "ViT, scores divided": (lambda: vit(divided), 6),
    "ViT, torch's product": (lambda: vit(F.scaled_dot_product_attention), 6),
    "torch's attention": (many_headed, 6),
    "GRU": (lambda: spotter(nn.GRU), 4),
    "LSTM": (lambda: spotter(nn.LSTM), 4),
    "GRU both ways": (lambda: both_ways(nn.GRU), 4),
    "LSTM both ways": (lambda: both_ways(nn.LSTM), 4),
}
"""Each family's block, and by how many output steps its integers may be off the floats on average."""


def exported(module: nn.Module, path: Path, batch: int | None = None) -> Path:
    """The file that torch's exporter writes for images of 8 x 8, and any batch or that one."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), (torch.zeros(batch or 2, 3, 8, 8),), str(path), dynamo=False, opset_version=17,
            input_names=["x"], dynamic_axes=None if batch else {"x": {0: "n"}},
        )  # fmt: skip
    return path


@pytest.mark.parametrize("name", FAMILIES)
def test_the_block_of_a_family_runs_in_integers(name: str, tmp_path: Path) -> None:
    make, steps = FAMILIES[name]
    torch.manual_seed(0)
    path = exported(make(), tmp_path / "net.onnx")
    graph, _ = normalised(path)
    assert unsupported(graph, OPS) == ()
    assert difference(graph, path) < 1e-4
    for target in ("litert_ref", "ort_x86_vnni"):
        near_the_floats(graph, steps, images(graph, 16), target)


@pytest.mark.parametrize("name", ["ViT", "ViT, torch's product", "torch's attention", "GRU", "LSTM both ways"])
def test_a_file_for_one_image_is_the_same_network(name: str, tmp_path: Path) -> None:
    make, _ = FAMILIES[name]
    torch.manual_seed(0)
    path = exported(make(), tmp_path / "net.onnx", batch=1)
    graph, _ = normalised(path)
    assert unsupported(graph, OPS) == ()
    assert difference(graph, path) < 1e-4
