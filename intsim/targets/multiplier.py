"""Multipliers as tables: read from .npy files, put into machines, kept beside the TOML that names them."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from intsim.errors import IntsimError
from intsim.files import DAMAGE, write_atomically
from intsim.target import Mac, Table, Target

MEND = "save 256 x 256 integers: row = activation's pattern, column = weight's"


def with_multiplier(
    target: Target,
    table: np.ndarray | str | Path,
    *,
    signed_activations: bool | None = None,
    signed_weights: bool | None = None,
) -> Target:
    """The machine with every product looked up in `table[256, 256]`: integers that fit int32, or an .npy file of them.

    The row is the activation's 8-bit pattern, the column the weight's (22). Whether the multiplier reads them as
    signed: as the machine's preferred types are, unless given. IntsimError for anything that is no such table.
    """
    scheme = target.scheme
    signs = {
        "signed_activations": scheme.activations[0].signed if signed_activations is None else signed_activations,
        "signed_weights": scheme.weights[0].signed if signed_weights is None else signed_weights,
    }
    if isinstance(table, np.ndarray):
        found = _table({"entries": table, **signs}, "multiplier")
    else:
        path = Path(table)
        found = _table({"entries": read_entries(path), "file": path.name, **signs}, str(path))

    def multiplied(mac: Mac | None) -> Mac | None:
        return None if mac is None else replace(mac, multiplier=found)

    suffix = Path(found.file).stem
    return replace(
        target,
        name=f"{target.name}+{suffix}",
        description=f"{target.description}; products by the table {suffix}",
        mac=replace(target.mac, multiplier=found),
        overrides=tuple(replace(o, mac=multiplied(o.mac)) for o in target.overrides),
        fidelity="assumed",
        verified_with="",
    )


def read_entries(path: Path) -> np.ndarray:
    """The array of an .npy file, whatever it is; IntsimError where there is none."""
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except OSError as reason:
        raise IntsimError(f"cannot be read: {reason.strerror}", where=str(path), mend=MEND) from None
    except DAMAGE as reason:
        what = " ".join(str(reason).split())
        raise IntsimError(f"is no .npy file: {what}", where=str(path), mend=MEND) from None
    assert isinstance(array, np.ndarray)
    return array


def write_beside(target: Target, folder: Path) -> tuple[Path, ...]:
    """The .npy files of the machine's multipliers, written into `folder` where they are not there already."""
    paths = []
    for table in dict.fromkeys(tables(target)):
        path = folder / table.file
        if path.exists():
            if _table({"entries": read_entries(path)}, str(path)).sha256 != table.sha256:
                raise IntsimError("holds another multiplier", where=str(path), mend="choose another folder")
        else:
            data = io.BytesIO()
            np.save(data, table.entries, allow_pickle=False)
            write_atomically(path, data.getvalue())
        paths.append(path)
    return tuple(paths)


def tables(target: Target) -> tuple[Table, ...]:
    """The multipliers that the machine has, one for each of its rules that has one."""
    macs = [target.mac, *(o.mac for o in target.overrides if o.mac is not None)]
    return tuple(mac.multiplier for mac in macs if mac.multiplier is not None)


# ---- plain fields, where a table is named but not written out --------------------------------------------------


def plain(target: Target) -> Any:
    """The machine as plain fields; a multiplier's entries are None."""
    return msgspec.to_builtins(target, enc_hook=lambda value: None)


def filled(fields: Any, find: Callable[[dict[str, Any]], np.ndarray]) -> Any:
    """The plain fields with every multiplier's entries, which `find` gives from the fields of the multiplier."""
    if isinstance(fields, dict):
        known = {key: filled(value, find) for key, value in fields.items()}
        mac = known.get("multiplier")
        if isinstance(mac, dict) and mac.get("entries") is None:
            known["multiplier"] = {**mac, "entries": find(mac)}
        return known
    return [filled(value, find) for value in fields] if isinstance(fields, list | tuple) else fields


def beside(folder: Path) -> Callable[[dict[str, Any]], np.ndarray]:
    """Finds a multiplier's entries in the file that it names, in `folder`."""

    def find(fields: dict[str, Any]) -> np.ndarray:
        name = fields.get("file")
        if not isinstance(name, str) or not name:
            raise IntsimError("names no file", where="multiplier", mend='write file = "NAME.npy"')
        entries = read_entries(folder / name)
        _table({"entries": entries}, str(folder / name))
        return entries

    return find


def among(known: tuple[Table, ...]) -> Callable[[dict[str, Any]], np.ndarray]:
    """Finds a multiplier's entries among tables that there are, by their sha256."""
    entries = {table.sha256: table.entries for table in known}

    def find(fields: dict[str, Any]) -> np.ndarray:
        if fields.get("sha256") not in entries:
            raise IntsimError("cannot be set by a field", where="multiplier", mend="use --multiplier FILE.npy")
        return entries[fields["sha256"]]

    return find


def _table(fields: dict[str, Any], where: str) -> Table:
    try:
        return msgspec.convert(fields, Table, dec_hook=lambda type_, value: value)
    except msgspec.ValidationError as reason:
        raise IntsimError(str(reason), where=where, mend=MEND) from None
