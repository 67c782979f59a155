#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Proves that `mapped-ram restore --qmp` restores a machine into an unmodified
QEMU that waits for it with its memory in two shared files:

ours	images of `save --qmp`: the guest goes on; left paused, each block equals
	the image and the guest's RAM what pmemsave writes; each engine; memory
	files that held something else; nothing in the page cache
stock	the same for images that QEMU wrote itself: plain, multifd with direct
	I/O, at an offset
refuse	what does not fit is named, and nothing was touched
fail	damaged state, interrupted, QEMU killed, no room for the memory: one line,
	and QEMU waits as before where it can

In the test machine or on a host, as root.
  MRAM_QEMU        10 or 11 (10)
  MRAM_TEST_ACCEL  kvm or tcg (kvm in the test machine, tcg elsewhere)
  MRAM_TEST_DIR    a directory on a file system with direct I/O (a new one)
  TOOL             the tool (build/user/mapped-ram)
"""

import json
import mmap
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import tap
from image import Image
from machine import IN_MACHINE, MIB, NODE, PAGE, Machine
from qemu import QemuError
from tool import TOOL, failed_with, run, went_well

WORK = tempfile.mkdtemp(dir=os.environ.get("MRAM_TEST_DIR"))
OUT = tap.Tap()
result = OUT.ok


def restore(machine, image, *args):
    return run("restore", "--qmp", machine.tool_socket(), "--json", *args,
               image)


def waiting(*more, **other):
    """A QEMU that waits for a machine."""
    return Machine("-incoming", "defer", *more, **other)


def state_of(machine):
    return machine.qmp("query-status")["status"]


def is_clock(page, other):
    """KVM writes the time of day, 12 bytes, where a guest has asked for it, as
    soon as it is told where that is."""
    places = [at for at in range(PAGE) if page[at] != other[at]]
    return Machine.accel == "kvm" and places[-1] // 16 == places[0] // 16


def differences(machine, path, offset=0):
    """Of a machine that stands still: what is not as its image says."""
    wrong = []
    clocks = 0
    image = Image(path, offset)
    whole = {}
    for block in image.blocks:
        saved = image.memory(block)
        whole[block.name] = memory = machine.memory(block.name)
        pages = [at // PAGE for at in range(0, block.length, PAGE)
                 if memory[at:at + PAGE] != saved[at:at + PAGE]]
        for page in list(pages):
            at = page * PAGE
            if not clocks and is_clock(memory[at:at + PAGE],
                                       saved[at:at + PAGE]):
                clocks = 1
                pages.remove(page)
        if pages:
            wrong.append(f"block {block.name}: {len(pages)} pages differ: "
                         f"{pages[:8]}")
    image.close()
    if machine.pmemsave() != whole["node0"][MIB:] + whole["node1"]:
        wrong.append("not what pmemsave wrote")
    return wrong


def check_goes_on(machine, before, name):
    """The guest runs, is behind where it was saved, and its memory right."""
    try:
        now = machine.wait_for_guest(2)
        result(now[0] > before[0] and now[1] > before[1] and now[2] == 0, name,
               before, now)
    except QemuError as error:
        result(False, name, error)


def spoil(machine):
    """Memory files that are not fresh: pages that an image lacks are zero
    nevertheless."""
    for node in range(2):
        with open(f"{machine.directory}/ram{node}", "r+b") as f:
            for at in range(0, NODE, 16 * PAGE):
                f.seek(at)
                f.write(b"\xa5" * PAGE)


def check_restore(path, before, name, *args, spoilt=False, offset=0):
    """Paused first, so that it can be compared; then it goes on."""
    machine = waiting()
    try:
        machine.set_capability("mapped-ram", True)
        settings = machine.settings()
        if spoilt:
            spoil(machine)
        done = restore(machine, path, "--stop", *args)
        report = json.loads(done.stdout or "{}")
        result(went_well(done) and report["state"] == "paused" and
                   report["state_bytes"] > 0 and
                   (report["read"] + report["zero"]) * PAGE == 2 * NODE,
               f"{name}: restored", done.stdout, done.stderr)
        wrong = differences(machine, path, offset)
        result(not wrong, f"{name}: each page is the image's", *wrong)
        result(state_of(machine) == "paused" and
                   machine.settings() == settings,
               f"{name}: paused, and settings as they were",
               machine.qmp("query-status"), machine.settings(), settings)
        machine.qmp("cont")
        check_goes_on(machine, before, f"{name}: cont makes the guest go on")
        done = restore(machine, path, *args)
        result(failed_with(done, "'running'") and
                   machine.qmp("query-status")["running"],
               f"{name}: refused where it runs", done.stderr)
        return report
    finally:
        machine.close()


def cached_pages(path):
    text = subprocess.run(["fincore", "--bytes", "--noheadings", "--output",
                           "PAGES", path], stdout=subprocess.PIPE, check=True,
                          text=True).stdout
    return int(text)


def drop_cached(path):
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def save(machine, image, *args):
    done = run("save", "--qmp", machine.tool_socket(), "--max-passes", "1",
               *args, image)
    result(went_well(done), f"saved: {' '.join(args) or 'it goes on'}",
           done.stderr)


def test_ours(machine, image):
    machine.wait_for_guest(1)
    before = machine.guest()
    save(machine, image)
    engines = ["uring", "pwrite"]
    if os.path.exists("/dev/mapped_ram"):
        engines.append("module")
    for engine in engines:
        report = check_restore(image, before, engine, "--engine", engine,
                               spoilt=engine == "uring")
        result(report["engine"] == engine, f"{engine} it was", report)

    other = waiting()
    try:
        done = restore(other, image, "--window", "8", "--max-extent", "64K")
        result(went_well(done) and
                   json.loads(done.stdout)["state"] == "running" and
                   other.qmp("query-status")["running"], "it runs at once",
               done.stdout, done.stderr)
        check_goes_on(other, before, "and the guest goes on")
    finally:
        other.close()

    # Text for people, QEMU's own -S, and nothing in the cache but what the
    # test itself read before.
    other = waiting("-S")
    try:
        drop_cached(image)
        done = run("restore", "--qmp", other.tool_socket(), image)
        result(went_well(done) and "is paused" in done.stdout and
                   state_of(other) == "paused", "-S keeps it paused",
               done.stdout, done.stderr)
        if shutil.which("fincore"):
            result(cached_pages(image) == 0,
                   "nothing of the image is in the page cache",
                   cached_pages(image))
    finally:
        other.close()

    test_huge(image, before)

    # What was paused when it was saved is so again.
    machine.qmp("stop")
    before = machine.guest()
    save(machine, image)
    other = waiting()
    try:
        done = restore(other, image)
        result(went_well(done) and state_of(other) == "paused",
               "what was paused is paused", done.stdout, done.stderr)
        other.qmp("cont")
        check_goes_on(other, before, "and cont makes it go on")
    finally:
        other.close()
    machine.qmp("cont")


def test_huge(image, before):
    """Into memory on hugetlbfs, where the machine is ours to set up."""
    if not IN_MACHINE:
        return
    huge = tempfile.mkdtemp()
    with open("/proc/sys/vm/nr_hugepages", "w", encoding="ascii") as f:
        f.write(str(2 * NODE // (2 * MIB)))
    subprocess.run(["mount", "-t", "hugetlbfs", "none", huge], check=True)
    target = None
    try:
        target = waiting(backend="memory-backend-file,share=on,"
                                 f"mem-path={huge}/ram" + "{node}")
        done = restore(target, image, "--stop")
        wrong = differences(target, image) if went_well(done) else []
        result(went_well(done) and not wrong,
               "huge pages: each page is the image's", done.stderr, *wrong)
        target.qmp("cont")
        check_goes_on(target, before, "huge pages: the guest goes on")
    finally:
        if target:
            target.close()
            for node in range(2):
                os.unlink(f"{huge}/ram{node}")
        subprocess.run(["umount", huge], check=True)
        with open("/proc/sys/vm/nr_hugepages", "w", encoding="ascii") as f:
            f.write("0")


def test_stock(machine, image):
    for name, capabilities, parameters, offset in (
            ("plain", ["mapped-ram"], {}, 0),
            ("multifd, direct I/O", ["mapped-ram", "multifd"],
             {"multifd_channels": 2, "direct_io": True}, 0),
            ("at an offset", ["mapped-ram"], {"direct_io": False}, 3 * MIB)):
        machine.wait_for_guest(1)
        machine.qmp("stop")
        before = machine.guest()
        machine.save(f"file:{image},offset={offset:#x}" if offset else
                     f"file:{image}", capabilities, parameters)
        args = ["--offset", str(offset)] if offset else []
        check_restore(image, before, f"QEMU's, {name}", *args, spoilt=True,
                      offset=offset)
        machine.qmp("cont")
        os.unlink(image)
    machine.set_capability("multifd", False)
    machine.set_capability("mapped-ram", False)


def untouched(machine):
    """Nothing was written to the memory that it was started with."""
    return all(os.stat(f"{machine.directory}/{name}").st_blocks == 0
               for name in os.listdir(machine.directory)
               if name.startswith("ram"))


def check_refused(machine, done, pattern, settings, name):
    result(failed_with(done, pattern) and not done.stdout and
               state_of(machine) == "inmigrate" and untouched(machine) and
               machine.settings() == settings, name, done.stdout, done.stderr,
           state_of(machine), untouched(machine))


def test_refuse(machine, image):
    before = machine.guest()
    save(machine, image)
    done = restore(machine, image)
    result(failed_with(done, "-incoming defer") and
               machine.qmp("query-status")["running"],
           "a machine that runs", done.stderr)

    for what, pattern, more, other in (
            ("another machine type", "-machine", [], {"machine": "pc"}),
            ("less memory", "'node0'", [], {"size": NODE // 2}),
            ("a device less", "none of that name", [], {"display": False}),
            ("a device more", "the image has none",
             ["-device", "secondary-vga,vgamem_mb=1"], {}),
            ("memory that is not used", "does not use it",
             ["-object", "memory-backend-file,id=p,size=16M,share=on,"
              f"mem-path={WORK}/unused"], {}),
            ("private RAM", "share=off", [],
             {"backend": "memory-backend-ram"}),
            ("private files", "share=off", [],
             {"backend": "memory-backend-file,share=off,"
                         "mem-path={directory}/ram{node}"}),
            ("a memfd", "memory-backend-memfd", [],
             {"backend": "memory-backend-memfd,share=on"})):
        target = waiting(*more, **other)
        try:
            check_refused(target, restore(target, image), pattern,
                          target.settings(), what)
        finally:
            target.close()
    if os.path.exists(f"{WORK}/unused"):
        os.unlink(f"{WORK}/unused")

    target = waiting()
    try:
        refuse_here(target, image)
        done = restore(target, image)
        result(went_well(done), "after all that it is restored there",
               done.stderr)
        check_goes_on(target, before, "and goes on")
    finally:
        target.close()

    target = Machine("-incoming", "tcp:127.0.0.1:0")
    try:
        check_refused(target, restore(target, image), "already",
                      target.settings(), "one that waits for somebody else")
    finally:
        target.close()


def refuse_here(target, image):
    """Reasons that pass."""
    for name in ("multifd", "postcopy-ram", "xbzrle"):
        target.set_capability(name, True)
        check_refused(target, restore(target, image), f"'{name}'",
                      target.settings(), f"{name} is on")
        target.set_capability(name, False)
    settings = target.settings()
    with open(f"{target.directory}/ram0", "r+b") as f, \
            mmap.mmap(f.fileno(), PAGE):
        check_refused(target, restore(target, image), "maps", settings,
                      "another process maps the memory")
    done = run("restore", "--qmp", f"{WORK}/none", image)
    check_refused(target, done, "cannot connect", settings,
                  "there is no monitor")
    done = restore(target, f"{WORK}/none")
    check_refused(target, done, "No such file", settings, "there is no image")
    done = restore(target, __file__)
    check_refused(target, done, "not an image", settings, "it is no image")
    # Under the name of the image there is the memory: it is no image, either.
    done = restore(target, f"{target.directory}/ram0")
    check_refused(target, done, "no image", settings, "the memory itself")
    cut = f"{WORK}/cut"
    size = os.path.getsize(image)
    shutil.copyfile(image, cut)
    for length in (PAGE, size // 2, size - 1):
        os.truncate(cut, length)
        done = restore(target, cut)
        check_refused(target, done, "cut", settings,
                      f"an image cut to {length} bytes")
        shutil.copyfile(image, cut)
    os.unlink(cut)
    other = socket.socket(socket.AF_UNIX)
    other.connect(target.tool_socket())
    other.recv(1)
    check_refused(target, restore(target, image), "one client at a time",
                  settings, "another client has the monitor")
    other.close()


def damage_state(image, path):
    """Another version of a section, which no QEMU knows."""
    shutil.copyfile(image, path)
    info = json.loads(run("info", "--json", image).stdout)
    section = [s for s in info["sections"] if s["name"] == "timer"][0]
    with open(path, "r+b") as f:
        f.seek(section["data_offset"] - 4)
        f.write(b"\0\0\0\x7f")


def start(machine, image):
    # pylint: disable=consider-using-with
    return subprocess.Popen(
        [TOOL, "restore", "--qmp", machine.tool_socket(), image],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, text=True)


def test_fail(machine, image):
    before = machine.guest()
    save(machine, image)
    bad = f"{WORK}/bad"
    damage_state(image, bad)
    target = waiting()
    try:
        done = restore(target, bad)
        result(failed_with(done, "device state", "anew") and
                   not target.qmp("query-status")["running"],
               "QEMU does not know the state", done.stderr)
        done = restore(target, image)
        result(failed_with(done, "anew"), "it says so the next time",
               done.stderr)
    finally:
        target.close()
    os.unlink(bad)

    # QEMU stands still: the tool waits for it, and can be interrupted there.
    target = waiting()
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            target.process.send_signal(signal.SIGSTOP)
            job = start(target, image)
            time.sleep(0.5)
            job.send_signal(number)
            out, err = job.communicate()
            target.process.send_signal(signal.SIGCONT)
            result(job.returncode == -number and
                       len(err.splitlines()) == 1 and
                       state_of(target) == "inmigrate",
                   f"{number.name} while QEMU is away", job.returncode, out,
                   err)
        for msec in (0, 20, 50, 100, 200):
            job = start(target, image)
            time.sleep(msec / 1000)
            job.send_signal(signal.SIGINT)
            out, err = job.communicate()
            # It may have been done already, or be handing over.
            ended = job.returncode == -signal.SIGINT and \
                len(err.splitlines()) <= 1
            result(ended or went_well_late(job, err),
                   f"SIGINT after {msec} ms", job.returncode, out, err)
            if state_of(target) != "inmigrate":
                break
        if state_of(target) == "inmigrate" and "anew" not in err:
            done = restore(target, image)
            result(went_well(done), "restored after the interruptions",
                   done.stderr)
            check_goes_on(target, before, "and it goes on")
    finally:
        target.close()

    target = waiting()
    try:
        target.process.send_signal(signal.SIGSTOP)
        job = start(target, image)
        time.sleep(0.5)
        target.process.kill()
        out, err = job.communicate()
        result(job.returncode == 1 and len(err.splitlines()) == 1,
               "QEMU is killed", out, err)
    finally:
        target.close()
    test_no_room(image)


def went_well_late(job, err):
    return job.returncode == 0 and not err


def test_no_room(image):
    """Memory on a file system that cannot hold it."""
    small = tempfile.mkdtemp()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8M", "none", small],
                   check=True)
    target = None
    try:
        target = waiting(backend="memory-backend-file,share=on,"
                                 f"mem-path={small}/ram" + "{node}")
        done = restore(target, image)
        result(failed_with(done) and state_of(target) == "inmigrate",
               "no room for the memory", done.returncode, done.stderr)
    finally:
        if target:
            target.close()
        subprocess.run(["umount", small], check=True)


def main():
    parts = sys.argv[1:] or ["ours", "stock", "refuse", "fail"]
    Machine.find_guest()
    image = f"{WORK}/image"
    machine = Machine()
    try:
        machine.wait_for_guest(2)
        for part in parts:
            globals()[f"test_{part}"](machine, image)
            if os.path.exists(image):
                os.unlink(image)
    except QemuError as error:
        result(False, "QEMU does as it is told", error)
    finally:
        machine.close()
        shutil.rmtree(WORK)
    OUT.end()


main()
