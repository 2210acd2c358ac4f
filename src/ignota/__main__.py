"""`python -m ignota` is `ignota`: Ctrl-C ends it with one line also while its modules are being loaded."""

from __future__ import annotations

import sys


def main() -> int:
    """Runs the command that the process was called with."""
    try:
        from ignota.cli import main as run

        return run()
    except KeyboardInterrupt:  # before or after what `run` guards
        sys.stderr.write("ignota: stopped; run the same command again to go on\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
