#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Proves that what QEMU saves with mapped-ram on, in each of its modes, is
read as what the machine's memory was when it was stopped: a reader of the
test's own, info, verify, restore, extract and diff all agree with QEMU's own
dump of its memory and with the memory of its process, byte for byte.

Inside the test machine, with a guest that keeps writing between the saves.
Elsewhere it works, too, but emulates the guest and uses no huge pages.
  MRAM_QEMU      10 or 11 (10)
  MRAM_TEST_DIR  a directory on a file system with direct I/O
  TOOL           the tool (build/user/mapped-ram)
"""

import json
import os
import shutil
import sys
import tempfile

import image
import qemu
import tap
import tool

IN_MACHINE = "MAPPED_RAM_VM" in os.environ

MIB = 1 << 20
PAGE = 4096

# The guest's memory from address 0 on: every kind of backend. The hugetlbfs
# one has pages of 2 MiB, its block in the file of 4 KiB as all others.
BACKENDS = [
    ("file", 96, "memory-backend-file,mem-path={shm}/ram,share=on"),
    ("memfd", 24, "memory-backend-memfd,share=on"),
    ("huge", 24, "memory-backend-file,mem-path={huge},share=on"),
    ("private", 16, "memory-backend-ram"),
]
RAM = sum(size for _, size, _ in BACKENDS) * MIB
# Reads of these addresses go to the display adapter, not to memory.
NOT_MEMORY = range(0xa0000, 0xc0000)

PLAIN = {"mapped-ram"}
MULTIFD = {"mapped-ram", "multifd"}
# Name, capabilities, zero page detection, direct I/O, offset in the file
MODES = [
    ("plain", PLAIN, "legacy", False, 0),
    ("plain, no zero page detection", PLAIN, "none", False, 0),
    ("multifd", MULTIFD, "multifd", False, 0),
    ("multifd, legacy zero page detection", MULTIFD, "legacy", False, 0),
    ("multifd, direct I/O", MULTIFD, "multifd", True, 0),
    ("multifd, direct I/O, no zero page detection", MULTIFD, "none", True, 0),
    ("at an offset", PLAIN, "legacy", False, 0x123001),
    ("multifd, direct I/O, at an offset", MULTIFD, "multifd", True, 3 * MIB),
]


def same(one, other):
    """Compares long things piece by piece: a slice of a map is a copy."""
    return len(one) == len(other) and all(
        one[at:at + MIB] == other[at:at + MIB]
        for at in range(0, len(one), MIB))


def contents(path):
    with open(path, "rb") as f:
        return f.read()


def different_pages(one, other):
    """The pages that differ, as diff tells them: runs of [first, count]."""
    runs = []
    for at in range(0, len(one), MIB):
        if one[at:at + MIB] == other[at:at + MIB]:
            continue
        for page in range(at, min(at + MIB, len(one)), PAGE):
            if one[page:page + PAGE] == other[page:page + PAGE]:
                continue
            if runs and runs[-1][0] + runs[-1][1] == page // PAGE:
                runs[-1][1] += 1
            else:
                runs.append([page // PAGE, 1])
    return runs


class Test:
    """One QEMU, saved in all modes one after the other."""

    def __init__(self):
        self.tap = tap.Tap()
        self.directory = tempfile.mkdtemp(dir=os.environ.get("MRAM_TEST_DIR"))
        self.shm = tempfile.mkdtemp(dir="/dev/shm")
        self.huge = tempfile.mkdtemp(
            dir="/dev/hugepages" if IN_MACHINE else "/dev/shm")
        self.accel = "kvm" if IN_MACHINE else "tcg"
        self.version = os.environ.get("MRAM_QEMU", "10")
        self.engines = [engine for engine in ("module", "uring", "pwrite")
                        if engine != "module" or
                        os.path.exists("/dev/mapped_ram")]
        self.qemu = None
        self.before = None

    def close(self):
        if self.qemu:
            self.qemu.close()
        shutil.rmtree(self.directory)
        shutil.rmtree(self.shm)
        shutil.rmtree(self.huge)

    def run(self, *arguments, status=0):
        """The tool; what it printed, or None and a result that is bad."""
        done = tool.run(*map(str, arguments))
        if done.returncode == status and not done.stderr:
            return done.stdout
        self.tap.ok(False, f"mapped-ram {arguments[0]}",
                    f"status {done.returncode}\n{done.stderr}")
        return None

    def start(self):
        guest = qemu.output_of(f"{qemu.PROJECT}/selftests/qemu/guest/make-guest")
        with open(f"{guest}/append", encoding="ascii") as f:
            append = f.read().strip()
        arguments = ["-accel", self.accel, "-cpu", "max", "-machine", "q35",
                     "-m", str(RAM // MIB), "-kernel", f"{guest}/kernel",
                     "-initrd", f"{guest}/initrd",
                     "-append", f"{append} work=32",
                     "-device", "VGA,vgamem_mb=8"]
        for name, size, backend in BACKENDS:
            arguments += [
                "-object", f"{backend},id={name},size={size}M".format(
                    shm=self.shm, huge=self.huge),
                "-numa", f"node,memdev={name}"]
        self.qemu = qemu.Qemu(self.version, self.shm, arguments)
        print(f"# QEMU {self.qemu.version['major']}."
              f"{self.qemu.version['minor']}.{self.qemu.version['micro']}")
        self.qemu.wait_for_guest(2)

    def all_modes(self):
        for number, (name, capabilities, zero, direct, offset) in \
                enumerate(MODES):
            path = os.path.join(self.directory, f"image{number % 2}")
            if os.path.exists(path):
                os.unlink(path)
            self.qemu.qmp("stop")
            dump = os.path.join(self.shm, "dump")
            self.qemu.qmp("pmemsave", val=0, size=RAM, filename=dump)
            self.qemu.save(
                f"file:{path}" + (f",offset={offset}" if offset else ""),
                capabilities, {"zero-page-detection": zero,
                               "direct-io": direct, "multifd-channels": 2})
            memory = {block: self.qemu.memory(block)
                      for block in self.qemu.blocks()}
            self.qemu.qmp("cont")
            self.check(name, path, offset, memory, contents(dump),
                       self.engines[number % len(self.engines)])
            os.unlink(dump)

    def check(self, name, path, offset, memory, dump, engine):
        ram = b"".join(memory[block] for block, _, _ in BACKENDS)
        hole = NOT_MEMORY
        self.tap.ok(
            same(ram[:hole.start], dump[:hole.start]) and
            same(ram[hole.stop:], dump[hole.stop:]),
            f"{name}: the memory that is compared with is QEMU's dump")
        read = image.Image(path, offset)
        self.tap.ok(
            {block.name for block in read.blocks} == set(memory) and
            all(same(read.memory(block), memory[block.name])
                for block in read.blocks),
            f"{name}: the reader of the test's own finds it")
        self.check_info(name, path, offset, read)
        self.check_restore(f"{name}: restore, engine {engine}", path, offset,
                           memory, engine)
        self.check_extract(name, path, offset, memory)
        if self.before:
            self.check_diff(name, path, offset, memory)
        self.before = (path, offset, memory)
        read.close()

    def check_info(self, name, path, offset, read):
        text = self.run("verify", "--json", "--offset", offset, path)
        if not text:
            return
        said = json.loads(text)
        blocks = [(b["name"], b["length"], b["page_size"], b["bitmap_offset"],
                   b["pages_offset"], b["set_pages"]) for b in said["blocks"]]
        wanted = [(b.name, b.length, b.page_size, b.bitmap_offset,
                   b.pages_offset, sum(count for _, count in b.runs))
                  for b in read.blocks]
        self.tap.ok(
            blocks == wanted and said["machine"] == read.machine and
            said["state_offset"] == read.state_offset and
            said["image_size"] == os.path.getsize(path) and
            said["pages_read"] == read.pages() and said["direct"] and
            len(said["sections"] or []) > 20,
            f"{name}: info and verify say the same as that reader", text)

    def check_restore(self, name, path, offset, memory, engine):
        """To new shared memory; the one of 2 MiB pages to such pages, another
        to a memfd that holds something."""
        memfd = os.memfd_create("restored")
        os.ftruncate(memfd, len(memory["memfd"]))
        os.pwrite(memfd, b"\xa5" * 8 * MIB, 4 * MIB)
        targets = {block: os.path.join(self.shm, f"restored{number}")
                   for number, block in enumerate(memory)}
        targets["memfd"] = f"/proc/{os.getpid()}/fd/{memfd}"
        targets["huge"] = os.path.join(self.huge, "restored")
        regions = [argument for block, target in targets.items()
                   for argument in ("--region", f"{block}={target}")]
        text = self.run("restore", "--offset", offset, "--engine", engine,
                        *regions, path)
        wrong = [block for block, target in targets.items()
                 if text and not same(self.mapped(target), memory[block])]
        self.tap.ok(text and not wrong, name, wrong)
        for block, target in targets.items():
            if block != "memfd" and os.path.exists(target):
                os.unlink(target)
        os.close(memfd)

    @staticmethod
    def mapped(path):
        """Files of huge pages can be mapped, but not always be read."""
        with open(path, "rb") as f:
            with image.mmap.mmap(f.fileno(), 0,
                                 access=image.mmap.ACCESS_READ) as data:
                return data[:]

    def check_extract(self, name, path, offset, memory):
        good = True
        for block in ("private", "pc.bios", "0000:00:01.0/vga.vram"):
            target = os.path.join(self.directory, "extracted")
            good &= bool(self.run("extract", "--offset", offset, path, block,
                                  target))
            good = good and same(contents(target), memory[block])
            if os.path.exists(target):
                os.unlink(target)
        self.tap.ok(good, f"{name}: extract")

    def check_diff(self, name, path, offset, memory):
        old_path, old_offset, old = self.before
        text = self.run("diff", "--json", "--offset1", old_offset, old_path,
                        "--offset2", offset, path, status=1)
        if not text:
            return
        said = {block["name"]: [[run["first"], run["count"]]
                                for run in block["differ"]]
                for block in json.loads(text)["blocks"]}
        wanted = {block: different_pages(old[block], memory[block])
                  for block in memory}
        changed = sum(count for runs in wanted.values() for _, count in runs)
        self.tap.ok(said == wanted and changed > 200,
                    f"{name}: diff finds the {changed} pages that the guest "
                    "changed since the one before")

    def guest_went_on(self):
        _, writes, errors = self.qemu.wait_for_guest(2)
        self.tap.ok(writes and not errors,
                    f"the guest goes on: {writes} writes, {errors} errors")

    def old_machine(self):
        """An older machine type, memory that nobody named, a uuid; nothing
        runs, so nearly all pages are zero."""
        self.qemu.close()
        self.qemu = qemu.Qemu(self.version, self.shm, [
            "-accel", self.accel, "-machine", "pc-q35-9.0", "-m", "64", "-S",
            "-uuid", "00010203-0405-0607-0809-0a0b0c0d0e0f"])
        path = os.path.join(self.directory, "old")
        self.qemu.save(f"file:{path}", PLAIN | {"validate-uuid"},
                       {"zero-page-detection": "legacy"})
        memory = {block: self.qemu.memory(block)
                  for block in self.qemu.blocks()}
        read = image.Image(path)
        self.tap.ok(
            read.machine == "pc-q35-9.0" and "pc.ram" in memory and
            "configuration/uuid" in read.subsections and
            all(same(read.memory(block), memory[block.name])
                for block in read.blocks), "an older machine type with a uuid",
            (read.machine, read.subsections))
        self.check_info("older machine type", path, 0, read)
        read.close()


def main():
    if IN_MACHINE:
        with open("/proc/sys/vm/nr_hugepages", "w", encoding="ascii") as f:
            f.write("26")
    test = Test()
    try:
        test.start()
        test.all_modes()
        test.guest_went_on()
        test.old_machine()
    except (qemu.QemuError, image.BadImage) as error:
        test.tap.ok(False, "the test came to its end", error)
        sys.exit(1)
    finally:
        test.close()
    test.tap.end()


if __name__ == "__main__":
    main()
