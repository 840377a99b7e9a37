"""Engine against oracle on whatever CPU numba is told to compile for: random steps, whole machines, 1 and 2 threads."""

import sys

import numpy as np
from nets import every_op, images
from programs import any_input, dot_program, other_program
from test_engine import agree

from intsim import TARGETS
from intsim.lower import lower
from intsim_kernels import cpu


def main(programs: int) -> None:
    for seed in range(programs):
        for make in (dot_program, other_program):
            rng = np.random.default_rng(seed)
            program = make(rng)
            agree(program, any_input(rng, program, 3), threads=1 + seed % 2)
    for name in ("litert_ref", "ort_x86_avx2", "gemmini_ws"):
        agree(lower(every_op(TARGETS[name].scheme), TARGETS[name]), images(3), threads=2)
    sys.stdout.write(f"{cpu.LANES} lanes, bytes by {cpu.BYTES or 'nothing'}, {programs} programs: equal\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
