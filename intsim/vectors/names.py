"""The names of files and of C's identifiers."""

import re


def file_stem(index: int, name: str) -> str:
    """03_conv_1: what the names of a layer's files begin with, whatever the network calls the layer."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower()[:40]
    return f"{index:02d}_{plain or 'layer'}"


def quoted(text: str) -> str:
    """The text as a C string; what is not ASCII becomes "?"."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if 32 <= ord(char) < 127 and char not in '"\\?%':
        return char
    return f"\\{ord(char) if ord(char) < 128 else ord('?'):03o}"


def comment(text: str) -> str:
    """The text as it may stand in a comment."""
    return " ".join(text.replace("*/", "* /").replace("/*", "/ *").replace("\\", "/").split())
