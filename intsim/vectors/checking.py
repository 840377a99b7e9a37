"""The self-checking program: `check.c` holds every layer's function to the vectors."""

from collections.abc import Sequence

from intsim.program import Dot
from intsim.vectors.formulas.frame import signature, sums_signature
from intsim.vectors.layers import Layer
from intsim.vectors.names import comment, quoted
from intsim.vectors.text import ctype

COMPILE = "gcc -std=c11 -O2 -ffp-contract=off -Wall -Wextra -Werror -o check check.c layers.c -lm"
"""The line that compiles the check."""

_HEAD = """/* Holds every layer of {network} on {targets} to its vectors; made by intsim.
 *
 *     {compile} && ./check
 *
 * Exit status 0: every integer is right; 1: some differ, and the first of each layer are named.
 *
 * Your own kernel in place of layer 3's: write a function of its type (below), and compile with -DLAYER_3=my_function
 * and the file that holds it. Layers that layers.c has no formula for are checked only in that way. All arrays have
 * the layout NHWC.
 */
#include <stdint.h>
#include <stdio.h>
"""

_TOOL = """
#define MOST 5 /* differences that are told of each layer */

static long failures;

static inline void place(long at, const long *shape, int rank) {
    long size = 1;
    for (int i = 0; i < rank; i++)
        size *= shape[i];
    for (int i = 0; i < rank; i++) {
        size /= shape[i];
        printf("%s%ld", i ? ", " : "[", at / size);
        at %= size;
    }
    printf("]");
}

static inline long told(const char *layer, const char *what, int image, const long *shape, int rank, long at,
                        long long got, long long wanted, long differ) {
    if (differ < MOST) {
        printf("%s: %s: image %d, element ", layer, what, image);
        place(at, shape, rank);
        printf(" (word %ld): got %lld, expected %lld\\n", at, got, wanted);
    }
    return differ + 1;
}

static inline void summed(const char *layer, const char *what, long differ, long of) {
    printf("%s: %s: ", layer, what);
    if (differ)
        printf("%ld of %ld differ\\n", differ, of);
    else
        printf("%ld right\\n", of);
    failures += differ;
}
"""


def program(network: str, targets: Sequence[str], layers: Sequence[Layer], unwritten: dict[int, str]) -> str:
    """The text of check.c; `unwritten`: why layers.c has no formula, by layer."""
    head = _HEAD.format(network=comment(network), targets=comment(" + ".join(targets)), compile=COMPILE)
    includes = [f'#include "{one.stem}.h"' for one in layers]
    # inline: where no layer has a formula, nothing calls the tools, and that is no warning
    parts = [_layer(one, unwritten.get(one.index)) for one in layers]
    calls = [f"    check_{one.index}();" for one in layers]
    main = ["int main(void) {", *calls, "    return failures != 0;", "}", ""]
    return "\n".join([head + "\n".join(includes), _TOOL, *parts, *main])


def _layer(layer: Layer, unwritten: str | None) -> str:
    n, name = layer.index, quoted(f"layer {layer.index} ({layer.step.name})")
    lines = [f"/* ---- {comment(layer.step.name)} ({comment(layer.step.op)}) ---- */"]
    if unwritten is None:
        own = isinstance(layer.step.compute, Dot)
        lines += [f"#ifndef LAYER_{n}", f"#define LAYER_{n} layer_{n}"]
        lines += [f"#define SUMS_{n}", f"{sums_signature(layer)};"] if own else []
        lines += ["#endif"]
        lines += ["#ifdef SUMS_" + str(n), *_sums_check(layer, name), "#endif"] if own else []
        lines += [f"{signature(layer, f'LAYER_{n}')};", *_output_check(layer, name)]
        body = [*([f"#ifdef SUMS_{n}", f"    check_sums_{n}();", "#endif"] if own else []), f"    check_output_{n}();"]
    else:
        lines += [f"#ifdef LAYER_{n}", f"{signature(layer, f'LAYER_{n}')};", *_output_check(layer, name), "#endif"]
        said = quoted(f"layer {n} ({layer.step.name}): not checked: {unwritten}; give -DLAYER_{n}=your_function\n")
        body = [f"#ifdef LAYER_{n}", f"    check_output_{n}();", "#else", f'    printf("%s", {said});', "#endif"]
    return "\n".join([*lines, f"static void check_{n}(void) {{", *body, "}", ""])


def _sums_check(layer: Layer, name: str) -> list[str]:
    call = f"layer_{layer.index}_accumulators(layer_{layer.index}_input_0[image], got)"
    return _loop(layer, name, "accumulator", "sums", call)


def _output_check(layer: Layer, name: str) -> list[str]:
    n = layer.index
    inputs = [f"layer_{n}_input_{i}[image]" for i in range(len(layer.step.inputs))]
    return _loop(layer, name, "output", "output", f"LAYER_{n}({', '.join([*inputs, 'got'])})")


def _loop(layer: Layer, name: str, array: str, function: str, call: str) -> list[str]:
    n, upper = layer.index, f"LAYER_{layer.index}_{array.upper()}"
    rank = layer.array(array).values.ndim - 1
    return [
        f"static void check_{function}_{n}(void) {{",
        f"    static {ctype(layer.array(array))} got[{upper}_SIZE];",
        f"    static const long shape[] = {upper}_SHAPE;",
        "    long differ = 0;",
        f"    for (int image = 0; image < LAYER_{n}_IMAGES; image++) {{",
        f"        {call};",
        f"        for (long i = 0; i < {upper}_SIZE; i++)",
        f"            if (got[i] != layer_{n}_{array}[image][i])",
        f'                differ = told({name}, "{array}", image, shape, {max(rank, 1)}, i, (long long)got[i],',
        f"                              (long long)layer_{n}_{array}[image][i], differ);",
        "    }",
        f'    summed({name}, "{array}", differ, (long)LAYER_{n}_IMAGES * {upper}_SIZE);',
        "}",
    ]
