"""One-layer networks that resize, requantize and convolve upwards: they tell the TFLite family's rules apart."""

import numpy as np

from golden.layers import Layer, layer
from intsim.integers import affine

ALIGNED = ("align_corners", "round_prefer_ceil")
PLAIN = ("asymmetric", "floor")
CENTRED = ("half_pixel", "round_prefer_ceil")
"""Coordinates and rounding to the nearest of the three kinds of TFLite's resizing, in ONNX's words."""

SIGNED, UNSIGNED, WIDE = "s8", "u8", "s16"


def moves(seed: int = 11) -> list[Layer]:
    """Every kind of move, with odd sizes, scales that tie often, and the ends of every type."""
    rng = np.random.default_rng(seed)
    found = []
    for same in (True, False):
        for kernel, stride, ties, per_channel in (
            ((3, 3), (2, 2), True, True),
            ((2, 4), (1, 2), True, False),
            ((4, 4), (3, 2), False, True),
        ):
            found.append(_upwards(rng, kernel, stride, same=same, ties=ties, per_channel=per_channel))
    for kind in (SIGNED, WIDE):
        for coordinate, nearest in (PLAIN, ALIGNED, CENTRED):
            for before, after in (((5, 7), (10, 14)), ((7, 4), (13, 27)), ((9, 6), (4, 5))):
                for mode in ("linear", "nearest"):
                    found.append(_resize(rng, kind, mode, coordinate, nearest, before, after))
    for source, goal in ((SIGNED, SIGNED), (SIGNED, UNSIGNED), (UNSIGNED, SIGNED), (WIDE, SIGNED), (SIGNED, WIDE)):
        found += [_requantize(source, goal, ratio) for ratio in (0.34375, 0.7131)]
    return found


def _spread(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    type_ = affine(1.0, 0, kind).type
    x = rng.integers(type_.low, type_.high + 1, shape).astype(type_.dtype)
    x.flat[: x.size // 8] = rng.choice([type_.low, type_.high], x.size // 8)
    return x


def _upwards(
    rng: np.random.Generator,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    *,
    same: bool,
    ties: bool,
    per_channel: bool,
) -> Layer:
    """A transposed convolution of 8 outputs, as TFLite pads it: the result is as large as strides say, or whole."""
    size, c, o, zero = (6, 5), 3, 8, -7
    sizes = list(zip(size, kernel, stride, strict=True))
    out = [n * s + (0 if same else max(k - s, 0)) for n, k, s in sizes]
    total = [(n - 1) * s + k - m for (n, k, s), m in zip(sizes, out, strict=True)]
    pads = [max(t, 0) // 2 for t in total]
    ends = [max(t, 0) - p for t, p in zip(total, pads, strict=True)]
    scales = 2.0 ** rng.integers(-4, -1, o if per_channel else 1)
    weight = rng.integers(-3, 4, (c, o, *kernel)).astype(np.int8)
    sx, sy = (2.0**-5, 2.0**-4) if ties else (0.0213, 0.517)
    if not ties:
        scales, weight = rng.uniform(0.004, 0.08, len(scales)), rng.integers(-127, 128, weight.shape).astype(np.int8)
    return layer(
        f"upwards {kernel} by {stride}, {'same' if same else 'whole'}",
        "ConvTranspose",
        [_spread(rng, SIGNED, (2, *size, c))],
        [affine(sx, zero, SIGNED)],
        affine(sy, 3, SIGNED),
        weight=weight,
        weight_affine=affine(scales, 0, "s8n", 1 if per_channel else None),
        bias=rng.integers(-200, 200, o).astype(np.int32),
        shape=(o, *out),
        attributes={
            "kernel_shape": kernel, "strides": stride, "dilations": (1, 1), "pads": (*pads, *ends), "group": 1,
            "output_padding": tuple(max(-t, 0) for t in total),
        },
    )  # fmt: skip


def _resize(
    rng: np.random.Generator,
    kind: str,
    mode: str,
    coordinate: str,
    nearest: str,
    before: tuple[int, int],
    after: tuple[int, int],
) -> Layer:
    same = affine(0.05, 0 if kind == WIDE else 3, kind)
    return layer(
        f"{mode} {kind} {coordinate} {before} to {after}",
        "Resize",
        [_spread(rng, kind, (1, *before, 4))],
        [same],
        same,
        shape=(4, *after),
        attributes={"mode": mode, "coordinate": coordinate, "nearest": nearest},
    )


def _requantize(source: str, goal: str, ratio: float) -> Layer:
    """All integers of a type of 8 bits, many of one of 16, brought to about the range of the other."""
    type_ = affine(1.0, 0, source).type
    step = 2.0**-8 if source == WIDE else 2.0**8 if goal == WIDE else 1.0
    x = np.arange(type_.low, type_.high + 1, 8 if source == WIDE else 1).astype(type_.dtype)
    zeros = {SIGNED: 3, UNSIGNED: 131, WIDE: 0}
    return layer(
        f"requantize {source} to {goal} by {ratio}",
        "Requantize",
        [x[None]],
        [affine(2.0**-5 * step * ratio, zeros[source] - (source != WIDE) * 9, source)],
        affine(2.0**-5, zeros[goal], goal),
        shape=(len(x),),
    )
