"""Cases and answers as few flat arrays: what is sent to another process, and what stands in tests/golden."""

import hashlib
import io
import lzma
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from conformance.building import Case

Answer = np.ndarray | str
"""A case's output `[n, c, ...]`, or in a few words why the runtime did not take the case."""


def packed(cases: Sequence[Case]) -> dict[str, np.ndarray]:
    """The cases as JSON, and one flat array for each type of numbers."""
    flat: dict[str, list[np.ndarray]] = {}
    lengths: dict[str, int] = {}

    def hook(array: Any) -> Any:
        kind = array.dtype.name
        begin = lengths.get(kind, 0)
        lengths[kind] = begin + array.size
        flat.setdefault(kind, []).append(np.ascontiguousarray(array).reshape(-1))
        return [kind, begin, list(array.shape)]

    text = msgspec.json.encode(list(cases), enc_hook=hook)
    return {"cases": np.frombuffer(text, np.uint8), **{kind: np.concatenate(parts) for kind, parts in flat.items()}}


def unpacked(arrays: Mapping[str, np.ndarray]) -> list[Case]:
    """The cases of `packed`."""

    def hook(type_: type, value: Any) -> np.ndarray:
        kind, begin, shape = value
        return arrays[kind][begin : begin + math.prod(shape)].reshape(shape)

    return msgspec.json.decode(arrays["cases"].tobytes(), type=list[Case], dec_hook=hook)


def digest(case: Case) -> str:
    """What tells a case from every other: of its network, its numbers and their types."""
    found = hashlib.sha256()
    for name, array in packed([case]).items():
        found.update(f"{name} {array.size} ".encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def answers_packed(answers: Mapping[str, Answer], base: Mapping[str, Answer] | None = None) -> dict[str, np.ndarray]:
    """The answers as JSON and one flat array, each as its difference from `base`'s where that has the case."""
    index, parts, begin = {}, [np.empty(0, np.int32)], 0
    for name, answer in answers.items():
        if isinstance(answer, str):
            index[name] = answer
            continue
        against = (base or {}).get(name)
        less = against.astype(np.int32) if isinstance(against, np.ndarray) else 0
        index[name] = [answer.dtype.name, begin, list(answer.shape)]
        parts.append((answer.astype(np.int32) - less).reshape(-1))
        begin += answer.size
    values = np.concatenate(parts)
    for narrow in (np.int8, np.int16):
        if values.size and np.iinfo(narrow).min <= values.min() and values.max() <= np.iinfo(narrow).max:
            values = values.astype(narrow)
            break
    return {"index": np.frombuffer(msgspec.json.encode(index), np.uint8), "values": values}


def answers_unpacked(arrays: Mapping[str, np.ndarray], base: Mapping[str, Answer] | None = None) -> dict[str, Answer]:
    """The answers of `answers_packed`."""
    found: dict[str, Answer] = {}
    for name, entry in msgspec.json.decode(arrays["index"].tobytes()).items():
        if isinstance(entry, str):
            found[name] = entry
            continue
        kind, begin, shape = entry
        values = arrays["values"][begin : begin + math.prod(shape)].reshape(shape)
        against = (base or {}).get(name)
        found[name] = (values + against if isinstance(against, np.ndarray) else values).astype(kind)
    return found


# ---- files -----------------------------------------------------------------------------------------------------


def save(path: Path, parts: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Groups of arrays in one .npz, as GROUP|NAME; packed once more where the path ends in .xz."""
    file = io.BytesIO()
    np.savez(file, **{f"{group}|{name}": a for group, arrays in parts.items() for name, a in arrays.items()})
    plain = file.getvalue()
    path.write_bytes(lzma.compress(plain, preset=9) if path.suffix == ".xz" else plain)


def load(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """The groups of `save`."""
    found: dict[str, dict[str, np.ndarray]] = {}
    plain = path.read_bytes()
    with np.load(io.BytesIO(lzma.decompress(plain) if path.suffix == ".xz" else plain), allow_pickle=False) as file:
        for key in file.files:
            group, name = key.split("|")
            found.setdefault(group, {})[name] = file[key]
    return found
