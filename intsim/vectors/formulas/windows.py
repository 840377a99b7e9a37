"""What slides over its input, in C: sums of products, averages, maxima."""

import numpy as np

from intsim.arithmetic import factors
from intsim.integers import Rounding
from intsim.program import AveragePool, Dot, MaxPool, Program
from intsim.target import Factors, Reciprocal
from intsim.vectors.formulas.frame import signature, sums_signature
from intsim.vectors.initializers import (
    RULES,
    UnwrittenError,
    cast_of,
    enum,
    listed,
    rescale_of,
    shapes,
    struct,
    types,
    window_of,
)
from intsim.vectors.layers import Layer
from intsim.vectors.text import ctype, literal


def write_dot(program: Program, layer: Layer, dot: Dot) -> str:
    """A sum of products: `layer_N_accumulators` gives its raw sums, `layer_N` requantizes them."""
    n, (x, y) = layer.index, types(layer)
    (source,), output = shapes(program, layer)
    outer = dot.mac.levels[-1]
    end = (outer.bits, outer.overflow)
    if dot.bias_rule.bits is not None:
        end = (dot.bias_rule.bits, dot.bias_rule.overflow)
    levels = [listed([v.size or 0, v.bits or 0, enum(v.overflow), int(v.first_only)]) for v in dot.mac.levels]
    fields = {
        "window": window_of(dot.window, source, output),
        "group": dot.group,
        "folded": int(dot.mac.zero_point == "folded"),
        "channel_first": int(dot.mac.order == "chw"),
        "bias_first": int(dot.bias_rule.when == "init"),
        "levels": len(levels),
        "end_bits": end[0] or 0,
        "end_overflow": enum(end[1]),
        "input_zero_point": dot.input_zero_point,
        "weight_zero_points": len(dot.weight_zero_point),
        "level": f"levels_{n}",
        "product": cast_of(dot.mac.product),
        "write_back": cast_of(dot.mac.write_back),
        "bias": f"layer_{n}_bias",
        "weight_zero_point": f"layer_{n}_weight_zero_point",
        "rescale": rescale_of(layer, dot.rescale),
    }
    if dot.mac.multiplier is not None:
        fields["table"] = f"layer_{n}_products"
    depth = int(np.prod(dot.weight.shape[1:]))
    return "\n".join(
        [
            f"static const struct level levels_{n}[] = {listed(levels)};",
            f"static const struct dot dot_{n} = {struct(fields)};",
            f"DEFINE_DOT(sums_{n}, {x}, {ctype(layer.array('weight'))}, {depth})",
            "",
            f"static wide wide_{n}[LAYER_{n}_ACCUMULATOR_SIZE];",
            "",
            f"{sums_signature(layer)} {{",
            f"    sums_{n}(&dot_{n}, in_0, layer_{n}_weight, wide_{n});",
            f"    for (int i = 0; i < LAYER_{n}_ACCUMULATOR_SIZE; i++)",
            f"        out[i] = (int64_t)wide_{n}[i];",
            "}",
            "",
            f"{signature(layer, f'layer_{n}')} {{",
            f"    sums_{n}(&dot_{n}, in_0, layer_{n}_weight, wide_{n});",
            f"    for (int i = 0; i < LAYER_{n}_OUTPUT_SIZE; i++)",
            f"        out[i] = ({y})requantized(wide_{n}[i], &dot_{n}.rescale, i % {output[-1]});",
            "}",
        ]
    )


def write_average(program: Program, layer: Layer, pool: AveragePool) -> str:
    """An average over windows, by the machine's rule."""
    n, (x, y), rule = layer.index, types(layer), pool.rule
    (source,), output = shapes(program, layer)
    if type(rule) not in RULES:
        raise UnwrittenError(f"{type(rule).__name__} has no formula in C")
    scales = (np.float32(0), np.float32(1)) if pool.scales is None else pool.scales
    fields = {
        "window": window_of(pool.window, source, output),
        "rule": RULES[type(rule)],
        "rounding": enum(getattr(rule, "rounding", Rounding.HALF_EVEN)),
        "centred": int(getattr(rule, "centred", True)),
        "include_pad": int(pool.include_pad),
        "rescaled": int(pool.rescale is not None),
        "input_zero_point": pool.input_zero_point,
        "output_zero_point": pool.output_zero_point,
        "low": pool.low,
        "high": pool.high,
        "sx": literal(scales[0]),
        "sy": literal(scales[1]),
        "rescale": rescale_of(layer, pool.rescale),
    }
    lines = []
    if isinstance(rule, Reciprocal | Factors):
        every = [factors(rule, tuple(c + 1 for c in counts)) for counts in np.ndindex(pool.window.kernel)]
        fields |= {"stages": len(every[0]), "factors": f"factors_{n}"}
        pairs = [listed([literal(np.int64(f)), s]) for stages in every for f, s in stages]
        lines.append(f"static const struct factor factors_{n}[] = {listed(pairs)};")
    return "\n".join(
        [
            *lines,
            f"static const struct average average_{n} = {struct(fields)};",
            f"DEFINE_AVERAGE(averages_{n}, {x}, {y}, {int(np.prod(pool.window.kernel))})",
            "",
            f"{signature(layer, f'layer_{n}')} {{",
            f"    averages_{n}(&average_{n}, in_0, out);",
            "}",
        ]
    )


def write_max_pool(program: Program, layer: Layer, pool: MaxPool) -> str:
    """The largest element of every window."""
    n, (x, y) = layer.index, types(layer)
    (source,), output = shapes(program, layer)
    return "\n".join(
        [
            f"static const struct window window_{n} = {window_of(pool.window, source, output)};",
            f"DEFINE_MAX(most_{n}, {x}, {y})",
            "",
            f"{signature(layer, f'layer_{n}')} {{",
            f"    most_{n}(&window_{n}, in_0, out);",
            "}",
        ]
    )
