"""What an attacker who knows the chip may ask it, and how attacks look that see its own integers.

The forward pass is the chip's, at the very image that the camera delivers; the backward pass is the float network's at
the same image (straight through what has no gradient: Athalye, Carlini, Wagner, ICML 2018, arXiv 1802.00420).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.attack import door
from intsim.attack.catalogue import BOTH, Attack
from intsim.attack.losses import LOSSES, raised
from intsim.attack.search import Ball, Look, answered, succeeds
from intsim.attack.twin import Network
from intsim.errors import IntsimError
from intsim.tasks import Right, top1

Tensor = Any  # torch.Tensor, without importing torch
Inner = Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]


class Chip(Struct, frozen=True, kw_only=True, eq=False):
    """An emulated chip, as an attacker may ask it; `name`: "NETWORK on TARGET".

    `answer`: images[n, ...] as the camera delivers them -> outputs[n, classes]; times `scale` they are logits, but for
    a shift. `sums`: images -> by layer, the exact sums[n, ...], int64, as they are before any register of the sum holds
    them; `registers`: the (lowest, highest) that the layer's register holds. `inner`: pixels[n, ...] in 0..1, a torch
    tensor -> the float network's logits, and by layer what stands for those sums there; `units`: how much of that is
    one step of the sum, to broadcast against sums[n, ...].
    """

    name: str
    answer: Callable[[np.ndarray], np.ndarray]
    scale: float = 1.0
    sums: Callable[[np.ndarray], dict[str, np.ndarray]] | None = None
    registers: dict[str, tuple[int, int]] = {}
    inner: Inner | None = None
    units: dict[str, np.ndarray] = {}


STRICT = 2.0
"""How many times more an evasive attack minds that float is wrong than it likes that the chip is."""

NEAR = 0.02
"""Overflow-seeking: how many of a register's widths further from its edge a sum weighs 1/e as much."""

PAST = 0.01
"""How many widths beyond its edge a sum is of no more interest: it has overflowed."""


def on_chip(attack: Attack, network: Network, chip: Chip, ball: Ball, dtype: np.dtype, right: Right = top1) -> Look:
    """How an attack that knows the chip looks; images are handed to it as `dtype`, `right` decides on its answers.

    Raises IntsimError.
    """
    if attack.loss == "overflow":
        return _overflowing(attack, chip, ball, dtype, right)
    torch = door.torch()

    def look(pixels: Tensor, y: Tensor, target: Tensor | None, wanted: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        with torch.set_grad_enabled(wanted):
            logits = network(pixels.requires_grad_(wanted))
        own, chips = logits.detach().requires_grad_(), _answers(chip, delivered(pixels, ball, dtype))
        loss = _raised(attack, own, chips, y, target)
        gradient = None
        if wanted:
            (through,) = torch.autograd.grad(logits, pixels, _slopes(loss, own, chips).to(logits.dtype))
            gradient = through.double()
        return loss.detach(), _succeeds(attack, own, chips, y, target, right), gradient

    return look


def delivered(pixels: Tensor, ball: Ball, dtype: np.dtype) -> np.ndarray:
    """The images that the camera delivers of pixels[n, ...] in 0..1 on its grid."""
    images = pixels.detach().double().numpy() * ball.levels
    return (np.rint(images) if ball.on_grid else images).astype(dtype)


def _answers(chip: Chip, images: np.ndarray) -> Tensor:
    """The chip's logits[n, classes], a leaf that wants its gradient."""
    torch = door.torch()
    logits = np.asarray(chip.answer(images)).astype(np.float64) * chip.scale
    return torch.from_numpy(logits).requires_grad_()


def _raised(attack: Attack, own: Tensor, chips: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
    """What the attack raises, float64[n], of the float network's logits and the chip's.

    "diva": p_float[y] - p_chip[y]. "evasive": the chip's margin, minus STRICT times float's where that is positive:
    it leads to where float is just right still and stays there.
    """
    if attack.loss not in BOTH:
        return raised(attack.loss, chips / attack.temperature, y, target)
    if attack.loss == "diva":
        shares = [(z.double() / attack.temperature).softmax(1).gather(1, y[:, None])[:, 0] for z in (own, chips)]
        return shares[0] - shares[1]
    return LOSSES["margin"](chips, y) - STRICT * LOSSES["margin"](own, y).clamp(min=0)


def _slopes(loss: Tensor, own: Tensor, chips: Tensor) -> Tensor:
    """The loss's gradient by the logits, the chip's and float's taken for the same ones."""
    found = door.torch().autograd.grad(loss.sum(), (own, chips), allow_unused=True)
    return sum(slope.double() for slope in found if slope is not None)


def _succeeds(attack: Attack, own: Tensor, chips: Tensor, y: Tensor, target: Tensor | None, right: Right) -> Tensor:
    if attack.success == "evasive":
        return ~answered(right, chips.detach(), y) & answered(right, own.detach(), y)
    return succeeds(attack, chips.detach(), y, target, right)


# ---- overflow-seeking -------------------------------------------------------------------------------------------


def _overflowing(attack: Attack, chip: Chip, ball: Ball, dtype: np.dtype, right: Right) -> Look:
    """Sums are driven over the edges of their registers; once one is, the chip's label away from float's as well.

    Worth driving are the sums whose overflow helps: one that wraps (or clamps) at the top falls, so it is one whose
    fall raises the evasive loss; at the bottom, one whose rise does. That much is known from the float network's
    gradient at the layers; how far each sum is from its edge, from the chip's exact sums.
    """
    torch = door.torch()
    if chip.sums is None or chip.inner is None:
        raise IntsimError(
            "tells nothing of its sums", where=chip.name, mend="give Chip sums and inner, or take evasive"
        )
    sums, inner = chip.sums, chip.inner

    def look(pixels: Tensor, y: Tensor, target: Tensor | None, wanted: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        images = delivered(pixels, ball, dtype)
        with torch.set_grad_enabled(wanted):
            logits, layers = inner(pixels.requires_grad_(wanted))
        own, chips = logits.detach().requires_grad_(), _answers(chip, images)
        evasive = _raised(attack, own, chips, y, target)
        at = sums(images)
        registers = {name: chip.registers[name] for name in layers if name in chip.registers}
        furthest = [_furthest(at[name], *register) for name, register in registers.items()]
        most = torch.from_numpy(np.max(furthest, axis=0) if furthest else np.full(len(y), -1.0))
        event = most > 0
        loss = torch.where(event, SURE + evasive.detach(), most)
        gradient = None
        if wanted:
            past = {name: _past(torch, at[name], register) for name, register in registers.items()}
            gradient = _both(torch, pixels, logits, layers, _slopes(evasive, own, chips), past, event, chip)
        return loss, _succeeds(attack, own, chips, y, target, right), gradient

    return look


AFTER = 2.0
"""How much more than further overflows an attack minds the label, once a sum has overflowed."""

SURE = 1e6
"""What an overflow is worth beside any margin, when the best image is kept."""


def _furthest(sums: np.ndarray, low: int, high: int) -> np.ndarray:
    """float64[n]: how far the worst of sums[n, ...] is beyond the register, in its widths; positive: it overflows."""
    flat = sums.reshape(len(sums), -1)
    return np.maximum(flat.max(1) - high, low - flat.min(1)) / float(high - low + 1)


def _past(torch: Any, sums: np.ndarray, register: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """How far sums[n, ...] are above and below what the register holds, in its widths; positive: they overflow."""
    low, high = register
    width = float(high - low + 1)
    exact = torch.from_numpy(sums)
    return (exact - high).float() / width, (low - exact).float() / width


def _both(
    torch: Any,
    pixels: Tensor,
    logits: Tensor,
    layers: dict[str, Tensor],
    slopes: Tensor,
    past: dict[str, tuple[Tensor, Tensor]],
    event: Tensor,
    chip: Chip,
) -> Tensor:
    """The gradient by the pixels towards overflows that help; where there is one, or none helps, evasive as well."""
    names = list(past)
    tensors = [layers[name] for name in names]
    found = torch.autograd.grad(logits, [pixels, *tensors], slopes.to(logits.dtype), retain_graph=True)
    evasive, by_layer = found[0].double(), found[1:]
    if not names:
        return evasive
    scores = []
    for name, slope in zip(names, by_layer, strict=True):
        helps = (slope <= 0, slope >= 0)
        for beyond, help_ in zip(past[name], helps, strict=True):
            scores.append(torch.where(help_ & (beyond < PAST), beyond, -float("inf")).flatten(1))
    weights = (torch.cat(scores, 1) / NEAR).softmax(1).nan_to_num()  # no sum helps: none pulls
    parts = iter(weights.split([score.shape[1] for score in scores], 1))
    pull = []
    for name, one in zip(names, tensors, strict=True):
        low, high = chip.registers[name]
        widths = (next(parts) - next(parts)).reshape(one.shape) / (high - low + 1)
        pull.append((widths / torch.from_numpy(chip.units[name])).to(one.dtype))
    over = torch.autograd.grad(tensors, pixels, pull)[0].double()
    along = (-1, *(1,) * (pixels.ndim - 1))
    needed = (event | ~(over != 0).flatten(1).any(1)).reshape(along)
    return _unit(over) + AFTER * torch.where(needed, _unit(evasive), torch.zeros_like(evasive))


def _unit(gradient: Tensor) -> Tensor:
    """Gradients[n, ...] over the sum of their sizes."""
    along = (-1, *(1,) * (gradient.ndim - 1))
    return gradient / gradient.abs().flatten(1).sum(1).clamp(min=1e-300).reshape(along)
