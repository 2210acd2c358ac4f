"""`python -m ignota` runs `ignota`; Ctrl-C ends it with one line, even while modules are loading."""

from __future__ import annotations

import sys

from ignota.errors import InputError


def main() -> int:
    """Runs the command that the process was called with."""
    try:
        from ignota.cli import main as run

        return run()
    except KeyboardInterrupt:  # before or after what `run` guards
        sys.stderr.write("ignota: stopped; run the same command again to go on\n")
        return 1
    except InputError as error:  # of a system that it does not run on
        sys.stderr.write(f"ignota: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
