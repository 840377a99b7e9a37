"""Our attacks make foolbox's and ART's images, or reach as large a loss where randomness differs."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import attack_peers as peers
import numpy as np
import pytest
import torch

from intsim.attack.catalogue import find
from intsim.attack.craft import craft
from intsim.attack.losses import raised

STORED = Path(__file__).parent / "golden" / "attacks.npz"
WITHOUT = [name for name in ("foolbox", "art") if importlib.util.find_spec(name) is None]
live = pytest.mark.skipif(
    bool(WITHOUT), reason=f"{', '.join(WITHOUT)} not installed: pip install intsim[attacks-bench]"
)


def ours(name: str) -> np.ndarray:
    attack = (peers.SAME | peers.AS_STRONG)[name]
    eps = 255 * peers.EPS[attack.norm]
    towards = peers.TOWARDS if attack.towards else None
    return craft(attack, peers.network, peers.X, peers.Y, eps, grid=None, towards=towards)


def stored(name: str) -> np.ndarray:
    with np.load(STORED) as file:
        return file[name]


def compared(name: str, theirs: np.ndarray) -> None:
    assert np.abs(theirs - peers.X).max() > 0.05
    if name in peers.SAME:
        np.testing.assert_allclose(ours(name), theirs, rtol=0, atol=2e-5)
        return
    loss = peers.AS_STRONG[name].loss
    a, b = (
        raised(loss, peers.network(torch.from_numpy(x)), torch.from_numpy(peers.Y)).numpy()
        for x in (ours(name), theirs)
    )
    clean = raised(loss, peers.network(torch.from_numpy(peers.X)), torch.from_numpy(peers.Y)).numpy()
    assert a.mean() >= b.mean() - 0.01 * (b - clean).mean()


@pytest.mark.parametrize("name", [*peers.SAME, *peers.AS_STRONG])
def test_what_the_peers_once_made_is_what_we_make(name: str) -> None:
    compared(name, stored(name))


@live
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*peers.SAME, *peers.AS_STRONG])
def test_what_the_peers_make_now_is_what_we_make(name: str) -> None:
    theirs = peers.made(name)
    compared(name, theirs)
    np.testing.assert_allclose(theirs, stored(name), rtol=0, atol=1e-4)


@live
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("spec", "theirs"),
    [("art:FastGradientMethod", "art fgsm"), ("art:ProjectedGradientDescent,max_iter=10", "art bim")],
)
def test_an_attack_of_art_is_one_of_ours_by_its_name(spec: str, theirs: str) -> None:
    made = craft(find(spec), peers.network, peers.X, peers.Y, 255 * peers.EPS["linf"], grid=None)
    np.testing.assert_allclose(made, stored(theirs), rtol=0, atol=1e-5)


@live
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("spec", ["art:SquareAttack,max_iter=300", "art:HopSkipJump,max_iter=10,norm=l2"])
def test_attacks_of_art_run_on_an_emulated_chip(spec: str) -> None:
    import intsim
    from intsim.attack.outside import black_box
    from intsim.normalise import normalise
    from intsim.onnx_io import read
    from intsim_models import images, path

    shipped = images()
    x, y = shipped.x[:20], shipped.y[:20].astype(np.int64)
    program = intsim.build(normalise(read(path("mlp")))[0], "cmsis_nn_s8", calibration=shipped.x[-100:])
    output = next(iter(program.outputs))
    answer: Callable[[np.ndarray], np.ndarray] = lambda pixels: intsim.run(program, pixels).integers[output]  # noqa: E731
    steps = 16.0 if "Square" in spec else 600.0
    made = craft(find(spec), black_box(answer), x, y, steps)
    assert made.dtype == np.uint8
    assert (answer(made).argmax(1) == y).sum() < (answer(x).argmax(1) == y).sum()
