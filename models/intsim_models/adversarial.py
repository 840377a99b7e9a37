"""Images crafted on a network while it trains: projected gradient descent in the L-infinity ball, for training against.

Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, arXiv 1706.06083, section 2.1.
"""

import torch
from torch import Tensor, nn

GRID = 255
OVERSHOOT = 2.5


def craft(network: nn.Module, x: Tensor, y: Tensor, *, radius: int, steps: int, generator: torch.Generator) -> Tensor:
    """Images within `radius` / 255 of x[n, 1, 28, 28] (floats in [0, 1]) that raise the cross entropy of labels y[n].

    From a random point of the ball, `steps` steps of 2.5 radius / steps along the gradient's sign, back into the
    ball and [0, 1] after each. The network answers in eval mode, so that the images have no part in the statistics
    of its batch normalizations, and is left in the mode it was in.
    """
    mode = network.training
    network.eval()
    eps = radius / GRID
    low, high = (x - eps).clamp_(0, 1), (x + eps).clamp_(0, 1)
    noise = torch.empty_like(x).uniform_(-eps, eps, generator=generator)
    crafted = torch.clamp(x + noise, low, high)
    for _ in range(steps):
        crafted.requires_grad_()
        loss = nn.functional.cross_entropy(network(crafted), y)
        (gradient,) = torch.autograd.grad(loss, crafted)
        crafted = crafted.detach() + (OVERSHOOT * eps / steps) * gradient.sign()
        crafted = torch.clamp(crafted, low, high)
    network.train(mode)
    return crafted
