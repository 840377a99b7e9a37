"""What a float network's gradients are like: how many are zero, how many softmaxes are full, whether answers repeat."""

import numpy as np
from msgspec import Struct

from intsim.attack import door
from intsim.attack.losses import labels_of, raised
from intsim.attack.twin import Network
from intsim.tasks import are_values

MOST = 500
"""How many images are asked at most: enough for shares of a few per cent."""


class Probe(Struct, frozen=True, kw_only=True):
    """Shares of the `n` images that are answered right, and of outputs.

    `zero`: images whose input gradient is zero in every pixel. `saturated`: those whose softmax of the label is
    exactly 1 in float32. `changing`: outputs that are others when asked again.
    """

    n: int
    zero: float
    saturated: float
    changing: float


def probe(network: Network, x: np.ndarray, y: np.ndarray) -> Probe:
    """The `Probe` of a network on the first `MOST` of x[n, ...], pixels in 0..1, and y[n].

    The gradient is that of the largest other logit minus the own one: zero where the network itself has none, however
    full its softmax is. Of no right answer at all the shares are 0.
    """
    torch = door.torch()
    pixels = torch.from_numpy(np.array(x[:MOST], np.float32)).requires_grad_()
    labels = labels_of(y[:MOST])
    logits = network(pixels)
    if logits.shape[1] < 2 or are_values(y):  # a number is no class: it has no margin, and no softmax
        return Probe(n=0, zero=0.0, saturated=0.0, changing=0.0)
    with torch.no_grad():
        again = network(pixels.detach())
    right = logits.detach().argmax(1) == labels
    loss = raised("margin", logits, labels).sum()
    gradient = torch.zeros_like(pixels)
    if loss.requires_grad:
        found = torch.autograd.grad(loss, pixels, allow_unused=True)[0]
        gradient = gradient if found is None else found
    zero = (gradient == 0).flatten(1).all(1)
    full = logits.detach().float().softmax(1).gather(1, labels[:, None])[:, 0] == 1
    changing = float((again != logits.detach()).float().mean())
    n = int(right.sum())
    shares = [float((mark & right).sum()) / n if n else 0.0 for mark in (zero, full)]
    return Probe(n=n, zero=shares[0], saturated=shares[1], changing=changing)
