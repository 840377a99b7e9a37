"""hls4ml's own layers on ap_fixed<16,6>, from the headers in its wheel, by g++: the truth of `hls4ml`, case by case."""

import ctypes
import importlib.metadata
import math
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conformance.building import Case
from conformance.storing import Answer
from intsim.errors import IntsimError
from intsim.reference import Reference, ap_fixed

_HEAD = """#include <cassert>
#include <ap_fixed.h>
#include <ap_int.h>
#include "nnet_dense.h"
#include "nnet_dense_latency.h"
#include "nnet_merge.h"
#include "nnet_activation.h"
#include "nnet_pooling.h"
typedef ap_fixed<16, 6> act;
static void read(const int *q, act *t, int n) { for (int i = 0; i < n; i++) t[i].range() = q[i]; }
static void write(const act *t, int *q, int n) { for (int i = 0; i < n; i++) q[i] = (int)ap_int<16>(t[i].range()); }
"""


def answers(cases: Sequence[Case]) -> tuple[Reference, dict[str, Answer]]:
    """The layer's integers for each case, or why there are none. IntsimError where g++ or the wheel is not there."""
    folder = ap_fixed.headers()
    if shutil.which("g++") is None:
        raise IntsimError("is not installed", where="g++", mend="apt-get install g++")
    made: dict[str, str] = {}
    refused: dict[str, Answer] = {}
    for number, case in enumerate(cases):
        try:
            made[case.name] = _function(number, case)
        except IntsimError as reason:
            refused[case.name] = str(reason)
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "layers.cpp").write_text(_HEAD + "\n".join(made.values()))
        command = ["g++", "-O1", "-std=c++11", "-w", "-shared", "-fPIC", f"-I{folder}", f"-I{folder.parent}/nnet_utils"]
        command += ["-o", f"{place}/layers.so", f"{place}/layers.cpp"]
        subprocess.run(command, check=True)
        library = ctypes.CDLL(f"{place}/layers.so")
    found = {c.name: _run(library[f"run{n}"], c) for n, c in enumerate(cases) if c.name in made}
    version = importlib.metadata.version("hls4ml")
    return Reference(name="nnet_utils and ap_fixed of hls4ml", version=version), refused | found


def _run(function: Any, case: Case) -> np.ndarray:
    arrays = [_last(x) for x in case.x.values()]
    constants = case.source.graph.constants
    if "w" in constants:  # the accumulator starts from a bias of the activations' own scale
        arrays += [constants["w"].T, constants["b"] >> 10]
    shape = case.source.graph.shapes["y"]
    y = np.empty((len(arrays[0]), *shape[1:], shape[0]), np.int32)
    given = [np.ascontiguousarray(a, np.int32) for a in (*arrays, y)]
    function(len(y), *(a.ctypes.data_as(ctypes.c_void_p) for a in given))
    return np.moveaxis(given[-1], -1, 1).astype(np.int16)


def _last(x: np.ndarray) -> np.ndarray:
    """Channels last."""
    return np.moveaxis(x, 1, -1)


def _function(number: int, case: Case) -> str:
    """One layer on one sample after the other: `run(n, x..., w, b, y)`."""
    (node,), shapes = case.source.graph.nodes, case.source.graph.shapes
    outputs = math.prod(shapes["y"])
    n_in = math.prod(shapes["x0"])
    sizes: tuple[int, ...] = (n_in,)
    match node.op:
        case "Gemm":
            config = f"""struct config{number} : nnet::dense_config {{
  static const unsigned n_in = {n_in}, n_out = {outputs};
  typedef act weight_t, bias_t, accum_t;
}};"""
            call = f"nnet::dense_latency<act, act, config{number}>(t0, y, t1, t2);"
            sizes = (n_in, n_in * outputs, outputs)
        case "Add" | "Sub" | "Mul" | "Max" | "Min":
            word = {"Add": "add", "Sub": "subtract", "Mul": "multiply", "Max": "maximum", "Min": "minimum"}[node.op]
            fields = f"n_elem = {n_in}, n_elem1 = {n_in}, n_elem2 = {n_in}"
            config = f"struct config{number} {{ static const unsigned {fields}; }};"
            call, sizes = f"nnet::{word}<act, act, act, config{number}>(t0, t1, y);", (n_in, n_in)
        case "Sigmoid" | "Tanh":
            config = f"struct config{number} : nnet::activ_config {{ static const unsigned n_in = {n_in}; }};"
            call = f"nnet::{node.op.lower()}<act, act, config{number}>(t0, y);"
        case "AveragePool" | "GlobalAveragePool" | "MaxPool" if not any(node.attributes.get("pads", ())):
            c, h, w = shapes["x0"]
            (kh, kw), (sh, sw) = node.attributes.get("kernel_shape", (h, w)), node.attributes.get("strides", (h, w))
            more = math.ceil(math.log2(kh * kw))  # no sum overflows; the converter adds as many fraction bits again
            width = "act" if node.op == "MaxPool" else f"ap_fixed<{16 + more}, {6 + more}>"
            config = f"""struct config{number} : nnet::pooling2d_config {{
  static const unsigned in_height = {h}, in_width = {w}, n_filt = {c}, pool_height = {kh}, pool_width = {kw};
  static const unsigned stride_height = {sh}, stride_width = {sw};
  static const unsigned out_height = (in_height - {kh}) / {sh} + 1, out_width = (in_width - {kw}) / {sw} + 1;
  static const nnet::Pool_Op pool_op = nnet::{"Max" if node.op == "MaxPool" else "Average"};
  typedef {width} accum_t;
}};"""
            whole = "global_" if node.op == "GlobalAveragePool" else ""
            call = f"nnet::{whole}pooling2d_cl<act, act, config{number}>(t0, y);"
        case _:
            raise IntsimError(f"{node.op} is not spelled with hls4ml's layers here", where=case.name)
    names = [f"q{i}" for i in range(len(sizes))]
    tensors = "".join(f"  static act t{i}[{size}];\n" for i, size in enumerate(sizes))
    fixed = 1 if node.op == "Gemm" else len(sizes)  # constants are the same for every sample
    reads = "".join(
        f"    read(q{i}{f' + i * {size}' if i < fixed else ''}, t{i}, {size});\n" for i, size in enumerate(sizes)
    )
    return f"""{config}
extern "C" void run{number}(int n, {", ".join(f"const int *{name}" for name in names)}, int *out) {{
{tensors}  static act y[{outputs}];
  for (int i = 0; i < n; i++) {{
{reads}    {call}
    write(y, out + i * {outputs}, {outputs});
  }}
}}"""
