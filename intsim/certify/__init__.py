"""Certificates: what is proven of a Program for every image within a radius of each given one."""

from intsim.certify.whole import Certificate, certify

__all__ = ["Certificate", "certify"]
