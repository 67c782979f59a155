#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Proves that `mapped-ram save --qmp` saves an unmodified QEMU with a guest that
keeps writing and checking its memory, in two shared files:

live	saved while it runs, loaded by stock QEMU in each of its ways; saved with
	--stop: each block equals QEMU's memory, and the guest's RAM what pmemsave
	wrote
update	the same for --update and --base after more work, and few pages written
seen	what people see: a bar for each pass, and a table of them; when it is that
	the machine is stopped
block	onto a block device, which QEMU cannot do, and restored from there

saving.py says what it needs.
"""

import contextlib
import json
import os
import re
import shlex
import subprocess
import tempfile

from saving import (BLKDEV, WORK, check_equal, check_loads, check_runs,
                    loads_lazily, result, run_parts, save)
from tool import TOOL, failed_with, run, went_well


def check_all_loads(path, before, name):
    """Loaded in each way that QEMU has."""
    check_loads(path, before, f"{name}: stock QEMU loads it, and it runs")
    check_loads(path, before, f"{name}: with multifd and direct I/O, too",
                "multifd", direct_io=True, multifd_channels=2)
    why_not = loads_lazily()
    if why_not:
        print(f"# no fast snapshot load here: {why_not}")
        return
    check_loads(path, before, f"{name}: with a fast snapshot load, too",
                "postcopy-ram")


def test_live(machine):
    image = f"{WORK}/live"
    # As whoever saves and loads with QEMU itself may have it.
    machine.set_capability("mapped-ram", True)
    machine.qmp("migrate-set-parameters", max_bandwidth=12345678)
    settings = machine.settings()
    before = machine.guest()
    done = save(machine, image)
    result(went_well(done), "a live save", done.stdout, done.stderr)
    report = json.loads(done.stdout or "{}")
    print(f"# {json.dumps(report)}")
    result(len(report.get("passes", [])) >= 2 and
               not report["passes"][0]["stopped"] and
               report["passes"][-1]["stopped"] and
               report["downtime_nsec"] > 0, "has live passes and a last one")
    check_runs(machine, "the guest goes on")
    result(machine.settings() == settings,
               "QEMU's settings are as they were")
    done = run("verify", image)
    result(went_well(done), "the image verifies", done.stderr)
    check_all_loads(image, before, "saved while it ran")

    machine.set_capability("mapped-ram", False)
    before = machine.wait_for_guest(1)
    done = save(machine, image, "--stop", "--downtime", "1")
    result(went_well(done), "a live save with --stop, over an image",
               done.stderr)
    state = machine.qmp("query-status")["status"]
    result(state == "postmigrate", "the machine stands still", state)
    check_equal(machine, image, "each page is QEMU's")
    check_loads(image, before, "stock QEMU loads that, and it runs")
    machine.qmp("cont")
    check_runs(machine, "cont makes the guest go on")

    before = machine.wait_for_guest(1)
    done = save(machine, image, "--stop", "--max-passes", "1")
    result(went_well(done) and len(json.loads(done.stdout)["passes"]) == 1,
               "a save in one pass", done.stderr)
    check_equal(machine, image, "each page is QEMU's")
    machine.qmp("cont")
    check_runs(machine, "the guest goes on")

    machine.qmp("stop")
    done = save(machine, image)
    result(went_well(done) and not machine.running(),
               "a paused machine is saved and stays so", done.stderr)
    check_equal(machine, image, "each page is QEMU's")
    machine.qmp("cont")


def test_seen(machine):
    """In small I/Os, one after the other, so that a pass takes a while."""
    image = f"{WORK}/seen"
    command = shlex.join([
        TOOL, "save", "--qmp", machine.tool_socket(), "--engine", "pwrite",
        "--max-extent", "4K", "--downtime", "1", "--max-passes", "3", image])
    done = subprocess.run(
        ["script", "-qec", f"stty cols 140; exec {command}", "/dev/null"],
        env={**os.environ, "TERM": "xterm"}, stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL, text=True, check=False)
    bars = re.findall(r"\x1b\[K(pass [^\r\n\x1b]*)", done.stdout)
    amount = r"[\d.]+ [KMG]?i?B"
    whole = (r" +\d+% \[#*-*\]  \d+/\d+ pages  " + amount + "  " + amount +
             r"/s  \d+:\d\d left")
    result(done.returncode == 0 and
               any(re.fullmatch("pass 1" + whole, bar) for bar in bars),
               "a bar with size, rate and time left", done.stdout)
    result(any(re.match(f"pass 2, dirtied {amount}/s +\\d+%", bar)
               for bar in bars), "and with the rate of dirtying", bars)
    result(any(re.match(r"pass 3, stopped +\d+%", bar) for bar in bars),
               "and one for the last pass", bars)
    plain = re.sub(r"\r[^\n]*\x1b\[K", "", done.stdout)
    result(re.findall(r"^(\d+) +(runs|stopped) ", plain, re.MULTILINE) ==
               [("1", "runs"), ("2", "runs"), ("3", "stopped")],
               "a table of three passes, as --max-passes says", plain)
    result(re.search(r"^\d+ blocks saved: ", plain, re.MULTILINE) and
               re.search(r"^downtime [\d.]+ ms, ", plain, re.MULTILINE),
               "and the sum", plain)
    done = save(machine, image, "--downtime", "100000")
    result(went_well(done) and len(json.loads(done.stdout)["passes"]) == 2,
               "what fits the --downtime is written at once", done.stdout,
               done.stderr)
    check_runs(machine, "the guest goes on")
    os.unlink(image)


@contextlib.contextmanager
def mounted(*make):
    """A directory on a file system that @make makes on the block device."""
    directory = tempfile.mkdtemp()
    subprocess.run([*make, "-q", "-f", BLKDEV], check=True)
    subprocess.run(["mount", BLKDEV, directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)
        os.rmdir(directory)


def test_update(machine):
    """On file systems whose files can share data."""
    with mounted("mkfs.xfs", "-m", "reflink=1") as directory:
        update(machine, f"{directory}/base", f"{directory}/update")
    with mounted("mkfs.btrfs") as directory:
        on_base(machine, f"{directory}/base", f"{directory}/update",
                ", on btrfs")
        machine.qmp("cont")
    image = f"{WORK}/whole"
    done = save(machine, image)
    done = save(machine, f"{WORK}/copy", "--base", image)
    result(failed_with(done, "share data") and
           not os.path.exists(f"{WORK}/copy"),
           "--base refuses where files share no data", done.stderr)
    os.unlink(image)


def on_base(machine, base, image, where=""):
    """Leaves the machine stopped. Return: the guest's counter before, and how
    many pages a whole image has."""
    done = save(machine, base)
    result(went_well(done), f"an image to begin with{where}", done.stderr)
    whole = json.loads(done.stdout)["passes"][0]["written"]
    was = os.stat(base)
    before = machine.wait_for_guest(2)
    done = save(machine, image, "--base", base, "--stop")
    result(went_well(done), f"a save on a --base{where}", done.stderr)
    report = json.loads(done.stdout or "{}")
    print(f"# {json.dumps(report)}")
    result(report.get("same", 0) > whole / 2 and
               report["written"] < whole / 2, f"writes what differs{where}",
               report, whole)
    check_equal(machine, image, f"each page is QEMU's{where}")
    done = run("verify", base)
    now = os.stat(base)
    result(went_well(done) and now.st_mtime_ns == was.st_mtime_ns and
               now.st_size == was.st_size,
           f"the base is the image that it was{where}", done.stderr, was, now)
    return before, whole


def update(machine, base, image):
    before, whole = on_base(machine, base, image)
    check_all_loads(image, before, "saved on a base")
    machine.qmp("cont")

    before = machine.wait_for_guest(1)
    done = save(machine, base, "--update", "--stop")
    result(went_well(done) and
               json.loads(done.stdout)["written"] < whole / 2,
               "an --update", done.stdout, done.stderr)
    check_equal(machine, base, "each page is QEMU's")
    check_all_loads(base, before, "updated")
    machine.qmp("cont")
    check_runs(machine, "the guest goes on")

    # What the image lacks or has too much is found by looking, too.
    os.unlink(image)
    with open(base, "r+b") as f:
        f.truncate(os.path.getsize(base) // 2)
    done = save(machine, base, "--update")
    result(failed_with(done, "not a whole"), "--update refuses half an image",
           done.stderr)
    os.unlink(base)
    done = save(machine, base, "--update")
    result(failed_with(done) and not os.path.exists(base),
           "--update refuses where there is none", done.stderr)


def test_block(machine):
    done = save(machine, BLKDEV, "--force", "--stop")
    result(went_well(done), "a save to a block device", done.stderr)
    # QEMU reads from where it cannot write to.
    targets = [f"{machine.directory}/restored{node}" for node in range(2)]
    names = json.loads(run("info", "--json", BLKDEV).stdout)["blocks"]
    args = []
    for block in names:
        if block["name"].startswith("node"):
            args += ["--region",
                     f"{block['name']}={targets[int(block['name'][4:])]}"]
        else:
            args += ["--skip", block["name"]]
    done = run("restore", *args, BLKDEV)
    result(done.returncode == 0, "restore from it", done.stderr)
    for node, path in enumerate(targets):
        with open(path, "rb") as f:
            result(f.read() == machine.memory(f"node{node}"),
                       f"node {node} is QEMU's memory")
        os.unlink(path)
    check_loads(BLKDEV, machine.guest(), "QEMU loads it, too")
    machine.qmp("cont")
    check_runs(machine, "the guest goes on")


if __name__ == "__main__":
    run_parts(live=test_live, seen=test_seen, update=test_update, block=test_block)
