# SPDX-License-Identifier: GPL-2.0
"""The tool, as the tests of this directory run it.
  TOOL  the tool (build/user/mapped-ram)
"""

import os
import subprocess

from qemu import PROJECT

TOOL = os.environ.get("TOOL", f"{PROJECT}/build/user/mapped-ram")


def run(*args):
    return subprocess.run([TOOL, *args], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          text=True, check=False)


def went_well(done):
    return done.returncode == 0 and not done.stderr


def failed_with(done, *patterns):
    """With one line, in which all of these stand."""
    return done.returncode == 1 and len(done.stderr.splitlines()) == 1 and \
        all(pattern in done.stderr for pattern in patterns)
