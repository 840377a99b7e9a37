"""A kernel of your own: every way of being wrong is refused with one line, and a right one is timed."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from intsim.bench import PEERS, contest
from intsim.bench.kernel import SIZES, cases, load, tried, verified
from intsim.bench.products import products
from intsim.bench.records import OWN
from intsim.bench.shapes import gemm, parse
from intsim.cli import main
from intsim.errors import IntsimError

C = Path(__file__).parents[1] / "benchmarks" / "own_kernel.c"


def right(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return (x.astype(np.int64) @ w.astype(np.int64)).astype(np.int32)


def saturating_pairs(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """What a kernel made of vpmaddubsw gives."""
    products = x[:, :, None].astype(np.int64) * w
    products = np.pad(products, ((0, 0), (0, products.shape[1] % 2), (0, 0)))
    pairs = np.clip(products[:, ::2] + products[:, 1::2], -(1 << 15), (1 << 15) - 1)
    return pairs.sum(1).astype(np.int32)


def signed_x(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return right(x.view(np.int8), w)


def no_tail(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    k = max(x.shape[1] // 4 * 4, 1)
    return right(x[:, :k], w[:k])


def transposed_weights(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return right(x, w.reshape(w.shape[::-1]).T)


def saturated(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    exact = x.astype(np.int64) @ w.astype(np.int64)
    return np.clip(exact, -(1 << 31), (1 << 31) - 1).astype(np.int32)


def in_floats(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return np.asarray(x.astype(np.float32) @ w.astype(np.float32)).astype(np.int64).astype(np.int32)


def not_integers(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return right(x, w).astype(np.float32)


def raising(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    raise ValueError("not today")


def scribbling(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    y = right(x, w)
    x[:] = 0
    return y


def turned(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return right(x, w).T


def test_a_right_kernel_passes_every_case() -> None:
    assert verified(right, "right") == len(list(cases())) > 3 * len(SIZES) - 5


WRONG = {
    saturating_pairs: r"is -?\d+ at \[\d+, \d+\], the oracle's is -?\d+; \d+ of \d+ differ",
    signed_x: "the oracle's is",
    no_tail: "the oracle's is",
    transposed_weights: "the oracle's is",
    saturated: r"k = 66000, a sum beyond 32 bits: is -2147483648 at \[0, 0\], the oracle's is 2140727296",
    in_floats: "k = 4099, a long sum",
    not_integers: "gives float32, not int32",
    raising: "raises ValueError: not today",
    scribbling: "changes its inputs",
    turned: "gives an array",
}


@pytest.mark.parametrize("kernel", WRONG, ids=lambda kernel: kernel.__name__)
def test_a_wrong_kernel_is_refused_in_one_line(kernel: object) -> None:
    with pytest.raises(IntsimError, match=WRONG[kernel]) as refused:  # type: ignore[index]
        verified(kernel, "mine:f")  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)
    assert "mine:f" in str(refused.value)


@pytest.mark.parametrize("spec", ["nothing", "no_such_module:f", "math:no_such_function", "math:pi", "./no.so:f", ":f"])
def test_what_is_no_kernel_is_refused(spec: str) -> None:
    with pytest.raises(IntsimError, match="--kernel"):
        load(spec)


def test_a_kernel_is_one_peer_among_the_others_and_its_bits_count() -> None:
    here = f"{__name__}:right"
    (work,) = products(gemm(9, 5, 33), here)
    found = contest(work, PEERS, rounds=1)
    assert [row.equal for row in found.rows if row.peer == OWN] == [True]
    (off,) = products(gemm(9, 5, 33), f"{__name__}:signed_x")
    with pytest.raises(IntsimError, match="your kernel: is"):
        contest(off, PEERS, rounds=1)


def test_a_convolution_is_tried_as_the_matrix_product_that_it_is() -> None:
    (work,) = products(parse("conv:6x6x3:3x3:4:s2"), f"{__name__}:right")
    assert work.x.shape == (9, 27)
    assert OWN in {row.peer for row in contest(work, PEERS, rounds=1).rows}


# ---- C ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The worked example, compiled as it is, and with a mistake each."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder, text = tmp_path_factory.mktemp("kernels"), C.read_text(encoding="utf-8")
    beyond = text.replace("i * n;", "i * n;\n        out[m * n] = 0;")
    unsigned = text.replace("const int8_t *row = w", "const uint8_t *row = (const uint8_t *)w")
    crashing = text.replace("const int32_t a = x[i * k + l];", "const int32_t a = *(volatile uint8_t *)(intptr_t)8;")
    texts = {"right": text, "beyond": beyond, "unsigned": unsigned, "crashing": crashing}
    assert len({*texts.values()}) == len(texts)
    found = {}
    for name, source in texts.items():
        (folder / f"{name}.c").write_text(source, encoding="utf-8")
        found[name] = folder / f"{name}.so"
        command = [compiler, "-O3", "-shared", "-fPIC", "-o", str(found[name]), str(folder / f"{name}.c")]
        subprocess.run(command, check=True)
    return found


def test_the_worked_example_in_c_is_right(libraries: dict[str, Path]) -> None:
    spec = f"{libraries['right']}:own_kernel"
    assert verified(load(spec), spec) > 30


@pytest.mark.parametrize(
    ("name", "message"), [("unsigned", "the oracle's is"), ("beyond", r"writes beyond the end of out\[1, 1\]")]
)
def test_a_wrong_kernel_in_c_is_refused(libraries: dict[str, Path], name: str, message: str) -> None:
    with pytest.raises(IntsimError, match=message):
        verified(load(f"{libraries[name]}:own_kernel"), name)


def test_a_kernel_that_crashes_is_refused_and_takes_nobody_with_it(libraries: dict[str, Path]) -> None:
    with pytest.raises(IntsimError, match=r"m = 1, n = 1, k = 1, random: ends the process \(status -\d+\)"):
        tried(f"{libraries['crashing']}:own_kernel")


def test_a_library_without_that_function_is_refused(libraries: dict[str, Path]) -> None:
    with pytest.raises(IntsimError, match=r"void f\(const uint8_t"):
        load(f"{libraries['right']}:other")


def test_the_command_line_times_it_beside_the_others(
    libraries: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results.json"
    spec = f"{libraries['right']}:own_kernel"
    said = ["bench", "--kernel", spec, "--shape", "gemm:9x5x33", "--rounds", "2", "--out", str(out)]
    assert main(said) == 0
    text = capsys.readouterr().out
    assert "right in all" in text
    assert "your kernel" in text
    assert b'"your kernel"' in out.read_bytes()
    assert main([*said[:2], f"{libraries['unsigned']}:own_kernel", *said[3:]]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "the oracle's is" in line
