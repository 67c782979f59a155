#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Proves that a `mapped-ram save --qmp` that does not come to its end leaves the
machine as it was, and no image:

signals	ended by SIGINT or SIGTERM, at any time
killed	the tool is killed while the machine runs, while it stands still, and
	while QEMU hands its state over: somebody else puts the machine back
closed	the connection to the monitor ends at these times
two	a second save of one machine at the same time
full	the disk is full; and QEMU can save itself after all that
qemu	QEMU is killed at these times

saving.py says what it needs.
"""

import ctypes
import os
import signal
import socket
import subprocess
import tempfile
import time

from machine import PAGE, Machine
from saving import BLKDEV, WORK, check_runs, result, run_parts, save
from tool import TOOL, failed_with, run, went_well

IMAGE = f"{WORK}/trouble"
SYS_PIDFD_GETFD = 438


def start_save(machine, *args):
    if os.path.exists(IMAGE):
        os.unlink(IMAGE)
    return subprocess.Popen(
        [TOOL, "save", "--qmp", machine.tool_socket(), *args, IMAGE],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, text=True)


def no_image():
    """Is there nothing that a loader could take for an image?"""
    if not os.path.exists(IMAGE):
        return True
    with open(IMAGE, "rb") as f:
        return not any(f.read(PAGE))


def writes(_):
    """The job has begun to write."""
    return os.path.exists(IMAGE) and os.stat(IMAGE).st_blocks > 0


def stands_still(machine):
    return writes(machine) and not machine.running()


def hands_over(machine):
    """This is on only while QEMU writes its state."""
    return machine.settings()[0]["x-ignore-shared"]


# When trouble comes: what the job's options are, how it is seen
TIMES = {
    "while the machine runs": ([], writes),
    "while it stands still": (["--max-passes", "1"], stands_still),
    "while QEMU hands its state over": (["--max-passes", "1"], hands_over),
}


def start_until(machine, reached, args):
    """A job that does not go on, at that time. It only goes in small steps, so
    that no time is missed."""
    job = start_save(machine, *args)
    while True:
        job.send_signal(signal.SIGSTOP)
        if reached(machine) or job.poll() is not None:
            return job
        job.send_signal(signal.SIGCONT)
        time.sleep(0.005)


def put_back(machine, settings):
    """Somebody sees to it, but not in no time."""
    while not machine.running() or machine.settings() != settings:
        time.sleep(0.1)


def test_signals(machine):
    settings = machine.settings()
    for tenths in (0, 2, 5, 10, 20, 40):
        number = signal.SIGINT if tenths % 4 else signal.SIGTERM
        job = start_save(machine)
        while job.poll() is None and not writes(machine):
            time.sleep(0.01)
        time.sleep(tenths / 10)
        job.send_signal(number)
        out, err = job.communicate()
        ended = job.returncode == -number and no_image()
        # It may have been done already.
        result(machine.running() and machine.settings() == settings and
                   (ended or job.returncode == 0),
                   f"{number.name} after {tenths / 10} s: the machine runs",
                   job.returncode, out, err, machine.qmp("query-status"))
    for when, (args, reached) in TIMES.items():
        job = start_until(machine, reached, args)
        job.send_signal(signal.SIGTERM)
        job.send_signal(signal.SIGCONT)
        out, err = job.communicate()
        result(job.returncode == -signal.SIGTERM and no_image() and
                   machine.running() and machine.settings() == settings,
                   f"SIGTERM {when}", job.returncode, out, err)
    check_runs(machine, "and the guest goes on")


def test_killed(machine):
    settings = machine.settings()
    for when, (args, reached) in TIMES.items():
        job = start_until(machine, reached, args)
        early = job.poll() is None
        job.kill()
        job.communicate()
        put_back(machine, settings)
        result(early and no_image(), f"killed {when}: the machine runs")
    check_runs(machine, "and the guest goes on")
    done = save(machine, IMAGE)
    result(went_well(done), "and the next save is fine", done.stderr)


def end_connection(machine, pid):
    """Takes the job's own socket, and ends it for both sides."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            if not os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket"):
                continue
        except OSError:
            continue
        fd = libc.syscall(SYS_PIDFD_GETFD, pidfd, int(number), 0)
        with socket.socket(fileno=fd) as theirs:
            if theirs.getpeername() == machine.tool_socket():
                theirs.shutdown(socket.SHUT_RDWR)
                os.close(pidfd)
                return True
    os.close(pidfd)
    return False


def test_closed(machine):
    settings = machine.settings()
    for when, (args, reached) in TIMES.items():
        job = start_until(machine, reached, args)
        ended = end_connection(machine, job.pid)
        job.send_signal(signal.SIGCONT)
        out, err = job.communicate()
        result(ended and job.returncode == 1 and no_image() and
                   "closed the connection" in err and
                   len(err.splitlines()) == 1 and machine.running() and
                   machine.settings() == settings,
                   f"the connection ends {when}", job.returncode, out, err,
                   machine.qmp("query-status"))
    check_runs(machine, "and the guest goes on")


def test_two(machine):
    job = start_until(machine, writes, [])
    done = run("save", "--qmp", machine.tool_socket(1), f"{WORK}/second")
    result(failed_with(done, "another job") and
               not os.path.exists(f"{WORK}/second"),
               "a second save of one machine is refused", done.stderr)
    job.send_signal(signal.SIGCONT)
    out, err = job.communicate()
    result(job.returncode == 0 and went_well(run("verify", IMAGE)),
               "and the first one ends well", out, err)
    check_runs(machine, "and the guest goes on")


def test_full(machine):
    """A disk that holds the machine's small blocks and some of its RAM."""
    settings = machine.settings()
    small = tempfile.mkdtemp()
    subprocess.run(["mkfs.ext4", "-q", "-F", BLKDEV, "24M"], check=True)
    subprocess.run(["mount", BLKDEV, small], check=True)
    for args in ([], ["--max-passes", "1"]):
        done = save(machine, f"{small}/image", *args)
        result(failed_with(done, "No space") and
                   not os.path.exists(f"{small}/image") and
                   machine.settings() == settings and machine.running(),
                   "the disk is full" + (", the machine stood still"
                                         if args else ""), done.stderr)
    subprocess.run(["umount", small], check=True)
    check_runs(machine, "and the guest goes on")

    # Is its migration as good as new? QEMU's own save says so.
    machine.qmp("stop")
    if os.path.exists(IMAGE):
        os.unlink(IMAGE)
    machine.save(f"file:{IMAGE}", ["mapped-ram"], {})
    result(went_well(run("verify", IMAGE)), "QEMU can save itself then")
    machine.set_capability("mapped-ram", False)
    machine.qmp("cont")
    check_runs(machine, "and the guest goes on")


def test_qemu(_):
    for when, (args, reached) in TIMES.items():
        other = Machine()
        other.wait_for_guest(1)
        job = start_until(other, reached, args)
        other.process.kill()
        job.send_signal(signal.SIGCONT)
        out, err = job.communicate()
        result(job.returncode == 1 and no_image() and
                   len(err.splitlines()) == 1,
                   f"QEMU is killed {when}", job.returncode, out, err)
        other.close()


if __name__ == "__main__":
    run_parts(signals=test_signals, killed=test_killed, closed=test_closed,
              two=test_two, full=test_full, qemu=test_qemu)
