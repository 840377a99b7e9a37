"""The TFLite family against the integers that LiteRT and TFLite Micro themselves gave (tests/golden)."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from golden.layers import Layer, unpacked

from intsim import TARGETS, engine, oracle
from intsim.lower import lower
from intsim.program import outside
from intsim.quantized import dequantized

RUNTIMES = ["litert_ref", "litert_ruy_x86", "litert_xnnpack", "tflm"]


def golden() -> dict[str, dict[str, np.ndarray]]:
    found: dict[str, dict[str, np.ndarray]] = {}
    with np.load(Path(__file__).parent / "golden" / "litert.npz") as file:
        for key in file.files:
            if "/" in key:
                name, part = key.split("/")
                found.setdefault(name, {})[part] = file[key]
    return found


GOLDEN = golden()


def answer(layer: Layer, expected: np.ndarray) -> np.ndarray:
    """The runtime's integers in the outside layout of the layer's output."""
    return outside(expected).reshape(len(layer.x[0]), *layer.source.graph.shapes["y"])


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", GOLDEN)
def test_every_integer_is_the_runtime_s_own(name: str, runtime: str) -> None:
    layer = unpacked(name, {k: v for k, v in GOLDEN[name].items() if not k.startswith("answer")})
    expected = answer(layer, GOLDEN[name][f"answer {runtime}"])
    x = {f"x{i}": outside(dequantized(v, layer.source.affines[f"x{i}"])) for i, v in enumerate(layer.x)}
    program = lower(layer.source, TARGETS[runtime])
    assert np.array_equal(engine.run(program, x).integers["y"], expected)
    few = {k: v[:1] for k, v in x.items()}
    assert np.array_equal(oracle.run(program, few).integers["y"], expected[:1])


@pytest.mark.parametrize(("runtime", "other"), list(itertools.permutations(RUNTIMES, 2)))
def test_the_vectors_tell_the_runtimes_apart(runtime: str, other: str) -> None:
    """A comparison that every rule would pass proves nothing: here each runtime fails the others' vectors."""
    differ = [name for name, parts in GOLDEN.items() if (parts[f"answer {runtime}"] != parts[f"answer {other}"]).any()]
    assert differ
