"""The five worked examples of docs/compare.md: small quantized networks and images, and the commands to compare them.

python benchmarks/causes.py OUT_DIR                             write the networks and the images
python benchmarks/causes.py OUT_DIR --document docs/compare.md  and put what the commands say into the document
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from intsim import TARGETS
from intsim.graph import Graph, Node, Pixels
from intsim.integers import Affine, affine
from intsim.onnx_io import write_qdq
from intsim.quantized import QuantizedGraph
from intsim.target import FixedPoint, Float32Add
from intsim.targets import write_toml

COMMANDS = {
    "add": "intsim compare add.onnx --target ideal --with one_element.toml --input pairs.npz",
    "rounding": "intsim compare conv.onnx --target tflm --with single.toml --input conv.npz",
    "float64": "intsim compare dense.onnx --target tflm --with litert_ref --input dense.npz",
    "saturation": "intsim compare unsigned.onnx --target ort_x86_vnni --with ort_x86_avx2 --input conv.npz",
    "level": "intsim compare signed.onnx --target ort_x86_avx2 --with onnxruntime --form qdq --optimization extended "
    "--input conv.npz",
}
"""By name, what is run in OUT_DIR."""

NATIVE = ("level",)
"""Those that ask onnxruntime itself, whose integers depend on the CPU: they are shown on AVX2 without VNNI."""

START, END = "<!-- {} -->\n```text\n", "```\n"
LEFT_OUT = ("    not to be told", "    the reference says")


def main(arguments: list[str]) -> None:
    """Writes what is asked for."""
    folder = Path(arguments[0])
    write(folder)
    if arguments[1:2] == ["--document"]:
        path = Path(arguments[2])
        text = path.read_text(encoding="utf-8")
        for name, command in COMMANDS.items():
            text = quoted(text, name, shown(command, run(command, folder)))
        path.write_text(text, encoding="utf-8")


def run(command: str, folder: Path) -> str:
    """What the command says, run in the folder."""
    arguments = [sys.executable, "-m", *command.split()]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shown(command: str, output: str) -> str:
    """The command and what it says, without the versions in its first line and what else would do as well."""
    kept = ["..."]
    for line in output.rstrip().splitlines()[1:]:
        kept.append(line.rstrip() if not line.startswith(LEFT_OUT) else "    ...")
    return "\n".join([f"$ {command}", *(line for line in kept if line)]) + "\n"


def quoted(text: str, name: str, block: str) -> str:
    """The document with another block under the name."""
    start = text.index(START.format(name)) + len(START.format(name))
    return text[:start] + block + text[text.index(END, start) :]


# ---- the networks ----------------------------------------------------------------------------------------------------


def write(folder: Path) -> None:
    """All networks, images and machines of the examples."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "pairs.npz", x=np.stack(np.meshgrid(*2 * [np.arange(256)], indexing="ij"))[None].astype(np.uint8))
    np.savez(folder / "conv.npz", x=rng.integers(0, 256, (20, 3, 16, 16)).astype(np.uint8))
    np.savez(folder / "dense.npz", x=rng.integers(0, 256, (2000, 64)).astype(np.uint8))
    write_qdq(_add(), folder / "add.onnx")
    write_qdq(_conv("s8", rng), folder / "conv.onnx")
    write_qdq(_dense(rng), folder / "dense.onnx")
    write_qdq(_conv("u8", rng), folder / "unsigned.onnx")
    write_qdq(_conv("s8", rng), folder / "signed.onnx")
    tflm, ort = TARGETS["tflm"], TARGETS["ort_x86_avx2"]
    write_toml(replace(ort, name="one_element", add=Float32Add(fused=False)), folder / "one_element.toml")
    assert isinstance(tflm.requantize, FixedPoint)
    single = replace(tflm.requantize, first=None)
    write_toml(replace(tflm, name="single", requantize=single, overrides=()), folder / "single.toml")


def _add() -> QuantizedGraph:
    """Two convolutions that only pick a channel, and the sum with the scales of onnxruntime issue 25512.

    A pixel p becomes p - 128 on both sides, so that one image of 256 x 256 pixels in two channels has every pair.
    """
    sides = {"a": affine(0.02534690499305725, -106), "b": affine(0.035809919238090515, -120)}
    affines: dict[str, Affine] = {"x": affine(1.0, -128), "sum": affine(0.0365859717130661, -105), **sides}
    constants, nodes = {}, []
    for channel, (name, side) in enumerate(sides.items()):
        weight = np.zeros((1, 2, 1, 1), np.int8)
        weight[0, channel] = 127
        constants |= {f"{name}_w": weight, f"{name}_b": np.array([-127 * (128 + side.zero)], np.int32)}
        scale = np.float32(side.scale[0]) / np.float32(127)
        affines |= {f"{name}_w": affine(scale, 0, "s8n"), f"{name}_b": affine(scale, 0, "s32")}
        nodes.append(_node("Conv", f"pick_{name}", ("x", f"{name}_w", f"{name}_b"), name, **_window(1, 0)))
    nodes.append(_node("Add", "add", ("a", "b"), "sum"))
    shapes = {"x": (2, 256, 256), "a": (1, 256, 256), "b": (1, 256, 256), "sum": (1, 256, 256)}
    return _network("add", tuple(nodes), constants, shapes, affines, Pixels(divisor=1.0))


def _conv(kind: str, rng: np.random.Generator) -> QuantizedGraph:
    """A convolution of 3 x 3, a scale for every channel."""
    scales = rng.uniform(0.5, 2, 16) * 2.0**-7
    inner = affine(1 / 255, -128 if kind == "s8" else 0, kind)
    return _network(
        "conv",
        (_node("Conv", "conv", ("x", "w", "b"), "y", **_window(3, 1)),),
        {
            "w": rng.integers(-127, 128, (16, 3, 3, 3)).astype(np.int8),
            "b": rng.integers(-9000, 9000, 16).astype(np.int32),
        },
        {"x": (3, 16, 16), "y": (16, 16, 16)},
        {
            "x": inner,
            "y": affine(0.07, 3 if kind == "s8" else 131, kind),
            "w": affine(scales, 0, "s8n", 0),
            "b": affine(np.float32(inner.scale[0]) * np.array(scales, np.float32), 0, "s32", 0),
        },
    )


def _dense(rng: np.random.Generator) -> QuantizedGraph:
    """A fully connected layer."""
    return _network(
        "dense",
        (_node("Gemm", "dense", ("x", "w"), "y"),),
        {"w": rng.integers(-127, 128, (32, 64)).astype(np.int8)},
        {"x": (64,), "y": (32,)},
        {"x": affine(1 / 255, -128), "y": affine(0.11, -7), "w": affine(0.013, 0, "s8n")},
    )


def _node(op: str, name: str, inputs: tuple[str, ...], output: str, **attributes: object) -> Node:
    return Node(name=name, op=op, inputs=inputs, outputs=(output,), attributes=attributes)


def _window(size: int, pad: int) -> dict[str, object]:
    return {
        "kernel_shape": (size, size),
        "strides": (1, 1),
        "dilations": (1, 1),
        "pads": 4 * (pad,),
        "group": 1,
    }


def _network(
    name: str,
    nodes: tuple[Node, ...],
    constants: dict[str, np.ndarray],
    shapes: dict[str, tuple[int, ...]],
    affines: dict[str, Affine],
    pixels: Pixels | None = None,
) -> QuantizedGraph:
    graph = Graph(
        name=name,
        inputs=("x",),
        outputs=nodes[-1].outputs,
        nodes=nodes,
        constants=constants,
        shapes=shapes,
        pixels={"x": pixels or Pixels()},
    )
    return QuantizedGraph(graph=graph, affines=affines)


if __name__ == "__main__":
    main(sys.argv[1:])
