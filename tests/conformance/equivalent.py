"""Changes of a target that change no result, each with its proof: by the theorems, or a single one."""

from collections.abc import Callable, Iterator

from conformance import equal_others, equal_tflite, equal_tosa_finn

EQUIVALENT: dict[tuple[str, str, str], str] = {
    **equal_tflite.EQUIVALENT,
    **equal_others.EQUIVALENT,
    **equal_tosa_finn.EQUIVALENT,
}
"""(target, field, value) to the proof; alternatives are written A|B, and a star ends a prefix."""


def proofs(target: str, path: str, value: str, same: Callable[[], bool]) -> Iterator[str]:
    """Why the change is none; `same` says whether the theorems make the two targets one."""
    if same():
        yield "the theorems of conformance/theorems.py"
    for (names, field, values), reason in EQUIVALENT.items():
        if _fits(target, names) and _fits(path, field) and _fits(value, values):
            yield reason


def _fits(text: str, pattern: str) -> bool:
    return any(one == text or (one.endswith("*") and text.startswith(one[:-1])) for one in pattern.split("|"))
