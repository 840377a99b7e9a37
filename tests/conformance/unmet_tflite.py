"""Why no case meets some fields of TFLite's machines: what their kernels do not have."""

_WIDE = ("litert_16x8", "litert_16x8_builtin", "tflm_16x8")

UNMET: dict[tuple[str, str], str] = {
    ("litert_ref", "functions.other"): "LiteRT's reference kernels have no Elu and no Softplus (BuiltinRefOpResolver)",
    **{(target, "functions.other"): "TFLite has Elu in 8 bits only, and no Softplus" for target in _WIDE},
    **{(target, "functions.hard_swish"): "TFLite has HardSwish in 8 bits only" for target in _WIDE},
    **{
        ("tflm_16x8", f"resize.{field}"): "TFLite Micro's ResizeBilinear takes float32 and int8 (resize_bilinear.cc)"
        for field in ("linear", "bits", "rounding")
    },
}
"""(target, how the path of a field begins) to the reason."""
