"""What a user asks of a quantization, and what machines take, brought together."""

from collections.abc import Iterable
from typing import Any, Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from intsim.calibrate import Method
from intsim.errors import IntsimError, unknown
from intsim.integers import IntType
from intsim.target import Scheme

Granularity = Literal["channel", "tensor"]
WeightMethod = Literal["minmax", "mse"]
Levels = Literal["zero", "no_zero"]
Shift = int | Literal["any"]
MAX_BITS = 16


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to quantize; None leaves it to the machine.

    `weight_bits`, `activation_bits`: 1 to 16 (None: those of the type that the machine prefers). `granularity`:
    weights have a scale per output channel (None: where the machine takes that), or one per tensor. `symmetric`:
    activations have zero point 0 (in an unsigned type: its middle, where they can be negative; a signed type leaves
    half its integers to a tensor that never is, as such hardware does). `weight_symmetric`: weights have (None: unless
    all of the machine's weights are unsigned). `power_of_two`: every scale is 2^k.
    `method`: how the activations' ranges are chosen; `percentile`: how much of each side "percentile" keeps.
    `weight_method`: the weights' scales reach the largest, or have the least mean-square error.

    `levels` "zero": B-bit weights are the integers -(2^(B-1) - 1) to 2^(B-1) - 1. "no_zero": a B-bit weight is one
    of 2^B odd integers, -(2^B - 1) to 2^B - 1, at half the step, in an integer type of B + 1 bits.
    """

    weight_bits: int | None = None
    activation_bits: int | None = None
    granularity: Granularity | None = None
    symmetric: bool | None = None
    weight_symmetric: bool | None = None
    power_of_two: bool | None = None
    method: Method = "minmax"
    percentile: float = 99.99
    weight_method: WeightMethod = "minmax"
    levels: Levels = "zero"

    def __post_init__(self) -> None:
        for name, bits in (("weight_bits", self.weight_bits), ("activation_bits", self.activation_bits)):
            if bits is not None and (type(bits) is not int or not 1 <= bits <= MAX_BITS):
                raise IntsimError(f"{bits!r} bits", where=name, mend=f"choose 1 to {MAX_BITS}")
        for name, kind in (
            ("granularity", Granularity),
            ("method", Method),
            ("weight_method", WeightMethod),
            ("levels", Levels),
        ):
            value, known = getattr(self, name), get_args(kind)
            if value not in known and not (name == "granularity" and value is None):
                raise IntsimError(f'there is no "{value}"', where=name, mend=f"choose {' or '.join(known)}")
        if not 50 < self.percentile <= 100:
            raise IntsimError(f"{self.percentile} %", where="percentile", mend="choose more than 50, at most 100")


def options(given: Options | None = None, **settings: Any) -> Options:
    """The options with `settings` changed. Raises IntsimError for a name or a value that there is not."""
    given = given or Options()
    for name in settings:
        if name not in given.__struct_fields__:
            raise unknown("quantization option", name, given.__struct_fields__)
    return replace(given, **settings)


class Choice(Struct, frozen=True, kw_only=True):
    """The options settled for a machine: nothing is left open, in `asked` neither.

    `types`: what activations may be, the preferred one first; one that holds a negative number needs a signed type
    or a zero point.
    """

    types: tuple[IntType, ...]
    weight_type: IntType
    per_channel: tuple[str, ...]
    symmetric: bool
    power_of_two: bool
    zero_points: bool
    activation_scale: float | None
    weight_scale: float | None
    asked: Options


def settled(asked: Options, scheme: Scheme) -> Choice:
    """What both the user and the machine agree to. Raises IntsimError, with the mend, where there is nothing."""
    if asked.symmetric is False and not scheme.zero_points:
        raise IntsimError("the machine has no zero points", where="symmetric", mend="quantize symmetric")
    if asked.power_of_two is False and scheme.power_of_two:
        raise IntsimError("the machine scales by shifts", where="power_of_two", mend="quantize with powers of two")
    if asked.granularity == "channel" and not scheme.per_channel:
        raise IntsimError(
            "the machine takes one weight scale per tensor", where="granularity", mend="quantize per tensor"
        )
    asked = replace(
        asked,
        weight_bits=asked.weight_bits or scheme.weights[0].bits,
        activation_bits=asked.activation_bits or scheme.activations[0].bits,
        weight_symmetric=(
            any(t.signed for t in scheme.weights) if asked.weight_symmetric is None else asked.weight_symmetric
        ),
    )
    per_channel = scheme.per_channel
    if asked.granularity == "tensor" or (asked.granularity is None and not asked.weight_symmetric):
        per_channel = ()
    symmetric = not scheme.zero_points if asked.symmetric is None else asked.symmetric
    return Choice(
        types=_activation_types(asked, scheme, symmetric),
        weight_type=_weight_type(asked, scheme),
        per_channel=per_channel,
        symmetric=symmetric,
        power_of_two=scheme.power_of_two if asked.power_of_two is None else asked.power_of_two,
        zero_points=scheme.zero_points,
        activation_scale=scheme.activation_scale,
        weight_scale=scheme.weight_scale,
        asked=asked,
    )


def _activation_types(asked: Options, scheme: Scheme, symmetric: bool) -> tuple[IntType, ...]:
    bits = asked.activation_bits or scheme.activations[0].bits
    wide = [t for t in scheme.activations if bits <= t.bits]
    if not wide:
        takes = ", ".join(map(str, scheme.activations))
        raise IntsimError(f"{bits} bits", where="activation_bits", mend=f"the machine takes {takes}")
    types = list(dict.fromkeys(IntType(bits, t.signed, t.narrow_range and t.bits == bits) for t in wide))
    if symmetric and bits == 1:
        types = [] if scheme.zero_points else [t for t in types if not t.signed]
        if not types:
            raise IntsimError(
                "one bit without a zero point leaves nothing but zero",
                where="activation_bits",
                mend="choose 2 bits or more, or quantize asymmetric where the machine takes it",
            )
    # With zero points the sign is a matter of spelling: the network keeps to one. Without them it is not.
    return tuple(types[:1] if scheme.zero_points or types[0].signed else types)


def _weight_type(asked: Options, scheme: Scheme) -> IntType:
    bits, takes = asked.weight_bits or scheme.weights[0].bits, ", ".join(map(str, scheme.weights))
    if asked.levels == "no_zero":
        if not asked.weight_symmetric:
            raise IntsimError("levels without a zero have no zero point", where="levels", mend="quantize symmetric")
        bits += 1
    elif asked.weight_symmetric and bits == 1:
        raise IntsimError(
            "one bit with a zero level leaves nothing but zero",
            where="weight_bits",
            mend="choose levels no_zero (-1 and 1), or 2 bits (-1, 0 and 1)",
        )
    if not asked.weight_symmetric:
        if not scheme.weight_zero_points:
            raise IntsimError("the machine's weights have no zero point", where="weight_symmetric", mend="leave it")
        wanted = [IntType(bits, t.signed) for t in scheme.weights if not t.narrow_range]
    else:
        whole = scheme.weight_scale is not None  # nothing is gained by leaving out a value where the scale is given
        wanted = [IntType(bits, True, narrow_range=not whole)]
    for type_ in wanted:
        if any(t.low <= type_.low and type_.high <= t.high for t in scheme.weights):
            return type_
    needs = f"{asked.weight_bits} bits" + (f", stored in {bits}," if asked.levels == "no_zero" else "")
    raise IntsimError(needs, where="weight_bits", mend=f"the machine takes {takes}")


# ---- several machines --------------------------------------------------------------------------------------


def meet(schemes: Iterable[Scheme]) -> Scheme:
    """The scheme of the quantizations that every one of several machines takes. Raises IntsimError where none is."""
    first, *others = schemes
    for other in others:
        first = Scheme(
            activations=_common_activations(first, other),
            weights=_common(first.weights, other.weights, "weights"),
            zero_points=first.zero_points and other.zero_points,
            weight_zero_points=first.weight_zero_points and other.weight_zero_points,
            power_of_two=first.power_of_two or other.power_of_two,
            per_channel=tuple(op for op in first.per_channel if op in other.per_channel),
            keeps_scale=tuple(dict.fromkeys(first.keeps_scale + other.keeps_scale)),
            fixed_outputs=tuple(dict.fromkeys(first.fixed_outputs + other.fixed_outputs)),
            bias=_common((first.bias,), (other.bias,), "biases")[0],
            bias_shift=_common_shift(first.bias_shift, other.bias_shift),
            spread=min((s.spread for s in (first, other) if s.spread is not None), default=None),
            activation_scale=_common_scale(first.activation_scale, other.activation_scale, "activations"),
            weight_scale=_common_scale(first.weight_scale, other.weight_scale, "weights"),
        )
    return first


def _common_shift(a: Shift, b: Shift) -> Shift:
    """A fixed shift holds for all; a machine without one takes the biases of a layer that has chosen its own."""
    fixed = [shift for shift in (a, b) if shift not in ("any", 0)]
    if len(set(fixed)) > 1:
        raise IntsimError(f"biases are shifted by {a} and by {b}", mend="quantize for each machine by itself")
    return fixed[0] if fixed else ("any" if "any" in (a, b) else 0)


def _common_scale(a: float | None, b: float | None, what: str) -> float | None:
    fixed = {scale for scale in (a, b) if scale is not None}
    if len(fixed) > 1:
        raise IntsimError(f"{what} have the scales {a:g} and {b:g}", mend="quantize for each machine by itself")
    return fixed.pop() if fixed else None


def _common_activations(a: Scheme, b: Scheme) -> tuple[IntType, ...]:
    """A machine with zero points re-expresses the other sign; one without takes its own types only."""
    left, right = (s.activations if not s.zero_points else _either_sign(s.activations) for s in (a, b))
    return _common(left, right, "activations")


def _either_sign(types: tuple[IntType, ...]) -> tuple[IntType, ...]:
    other = [IntType(t.bits, not t.signed) for t in types if not t.narrow_range]
    return tuple(dict.fromkeys((*types, *other)))


def _common(left: tuple[IntType, ...], right: tuple[IntType, ...], what: str) -> tuple[IntType, ...]:
    both = [
        IntType(min(a.bits, b.bits), a.signed, (a if a.bits <= b.bits else b).narrow_range)
        if a.bits != b.bits
        else IntType(a.bits, a.signed, a.narrow_range or b.narrow_range)
        for a in left
        for b in right
        if a.signed == b.signed
    ]
    if not both:
        takes = " and ".join(", ".join(map(str, types)) for types in (left, right))
        raise IntsimError(
            f"no type of {what} suits all machines: they take {takes}", mend="quantize for each machine by itself"
        )
    return tuple(dict.fromkeys(both))
