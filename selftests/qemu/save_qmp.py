#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Proves that `mapped-ram save --qmp` saves an unmodified QEMU with a guest that
keeps writing and checking its memory, in two shared files:

live	saved while it runs, loaded by stock QEMU; saved with --stop: each block
	equals QEMU's memory, and the guest's RAM what pmemsave wrote
update	the same for --update and --base after more work, and few pages written
block	onto a block device, which QEMU cannot do, and restored from there
refuse	what excludes saving is named, and nothing was touched
fail	interrupted, disk full, QEMU killed, two at once: no image, the machine
	runs, and QEMU can migrate afterwards

Inside the test machine, where the kernel has soft-dirty bits. The names of parts
may be given, without any all are run.
  MRAM_QEMU      10 or 11 (10)
  MRAM_TEST_DIR  a directory on a file system with direct I/O
  MRAM_TEST_BLKDEV  a block device that may be overwritten (/dev/vdb)
  TOOL           the tool (build/user/mapped-ram)
"""

import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

import tap
from image import BadImage, Image
from machine import MIB, NODE, PAGE, Machine
from qemu import PROJECT, QemuError

TOOL = os.environ.get("TOOL", f"{PROJECT}/build/user/mapped-ram")
WORK = os.environ["MRAM_TEST_DIR"]
BLKDEV = os.environ.get("MRAM_TEST_BLKDEV", "/dev/vdb")
OUT = tap.Tap()


def result(good, name, *seen):
    OUT.ok(good, name, "\n".join(str(part) for part in seen))


def run(*args):
    return subprocess.run([TOOL, *args], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          text=True, check=False)


def save(machine, image, *args):
    return run("save", "--qmp", machine.tool_socket(), "--json", *args, image)


def went_well(done):
    return done.returncode == 0 and not done.stderr


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
    # QEMU's own word for it, above the hole in which a PC has its ROMs.
    path = f"{machine.directory}/pmemsave"
    machine.qmp("pmemsave", val=MIB, size=2 * NODE - MIB, filename=path)
    with open(path, "rb") as f:
        if f.read() != whole["node0"][MIB:] + whole["node1"]:
            wrong.append("not what pmemsave wrote")
    os.unlink(path)
    return wrong


def check_equal(machine, path, name):
    try:
        image = Image(path)
        wrong = differences(machine, image)
        image.close()
    except (BadImage, OSError) as error:
        wrong = [repr(error)]
    result(not wrong, name, *wrong)


def check_loads(path, before, name):
    """Stock QEMU loads it, and the guest goes on from there."""
    machine = Machine("-incoming", "defer")
    try:
        machine.load(path)
        state = machine.qmp("query-status")
        now = machine.wait_for_guest(2) if state["running"] else None
        result(bool(now) and now[0] > before[0] and now[1] > before[1] and
                   now[2] == 0, name, state, before, now)
    except QemuError as error:
        result(False, name, error)
    finally:
        machine.close()


def check_runs(machine, name):
    now = machine.running() and machine.wait_for_guest(1)
    result(bool(now) and now[2] == 0, name, machine.qmp("query-status"),
               now)


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
    check_loads(image, before, "stock QEMU loads it, and it runs")

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


def test_update(machine):
    """On a file system whose files can share data."""
    directory = tempfile.mkdtemp()
    subprocess.run(["mkfs.xfs", "-q", "-f", "-m", "reflink=1", BLKDEV],
                   check=True)
    subprocess.run(["mount", BLKDEV, directory], check=True)
    try:
        update(machine, f"{directory}/base", f"{directory}/update")
    finally:
        subprocess.run(["umount", directory], check=True)
    image = f"{WORK}/whole"
    done = save(machine, image)
    done = save(machine, f"{WORK}/copy", "--base", image)
    result(done.returncode == 1 and "share data" in done.stderr and
           not os.path.exists(f"{WORK}/copy"),
           "--base refuses where files share no data", done.stderr)
    os.unlink(image)


def update(machine, base, image):
    done = save(machine, base)
    result(went_well(done), "an image to begin with", done.stderr)
    whole = json.loads(done.stdout)["passes"][0]["written"]
    before = machine.wait_for_guest(2)
    done = save(machine, image, "--base", base, "--stop")
    result(went_well(done), "a save on a --base", done.stderr)
    report = json.loads(done.stdout or "{}")
    print(f"# {json.dumps(report)}")
    result(report.get("same", 0) > whole / 2 and
               report["written"] < whole / 2, "writes what differs",
               report, whole)
    check_equal(machine, image, "each page is QEMU's")
    check_loads(image, before, "stock QEMU loads it, and it runs")
    done = run("verify", base)
    result(went_well(done), "the base is an image still", done.stderr)
    machine.qmp("cont")

    machine.wait_for_guest(1)
    done = save(machine, base, "--update", "--stop")
    result(went_well(done) and
               json.loads(done.stdout)["written"] < whole / 2,
               "an --update", done.stdout, done.stderr)
    check_equal(machine, base, "each page is QEMU's")
    machine.qmp("cont")
    check_runs(machine, "the guest goes on")

    # What the image lacks or has too much is found by looking, too.
    os.unlink(image)
    with open(base, "r+b") as f:
        f.truncate(os.path.getsize(base) // 2)
    done = save(machine, base, "--update")
    result(done.returncode == 1 and "not a whole" in done.stderr,
               "--update refuses half an image", done.stderr)
    os.unlink(base)
    done = save(machine, base, "--update")
    result(done.returncode == 1 and not os.path.exists(base),
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


def check_refused(machine, done, pattern, image, settings, name):
    result(done.returncode == 1 and pattern in done.stderr and
               len(done.stderr.splitlines()) == 1 and
               not os.path.exists(image) and machine.running() and
               machine.settings() == settings, name, done.stdout, done.stderr)


def test_refuse(machine):
    image = f"{WORK}/refused"
    known = [c["capability"] for c in machine.qmp("query-migrate-capabilities")]
    for name in ("xbzrle", "postcopy-ram", "multifd", "compress"):
        # Newer ones have lost some.
        if name not in known:
            continue
        machine.set_capability(name, True)
        settings = machine.settings()
        check_refused(machine, save(machine, image), f"'{name}'", image,
                      settings, f"{name} is on")
        machine.set_capability(name, False)
    machine.qmp("migrate-set-parameters", tls_creds="tls0")
    check_refused(machine, save(machine, image), "TLS", image,
                  machine.settings(), "TLS is asked for")
    machine.qmp("migrate-set-parameters", tls_creds="")
    settings = machine.settings()

    with open(f"{machine.directory}/ram0", "r+b") as f, \
            mmap.mmap(f.fileno(), PAGE):
        check_refused(machine, save(machine, image), "maps", image, settings,
                      "another process maps the memory")
    check_refused(machine, save(machine, f"{machine.directory}/ram0"),
                  "is the memory of backend", image, settings,
                  "the image is the memory")
    done = run("save", "--qmp", f"{WORK}/none", image)
    check_refused(machine, done, "cannot connect", image, settings,
                  "there is no monitor")
    with subprocess.Popen(
            [sys.executable, "-c",
             "import socket, sys, time\n"
             "s = socket.socket(socket.AF_UNIX)\n"
             "s.connect(sys.argv[1])\n"
             "s.recv(1)\n"
             "print(flush=True)\n"
             "sys.stdin.read()\n", machine.tool_socket()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        done = save(machine, image)
        check_refused(machine, done, "one client at a time", image, settings,
                      "another client has the monitor")
        other.stdin.close()
    # A migration that does not come to its end, as nobody reads.
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{machine.directory}/incoming")
    listener.listen()
    machine.qmp("migrate", uri=f"unix:{machine.directory}/incoming")
    reader = listener.accept()[0]
    check_refused(machine, save(machine, image), "being migrated", image,
                  settings, "it is being migrated")
    machine.qmp("migrate_cancel")
    while machine.qmp("query-migrate")["status"] not in ("cancelled",
                                                         "failed"):
        time.sleep(0.1)
    reader.close()
    listener.close()

    huge = tempfile.mkdtemp()
    with open("/proc/sys/vm/nr_hugepages", "w", encoding="ascii") as f:
        f.write("16")
    subprocess.run(["mount", "-t", "hugetlbfs", "none", huge], check=True)
    for what, pattern, more in (
            ("huge pages", "is on hugetlbfs",
             ["-object", f"memory-backend-file,id=p,size=16M,share=on,"
              f"mem-path={huge}/p"]),
            ("private RAM", "share=off",
             ["-object", "memory-backend-ram,id=p,size=16M"]),
            ("a private file", "share=off",
             ["-object", f"memory-backend-file,id=p,size=16M,share=off,"
              f"mem-path={machine.directory}/private"]),
            ("a memfd", "memory-backend-memfd",
             ["-object", "memory-backend-memfd,id=p,size=16M,share=on"]),
            ("ivshmem", "ivshmem",
             ["-object", f"memory-backend-file,id=p,size=1M,share=on,"
              f"mem-path={machine.directory}/shm",
              "-device", "ivshmem-plain,memdev=p"])):
        other = Machine(*more)
        done = save(other, image)
        check_refused(other, done, pattern, image, other.settings(), what)
        other.close()
    os.unlink(f"{huge}/p")
    subprocess.run(["umount", huge], check=True)
    with open("/proc/sys/vm/nr_hugepages", "w", encoding="ascii") as f:
        f.write("0")


def start_save(machine, image, *args, monitor=0):
    if os.path.exists(image):
        os.unlink(image)
    return subprocess.Popen(
        [TOOL, "save", "--qmp", machine.tool_socket(monitor), *args, image],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, text=True)


def wait_for_file(path, job):
    """Until the job has begun to write."""
    while job.poll() is None:
        if os.path.exists(path) and os.stat(path).st_blocks:
            return
        time.sleep(0.01)


def no_image(path):
    """Is there nothing that a loader could take for an image?"""
    if not os.path.exists(path):
        return True
    with open(path, "rb") as f:
        return not any(f.read(PAGE))


def test_fail(machine):
    image = f"{WORK}/fail"
    settings = machine.settings()
    for tenths in (0, 2, 5, 10, 20, 40):
        job = start_save(machine, image)
        wait_for_file(image, job)
        time.sleep(tenths / 10)
        job.send_signal(signal.SIGINT)
        out, err = job.communicate()
        ended = job.returncode == -signal.SIGINT and no_image(image)
        # It may have been done already.
        result(machine.running() and machine.settings() == settings and
                   (ended or job.returncode == 0),
                   f"SIGINT after {tenths / 10} s: the machine runs",
                   job.returncode, out, err, machine.qmp("query-status"))
    check_runs(machine, "and the guest goes on")

    for tenths in (0, 10, 30):
        job = start_save(machine, image)
        wait_for_file(image, job)
        time.sleep(tenths / 10)
        job.kill()
        job.communicate()
        # There is somebody who sees to it, but not in no time.
        while not machine.running() or machine.settings() != settings:
            time.sleep(0.1)
        result(no_image(image) or went_well(run("verify", image)),
                   f"killed after {tenths / 10} s: the machine runs")
        os.unlink(image)
    check_runs(machine, "and the guest goes on")

    job = start_save(machine, image)
    wait_for_file(image, job)
    job.send_signal(signal.SIGSTOP)
    done = run("save", "--qmp", machine.tool_socket(1), f"{WORK}/second")
    result(done.returncode == 1 and "another job" in done.stderr and
               not os.path.exists(f"{WORK}/second"),
               "a second save of one machine is refused", done.stderr)
    job.send_signal(signal.SIGCONT)
    out, err = job.communicate()
    result(job.returncode == 0 and went_well(run("verify", image)),
               "and the first one ends well", out, err)
    os.unlink(image)

    # A disk that holds the machine's small blocks and some of its RAM.
    small = tempfile.mkdtemp()
    subprocess.run(["mkfs.ext4", "-q", "-F", BLKDEV, "24M"], check=True)
    subprocess.run(["mount", BLKDEV, small], check=True)
    done = save(machine, f"{small}/image")
    result(done.returncode == 1 and "No space" in done.stderr and
               not os.path.exists(f"{small}/image") and
               machine.settings() == settings, "the disk is full", done.stderr)
    subprocess.run(["umount", small], check=True)
    check_runs(machine, "and the guest goes on")

    # Is its migration as good as new? QEMU's own save says so.
    machine.qmp("stop")
    capabilities = ["mapped-ram"]
    machine.save(f"file:{image}", capabilities, {})
    result(went_well(run("verify", image)), "QEMU can save itself then")
    machine.qmp("migrate-set-capabilities", capabilities=[
        {"capability": "mapped-ram", "state": False}])
    machine.qmp("cont")
    os.unlink(image)

    other = Machine()
    other.wait_for_guest(1)
    job = start_save(other, image)
    wait_for_file(image, job)
    time.sleep(0.5)
    other.process.kill()
    out, err = job.communicate()
    result(job.returncode == 1 and no_image(image) and
               len(err.splitlines()) == 1, "QEMU is killed", out, err)
    other.close()


def main():
    parts = sys.argv[1:] or ["live", "update", "block", "refuse", "fail"]
    Machine.find_guest()
    machine = Machine()
    try:
        machine.wait_for_guest(2)
        for part in parts:
            globals()[f"test_{part}"](machine)
    except QemuError as error:
        result(False, "QEMU does as it is told", error)
    finally:
        machine.close()
    OUT.end()


main()
