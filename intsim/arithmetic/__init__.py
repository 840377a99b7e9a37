"""The arithmetic in unbounded Python integers: what every kernel must equal.

Written to be read, not to be fast. Numbers in parentheses are the equations of docs/arithmetic.md. Floats appear only
where the emulated machine itself multiplies by a float scale; such a product is done in numpy's IEEE float32 or
float64, one operation at a time, and rounded to an integer exactly, from its ratio of integers.
"""

from intsim.arithmetic.add import add_numbers, add_rule, added, multiply_add, operand_shifts, three_rules
from intsim.arithmetic.average import encoded_mean, factors
from intsim.arithmetic.functions import slopes_by_channel, table
from intsim.arithmetic.requantize import (
    encoded,
    fixed_point,
    in_tail,
    multiplier_bits,
    power_of_two,
    requantized,
    tail_of,
    tail_rule,
)
from intsim.arithmetic.resize import between, between_floats, mixed, nearest
from intsim.arithmetic.rounding import bounded, cast, held, moved, rounded, rounded_float, shifted
from intsim.arithmetic.softmax import INVERSE, softmax_numbers, softmax_row
from intsim.arithmetic.sums import accumulated, product

__all__ = [
    "INVERSE",
    "accumulated",
    "add_numbers",
    "add_rule",
    "added",
    "between",
    "between_floats",
    "bounded",
    "cast",
    "encoded",
    "encoded_mean",
    "factors",
    "fixed_point",
    "held",
    "in_tail",
    "mixed",
    "moved",
    "multiplier_bits",
    "multiply_add",
    "nearest",
    "operand_shifts",
    "power_of_two",
    "product",
    "requantized",
    "rounded",
    "rounded_float",
    "shifted",
    "slopes_by_channel",
    "softmax_numbers",
    "softmax_row",
    "table",
    "tail_of",
    "tail_rule",
    "three_rules",
]
