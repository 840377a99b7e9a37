"""What people use for this today gives the same integers as ours, where it can say what ours does."""

import importlib.util
import shutil

import numpy as np
import pytest

from intsim.bench import PEERS
from intsim.bench.people import FEW, GOALS, work
from intsim.bench.records import AP_FIXED, FAKE, QONNX
from intsim.bench.shapes import parse
from intsim.engine import run
from intsim.errors import IntsimError
from intsim.reference import ap_fixed

NEEDS = {QONNX: "qonnx", AP_FIXED: "hls4ml", FAKE: "torch"}


def there(name: str) -> None:
    if importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    if name == AP_FIXED and shutil.which("g++") is None:
        pytest.skip("no g++")


@pytest.mark.parametrize("bits", [None, 12], ids=["32 bits", "12 bits saturating"])
@pytest.mark.parametrize("name", NEEDS)
def test_each_gives_our_integers_where_it_has_our_register(name: str, bits: int | None) -> None:
    there(name)
    wanted = work("cnn", bits, FEW)
    peer = PEERS[name](wanted)
    assert peer is not None
    assert peer.equal == (bits is None or name == AP_FIXED)
    (ours,) = run(wanted.program, wanted.x).integers.values()
    theirs = peer.function()
    assert theirs.shape == ours.shape
    if peer.equal:
        assert (theirs == ours).all()
    if bits is not None:
        (wide,) = run(work("cnn", None, FEW).program, wanted.x).integers.values()
        assert (wide != ours).any(), "nothing saturates: the comparison would say nothing"
    assert len(np.unique(ours)) > 8


def test_they_take_only_their_own_works() -> None:
    for name in GOALS:
        assert PEERS[name](parse("gemm:4x4x4")) is None


def test_what_is_not_spelled_in_c_is_refused_by_name() -> None:
    with pytest.raises(IntsimError, match="is u8 with zero point"):
        ap_fixed.source(parse("conv:6x6x3:3x3:4").program)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(IntsimError, match="hls4ml: is not installed"):
        ap_fixed.headers()
