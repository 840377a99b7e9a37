"""The theorems by which a changed target is the same target, and the normal form that applies them."""

import itertools
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from intsim.integers import IntType, Overflow, Rounding
from intsim.target import (
    Bias,
    Cast,
    Divide,
    Extent,
    FixedPoint,
    Float32Scale,
    Float32Softmax,
    Float64Scale,
    Level,
    Mac,
    PowerOfTwo,
    QuotientSoftmax,
    RescaledSum,
    Rules,
    Table,
    Target,
    ThreeRescales,
    TwoSlopes,
    rules,
)

PROOFS = """
1. FORBID wraps; that it counts a violation changes no integer. So it does where a shift to the left leaves a register.
2. A level without a size adds all that is left: that only its first group is one has no meaning.
3. A register that holds every sum that can reach it never overflows; its width and its overflow then do not matter.
   The bound is the size of the level times the largest product of the operands' types, or of the products' register.
4. An exact inner level, or one that wraps in no fewer bits, under an outermost level that wraps or is exact: reduction
   modulo 2^n is a homomorphism of the sum, so the groups do not matter.
5. With one level that wraps or is exact, the order of the adds and whether zero points are in the operands or owed to
   the sum do not change the sum modulo 2^n; nor does, where the outermost level is such a one, whether the bias comes
   first or last.
6. An override that says what holds anyway, or that speaks of operands that the scheme does not admit, says nothing.
7. Scales are positive, and the quotients of a softmax: HALF_UP is HALF_AWAY, HALF_DOWN is HALF_TO_ZERO, CEIL is AWAY,
   FLOOR is TO_ZERO for them.
8. FLOOR, CEIL, HALF_UP and HALF_DOWN commute with adding an integer: the zero point may come before or after.
9. A cast that holds every product takes nothing away.
10. Without a first rounding there is no register between two roundings.
11. A finished sum that passes a register no narrower than its own level's is not changed.
12. With a first rounding the sum wraps into `register` bits anyway: that it wrapped in more before is the same.
13. Behind a first rounding the result fits the register: a middle register no narrower takes nothing away. One that
    saturates, two bits wider than the output, clamps only what the output, zero point added, clamps anyway, unless
    the sum with the zero point may wrap.
    It must be the last step: in a sum of activations the operands pass the rule as well.
14. An output is clamped into its tensor's own range: symmetric saturation is saturation there.
15. A multiplier that keeps all its bits is the multiplier: the encoding is normalized before.
16. Where a tensor has one scale, one exponent for all channels is that of the only one; and the product of a float32
    with 1 is itself, so that rounding the product of the scales changes nothing in a move, a mean or a sum.
17. Channels beyond the last whole group that round as the others do are not special; and only sums of products have
    them.
18. In a sum of activations, zero points come before the first rescale and after the last.
19. A bias that the accumulator starts from is not added at the end: what holds for that add has no meaning.
20. A mean's multiplier of "tflite" is that of one float64 quotient, always normalized.
21. Behind a first rounding the result fits the register: one bit more holds its sum with the zero point.
22. A register into which nothing is shifted right rounds nothing, and rounding down needs none of the bits that go: how
    it would round, and how many of them it sees, has no meaning.
23. A register of products that wraps in no fewer bits than the only level, which wraps: reduction modulo 2^n again.
24. Where nothing has a zero point, none is in the operands, none is owed, and none is added: not before, not after a
    rounding; a register that holds the result holds it. Raw integers and centred ones are the same.
25. Only windows that slide are averaged otherwise where weights are of the older kind: a mean does not ask; nor does
    anything where the machine takes no such weights.
26. A float32 has 24 bits: a multiplier of a quotient in float32 is exact from 24 bits on, however it is encoded.
27. Slopes are requantized to integers without a zero point, each by a multiplier of its own; what adds it is the table.
28. Without a rule of their own, differences follow that of sums.
29. Where the sum with the zero point wraps, a result that wrapped in no fewer bits before is the same; so is twice of
    it that wrapped in one bit more, if its rounding commutes with adding integers.
"""
"""The theorems by which two targets are one; `normal` applies them, and a test tries them on random programs."""


def normal(target: Target) -> Any:
    """Equal for targets that are equal by the theorems of PROOFS."""
    scheme = target.scheme
    signs_x = {t.signed for t in scheme.activations}
    signs_w = {t.signed for t in scheme.weights}
    widest = max(t.bits for t in scheme.activations)
    if not scheme.zero_points and signs_x == {True}:  # 24: a clamp to the output's own bits is the output's clamp (13)
        target, widest = _without_zero_points(target), widest - 2
    sums, extents = {}, _extents(target)
    groupings = ("depthwise", "multiplied", "grouped", "single", "dense")
    every = itertools.product(("Conv", "ConvTranspose", "Gemm"), groupings, signs_x, signs_w, extents)
    for op, grouping, x, w, extent in every:
        if op != "Gemm" or grouping in ("single", "dense"):
            found = rules(target, op, grouping, x, w, extent)
            zeros = scheme.zero_points or scheme.weight_zero_points
            sums[op, grouping, x, w, extent] = _sum(found, _most(target, x, w, found.mac), widest, zeros)
    target = replace(target, subtract=target.subtract or target.add)  # 28
    if isinstance(target.average_pool, Divide) and signs_w == {True} and not scheme.weight_zero_points:  # 25
        target = replace(target, average_pool=replace(target.average_pool, older=False))
    others = {
        name: _rule(getattr(target, name), name, widest)
        for name in target.__struct_fields__
        if name
        not in ("name", "description", "source", "fidelity", "verified_with", "mac", "bias", "requantize", "overrides")
    }
    return sums, others


def _without_zero_points(value: Any) -> Any:
    """A rule, and those inside it, where every zero point is 0 (24)."""
    if isinstance(value, tuple):
        return tuple(map(_without_zero_points, value))
    if not isinstance(value, Struct) or isinstance(value, Table):
        return value
    inside = {name: _without_zero_points(getattr(value, name)) for name in value.__struct_fields__}
    value = replace(value, **inside)
    match value:
        case FixedPoint(sum=int(bits)):
            held = value.register if value.first is not None else 65
            if value.middle is not None and value.middle.signed and value.middle.overflow is Overflow.WRAP:
                held = min(held, value.middle.bits)
            value = replace(value, sum=None if bits >= held else bits)
        case Divide():
            value = replace(value, centred=False)
    if isinstance(value, FixedPoint | PowerOfTwo | Float32Scale | Float64Scale):
        value = replace(value, zero_point="after") if not isinstance(value, FixedPoint) or value.sum is None else value
    return value


def _extents(target: Target) -> list[Extent]:
    """Sums of every size that some override tells from another; all others are as one of these."""
    sizes: list[set[int]] = [{1} for _ in range(3)]
    for override in target.overrides:
        for known, given in zip(sizes, (override.places, override.products, override.outputs), strict=True):
            known.update(() if given is None else (max(given - 1, 1), given, given + 1))
    return [Extent(places=p, products=k, outputs=o) for p, k, o in itertools.product(*map(sorted, sizes))]


def _most(target: Target, x: bool, w: bool, mac: Mac) -> int:
    """The largest product of the operands, as the multiplier sees them."""
    scheme = target.scheme

    def reach(types: tuple[IntType, ...], signed: bool, zeros: bool) -> int:
        low = min(t.low for t in types if t.signed == signed)
        high = max(t.high for t in types if t.signed == signed)
        return high - low if zeros and mac.zero_point == "in_operand" else max(-low, high)

    return reach(scheme.activations, x, scheme.zero_points) * reach(scheme.weights, w, scheme.weight_zero_points)


def _sum(found: Rules, most: int, widest: int, zeros: bool) -> tuple[Any, ...]:
    mac, bias = replace(found.mac, write_back=_cast(found.mac.write_back)), found.bias
    if not zeros:  # 24
        mac = replace(mac, zero_point="folded")
    if bias.when == "init":  # 19
        bias = replace(bias, bits=None, overflow=Overflow.WRAP)
    if mac.product is not None and mac.product.shift == 0 and _holds(mac.product.bits, most):  # 9
        mac = replace(mac, product=None)
    product = _cast(mac.product)
    if product is not None:
        most = min(most, 1 << product.bits - product.signed)
    levels = _levels(mac, most)
    last = levels[-1].bits if len(levels) == 1 and levels[-1].overflow is Overflow.WRAP else None
    if product is not None and product.overflow is Overflow.WRAP and last is not None and product.bits >= last:  # 23
        product = replace(product, bits=last, signed=True)
    mac = replace(mac, product=product)
    outer, back, rule = levels[-1], mac.write_back, found.requantize
    if (
        back is not None and back.shift == 0 and back.signed and outer.bits is not None and back.bits >= outer.bits
    ):  # 11
        mac = replace(mac, write_back=None)
    if isinstance(rule, FixedPoint) and rule.first is not None and outer.overflow is Overflow.WRAP:  # 12
        if bias.bits is not None and bias.bits >= rule.register and _wrapping(bias.overflow) is Overflow.WRAP:
            bias = replace(bias, bits=rule.register)
        if len(levels) == 1 and (outer.bits is None or outer.bits >= rule.register):
            outer = replace(outer, bits=rule.register)
            levels = (outer,)
    mac = replace(mac, levels=levels)
    if bias.bits is None:
        bias = replace(bias, bits=outer.bits, overflow=outer.overflow)
    bias = replace(bias, overflow=_wrapping(bias.overflow))  # 1
    if outer.overflow is Overflow.WRAP:  # 5
        alike = mac.write_back is None and (bias.bits, bias.overflow) == (outer.bits, Overflow.WRAP)
        if len(levels) == 1:
            mac = replace(mac, order="hwc")
        if alike and len(levels) == 1 and mac.product is None and mac.multiplier is None:
            mac = replace(mac, zero_point="folded")
        if alike:
            bias = replace(bias, when="end")
    if bias.when == "init":  # there is no add at the end
        bias = replace(bias, bits=None, overflow=Overflow.WRAP)
    return mac, replace(bias, type=IntType(32), shifted=False), _rule(found.requantize, "sum", widest)


def _levels(mac: Mac, most: int) -> tuple[Level, ...]:
    found: list[Level] = []
    item = most
    for given in mac.levels:
        level = replace(given, overflow=_wrapping(given.overflow))  # 1
        if level.size is None:
            level = replace(level, first_only=False)  # 2
        else:
            item *= level.size
            if mac.multiplier is None and (level.bits is None or _holds(level.bits, item)):  # 3
                level = replace(level, bits=None, overflow=Overflow.WRAP)
            elif level.bits is not None:
                item = 1 << level.bits - 1
        found.append(level)
    outer = found[-1]
    if outer.overflow is Overflow.WRAP:  # 4
        while len(found) > 1 and (
            found[-2].bits is None
            or (found[-2].overflow is Overflow.WRAP and outer.bits is not None and found[-2].bits >= outer.bits)
        ):
            del found[-2]
    return tuple(found)


def _cast(to: Cast | None) -> Cast | None:
    if to is None:
        return None
    if to.shift <= 0 or to.rounding is Rounding.FLOOR:  # 22
        to = replace(to, fraction_bits=None, rounding=Rounding.FLOOR)
    return replace(to, overflow=_wrapping(to.overflow))  # 1


def _holds(bits: int, most: int) -> bool:
    return most <= (1 << bits - 1) - 1


def _wrapping(overflow: Overflow) -> Overflow:
    return Overflow.WRAP if overflow is Overflow.FORBID else overflow


_POSITIVE = {
    Rounding.HALF_UP: Rounding.HALF_AWAY,
    Rounding.HALF_DOWN: Rounding.HALF_TO_ZERO,
    Rounding.CEIL: Rounding.AWAY,
    Rounding.FLOOR: Rounding.TO_ZERO,
    Rounding.CARRY_SHIFT: Rounding.HALF_EVEN,
}
_MOVES_WITH_INTEGERS = (Rounding.FLOOR, Rounding.CEIL, Rounding.HALF_UP, Rounding.HALF_DOWN)


def _rule(value: Any, place: str, widest: int) -> Any:
    """A rule in its normal form, and those inside it; `place`: the target's field, or "sum"."""
    match value:
        case FixedPoint():
            value = _fixed_point(value, place, widest)
        case Cast():
            value = _cast(value)
        case Divide() if place == "mean":
            value = replace(value, older=False)  # 25
        case PowerOfTwo():
            value = replace(value, middle=_cast(value.middle))
            if value.rounding in _MOVES_WITH_INTEGERS and value.middle is None:
                value = replace(value, zero_point="after")  # 8
        case RescaledSum():
            rule = value.requantize
            if value.encoding == "tflite" and isinstance(rule, FixedPoint):
                rule = replace(rule, shared=False, normalized=True)  # 20
            value = replace(value, requantize=_rule(rule, place, widest))
        case ThreeRescales():
            given = (value.requantize, value.inputs or value.requantize)
            rule, inputs = (_rule(replace(r, zero_point="after", shared=False), place, widest) for r in given)  # 18, 16
            value = replace(value, requantize=rule, inputs=inputs)
        case TwoSlopes():
            rule = replace(value.requantize, zero_point="after", shared=False)  # 27
            if rule.first is not None and rule.sum is not None and rule.sum >= rule.register:
                rule = replace(rule, sum=None)
            value = replace(value, requantize=_rule(_of_24_bits(rule), "slopes", widest))
        case Float32Scale() | Float64Scale() | Bias():
            pass
        case Float32Softmax() | QuotientSoftmax():
            value = replace(value, rounding=_POSITIVE.get(value.rounding, value.rounding))  # 7
        case Overflow.SATURATE_SYM if place == "output":
            value = Overflow.SATURATE  # 14
        case Struct():
            fields = {name: _rule(getattr(value, name), place, widest) for name in value.__struct_fields__}
            return type(value).__name__, tuple(fields.items())
        case tuple():
            return tuple(_rule(one, place, widest) for one in value)
    return value


def _fixed_point(rule: FixedPoint, place: str, widest: int) -> FixedPoint:
    rule = replace(rule, encoding=_POSITIVE.get(rule.encoding, rule.encoding), middle=_cast(rule.middle))  # 7
    rule = replace(rule, left=_wrapping(rule.left))  # 1
    if rule.lanes is not None:
        rule = replace(rule, lanes=replace(rule.lanes, left=_wrapping(rule.lanes.left)))
    if rule.first is None:
        rule = replace(rule, register=32)  # 10
    if rule.keep == rule.bits:
        rule = replace(rule, keep=None)  # 15
    if place == "multiply":
        rule = _of_24_bits(rule)
    if place not in ("sum", "functions"):
        rule = replace(rule, shared=False)  # 16
    if place in ("mean", "add", "subtract", "convert", "conversions"):
        rule = replace(rule, float32_product=False)  # 16
    if rule.lanes is not None and (place != "sum" or rule.lanes.tail is rule.rounding):
        rule = replace(rule, lanes=None)  # 17
    if rule.sum is not None and rule.first is not None and rule.sum > max(rule.register, widest + 1):  # 21
        rule = replace(rule, sum=None)
    if rule.sum is not None:  # 29
        middle = rule.middle
        if middle is not None and middle.signed and not middle.shift and middle.bits >= rule.sum:
            rule = replace(rule, middle=middle if middle.overflow is not Overflow.WRAP else None)
        if rule.doubled is not None and rule.doubled > rule.sum and rule.rounding in _MOVES_WITH_INTEGERS:
            rule = replace(rule, doubled=None)
    last = place not in ("add", "subtract", "functions")  # there a rule is not only the last step
    register = rule.register if rule.first is not None else 64
    if rule.middle is not None and _wide(rule.middle, register, widest if last and rule.sum is None else 64):
        rule = replace(rule, middle=None)  # 13
    if rule.rounding in _MOVES_WITH_INTEGERS and rule.middle is None and rule.doubled is None:
        rule = replace(rule, zero_point="after")  # 8
    return rule


def _of_24_bits(rule: FixedPoint) -> FixedPoint:
    """A rule for one scale, in another form if its multiplier is a float32."""
    exact = rule.float32_quotient and rule.normalized and rule.product is None
    if exact and (rule.bits if rule.keep is None else rule.keep) >= 24:
        rule = replace(rule, bits=24, keep=None, encoding=Rounding.HALF_AWAY)  # 26
    return rule


def _wide(middle: Cast, register: int, widest: int) -> bool:
    """Whether the middle register takes nothing away that an output of `widest` bits does not."""
    wide = middle.bits >= register or (middle.overflow is Overflow.SATURATE and middle.bits >= widest + 2)
    return wide and middle.shift == 0 and middle.signed
