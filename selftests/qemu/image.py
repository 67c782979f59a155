# SPDX-License-Identifier: GPL-2.0
"""A reader of mapped-ram files of its own: it shares nothing with the library
that it judges, and was written from the format alone. What it does not expect
is an error. It also remembers where each field stood, for tests that damage
them."""

import collections
import mmap
import struct

Field = collections.namedtuple("Field", "name block offset size value")
Block = collections.namedtuple(
    "Block", "name length page_size bitmap_offset pages_offset runs")


class BadImage(Exception):
    """Not what the format says."""


def set_runs(bitmap, pages):
    """[first, count] of the bits that are set; bit n is bit n % 8 of byte
    n // 8, as words are little-endian."""
    bits = int.from_bytes(bitmap, "little")
    if bits >> pages:
        raise BadImage("bits behind the last page")
    # One character a page, the first page first: searching is then quick.
    text = format(bits, f"0{pages}b")[::-1] if pages else ""
    runs = []
    at = text.find("1")
    while at >= 0:
        end = text.find("0", at)
        if end < 0:
            end = pages
        runs.append((at, end - at))
        at = text.find("1", end)
    return runs


class Image:
    """An image at @offset of the file @path."""

    def __init__(self, path, offset=0):
        with open(path, "rb") as f:
            self.data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        self.at = offset
        self.block = None
        self.fields = []
        self.blocks = []
        self.machine = None
        self.subsections = []
        self.read()

    def close(self):
        self.data.close()

    def take(self, name, size):
        if self.at + size > len(self.data):
            raise BadImage(f"the file ends in {name}")
        value = self.data[self.at:self.at + size]
        self.at += size
        return value

    def number(self, name, size, want=None):
        at = self.at
        value = int.from_bytes(self.take(name, size), "big")
        self.fields.append(Field(name, self.block, at, size, value))
        if want is not None and value != want:
            raise BadImage(f"{name} at {at:#x}: {value:#x}, not {want:#x}")
        return value

    def text(self, name, length_size=1):
        length = self.number(f"length of the {name}", length_size)
        at = self.at
        value = self.take(name, length).decode()
        self.fields.append(Field(name, self.block, at, length, value))
        return value

    def read(self):
        self.number("magic", 4, 0x5145564d)
        self.number("stream version", 4, 3)
        self.number("configuration mark", 1, 7)
        self.machine = self.text("machine name", 4)
        mark = self.number("section mark", 1)
        while mark == 5:
            self.read_subsection()
            mark = self.number("section mark", 1)
        if mark != 1:
            raise BadImage("no RAM section")
        section = self.number("section id", 4)
        if self.text("section name") != "ram":
            raise BadImage("another section in front of the memory")
        self.number("section instance", 4, 0)
        self.number("section version", 4, 4)
        total = self.number("total", 8)
        if total & 0xfff != 4:
            raise BadImage("no total")
        left = total - 4
        while left:
            left -= self.read_block()
            if left < 0:
                raise BadImage("more memory than the total says")
        self.read_ram_end(section)
        self.state_offset = self.at

    def read_subsection(self):
        name = self.text("subsection name")
        self.subsections.append(name)
        self.number("subsection version", 4, 1)
        if name == "configuration/capabilities":
            names = [self.text("capability")
                     for _ in range(self.number("capability count", 4))]
            if names != ["mapped-ram"]:
                raise BadImage(f"capabilities {names}")
        elif name == "configuration/target-page-bits":
            self.number("page bits", 4, 12)
        elif name == "configuration/uuid":
            self.take("uuid", 16)
        else:
            raise BadImage(f"subsection {name}")

    def read_block(self):
        start = self.at
        self.block = name = self.text("block name")
        length = self.number("length", 8)
        self.number("header version", 4, 1)
        page_size = self.number("page size", 8)
        bitmap_offset = self.number("bitmap offset", 8)
        pages_offset = self.number("pages offset", 8)
        if page_size != 4096 or length % page_size:
            raise BadImage(f"{name} at {start:#x}: page size {page_size}")
        pages = length // page_size
        self.at = bitmap_offset
        runs = set_runs(self.take("bitmap", (pages + 63) // 64 * 8), pages)
        self.at = pages_offset + length
        if pages_offset % 4096 or self.at > len(self.data):
            raise BadImage(f"{name}: pages at {pages_offset:#x}")
        self.blocks.append(Block(name, length, page_size, bitmap_offset,
                                 pages_offset, runs))
        self.block = None
        return length

    def read_ram_end(self, section):
        while True:
            self.number("end of part", 8, 0x10)
            self.number("footer mark", 1, 0x7e)
            self.number("footer id", 4, section)
            mark = self.number("section mark", 1)
            while mark == 8:
                self.number("command", 2, 11)
                self.number("command length", 2, 0)
                mark = self.number("section mark", 1)
            if mark not in (2, 3):
                raise BadImage(f"mark {mark} in the RAM section")
            self.number("section id", 4, section)
            if mark == 3:
                break
        self.number("end of part", 8, 0x10)
        self.number("footer mark", 1, 0x7e)
        self.number("footer id", 4, section)

    def memory(self, block):
        """What a loader makes of a block: pages without a bit are zero."""
        memory = bytearray(block.length)
        for first, count in block.runs:
            start = first * block.page_size
            end = start + count * block.page_size
            memory[start:end] = self.data[block.pages_offset + start:
                                          block.pages_offset + end]
        return memory

    def pages(self):
        return sum(count for block in self.blocks for _, count in block.runs)
