"""How much the demo does, and what its networks and machines are called."""

from collections.abc import Callable

from msgspec import Struct

CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
"""Of Fashion-MNIST, in the order of its labels."""

SHARING = ("ideal", "litert_ref", "litert_xnnpack", "ort_x86_avx2")
"""Machines that take the very same integers; any other has a quantization of its own."""

DOOR = "float, same input"
"""What the float network behind a quantized network's coarse input is called among the targets."""

LADDER = "litert_ref"
"""The machine whose accumulator is replaced by narrower ones."""

Progress = Callable[[str, int, int], None]
"""Told what comes next, and how much of how much is done."""


class Size(Struct, frozen=True, kw_only=True):
    """How much is done: `images` judged, `counted` of them for overflows; strengths in steps of 1/255.

    `heat`: whether the narrower accumulators see every strength, not only the telling one of each attack.
    """

    images: int
    counted: int
    bits: tuple[int, ...]
    targets: tuple[str, ...]
    fgsm: tuple[float, ...]
    pgd: tuple[float, ...]
    ladder: tuple[int, ...]
    heat: bool = False


FULL = Size(
    images=1000,
    counted=100,
    bits=(8, 6, 4, 3),
    targets=(*SHARING, "nvdla_small", "esp_dl_s3"),
    fgsm=(1, 2, 3, 4, 6, 8, 12, 16),
    pgd=(1, 2, 4, 8),
    ladder=(32, 20, 18, 16, 14),
    heat=True,
)
QUICK = Size(
    images=250,
    counted=25,
    bits=(8, 4, 3),
    targets=("ideal", "litert_ref", "ort_x86_avx2", "esp_dl_s3"),
    fgsm=(2, 4, 8, 16),
    pgd=(8,),
    ladder=(32, 18, 16, 14),
)


def network_name(bits: int, target: str = "") -> str:
    """How a quantized network is called: its bits, and its machine where no other takes it."""
    return f"cnn {bits} bits" + (f" for {target}" if target else "")


def part(progress: Progress, low: int, high: int) -> Progress:
    """Progress over a part of the whole, from `low` to `high` percent."""
    return lambda what, done, of: progress(what, round(low + (high - low) * done / max(1, of)), 100)
