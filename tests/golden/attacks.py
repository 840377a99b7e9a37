"""Makes attacks.npz: what foolbox and ART make of the images of tests/attack_peers.py.

PYTHONPATH=.:kernels:models:tests python tests/golden/attacks.py      (pip install intsim[attacks-bench])
"""

from pathlib import Path

import attack_peers
import numpy as np

FILE = Path(__file__).with_suffix(".npz")

if __name__ == "__main__":
    np.savez_compressed(FILE, **{name: attack_peers.made(name) for name in attack_peers.SAME | attack_peers.AS_STRONG})
