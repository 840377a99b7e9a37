"""Arrays as text: one word a line for $readmemh, and a C header."""

from collections.abc import Sequence

import numpy as np

from intsim.vectors.layers import Array, Layer
from intsim.vectors.names import comment

_ROW = 16  # numbers on a line of C


def memh(array: Array, title: str) -> str:
    """The array for Verilog's $readmemh: a header in comments, then a word a line, two's complement in hex."""
    kind = "two's complement" if array.signed else "unsigned"
    if array.values.dtype.kind == "f":
        kind = f"the bits of IEEE binary{array.bits}"
    head = [
        f"// {title}: {array.name}",
        f"// {array.what}",
        f"// shape {list(array.values.shape)}: {', '.join(array.axes)}; the last index runs fastest",
        f"// {array.values.size} words of {array.bits} bits, {kind}",
    ]
    digits = -(-array.bits // 4)
    lines = [f"{word:0{digits}x}" for word in words(array)]
    return "\n".join([*map(_ascii, head), *lines]) + "\n"


def words(array: Array) -> list[int]:
    """The array's words as unsigned integers of its width, flat."""
    flat = np.ascontiguousarray(array.values).reshape(-1)
    if flat.dtype.kind == "f":
        return [int(v) for v in flat.view(f"u{flat.dtype.itemsize}")]
    mask = (1 << array.bits) - 1
    return [int(v) & mask for v in flat]


def header(layer: Layer, target: str, rules: Sequence[str], limits: dict[str, int]) -> str:
    """The layer as a C header that needs no other: shapes and limits as macros, arrays as static const."""
    n, step = layer.index, layer.step
    guard = f"INTSIM_{layer.stem.upper()}_H"
    lines = [
        f"/* Layer {n}: {comment(step.name)} ({comment(step.op)}) on {comment(target)}.",
        *(f" * {comment(rule)}" for rule in rules),
        " * Layout NHWC: the last index runs fastest.",
        " */",
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        "#include <stdint.h>",
        "",
    ]
    images = next(len(one.values) for one in layer.arrays if one.vector)
    lines.append(f"#define LAYER_{n}_IMAGES {images}")
    lines += [f"#define LAYER_{n}_{name.upper()} ({value})" for name, value in limits.items()]
    for array in layer.arrays:
        lines += _array(n, array)
    return "\n".join([*map(_ascii, lines), "", f"#endif /* {guard} */", ""])


def _array(n: int, array: Array) -> list[str]:
    own = array.values.shape[1:] if array.vector else array.values.shape
    upper, size = f"LAYER_{n}_{array.name.upper()}", int(np.prod(own))
    of = f"[LAYER_{n}_IMAGES][{upper}_SIZE]" if array.vector else f"[{upper}_SIZE]"
    kind = ctype(array)
    lines = [
        "",
        f"/* {comment(array.what)}: {', '.join(array.axes)}; {array.bits} bits */",
        f"#define {upper}_SHAPE {{{', '.join(map(str, own)) or 1}}}",
        f"#define {upper}_SIZE {size}",
        f"typedef {kind} layer_{n}_{array.name}_t;",
        f"static const {kind} layer_{n}_{array.name}{of} = {{",
    ]
    rows = array.values.reshape(len(array.values), -1) if array.vector else array.values.reshape(1, -1)
    for row in rows:
        literals = list(map(literal, row))
        body = [", ".join(literals[i : i + _ROW]) + "," for i in range(0, len(literals), _ROW)]
        lines += ["{", *body, "},"] if array.vector else body
    return [*lines, "};"]


def ctype(array: Array) -> str:
    """The C type of an array's elements."""
    values = array.values
    if values.dtype.kind == "f":
        return "double" if values.dtype.itemsize == 8 else "float"
    if array.name == "accumulator" or values.dtype.itemsize == 8:
        return "int64_t"
    return f"{'u' if values.dtype.kind == 'u' else ''}int{8 * values.dtype.itemsize}_t"


def literal(value: np.generic) -> str:
    """A number as C reads it back without any loss."""
    if isinstance(value, np.floating):
        return f"{float(value).hex()}{'f' if value.dtype.itemsize == 4 else ''}"
    number = int(value)
    if number == -(1 << 63):
        return "INT64_MIN"
    return f"INT64_C({number})" if abs(number) > 0x7FFFFFFF else str(number)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
