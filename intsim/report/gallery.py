"""Images as small PNG files inside the page: clean, what was added, attacked."""

import base64
import struct
import zlib

import numpy as np

LARGEST = 96
"""Pixels along a side, beyond which an image is thinned out for the page."""


def unpacked(pixels: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """The uint8 image `[c, h, w]` whose bytes stand in a results file."""
    return np.frombuffer(pixels, np.uint8).reshape(shape)


def thumbnail(image: np.ndarray) -> np.ndarray:
    """`image[c, h, w]`, or every k-th pixel of it where it is larger than `LARGEST` along a side."""
    step = -(-max(image.shape[1:]) // LARGEST)
    return image[:, ::step, ::step]


def added(clean: np.ndarray, attacked: np.ndarray, eps: float) -> np.ndarray:
    """The perturbation as an image: grey is nothing, black and white are -eps and +eps steps."""
    moved = attacked.astype(np.float64) - clean
    return np.clip(np.rint(127.5 + 127.5 * moved / max(eps, 1.0)), 0, 255).astype(np.uint8)


def data_uri(image: np.ndarray) -> str:
    """`image[c, h, w]`, uint8, grey or RGB, as a PNG inside a data: address.

    Source: PNG (Portable Network Graphics) Specification, W3C, third edition, sections 5.3 and 11.2.
    """
    shown = image[:3] if image.shape[0] >= 3 else image[:1]
    channels, height, width = shown.shape
    rows = np.moveaxis(shown, 0, -1).reshape(height, width * channels)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(raw, 9)) + _chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunks).decode("ascii")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
