"""Trains the networks that ship: `python -m intsim_models.train [--data DIRECTORY or .npz] [--only NAME]`.

One machine and torch version give the same weights every time; another CPU may differ in last float bits, and
then in a few images.
"""

import argparse
import hashlib
import logging
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace
from torch import nn

from intsim.graph import Graph
from intsim_models import NAMES, SHIPPED, accuracy, fashion, path
from intsim_models.adversarial import craft
from intsim_models.export import export
from intsim_models.networks import build, parameters

TEST, CALIBRATION = 2000, 512
log = logging.getLogger("intsim_models.train")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """AdamW, one learning-rate cycle up to `rate`, plain cross entropy.

    Images as they are, or with a `radius` (steps of 1/255) as `craft_steps` steps of `adversarial.craft` change them.
    With `bits` the weights are codes of so many bits while they train (`codes`), and begin as those of `start`.
    """

    epochs: int
    rate: float
    seed: int = 0
    batch: int = 128
    decay: float = 0.05
    radius: int = 0
    craft_steps: int = 0
    bits: int = 0
    start: str = ""


RECIPES = {
    "mlp": Recipe(epochs=20, rate=2e-3),
    "lenet5": Recipe(epochs=15, rate=4e-3),
    "cnn": Recipe(epochs=14, rate=8e-3),
    "resnet8": Recipe(epochs=7, rate=8e-3),
    "dscnn": Recipe(epochs=7, rate=8e-3),
    "cnn_adv": Recipe(epochs=6, rate=8e-3, radius=8, craft_steps=7),
    "cnn_w4": Recipe(epochs=2, rate=1e-3, decay=0, bits=4, start="cnn"),
    "cnn_w3": Recipe(epochs=3, rate=1e-3, decay=0, bits=3, start="cnn"),
    "cnn_w2": Recipe(epochs=5, rate=2e-3, decay=0, bits=2, start="cnn"),
}


def train(network: nn.Module, x: np.ndarray, y: np.ndarray, recipe: Recipe) -> nn.Module:
    """`network` itself, trained on images x[n, 1, 28, 28] (uint8) and labels y[n], and in eval mode again."""
    images = torch.from_numpy(x.astype(np.float32) / np.float32(255))
    labels = torch.from_numpy(y.astype(np.int64))
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    steps = recipe.epochs * (len(y) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=recipe.rate, total_steps=steps)
    order = torch.Generator().manual_seed(recipe.seed)
    noise = torch.Generator().manual_seed(recipe.seed)
    for epoch in range(recipe.epochs):
        start, total = time.perf_counter(), 0.0
        for batch in torch.randperm(len(y), generator=order).split(recipe.batch):
            if len(batch) < recipe.batch:
                continue
            seen, right = images[batch], labels[batch]
            if recipe.radius:
                steps_each = recipe.craft_steps
                seen = craft(network, seen, right, radius=recipe.radius, steps=steps_each, generator=noise)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(seen), right)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        mean, seconds = total * recipe.epochs / steps, time.perf_counter() - start
        log.info("  epoch %d of %d: loss %.4f, %.0f s", epoch + 1, recipe.epochs, mean, seconds)
    network.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return network


def make(name: str, data: fashion.Fashion, recipe: Recipe) -> dict[str, Any]:
    """The record in accuracy.json of network `name`, trained by `recipe` and written to `path(name)`."""
    network = build(name, recipe.seed)
    if recipe.bits:
        ran = _make_coded(name, network, data, recipe)
    else:
        train(network, data.x_train, data.y_train, recipe)
        export(network, path(name))
        ran = {}
    content = path(name).read_bytes()
    return {
        "parameters": parameters(build(name)),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "correct_of_10000": accuracy.correct(path(name), data.x_test, data.y_test),
        "correct_of_2000": accuracy.correct(path(name), data.x_test[:TEST], data.y_test[:TEST]),
        **ran,
        "command": f"python -m intsim_models.train --only {name}",
        "recipe": asdict(recipe),
        "torch": torch.__version__,
    }


def _make_coded(name: str, network: nn.Module, data: fashion.Fashion, recipe: Recipe) -> dict[str, Any]:
    """Writes `path(name)` as QDQ with the codes that were trained; what the integer engine makes of them."""
    from intsim.build import load
    from intsim.onnx_io import write_qdq
    from intsim_models.codes import coded, codes_of, digest, quantized

    graph = load(path(recipe.start))
    assert isinstance(graph, Graph)
    train(coded(graph, network, recipe.bits), data.x_train, data.y_train, recipe)
    write_qdq(quantized(replace(graph, name=name), network, recipe.bits, data.x_train[:CALIBRATION]), path(name))
    return {
        "codes_sha256": digest([integers for integers, _ in codes_of(network)]),
        "engine_correct_of_2000": accuracy.by_engine(path(name), data.x_test[:TEST], data.y_test[:TEST]),
    }


def embed(data: fashion.Fashion, file: Path) -> None:
    """An .npz of the images that ship: the first 2,000 of the test set, the first 512 of the training set."""
    np.savez_compressed(
        file,
        x=data.x_test[:TEST],
        y=data.y_test[:TEST],
        x_calibration=data.x_train[:CALIBRATION],
        y_calibration=data.y_train[:CALIBRATION],
    )


def main(arguments: list[str] | None = None) -> int:
    """0, or 2 after one line about what is wrong with the data."""
    parser = argparse.ArgumentParser(prog="python -m intsim_models.train")
    parser.add_argument("--data", help="directory of idx(.gz) files or .npz (default: the Debian package)")
    parser.add_argument("--only", choices=SHIPPED, help="train this network and leave the others")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    log.setLevel(logging.INFO)
    try:
        data = fashion.load(options.data)
    except (FileNotFoundError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    embed(data, path(NAMES[0]).parent / "data" / "fashion.npz")
    for name in [options.only] if options.only else SHIPPED:
        start = time.perf_counter()
        log.info("%s: %s", name, RECIPES[name])
        record = make(name, data, RECIPES[name])
        accuracy.write({**accuracy.read(), name: record})
        right, seconds = record["correct_of_10000"], time.perf_counter() - start
        log.info("%s: %d of 10,000 right, %.0f s", name, right, seconds)
    log.info("The table of models/README.md is now\n\n%s", accuracy.table(accuracy.read()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
