# SPDX-License-Identifier: GPL-2.0
"""What the tests share that save a running QEMU with `mapped-ram save --qmp`: its
command line, and looks at what came out. Each of these programs runs inside the test
machine, where the kernel has soft-dirty bits; the names of its parts may be
given, without any all are run.
  MRAM_QEMU      10 or 11 (10), or the root of another QEMU
  MRAM_TEST_DIR  a directory on a file system with direct I/O
  MRAM_TEST_BLKDEV  a block device that may be overwritten (/dev/vdb)
  TOOL           the tool (build/user/mapped-ram)
"""

import os
import sys

import tap
from image import BadImage, Image
from machine import MIB, NODE, PAGE, Machine
from qemu import QemuError
from tool import run

WORK = os.environ["MRAM_TEST_DIR"]
BLKDEV = os.environ.get("MRAM_TEST_BLKDEV", "/dev/vdb")
OUT = tap.Tap()
result = OUT.ok


def save(machine, image, *args):
    return run("save", "--qmp", machine.tool_socket(), "--json", *args, image)


def differences(machine, image):
    """Of a machine that stands still: what its image has wrong."""
    wrong = []
    blocks = machine.blocks()
    if sorted(blocks) != sorted(block.name for block in image.blocks):
        wrong.append(f"blocks {[b.name for b in image.blocks]}, not "
                     f"{list(blocks)}")
        return wrong
    whole = {}
    for block in image.blocks:
        memory = machine.memory(block.name)
        whole[block.name] = image.memory(block)
        if whole[block.name] != memory:
            pages = [at // PAGE for at in range(0, block.length, PAGE)
                     if memory[at:at + PAGE] !=
                     whole[block.name][at:at + PAGE]]
            wrong.append(f"block {block.name}: {len(pages)} pages differ: "
                         f"{pages[:8]}")
    if machine.pmemsave() != whole["node0"][MIB:] + whole["node1"]:
        wrong.append("not what pmemsave wrote")
    return wrong


def check_equal(machine, path, name):
    try:
        image = Image(path)
        wrong = differences(machine, image)
        image.close()
    except (BadImage, OSError) as error:
        wrong = [repr(error)]
    result(not wrong, name, *wrong)


def check_loads(path, before, name, *capabilities, **parameters):
    """Stock QEMU loads it, and the guest goes on from there."""
    machine = Machine("-incoming", "defer")
    try:
        machine.load(path, *capabilities, **parameters)
        state = machine.qmp("query-status")
        now = machine.wait_for_guest(2) if state["running"] else None
        result(bool(now) and now[0] > before[0] and now[1] > before[1] and
                   now[2] == 0, name, state, before, now)
        if "postcopy-ram" in capabilities:
            # The guest runs meanwhile; all of its memory has to come.
            while machine.qmp("query-migrate")["status"] != "completed":
                machine.wait_for_guest(1)
            check_runs(machine, "and it runs on when all pages have come")
    except QemuError as error:
        result(False, name, error)
    finally:
        machine.close()


def loads_lazily():
    """Has this QEMU what its documentation calls fast snapshot load: mapped-ram
    and postcopy-ram on together? What it says if not."""
    machine = Machine("-incoming", "defer")
    try:
        machine.qmp("migrate-set-capabilities", capabilities=[
            {"capability": "mapped-ram", "state": True},
            {"capability": "postcopy-ram", "state": True}])
        return None
    except QemuError as error:
        return str(error)
    finally:
        machine.close()


def check_runs(machine, name):
    now = machine.running() and machine.wait_for_guest(1)
    result(bool(now) and now[2] == 0, name, machine.qmp("query-status"),
               now)


def run_parts(**parts):
    """Those that were asked for, with one machine for all."""
    Machine.find_guest()
    machine = None
    try:
        machine = Machine()
        machine.wait_for_guest(2)
        for name in sys.argv[1:] or parts:
            parts[name](machine)
    except QemuError as error:
        result(False, "QEMU does as it is told", error)
    finally:
        if machine:
            machine.close()
    OUT.end()
