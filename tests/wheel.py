"""The smallest whole job, against an installed wheel, outside the source tree, without the extras.

Run by .ci/run with the Python of an empty environment: float network and images of the package, quantized, lowered,
run by engine and oracle, through the command line and in Python; torch, scipy and matplotlib must not be needed.
"""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np


def main() -> None:
    """Raises AssertionError, or ends silently but for one line."""
    import intsim
    import intsim_models
    from intsim import oracle

    assert "site-packages" in intsim.__file__, intsim.__file__
    assert importlib.util.find_spec("torch") is None, "this environment is not empty"
    data = intsim_models.images()
    network = intsim_models.path("cnn")
    program = intsim.build(network, "litert_ref", calibration=data.x_calibration[:64])
    few = data.x[:2]
    fast, plain = intsim.run(program, few), oracle.run(program, few)
    assert all(np.array_equal(fast.integers[name], plain.integers[name]) for name in program.outputs)
    (logits,) = intsim.run(program, data.x[:500]).logits.values()
    accuracy = float((logits.argmax(1) == data.y[:500]).mean())
    assert accuracy > 0.8, accuracy
    with tempfile.TemporaryDirectory() as folder:
        images, out = Path(folder) / "x.npz", Path(folder) / "y.npz"
        np.savez(images, x=data.x[:500], y=data.y[:500])
        command = [
            sys.executable,
            "-m",
            "intsim",
            "run",
            str(network),
            "--target",
            "litert_ref",
            "--input",
            str(images),
        ]
        subprocess.run([*command, "--calibration", str(images), "-o", str(out), "--quiet"], check=True)
        with np.load(out) as result:
            assert result["integers"].shape == (500, 10)
    sys.stdout.write(f"the wheel works: {accuracy:.1%} of 500 images right on litert_ref, engine = oracle\n")


if __name__ == "__main__":
    main()
