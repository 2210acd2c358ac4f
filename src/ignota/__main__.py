"""`python -m ignota` is `ignota`."""

import sys

from ignota.cli import main

if __name__ == "__main__":
    sys.exit(main())
