#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Proves that no damage to a file that QEMU wrote does harm or goes unnoticed:
each field of each header is wrong in turn, in several ways; parts overlap or
lie outside of the file; the file is cut in and between all its parts. Each time
info, verify, restore, extract and diff end with their status for trouble and
one line that names the block and the offset; they print nothing else and make
no file.

No guest runs: QEMU saves a machine that never started. Meant for a tool that
was built with ASan, and for a plain one, which gets little memory.
  MRAM_QEMU      10 or 11 (10)
  MRAM_TEST_DIR  a directory
  TOOL           the tool (build/user/mapped-ram)
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

import image
import qemu
import tap
from tool import TOOL

MIB = 1 << 20
ENVIRONMENT = dict(os.environ, LC_ALL="C",
                   ASAN_OPTIONS="exitcode=99:detect_leaks=1",
                   UBSAN_OPTIONS="halt_on_error=1:exitcode=99")

# Bitmaps may lie elsewhere, as long as they lie where nothing else is. Names of
# machines and blocks may be any bytes but control characters.
FREE = {"bitmap offset", "machine name", "block name"}


def limits():
    """Memory by the file's word would be more than this; ASan wants its own
    address space, so only a plain tool is limited."""
    import resource  # pylint: disable=import-outside-toplevel
    if "asan" not in TOOL:
        resource.setrlimit(resource.RLIMIT_AS, (256 * MIB, 256 * MIB))


class Damage:
    """An image, and what becomes of it."""

    def __init__(self):
        self.tap = tap.Tap()
        self.directory = tempfile.mkdtemp(dir=os.environ.get("MRAM_TEST_DIR"))
        self.good = os.path.join(self.directory, "good")
        self.bad = os.path.join(self.directory, "bad")
        self.new = os.path.join(self.directory, "new")
        self.image = None
        self.runs = 0

    def make(self):
        machine = qemu.Qemu(
            os.environ.get("MRAM_QEMU", "10"), self.directory,
            ["-accel", "tcg", "-machine", "q35", "-S", "-m", "4",
             "-object", "memory-backend-ram,id=ram0,size=3M",
             "-object", "memory-backend-ram,id=ram1,size=1M",
             "-numa", "node,memdev=ram0", "-numa", "node,memdev=ram1"])
        machine.save(f"file:{self.good}", {"mapped-ram"}, {})
        machine.close()
        self.image = image.Image(self.good)
        shutil.copyfile(self.good, self.bad)

    def commands(self):
        return (["verify", "--json", self.bad],
                ["info", self.bad],
                ["info", "--json", self.bad],
                ["restore", "--region", f"ram0={self.new}", "--skip", "ram1",
                 *(word for block in self.image.blocks
                   for word in ("--skip", block.name)
                   if block.name not in ("ram0", "ram1")), self.bad],
                ["extract", self.bad, "ram1", self.new],
                ["diff", self.good, self.bad],
                ["diff", self.bad, self.good])

    def noticed(self, pattern, some):
        """What the commands say, or only the first: None when they refuse as
        they should, "accepted", or what is wrong."""
        for arguments in self.commands()[:1 if some else None]:
            done = subprocess.run([TOOL, *arguments], text=True, check=False,
                                  stdin=subprocess.DEVNULL, env=ENVIRONMENT,
                                  capture_output=True, errors="replace",
                                  preexec_fn=limits)
            self.runs += 1
            if done.returncode == 0 and not done.stderr:
                return "accepted"
            want = 2 if arguments[0] == "diff" else 1
            if (done.returncode != want or done.stdout or
                    done.stderr.count("\n") != 1 or
                    not done.stderr.startswith("mapped-ram: ") or
                    os.path.exists(self.new) or
                    not re.search(pattern, done.stderr)):
                return (f"{arguments[0]}: status {done.returncode}, wanted "
                        f"{pattern}\n{done.stderr[-2000:]}")
        return None

    def put(self, offset, data):
        with open(self.bad, "r+b") as f:
            f.seek(offset)
            f.write(data)

    def change(self, field, data, some):
        self.put(field.offset, data)
        pattern = "offset (0x)?[0-9a-f]+|no image was committed"
        if field.block is not None:
            pattern = "block ('|[0-9]+,).*offset (0x)?[0-9a-f]+"
        elif field.name == "total":
            pattern = "offset 0x[0-9a-f]+"
        said = self.noticed(pattern, some)
        original = self.image.data[field.offset:field.offset + len(data)]
        self.put(field.offset, original)
        return said

    @staticmethod
    def wrong_values(field):
        """Of a number: off by one, its bits turned over, nothing, far too
        much; of a text: something that no text has."""
        if isinstance(field.value, str):
            return [b"\x1b" + field.value[1:].encode(),
                    b"\xff" + field.value[1:].encode()]
        bits = 8 * field.size
        values = [field.value + 1, field.value - 1, 0, (1 << bits) - 1,
                  field.value ^ 1 << bits - 1, field.value ^ 1 << bits // 2]
        values = dict.fromkeys(value % (1 << bits) for value in values)
        return [value.to_bytes(field.size, "big") for value in values
                if value != field.value]

    def fields(self):
        """All of them, by name; what can be right all the same is counted."""
        by_name = {}
        for number, field in enumerate(self.image.fields):
            for turn, data in enumerate(self.wrong_values(field)):
                said = self.change(field, data, (number + turn) % 4)
                bad, free = by_name.setdefault(field.name, ([], []))
                # An iteration may as well be the end, for QEMU, too.
                if said == "accepted" and (field.name != "section mark" or
                                           field.value != 2 or data != b"\3"):
                    free.append(f"{field.offset:#x}: {data.hex()}")
                elif said and said != "accepted":
                    bad.append(f"{field.offset:#x}: {data.hex()}: {said}")
        for name, (bad, free) in by_name.items():
            if name not in FREE:
                bad += free
            self.tap.ok(not bad, f"wrong: {name}", "\n".join(bad))

    def places(self):
        """Each block's bitmap and pages on top of each other part."""
        bad = []
        parts = [0, len(self.image.data), 1 << 62, (1 << 63) - 4096, 1 << 63,
                 (1 << 64) - 4096]
        for block in self.image.blocks:
            parts += [block.bitmap_offset, block.pages_offset,
                      block.pages_offset + block.length - 4096]
        for number, field in enumerate(self.image.fields):
            if field.name not in ("bitmap offset", "pages offset"):
                continue
            for turn, at in enumerate(parts):
                # Free room between a bitmap and its pages stays free room.
                if at == field.value or (field.name == "pages offset" and
                                         field.offset < at < field.value):
                    continue
                said = self.change(field, at.to_bytes(8, "big"),
                                   (number + turn) % 8)
                if said:
                    bad.append(f"{field.block}: {field.name} {at:#x}: {said}")
        self.tap.ok(not bad, "bitmaps and pages over other parts, and outside",
                    "\n".join(bad))

    def cuts(self):
        """In front of each field, and inside; in the pages; in device state
        and description, at places that a random cut would not find, too."""
        end = len(self.image.data)
        at = {field.offset + part for field in self.image.fields
              for part in (0, field.size // 2)}
        for block in self.image.blocks:
            size = (block.length // 4096 + 63) // 64 * 8
            at |= {block.bitmap_offset, block.bitmap_offset + size - 1,
                   block.pages_offset + 1,
                   block.pages_offset + block.length // 2 & ~0xfff,
                   block.pages_offset + block.length - 1}
        tail = self.image.data[self.image.state_offset:]
        braces = [found.end() for found in re.finditer(rb"[}\0]", tail)]
        at |= {self.image.state_offset + place
               for place in braces[::max(1, len(braces) // 60)]
               if place < len(tail)}
        at |= {end - 1, end - 2}
        bad = []
        for number, size in enumerate(sorted(at, reverse=True)):
            # From the end on: nothing has to be put back.
            os.truncate(self.bad, size)
            said = self.noticed("offset (0x)?[0-9a-f]+|the file is empty",
                                number % 8)
            if said:
                bad.append(f"{size:#x}: {said}")
        self.tap.ok(not bad, f"cut at {len(at)} places", "\n".join(bad))


def main():
    test = Damage()
    try:
        test.make()
        said = test.noticed(".", True)
        test.tap.ok(said == "accepted", "QEMU's file is read", said)
        test.fields()
        test.places()
        with open(test.bad, "rb") as f:
            test.tap.ok(f.read() == test.image.data[:],
                        "all damage was repaired")
        test.cuts()
        print(f"# the tool ran {test.runs} times")
    except (qemu.QemuError, image.BadImage) as error:
        test.tap.ok(False, "the test came to its end", error)
        sys.exit(1)
    finally:
        shutil.rmtree(test.directory)
    test.tap.end()


if __name__ == "__main__":
    main()
