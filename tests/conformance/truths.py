"""Who gives the integers that each target is held to: a runtime, the networks it takes, the CPU it must run on."""

from msgspec import Struct


class Truth(Struct, frozen=True, kw_only=True):
    """The ground truth of a target.

    `runtime`: of `intsim.reference.RUNTIMES`, "tosa", or "nnet", hls4ml's own layers. `kinds`: of `building.KINDS`.
    `instruction_sets`: those on which the runtime computes as this target; empty: its integers do not depend on it.
    `without`: how the names begin of cases that are not compared, and why. `also`: other runtimes that must give the
    same integers.
    """

    runtime: str
    kinds: tuple[str, ...]
    instruction_sets: tuple[str, ...] = ()
    without: dict[str, str] = {}
    also: tuple[str, ...] = ()

    def left_out(self, case: str) -> str:
        """Why the case is not compared; empty: it is."""
        return next((why for prefix, why in self.without.items() if case.startswith(prefix)), "")


TFLITE = ("s8", "u8")
SHIFTED_OUT = {"mean, far up, 8.07": "a shift to the left by more than 31: C++ does not define it"}
ORT = ("u8s8", "u8u8", "s8s8")
UNLIKE = (
    "general scales",
    "one tiny operand",
    "sixths",
    "into a finer scale",
    "thirds",
    "elevenths",
    "into a far finer scale",
    "powers of two",
    "one operand has the output's",
    "far apart",
    "an operand at a tie",
)
"""Families of sums whose operands have scales of their own."""

TRUTHS: dict[str, Truth] = {
    "litert_ref": Truth(
        runtime="litert_reference",
        kinds=TFLITE,
        without=SHIFTED_OUT
        | {
            f"fully connected{how}": "a float64 beyond int32 becomes an int32: C++ does not define it"
            for how in (
                ", shifted out",
                " per tensor, shifted out",
                " of few products, shifted out",
                " of few products, powers of two beyond 32 bits",
            )
        },
    ),
    "litert_ruy_x86": Truth(
        runtime="litert_builtin", kinds=TFLITE, instruction_sets=("avx2", "vnni"), without=SHIFTED_OUT
    ),
    "litert_ruy_portable": Truth(
        runtime="litert_builtin", kinds=TFLITE, instruction_sets=("sse4.1",), without=SHIFTED_OUT
    ),
    "litert_xnnpack": Truth(
        runtime="litert",
        kinds=TFLITE,
        without={
            name: "XNNPACK takes no such scales, and leaves them to the built-in kernels"
            for name in ("requantize, 4.69762e+07", "mul, far up", "add, far apart", "sub, far apart")
        },
    ),
    "litert_16x8": Truth(runtime="litert_reference", kinds=("s16",)),
    "litert_16x8_builtin": Truth(runtime="litert_builtin", kinds=("s16",), also=("litert",)),
    "tflm": Truth(runtime="tflite_micro", kinds=("s8",), without=SHIFTED_OUT),
    "tflm_16x8": Truth(
        runtime="tflite_micro",
        kinds=("s16",),
        without={
            "fully connected, results beyond 2^29": "TFLM's 64-bit requantization checks that a scale is below 2^8 "
            "(MultiplyByQuantizedMultiplier): beyond it C++ shifts by a negative number"
        },
    ),
    "tosa_single": Truth(runtime="tosa", kinds=("s8", "s8rescale")),
    "tosa_double": Truth(runtime="tosa", kinds=("s8", "s8rescale")),
    "tosa_16bit": Truth(runtime="tosa", kinds=("s16", "s16rescale")),
    "finn": Truth(
        runtime="qonnx",
        kinds=("s8sym", "u8sym"),
        without={
            f"{op}, {family}": "FINN adds integers of one scale: what it makes of others is an inference"
            for op in ("add", "sub")
            for family in UNLIKE
        }
        | {
            f"{op} of (": "FINN adds integers of one scale: what it makes of others is an inference"
            for op in ("add", "sub")
        },
    ),
    "hls4ml": Truth(runtime="nnet", kinds=("fixed",)),
    "ort_x86_vnni": Truth(runtime="onnxruntime", kinds=ORT, instruction_sets=("vnni",)),
    "ort_x86_avx2": Truth(runtime="onnxruntime", kinds=ORT, instruction_sets=("avx2",)),
    "ort_x86_sse41": Truth(runtime="onnxruntime", kinds=ORT, instruction_sets=("sse4.1",)),
}
"""A target that is not here has no runtime that pip can bring; what it says of itself is "source" or less."""

EMULATED = {"avx2": "Haswell", "sse4.1": "Nehalem"}
"""The CPU of qemu-x86_64 that has an instruction set, and nothing newer."""

OPEN: dict[tuple[str, str], str] = {}
"""(target, op) of which a difference is known and not yet executed, and its rule where that is known.

A verified target must have none; a test fails as soon as one of these is mended and still stands here.
"""
