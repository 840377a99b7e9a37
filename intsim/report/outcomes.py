"""Every judge's outcome on every single image, as arrays in an .npz that anybody can recompute the report from."""

import io

import numpy as np

from intsim.evaluate.records import labels
from intsim.report.record import Results

TEXT = ("network", "target", "attack", "norm", "crafted_on", "images")
NUMBERS = ("eps_steps", "seed", "n")


def outcomes(found: Results) -> bytes:
    """An .npz of the results' rows: entry i of every array is row i, one (network, seed, attack, eps, target).

    `network`, `target`, `attack`, `norm`, `crafted_on`, `images` (digest): text. `eps_steps`: radius in steps of 1/255.
    `right[rows, n]`, `right_ties_wrong`, `right_ties_right`: bool, packed along the images by numpy.packbits (undo with
    `numpy.unpackbits(right, axis=1, count=n)`). `answers[rows, n]`: the class answered; 65535 where there are none.
    The same results give the same bytes.
    """
    rows = found.rows
    held: dict[str, np.ndarray] = {name: np.array([getattr(row, name) for row in rows]) for name in (*TEXT, *NUMBERS)}
    for name, packed in (
        ("right", [row.right for row in rows]),
        ("right_ties_wrong", [row.ties_wrong or row.right for row in rows]),
        ("right_ties_right", [row.ties_right or row.right for row in rows]),
    ):
        held[name] = np.stack([np.frombuffer(one, np.uint8) for one in packed])
    said = [labels(row) for row in rows]
    none = np.full(found.n, 65535)
    held["answers"] = np.stack([none if one is None else one for one in said]).astype(np.uint16)
    file = io.BytesIO()
    np.savez_compressed(file, **held)  # type: ignore[arg-type]
    return file.getvalue()
