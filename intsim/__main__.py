"""`python -m intsim`: the command line."""

import sys

from intsim.cli import main

if __name__ == "__main__":
    sys.exit(main())
