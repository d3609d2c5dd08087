"""`python -m ktransfer` is the command `ktransfer`, and looks for modules where that does."""

import contextlib
import os
import sys

# Python looks into the current folder first, and among photos may lie a `numpy.py`.
with contextlib.suppress(OSError):  # it may be deleted
    if not sys.flags.safe_path and sys.path[0] == os.getcwd():
        del sys.path[0]

from ktransfer.cli import main

if __name__ == "__main__":
    main(prog_name="ktransfer")
