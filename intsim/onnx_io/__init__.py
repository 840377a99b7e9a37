"""ONNX files: float ones become a Graph."""

from intsim.onnx_io.read import read

__all__ = ["read"]
