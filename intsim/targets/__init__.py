"""The machines, by name, and the ways to bring or change one."""

from intsim.target import Target
from intsim.targets.accelerators import ESP_DL_S3, GEMMINI_OS, GEMMINI_WS, NVDLA_SMALL, VTA
from intsim.targets.change import find, set_fields, toml, with_accumulator, write_toml
from intsim.targets.ideal import IDEAL
from intsim.targets.litert import CMSIS_NN_S8, LITERT_REF, LITERT_RUY_X86, LITERT_XNNPACK, TFLM
from intsim.targets.multiplier import with_multiplier
from intsim.targets.onnxruntime import ORT_X86_AVX2, ORT_X86_VNNI

TARGETS: dict[str, Target] = {
    "ideal": IDEAL,
    "litert_ref": LITERT_REF,
    "litert_ruy_x86": LITERT_RUY_X86,
    "litert_xnnpack": LITERT_XNNPACK,
    "tflm": TFLM,
    "cmsis_nn_s8": CMSIS_NN_S8,
    "ort_x86_vnni": ORT_X86_VNNI,
    "ort_x86_avx2": ORT_X86_AVX2,
    "nvdla_small": NVDLA_SMALL,
    "gemmini_ws": GEMMINI_WS,
    "gemmini_os": GEMMINI_OS,
    "vta": VTA,
    "esp_dl_s3": ESP_DL_S3,
}


def target(name: str) -> Target:
    """The machine called `name`: of the catalogue, of an installed package, MODULE:NAME, or a TOML file's path."""
    return find(name, TARGETS)


__all__ = ["TARGETS", "set_fields", "target", "toml", "with_accumulator", "with_multiplier", "write_toml"]
