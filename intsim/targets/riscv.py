"""The RISC-V vector extension: fixed-point instructions under each rounding mode of vxrm."""

from intsim.integers import Rounding
from intsim.target import Divide, FixedPoint, Mac, RescaledSum, Target, ThreeRescales
from intsim.targets.functions import EXACT
from intsim.targets.tflm import SIGNED


def rvv(vxrm: str) -> Target:
    """A machine that requantizes by vsmul and vnclip under `vxrm`: "rnu", "rne", "rdn" or "rod"."""
    mode = Rounding(vxrm)
    rule = FixedPoint(first=mode, rounding=mode)
    return Target(
        name=f"rvv_{vxrm}",
        description=f"RISC-V V, vxrm = {vxrm}: vsmul by a Q31 multiplier, then vnclip, both {mode.value}",
        scheme=SIGNED,
        mac=Mac(zero_point="folded"),
        requantize=rule,
        average_pool=Divide(rounding=mode),
        mean=RescaledSum(requantize=rule, encoding="tflite"),
        add=ThreeRescales(left_shift=20, requantize=rule),
        convert=rule,
        multiply=rule,
        source=(
            "riscv/riscv-isa-sim 55b4658d riscv/v_ext_macros.h INT_ROUNDING, insns/vsmul_vv.h, vnclip_wi.h: the "
            "instructions. That a kernel is made of them in this order, in every operator, is an inference" + EXACT
        ),
        fidelity="source",
    )


RVV_RNU, RVV_RNE, RVV_RDN, RVV_ROD = map(rvv, ("rnu", "rne", "rdn", "rod"))
