"""Files that appear whole or not at all."""

import os
import tempfile
from pathlib import Path

from intsim.errors import IntsimError


def write_atomically(path: str | Path, data: bytes) -> None:
    """Writes by renaming a finished neighbour, so that nobody ever reads half a file.

    Raises IntsimError where the folder is missing or not writable, or the disk is full; nothing is left behind.
    """
    path = Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
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
