"""`python -m conformance [TARGET ...] [--seeds N]` runs the suite; `golden` and `mutation` come before as a word."""

import argparse
import sys

from conformance import golden, suite
from conformance.building import KINDS
from conformance.truths import TRUTHS


def main() -> int:
    """Exit status 1 where an integer differs."""
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument("what", nargs="*", help="golden, mutation, or targets (default: all)")
    parser.add_argument("--seeds", type=int, default=4, help="how many times the random numbers are drawn")
    given = parser.parse_args()
    if given.what[:1] == ["golden"]:
        for kind in given.what[1:] or KINDS:
            for target, why in golden.write(kind).items():
                _say(f"{kind}: {target} kept as it was: {why}")
        return 0
    if given.what[:1] == ["mutation"]:
        from conformance import mutation

        return mutation.main(given.what[1:])
    found = suite.run(given.what or list(TRUTHS), range(given.seeds), _say)
    if not given.what:
        suite.write(found)
    return int(any(row.mismatches for row in found.rows))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
