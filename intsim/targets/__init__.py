"""The machines, by name, and the ways to bring or change one."""

from intsim.target import Target
from intsim.targets.accelerators import GEMMINI_OS, GEMMINI_WS, NVDLA_FULL, NVDLA_SMALL, VTA
from intsim.targets.arm import ETHOS_U, ETHOS_U_16BIT, TOSA_16BIT, TOSA_DOUBLE, TOSA_SINGLE
from intsim.targets.change import find, set_fields, toml, with_accumulator, write_toml
from intsim.targets.cmsis_nn import (
    CMSIS_NN_S4,
    CMSIS_NN_S8,
    CMSIS_NN_S8_SINGLE,
    CMSIS_NN_S16,
    CMSIS_NN_S16_MVE,
)
from intsim.targets.envelopes import AKIDA, EDGE_TPU, HAILO, HTP, NEURAL_ART, NEUTRON, RKNN, TIDL
from intsim.targets.esp import ESP_DL_P4, ESP_DL_S3
from intsim.targets.fpga import FINN, VITIS_DPU
from intsim.targets.hls4ml import HLS4ML, ap_fixed
from intsim.targets.ideal import IDEAL
from intsim.targets.litert import (
    LITERT_16X8,
    LITERT_16X8_BUILTIN,
    LITERT_REF,
    LITERT_RUY_NEON,
    LITERT_RUY_PORTABLE,
    LITERT_RUY_X86,
    LITERT_SINGLE_ROUNDING,
    LITERT_XNNPACK,
)
from intsim.targets.max78000 import MAX78000, MAX78002
from intsim.targets.multiplier import with_multiplier
from intsim.targets.onnxruntime import ORT_ARM64, ORT_X86_AVX2, ORT_X86_SSE41, ORT_X86_VNNI
from intsim.targets.piecewise import GNA, K210
from intsim.targets.pulp import DORY, GAP_SQ8, NE16, PULP_NN, PULP_NN_16BIT
from intsim.targets.riscv import RVV_RDN, RVV_RNE, RVV_RNU, RVV_ROD, rvv
from intsim.targets.tflm import CORAL_NPU, ESP_NN, TFLM, TFLM_16X8
from intsim.targets.verified import verified

_FAMILIES: dict[str, tuple[Target, ...]] = {
    "a definition": (IDEAL,),
    "LiteRT": (
        LITERT_REF,
        LITERT_SINGLE_ROUNDING,
        LITERT_RUY_X86,
        LITERT_RUY_NEON,
        LITERT_RUY_PORTABLE,
        LITERT_XNNPACK,
        LITERT_16X8,
        LITERT_16X8_BUILTIN,
    ),
    "TFLite Micro": (TFLM, TFLM_16X8, ESP_NN, CORAL_NPU),
    "CMSIS-NN": (CMSIS_NN_S8, CMSIS_NN_S8_SINGLE, CMSIS_NN_S4, CMSIS_NN_S16, CMSIS_NN_S16_MVE),
    "onnxruntime": (ORT_X86_VNNI, ORT_X86_AVX2, ORT_X86_SSE41, ORT_ARM64),
    "TOSA, Ethos-U": (TOSA_DOUBLE, TOSA_SINGLE, TOSA_16BIT, ETHOS_U, ETHOS_U_16BIT),
    "open accelerators": (NVDLA_FULL, NVDLA_SMALL, GEMMINI_WS, GEMMINI_OS, VTA),
    "FPGA": (VITIS_DPU, FINN, HLS4ML),
    "microcontrollers": (
        MAX78000,
        MAX78002,
        PULP_NN,
        PULP_NN_16BIT,
        DORY,
        NE16,
        GAP_SQ8,
        ESP_DL_S3,
        ESP_DL_P4,
        K210,
        GNA,
    ),
    "instructions": (RVV_RNU, RVV_RNE, RVV_RDN, RVV_ROD),
    "envelopes": (EDGE_TPU, HAILO, HTP, TIDL, RKNN, NEUTRON, NEURAL_ART, AKIDA),
}

FAMILIES = {family: tuple(map(verified, machines)) for family, machines in _FAMILIES.items()}
"""The catalogue by family; a further machine is one more name above."""

TARGETS: dict[str, Target] = {machine.name: machine for family in FAMILIES.values() for machine in family}


def target(name: str) -> Target:
    """The machine called `name`.

    Of the catalogue, of an installed package, MODULE:NAME, a TOML file's path, or hls4ml's on ap_fixed<W,I,Q,O>.
    """
    return find(name, TARGETS)


__all__ = [
    "FAMILIES",
    "TARGETS",
    "ap_fixed",
    "rvv",
    "set_fields",
    "target",
    "toml",
    "with_accumulator",
    "with_multiplier",
    "write_toml",
]
