"""A compiled ap_fixed simulation of a Program: C++ of plain loops over the bit-accurate types that hls4ml carries."""

import ctypes
import functools
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np

from intsim.errors import IntsimError
from intsim.integers import Overflow, Rounding
from intsim.program import AveragePool, Clip, Dot, MaxPool, Program, Rearrange, Rescale, Step
from intsim.target import Divide, PowerOfTwo

FLAGS = ("-O3", "-march=native", "-std=c++11", "-w", "-shared", "-fPIC")
FOLDERS = {"ap": "vivado/ap_types", "ac": "catapult/ac_types/include"}
"""Where the headers of AMD's types and of Siemens' Algorithmic C types lie in the hls4ml wheel's templates."""
MODES = {Overflow.WRAP: "AP_WRAP", Overflow.SATURATE: "AP_SAT"}
ROUNDINGS = {
    Rounding.HALF_EVEN: "AP_RND_CONV",
    Rounding.HALF_UP: "AP_RND",
    Rounding.HALF_AWAY: "AP_RND_INF",
    Rounding.FLOOR: "AP_TRN",
}


def compiled(program: Program) -> Callable[[np.ndarray], np.ndarray]:
    """From the input's integers `[n, *shape]` (channels last) to the output's: the same bits as the Program's.

    Raises IntsimError where the headers or g++ are missing, or the Program is no chain of steps that are spelled here:
    8-bit signed tensors without zero points, one register of 4 to 32 bits, scales that are powers of two.
    """
    (door_in,), (door_out,) = program.inputs.values(), program.outputs.values()
    sizes = [prod(program.tensors[door.tensor].shape) for door in (door_in, door_out)]
    function = _library(source(program)).run
    pointer = ctypes.POINTER(ctypes.c_int8)
    function.argtypes, function.restype = [pointer, ctypes.c_int64, pointer], None

    def run(x: np.ndarray) -> np.ndarray:
        x = np.ascontiguousarray(x)
        assert x.dtype == np.int8
        assert x[0].size == sizes[0]
        out = np.empty((len(x), *program.tensors[door_out.tensor].shape), np.int8)
        function(x.ctypes.data_as(pointer), len(x), out.ctypes.data_as(pointer))
        return out

    return run


def headers(family: str = "ap") -> Path:
    """The folder of ap_fixed.h (or "ac": ac_fixed.h) in the hls4ml wheel; the package itself is not imported."""
    found = importlib.util.find_spec("hls4ml")
    for place in (found.submodule_search_locations or []) if found else []:
        folder = Path(place) / "templates" / FOLDERS[family]
        if (folder / f"{family}_fixed.h").exists():
            return folder
    raise IntsimError("is not installed", where="hls4ml", mend="pip install --no-deps hls4ml")


@functools.lru_cache(maxsize=8)
def _library(text: str) -> ctypes.CDLL:
    compiler = shutil.which("g++")
    if compiler is None:
        raise IntsimError("is not installed", where="g++", mend="apt-get install g++")
    folder = headers()
    with tempfile.TemporaryDirectory() as place:
        file, library = Path(place) / "network.cpp", Path(place) / "network.so"
        file.write_text(text)
        command = [compiler, *FLAGS, f"-I{folder}", "-o", str(library), str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
            raise IntsimError(f"does not compile the simulation ({first})", where="g++")
        return ctypes.CDLL(str(library))


# ---- C++ -------------------------------------------------------------------------------------------------------


def source(program: Program) -> str:
    """The simulation's text: one function a step, tensors channels last in static arrays."""
    (door_in,), (door_out,) = program.inputs.values(), program.outputs.values()
    functions, calls, tensors = [], [], []
    for name, tensor in program.tensors.items():
        if (tensor.affine.type.bits, tensor.affine.type.signed, tensor.affine.zero) != (8, True, 0):
            raise IntsimError(f"is {tensor.affine.type} with zero point {tensor.affine.zero}", where=name)
        tensors.append(f"static act t{_number(program, name)}[{prod(tensor.shape)}];")
    for number, step in enumerate(program.steps):
        functions.append(_function(number, step, program))
        calls.append(f"    step{number}(t{_number(program, step.inputs[0])}, t{_number(program, step.outputs[0])});")
    x, y = (_number(program, door.tensor) for door in (door_in, door_out))
    n_in, n_out = (prod(program.tensors[door.tensor].shape) for door in (door_in, door_out))
    return "\n".join(
        [
            "#include <cstdint>",
            "#include <ap_fixed.h>",
            "#include <ap_int.h>",
            "typedef ap_fixed<8, 8> act;",
            *tensors,
            *functions,
            'extern "C" void run(const int8_t *x, int64_t n, int8_t *y) {',
            "  for (int64_t i = 0; i < n; i++) {",
            f"    for (int j = 0; j < {n_in}; j++) t{x}[j] = (int)x[i * {n_in} + j];",
            *calls,
            f"    for (int j = 0; j < {n_out}; j++) y[i * {n_out} + j] = (int8_t)t{y}[j].to_int();",
            "  }",
            "}",
            "",
        ]
    )


def _number(program: Program, tensor: str) -> int:
    return list(program.tensors).index(tensor)


def _function(number: int, step: Step, program: Program) -> str:
    shape, out = (program.tensors[name].shape for name in (step.inputs[0], step.outputs[0]))
    match step.compute:
        case Dot(group=1) as dot:
            before, body = _dot(number, dot, shape, out)
        case Clip() as clip:
            before, body = (
                "",
                (
                    f"for (int i = 0; i < {prod(out)}; i++) y[i] = x[i] < {clip.low} ? act({clip.low}) : "
                    f"x[i] > {clip.high} ? act({clip.high}) : x[i];"
                ),
            )
        case MaxPool() as pool if len(shape) == 3 and not any((*pool.window.begin, *pool.window.end)):
            before, body = "", _max(pool, shape, out)
        case AveragePool(rule=Divide(rounding=Rounding.HALF_EVEN, centred=False), rescale=None) as mean if (
            mean.window.kernel == shape[:-1]
        ):
            before, body = "", _mean(shape)
        case Rearrange() if prod(shape) == max(shape):
            before, body = "", f"for (int i = 0; i < {prod(shape)}; i++) y[i] = x[i];"
        case _:
            raise IntsimError(f"{step.op} is not spelled in C++ here", where=step.name)
    return f"{before}static void step{number}(const act *x, act *y) {{\n{body}\n}}"


def _dot(number: int, dot: Dot, shape: tuple[int, ...], out: tuple[int, ...]) -> tuple[str, str]:
    """(constants, body): products in full precision, the register's own overflow after every add."""
    (level,) = dot.mac.levels
    if level.overflow not in MODES or level.bits is None or dot.weight.dtype != np.int8 or dot.weight_zero_point.any():
        raise IntsimError("has an accumulator that is not spelled in C++ here", where=f"step {number}")
    h, w, c = (1, 1, *shape) if len(shape) == 1 else shape
    oh, ow, o = (1, 1, *out) if len(out) == 1 else out
    window = dot.window
    kh, kw = window.kernel or (1, 1)
    (sh, sw), (dh, dw), (ph, pw) = ((pair or default) for pair, default in (
        (window.strides, (1, 1)), (window.dilations, (1, 1)), (window.begin, (0, 0))
    ))  # fmt: skip
    register = f"ap_fixed<{level.bits}, {level.bits}, AP_TRN, {MODES[level.overflow]}>"
    before = _constants(f"w{number}", "int8_t", "ap_int<8>", dot.weight) + _constants(
        f"b{number}", "int32_t", "ap_int<32>", dot.bias
    )
    return (
        before,
        f"""  for (int r = 0; r < {oh}; r++)
    for (int q = 0; q < {ow}; q++)
      for (int o = 0; o < {o}; o++) {{
        {register} acc = 0;
        for (int a = 0; a < {kh}; a++) {{
          const int i = r * {sh} + a * {dh} - {ph};
          if (i < 0 || i >= {h}) continue;
          for (int b = 0; b < {kw}; b++) {{
            const int j = q * {sw} + b * {dw} - {pw};
            if (j < 0 || j >= {w}) continue;
            const act *from = x + (i * {w} + j) * {c};
            const ap_int<8> *weight = w{number} + ((o * {kh} + a) * {kw} + b) * {c};
            for (int k = 0; k < {c}; k++) acc += from[k] * weight[k];
          }}
        }}
        acc += b{number}[o];
{_rescale(dot.rescale, level.bits)}
        y[(r * {ow} + q) * {o} + o] = scaled;
      }}""",
    )


def _constants(name: str, plain: str, kind: str, values: np.ndarray) -> str:
    """An array of the vendor's type, filled by a loop when the library is loaded: constructors compile slowly."""
    numbers = ", ".join(map(str, values.reshape(-1).tolist()))
    return (
        f"static const {plain} {name}_plain[] = {{{numbers}}};\n"
        f"static {kind} {name}[{values.size}];\n"
        f"static const bool {name}_filled = [] {{ for (int i = 0; i < {values.size}; i++) {name}[i] = {name}_plain[i]; "
        "return true; }();\n"
    )


def _rescale(rescale: Rescale, bits: int) -> str:
    """The register's bits read with another binary point, rounded and saturated into 8."""
    rule, exponent = rescale.rule, rescale.exponent
    if not isinstance(rule, PowerOfTwo) or rule.rounding not in ROUNDINGS or exponent is None or len(exponent) != 1:
        raise IntsimError("has a requantizer that is not spelled in C++ here", where=type(rule).__name__)
    point = bits + int(exponent[0])
    return f"""        ap_fixed<{bits}, {point}> real;
        real.range() = acc.range();
        ap_fixed<8, 8, {ROUNDINGS[rule.rounding]}, AP_SAT> scaled = real;"""


def _max(pool: MaxPool, shape: tuple[int, ...], out: tuple[int, ...]) -> str:
    (kh, kw), (sh, sw), (oh, ow, c) = pool.window.kernel, pool.window.strides, out
    return f"""  for (int r = 0; r < {oh}; r++)
    for (int q = 0; q < {ow}; q++)
      for (int k = 0; k < {c}; k++) {{
        act most = -128;
        for (int a = 0; a < {kh}; a++)
          for (int b = 0; b < {kw}; b++) {{
            const act v = x[((r * {sh} + a) * {shape[1]} + q * {sw} + b) * {c} + k];
            if (v > most) most = v;
          }}
        y[(r * {ow} + q) * {c} + k] = most;
      }}"""


def _mean(shape: tuple[int, ...]) -> str:
    """floor((2 * sum + n) / 2n) with ties to even; n is at most 2^15."""
    n, c = prod(shape[:-1]), shape[-1]
    return f"""  for (int k = 0; k < {c}; k++) {{
    ap_int<32> sum = 0;
    for (int i = 0; i < {n}; i++) sum += x[i * {c} + k].to_int();
    const int s = sum.to_int(), twice = 2 * s + {n};
    int q = twice >= 0 ? twice / {2 * n} : -((-twice + {2 * n - 1}) / {2 * n});
    if (q * {2 * n} == twice && (q & 1)) q--;
    y[k] = q;
  }}"""
