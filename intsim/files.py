"""Files read whole or refused, and files that appear whole or not at all."""

import os
import tempfile
import tomllib
import zipfile
import zlib
from pathlib import Path
from typing import Any

from intsim.errors import IntsimError

DAMAGE = (ValueError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What the readers of zip files and .npy members raise for damaged, encrypted, oversized or exotic ones."""


def read_toml(path: Path) -> dict[str, Any]:
    """The fields of a TOML file. Raises IntsimError where it cannot be read, or is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as reason:
        raise IntsimError(f"cannot be read: {reason.strerror}", where=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise IntsimError(f"is not TOML: {reason}", where=str(path)) from None


def write_atomically(path: str | Path, data: bytes) -> None:
    """Writes by renaming a finished neighbour, so that nobody ever reads half a file.

    Raises IntsimError where the folder is missing or not writable, or the disk is full; nothing is left behind.
    """
    temporary = None
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            Path(path).write_bytes(data)  # a device or a pipe (/dev/null, /dev/stdout) is never replaced by a file
            return
        final = Path(os.path.realpath(path))  # a link stays one
        handle, temporary = tempfile.mkstemp(dir=final.parent, prefix=f".{final.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, final)
    except OSError as reason:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise IntsimError(
            f"cannot be written: {reason.strerror}", where=str(path), mend="choose another place with -o"
        ) from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
