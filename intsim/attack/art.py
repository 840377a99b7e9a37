"""The Adversarial Robustness Toolbox (ART) in both directions: our networks as its classifiers, its attacks as ours."""

import importlib
import inspect
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from intsim.attack import door
from intsim.attack.catalogue import ART, options
from intsim.attack.norms import NORMS
from intsim.attack.outside import Function, black_box
from intsim.attack.twin import Network
from intsim.errors import IntsimError, unknown

STEP = 0.25
"""The step size that an attack of ART gets where nothing is said, times the radius."""

FREELY = 1e-4
"""How much longer than the radius images in float32 may be and still count as inside, times the radius."""


def classifier(network: Network, shape: tuple[int, ...], classes: int) -> Any:
    """The differentiable `network` as an ART PyTorchClassifier: images[n, *shape] in 0..1 to logits[n, classes].

    Raises IntsimError where ART is not installed.
    """
    torch, estimators = door.torch(), _art("estimators.classification")
    module = torch.nn.Module()
    module.forward = network
    return estimators.PyTorchClassifier(
        model=module,
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=shape,
        nb_classes=classes,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )


def black_box_classifier(
    answer: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...], classes: int, grid: int | None = 255
) -> Any:
    """What answers pixels as a chip does, as an ART black box: images[n, *shape] in 0..1, rounded to the grid.

    `answer`: pixels[n, *shape] -> outputs[n, classes], such as a judge's of `intsim.evaluate`. Raises IntsimError.
    """
    return _black_box(black_box(answer, grid), shape, classes)


def function(spec: str, norm: str) -> Function:
    """The attack of ART that "art:NAME,KEY=VALUE,..." means, in the "linf" or "l2" ball; keys are those of its class.

    It runs on `classifier` where the network has gradients, else on a black box. `eps` is the radius, `eps_step` STEP
    times it unless given. Where the attack has no radius but looks for the nearest images, those within it count, the
    others stay clean. `seed` (default 0) seeds numpy's, torch's and Python's generators, which are then put back; each
    batch starts with it. Raises IntsimError for a name or a key that ART does not have.
    """
    name, given = options(spec.removeprefix(ART))
    evasion = _art("attacks.evasion")
    known = [other for other, found in vars(evasion).items() if inspect.isclass(found)]
    if name not in known:
        raise unknown("attack of ART", name, known)
    made, seed = getattr(evasion, name), given.pop("seed", 0)
    given.pop("norm", None)
    takes = list(inspect.signature(made).parameters)[1:]
    for key in given:
        if key not in takes or key in ("eps", "targeted"):
            mend = "the radius is --eps, and attacks are untargeted" if key in takes else f"it takes {', '.join(takes)}"
            raise IntsimError(f'takes no "{key}" here', where=spec, mend=mend)

    def run(network: Network, x: Any, y: Any, eps: float) -> np.ndarray:
        ours = {"norm": np.inf if norm == "linf" else 2, "eps": eps, "eps_step": STEP * eps}
        ours |= {"batch_size": len(x), "verbose": False}
        arguments = {**{key: value for key, value in ours.items() if key in takes}, **given}
        attack = _checked(spec, lambda: made(_estimator(network, x), **arguments))
        return _generated(spec, attack, x, y, eps, norm, seed)

    return run


def wrapped(attack: Any, norm: str = "linf", seed: int = 0) -> Function:
    """An attack object of ART on an estimator of its own, as a function (network, x, y, eps) that ignores the network.

    Its `eps`, if it has one, is set to the radius; see `function` for attacks without.
    """

    def run(network: Network, x: Any, y: Any, eps: float) -> np.ndarray:
        if hasattr(attack, "eps"):
            step = (
                {"eps_step": min(attack.eps_step, eps)} if isinstance(getattr(attack, "eps_step", None), float) else {}
            )
            attack.set_params(eps=eps, **step)
        return _generated(type(attack).__name__, attack, x, y, eps, norm, seed)

    return run


def _generated(where: str, attack: Any, x: Any, y: Any, eps: float, norm: str, seed: int) -> np.ndarray:
    """What the attack makes of the images; clean ones where it has no radius and went further."""
    clean = x.numpy()
    with _seeded(seed):
        found = np.asarray(_checked(where, lambda: attack.generate(clean.copy(), y=y.numpy())), np.float32)
    if hasattr(attack, "eps") or found.shape != clean.shape:
        return found
    near = NORMS[norm].length(found.astype(np.float64) - clean) <= eps * (1 + FREELY)
    return np.where(near.reshape(-1, *(1,) * (clean.ndim - 1)), found, clean)


def _estimator(network: Network, x: Any) -> Any:
    """The network as the ART estimator that it can be, asked about the first image how many classes it has."""
    torch = door.torch()
    with torch.enable_grad():
        logits = network(x[:1].clone().requires_grad_())
    make = classifier if logits.requires_grad else _black_box
    return make(network, tuple(x.shape[1:]), logits.shape[1])


def _black_box(network: Network, shape: tuple[int, ...], classes: int) -> Any:
    torch, estimators = door.torch(), _art("estimators.classification")

    def predict(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(network(torch.from_numpy(np.asarray(x, np.float32))), np.float32)

    # Of the two kinds of black box in ART, this is the one that Square takes, too.
    kind = estimators.blackbox.BlackBoxClassifierNeuralNetwork
    return kind(predict, input_shape=shape, nb_classes=classes, clip_values=(0.0, 1.0))


def _checked(where: str, run: Callable[[], Any]) -> Any:
    """What ART gives; what it says against it is the user's to mend, and so are estimators that an attack refuses."""
    art = _art("exceptions")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of divisions inside ART; what is not finite is refused later
            return run()
    except art.EstimatorError:
        raise IntsimError(
            "needs more of the network than it has", where=where, mend="an attack without gradients, or a float network"
        ) from None
    except (ValueError, TypeError, NotImplementedError) as error:
        raise IntsimError(f"ART says: {error}", where=where) from None


def _art(module: str) -> Any:
    """A module of ART. Raises IntsimError where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what ART's imports say to its developers
            return importlib.import_module(f"art.{module}")
    except ImportError as error:
        what = f"the Adversarial Robustness Toolbox is not installed ({error})"
        raise IntsimError(what, mend="pip install intsim[art]") from None


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Inside, the global generators start with the seed; outside they are as they were."""
    torch = door.torch()
    before = np.random.get_state(), random.getstate()  # noqa: NPY002  # ART draws from the global ones
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before[0])  # noqa: NPY002
            random.setstate(before[1])
