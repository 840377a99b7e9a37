"""Functions of one integer, each a table: Sigmoid, Tanh, HardSwish, LeakyRelu, PRelu, Elu, Gelu, Rsqrt and more."""

from collections.abc import Callable

import numpy as np

from intsim.arithmetic import slopes_by_channel, table
from intsim.graph import Node, Shape
from intsim.integers import Affine
from intsim.ops.site import Site
from intsim.program import Lookup
from intsim.target import Functions

RULES: dict[str, Callable[[Functions], object]] = {
    "Sigmoid": lambda rules: rules.sigmoid,
    "Tanh": lambda rules: rules.tanh,
    "HardSwish": lambda rules: rules.hard_swish,
    "LeakyRelu": lambda rules: rules.leaky_relu,
}
"""The machine's rule for a function; the others have the rule `other`."""

MOST = 16
"""Bits of an integer whose functions are tables."""


def lower_function(node: Node, site: Site) -> Lookup:
    """The machine's rule, asked for every integer of the input's type."""
    rule = RULES.get(node.op, lambda rules: rules.other)(site.target.functions)
    alpha = node.attributes.get("alpha", 0.0)
    assert isinstance(alpha, float)
    name = "GeluTanh" if node.attributes.get("approximate") == "tanh" else node.op
    x, y = _narrow(site), site.output
    try:
        values = table(rule, name, x, y, site.target.output, float(np.float32(alpha)))
    except ValueError as reason:
        raise site.error(str(reason), "quantize its output so, shared with nothing else") from None
    return Lookup(low=x.type.low, table=values)


def lower_prelu(node: Node, site: Site) -> Lookup:
    """One slope for all channels, or one per channel."""
    slope, of = site.constant(1)
    x = _narrow(site)
    channels = site.shape(node.inputs[0])[-1]
    outside = (1,) * (len(site.shape(node.inputs[0])) - slope.ndim) + slope.shape
    if slope.size != 1 and (outside[0] != channels or slope.size != channels):
        raise site.error(f"has slopes of the shape {list(slope.shape)}", "give one, or one per channel")
    values = slopes_by_channel(site.target.functions.prelu, x, slope.ravel(), of, site.output, site.target.output)
    return Lookup(low=x.type.low, table=values[:, 0].copy() if slope.size == 1 else values)


def _narrow(site: Site) -> Affine:
    x = site.inputs[0]
    if x.type.bits > MOST:
        raise site.error(f"takes {x.type}, and tables have at most 2^{MOST} entries", "quantize to 16 bits")
    return x


# ---- meaning ---------------------------------------------------------------------------------------------------


def lookup_meaning(lookup: Lookup, x: np.ndarray) -> np.ndarray:
    """table[q - low], or table[q - low, c] (23)."""
    index = x.astype(np.int64) - lookup.low
    if lookup.table.ndim == 1:
        return lookup.table[index].astype(object)
    return lookup.table[index, np.arange(x.shape[-1])].astype(object)


def shape_of_lookup(lookup: Lookup, shape: Shape) -> Shape:
    """One sample's shape, unchanged."""
    return shape
