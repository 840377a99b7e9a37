"""A Program as a file: a zip of JSON and .npy members with a format version, read without pickle."""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from intsim.errors import IntsimError
from intsim.files import DAMAGE, write_atomically
from intsim.program import Program

FORMAT = 1
SUFFIX = ".intsim"
_LIMIT = 4 << 30  # bytes that a file may unpack to: a Program is never larger, a hostile file easily is


def write(program: Program, path: str | Path) -> None:
    """Writes the Program to `path`; the file appears whole or not at all."""
    arrays: list[np.ndarray] = []
    plain = _plain(program, arrays, once=True)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        _member(file, "intsim.json", json.dumps({"format": FORMAT}).encode())
        _member(file, "program.json", json.dumps(plain).encode())
        for index, array in enumerate(arrays):
            member = io.BytesIO()
            np.save(member, array, allow_pickle=False)
            _member(file, f"{index}.npy", member.getvalue())
    write_atomically(path, buffer.getvalue())


def read(path: str | Path) -> Program:
    """The Program of a file. IntsimError for anything that is none, is damaged, or is of a newer format."""
    where = str(path)
    try:
        with zipfile.ZipFile(path) as file:
            if sum(info.file_size for info in file.infolist()) > _LIMIT:
                raise IntsimError("unpacks to more than 4 GiB", where=where, mend="this is no file of ours")
            version = json.loads(file.read("intsim.json"))["format"]
            if version != FORMAT:
                raise IntsimError(
                    f"is of format {version}, this version reads {FORMAT}", where=where, mend="upgrade intsim"
                )
            plain = json.loads(file.read("program.json"))  # an unbounded Clip is written as Infinity
            count = sum(name.endswith(".npy") for name in file.namelist())
            arrays = [np.load(io.BytesIO(file.read(f"{index}.npy")), allow_pickle=False) for index in range(count)]
        return _restored(plain, arrays)
    except IntsimError as error:
        raise error if error.where else IntsimError(error.what, where=where, mend=error.mend) from None
    except OSError as reason:
        what = f"cannot be read: {reason.strerror}" if reason.strerror else "is damaged"
        raise IntsimError(what, where=where) from None
    except (KeyError, IndexError, TypeError, *DAMAGE) as reason:
        raise IntsimError(f"is no Program, or a damaged one ({reason})", where=where) from None


def digest(record: Any) -> str:
    """sha256 over every field and every array: equal for equal records, on every machine."""
    arrays: list[np.ndarray] = []
    plain = _plain(record, arrays)
    total = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for array in arrays:
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def _member(file: zipfile.ZipFile, name: str, data: bytes) -> None:
    """A member without the time of day, so that equal Programs give equal files."""
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    file.writestr(info, data)


def _plain(record: Any, arrays: list[np.ndarray], *, once: bool = False) -> Any:
    """The record without its arrays, which go into `arrays`: each as often as it occurs, or `once`."""
    known: dict[int, int] = {}

    def hook(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            if once and id(value) in known:
                return {"npy": known[id(value)]}
            known[id(value)] = len(arrays)
            arrays.append(value)
            return {"npy": len(arrays) - 1}
        raise NotImplementedError(type(value))

    return msgspec.to_builtins(record, enc_hook=hook)


def _restored(plain: Any, arrays: list[np.ndarray]) -> Program:
    def hook(type_: type, value: Any) -> Any:
        if type_ is np.ndarray:
            array = arrays[value["npy"]]
            array.flags.writeable = False
            return array
        raise NotImplementedError(type_)

    return msgspec.convert(plain, Program, dec_hook=hook)
