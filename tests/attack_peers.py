"""A small smooth network, and the attacks of foolbox and ART beside ours: the same steps from the same starts."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from intsim.attack.catalogue import Attack

SHAPE, CLASSES, N = (1, 6, 6), 5, 16
RNG = np.random.default_rng(20)
X = RNG.uniform(0.3, 0.7, (N, *SHAPE)).astype(np.float32)
W = RNG.normal(size=(24, 36)).astype(np.float32)
V = RNG.normal(size=(CLASSES, 24)).astype(np.float32)


def network(x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x.flatten(1) @ torch.from_numpy(W).T / 3) @ torch.from_numpy(V).T


with torch.no_grad():
    Y = network(torch.from_numpy(X)).argmax(1).numpy()
TOWARDS = (Y + 1) % CLASSES
EPS = {"linf": 0.1, "l2": 0.4}
"""Small enough that no pixel of X leaves 0..1: there the peers cut and project in other orders."""

steps: dict[str, Any] = {"steps": 10, "step_size": 0.25}
SAME: dict[str, Attack] = {
    "foolbox fgsm": Attack(name="a"),
    "foolbox fgm l2": Attack(name="a", norm="l2"),
    "foolbox pgd": Attack(name="a", **steps),
    "foolbox pgd l2": Attack(name="a", norm="l2", **steps),
    "foolbox pgd targeted": Attack(name="a", towards="given", **steps),
    "foolbox pgd l2 targeted": Attack(name="a", norm="l2", towards="given", **steps),
    "art fgsm": Attack(name="a"),
    "art bim": Attack(name="a", **steps),
    "art pgd l2": Attack(name="a", norm="l2", **steps),
    "art pgd targeted": Attack(name="a", towards="given", **steps),
    "art mifgsm": Attack(name="a", momentum=0.9, **steps),
    "art mifgsm targeted": Attack(name="a", momentum=0.9, towards="given", **steps),
}
"""What takes the same steps from the clean image: the images must be the same, to what float32 leaves."""

apgd: dict[str, Any] = {"steps": 50, "step_size": 2.0, "schedule": "apgd", "start": "inside", "keep": "worst"}
AS_STRONG: dict[str, Attack] = {
    "art apgd ce": Attack(name="a", **apgd),
    "art apgd dlr": Attack(name="a", loss="dlr", **apgd),
    "art apgd ce l2": Attack(name="a", norm="l2", **apgd),
    "art apgd dlr l2": Attack(name="a", norm="l2", loss="dlr", **apgd),
}
"""What starts at random: the loss that is reached must be as large."""


def made(name: str) -> np.ndarray:
    """The peer's images, float32[n, ...] in 0..1; needs foolbox and the Adversarial Robustness Toolbox."""
    attack = {**SAME, **AS_STRONG}[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (_foolbox if name.startswith("foolbox") else _art)(name, attack, EPS[attack.norm])


class _Module(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return network(x)


def _foolbox(name: str, attack: Attack, eps: float) -> np.ndarray:
    import foolbox

    kinds = foolbox.attacks
    chosen: dict[tuple[str, bool], Callable[..., Any]] = {
        ("linf", True): kinds.LinfPGD,
        ("l2", True): kinds.L2PGD,
        ("linf", False): kinds.LinfFastGradientAttack,
        ("l2", False): kinds.L2FastGradientAttack,
    }
    many = attack.steps > 1
    said = {"rel_stepsize": attack.step_size, "steps": attack.steps} if many else {}
    goal = torch.from_numpy(TOWARDS if attack.towards else Y)
    criterion = foolbox.criteria.TargetedMisclassification(goal) if attack.towards else goal
    model = foolbox.PyTorchModel(_Module().eval(), bounds=(0, 1), device="cpu")
    run = chosen[attack.norm, many](**said, random_start=False)
    return run.run(model, torch.from_numpy(X), criterion, epsilon=eps).numpy()


def _art(name: str, attack: Attack, eps: float) -> np.ndarray:
    from art.attacks import evasion

    from intsim.attack import art

    step, targeted = attack.step_size * eps, bool(attack.towards)
    said: dict[str, Any] = {"norm": np.inf if attack.norm == "linf" else 2, "eps": eps, "eps_step": step}
    said |= {"targeted": targeted, "batch_size": N}
    estimator = art.classifier(network, SHAPE, CLASSES)
    if attack.schedule == "apgd":
        loss = {"cross_entropy": "cross_entropy", "dlr": "difference_logits_ratio"}[attack.loss]
        np.random.seed(0)  # noqa: NPY002  # ART draws from the global generator
        more = {"max_iter": attack.steps, "loss_type": loss, "nb_random_init": 1, "verbose": False}
        run = evasion.AutoProjectedGradientDescent(estimator, **said, **more)
    elif attack.momentum:
        more = {"decay": attack.momentum, "max_iter": attack.steps, "verbose": False}
        run = evasion.MomentumIterativeMethod(estimator, **said, **more)
    elif attack.steps > 1:
        run = evasion.ProjectedGradientDescent(estimator, **said, max_iter=attack.steps, verbose=False)
    else:
        run = evasion.FastGradientMethod(estimator, **said)
    return run.generate(X.copy(), y=TOWARDS if targeted else Y)
