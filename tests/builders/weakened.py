"""Runs a program of ours with one defence switched off: an entry point for tests only.

    python -m tests.builders.weakened DEFENCE -m MODULE ARGUMENT ...

is `python -m MODULE ARGUMENT ...` with the switch of tests/attacks_prove/table.py turned before anything is imported.
"""

import runpy
import sys

from tests.attacks_prove.table import TABLE

if __name__ == "__main__":
    defence, _, module, *arguments = sys.argv[1:]
    next(row.switch for row in TABLE if row.switch.defence == defence).off()
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)
