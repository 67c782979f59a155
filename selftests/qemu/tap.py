# SPDX-License-Identifier: GPL-2.0
"""TAP for tests in Python: a line for each result, and what was seen when it
is bad. A test that ends before end() prints no plan, and so fails."""

import sys


class Tap:
    """The results of one program."""

    def __init__(self):
        self.number = 0
        self.failed = 0
        print("TAP version 13", flush=True)

    def ok(self, good, name, *seen):
        self.number += 1
        if good:
            print(f"ok {self.number} {name}", flush=True)
            return True
        self.failed += 1
        print(f"not ok {self.number} {name}")
        for line in "\n".join(map(str, seen)).splitlines()[:20]:
            print(f"# {line}")
        sys.stdout.flush()
        return False

    def end(self):
        print(f"1..{self.number}")
        print(f"# {self.number - self.failed} of {self.number} good")
        sys.exit(1 if self.failed else 0)
