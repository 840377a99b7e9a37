"""The small integers by which kernels are told a rounding or an overflow."""

FLOOR, CEIL, TO_ZERO, AWAY, HALF_UP, HALF_DOWN, HALF_AWAY, HALF_TO_ZERO, HALF_EVEN, TO_ODD, CARRY_SHIFT = range(11)
WRAP, SATURATE, SATURATE_SYM, SATURATE_ZERO, WRAP_SM, FORBID = range(6)
