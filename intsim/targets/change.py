"""Machines found, written and changed: by name, as TOML, with another accumulator, field by field."""

import importlib
import tomllib
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from intsim import files
from intsim.errors import IntsimError, unknown
from intsim.integers import Overflow
from intsim.target import Level, Mac, Target
from intsim.targets.choices import choices
from intsim.targets.hls4ml import spelled
from intsim.targets.multiplier import among, beside, filled, plain, tables, write_beside

SPEECH = ("name", "description", "source", "fidelity", "verified_with")
"""The fields that say what a machine is, and nothing of what it computes."""


def find(name: str, catalogue: Mapping[str, Target]) -> Target:
    """The machine called `name`.

    Of the catalogue or an installed package, MODULE:NAME, a TOML file's path, or ap_fixed<W,I,Q,O>.
    """
    if name in catalogue:
        return catalogue[name]
    if name.endswith(".toml"):
        return read_toml(Path(name), catalogue)
    if name.startswith(("ap_", "ac_")) and "<" in name:
        return spelled(name)
    if ":" in name:
        return _imported(name)
    plugins = {point.name: point for point in entry_points(group="intsim.targets")}
    if name in plugins:
        return _checked(plugins[name].load(), name)
    raise unknown("target", name, [*catalogue, *plugins])


def _imported(name: str) -> Target:
    module, _, attribute = name.partition(":")
    try:
        return _checked(getattr(importlib.import_module(module), attribute), name)
    except (ImportError, AttributeError) as reason:
        raise IntsimError(f"cannot be imported: {reason}", where=name, mend="write MODULE:NAME") from None


def _checked(value: object, name: str) -> Target:
    if not isinstance(value, Target):
        raise IntsimError(f"is a {type(value).__name__}, not an intsim.Target", where=name)
    return value


# ---- TOML ------------------------------------------------------------------------------------------------------


def toml(target: Target) -> str:
    """The machine as TOML; reading it back gives an equal Target. What is not there has its default.

    A multiplier is named, not written out: its .npy file belongs beside the TOML (`write_toml` writes both).
    """
    return msgspec.toml.encode(_without_none(plain(target))).decode()


def write_toml(target: Target, path: str | Path) -> tuple[Path, ...]:
    """Writes the machine as TOML, and its multipliers as .npy files beside it; the paths of those.

    IntsimError where a file of that name holds another multiplier.
    """
    written = write_beside(target, Path(path).parent)
    files.write_atomically(path, toml(target).encode())
    return written


def read_toml(path: Path, catalogue: Mapping[str, Target]) -> Target:
    """The machine of a TOML file. IntsimError names the field that is wrong, by its path.

    It is as sure as the catalogue's of that name where it computes as that one does; otherwise it is "assumed".
    """
    read = _converted(filled(files.read_toml(path), beside(path.parent)), str(path))
    own = catalogue.get(read.name)
    if own is not None and arithmetic(own) == arithmetic(read):
        return replace(read, fidelity=own.fidelity, verified_with=own.verified_with)
    return replace(read, fidelity="assumed", verified_with="")


def arithmetic(target: Target) -> Target:
    """The machine without its name, its description and how sure it is: two that are equal compute the same."""
    return replace(target, **dict.fromkeys(SPEECH, ""))


def _converted(fields: Any, where: str) -> Target:
    try:
        return msgspec.convert(fields, Target, dec_hook=lambda type_, value: value)
    except msgspec.ValidationError as reason:
        known = choices(str(reason))
        mend = f"choose {', '.join(known)}" if known else "intsim targets export NAME shows a complete one"
        raise IntsimError(str(reason), where=where, mend=mend) from None


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value


# ---- changes ---------------------------------------------------------------------------------------------------


def with_accumulator(target: Target, bits: int, overflow: Overflow, tile: int | None = None) -> Target:
    """The machine with an accumulator of `bits` bits at every MAC, or after exact sums of `tile` products.

    The bias is added in that same register. IntsimError unless 4 <= bits <= 64 and tile >= 1.
    """
    if not 4 <= bits <= 64:
        raise IntsimError(f"an accumulator of {bits} bits", where="--accumulator", mend="choose 4 to 64")
    if tile is not None and tile < 1:
        raise IntsimError(f"a tile of {tile} products", where="--tile", mend="choose 1 or more")
    outer = Level(bits=bits, overflow=overflow)
    levels = (outer,) if tile is None else (Level(size=tile), outer)

    def narrowed(mac: Mac | None) -> Mac | None:
        return None if mac is None else replace(mac, levels=levels)

    suffix = f"acc{bits}_{overflow.value}" + (f"_tile{tile}" if tile else "")
    return replace(
        target,
        name=f"{target.name}+{suffix}",
        description=f"{target.description}; accumulator replaced: {suffix}",
        mac=replace(target.mac, levels=levels),
        bias=replace(target.bias, bits=None),
        overrides=tuple(
            replace(o, mac=narrowed(o.mac), bias=None if o.bias is None else replace(o.bias, bits=None))
            for o in target.overrides
        ),
        fidelity="assumed",
        verified_with="",
    )


def set_fields(target: Target, settings: Mapping[str, str]) -> Target:
    """The machine with fields changed: {"mac.levels.0.bits": "16", "requantize.rounding": "half_even"}.

    A value is read as TOML, and as a bare string where it is none. IntsimError names a field that does not exist.
    """
    fields = msgspec.json.decode(msgspec.json.encode(plain(target)))
    for path, text in settings.items():
        _set(fields, path.split("."), _value(text), path)
    if settings:
        changes = ",".join(f"{path}={text}" for path, text in settings.items())
        if "name" not in settings:
            fields["name"] = f"{target.name}+{changes}"
        fields |= {"fidelity": "assumed", "verified_with": ""}
    return _converted(filled(_without_none(fields), among(tables(target))), f"--set on {target.name}")


def _set(fields: Any, path: list[str], value: Any, whole: str) -> None:
    for key in path[:-1]:
        fields = _item(fields, key, whole)
    _item(fields, path[-1], whole)
    if path[-1] == "rule":  # another rule has other fields: they start from their defaults
        fields.clear()
    fields[int(path[-1]) if isinstance(fields, list) else path[-1]] = value


def _item(fields: Any, key: str, whole: str) -> Any:
    if isinstance(fields, list) and key.isdigit() and int(key) < len(fields):
        return fields[int(key)]
    if isinstance(fields, dict) and key in fields:
        return fields[key]
    known = list(fields) if isinstance(fields, dict) else [str(i) for i in range(len(fields or ()))]
    raise IntsimError(f'no field "{key}"', where=f"--set {whole}", mend=f"there are {', '.join(known)}")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text
