# SPDX-License-Identifier: GPL-2.0
"""A virtual machine monitor, as far as `mapped-ram restore --lazy` is concerned,
and the tool that serves it: what the tests of lazy.py share.

  MRAM_TEST_DIR  where the images go: a file system with direct I/O (a new one)
  MRAM_SEED      a random test once more
  TOOL           the tool (build/user/mapped-ram)
"""

import array
import ctypes
import fcntl
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

# Whatever is started from here gets SIGINT, which a job in the background of a
# shell without job control ignores, and its children with it.
signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = os.path.dirname(os.path.realpath(__file__))
TOOL = os.environ.get("TOOL", os.path.join(
    HERE, "../../build/user/mapped-ram"))
WORK = tempfile.mkdtemp(dir=os.environ.get("MRAM_TEST_DIR"))
SEED = int(os.environ.get("MRAM_SEED", time.time_ns() & 0xffffffff))

PAGE = 4096
HUGE = 2 << 20
# The blocks of the image, in this order.
SIZES = {"pc.ram": 24 << 20, "vga.vram": 2 << 20}

SYS_USERFAULTFD = 323
UFFDIO_API = 0xc018aa3f
UFFDIO_REGISTER = 0xc020aa00
FEATURES = 1 << 4 | 1 << 5  # missing faults on hugetlbfs and on shared memory
MAP_SHARED, MAP_PRIVATE, MAP_ANONYMOUS, MAP_HUGETLB = 1, 2, 0x20, 0x40000

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int,
                      ctypes.c_int, ctypes.c_int, ctypes.c_long]
LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
LIBC.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
LIBC.memcpy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]

RANDOM = random.Random(SEED)


def make_runs(pages):
    """The lengths of runs that make up a block, and which of them hold data:
    three in five, not each by chance, since the tests need a page of either
    kind in every block. No run is longer than 300 pages, so that a block of
    512 has two or more; one of 6144 holds at least 30 pages.
    """
    lengths = []
    while pages:
        lengths.append(min(RANDOM.choice((1, 2, 7, 40, 300)), pages))
        pages -= lengths[-1]
    held = len(lengths) * 3 // 5
    holds = [True] * held + [False] * (len(lengths) - held)
    RANDOM.shuffle(holds)
    return list(zip(lengths, holds))


def make_model():
    """Pages of all kinds: random ones and zero ones, in runs."""
    return {name: b"".join(RANDOM.randbytes(length * PAGE) if holds
                           else bytes(length * PAGE)
                           for length, holds in make_runs(size // PAGE))
            for name, size in SIZES.items()}


MODEL = make_model()


def save(image):
    args = []
    for number, (name, data) in enumerate(MODEL.items()):
        path = f"{WORK}/memory{number}"
        with open(path, "wb") as f:
            f.write(data)
        args += ["--region", f"{name}={path}"]
    subprocess.run([TOOL, "save", *args, image], check=True,
                   stdout=subprocess.DEVNULL)


class Memory:
    """Memory for one block, not touched yet."""

    def __init__(self, kind, length):
        self.length = length
        self.page_size = HUGE if kind == "hugetlb" else PAGE
        flags, fd = {
            "private": (MAP_PRIVATE | MAP_ANONYMOUS, -1),
            "shared": (MAP_SHARED | MAP_ANONYMOUS, -1),
            "memfd": (MAP_SHARED, -1),
            "hugetlb": (MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1),
        }[kind]
        if kind == "memfd":
            fd = os.memfd_create("memory")
            os.truncate(fd, length)
        self.addr = LIBC.mmap(None, length, 3, flags, fd, 0)
        if fd >= 0:
            os.close(fd)
        if self.addr == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), "mmap")

    def read(self, at, length):
        """ctypes lets other threads run meanwhile."""
        data = ctypes.create_string_buffer(length)
        LIBC.memcpy(data, self.addr + at, length)
        return data.raw

    def resident(self):
        """How many of its pages are there."""
        pages = ctypes.create_string_buffer(self.length // PAGE)
        LIBC.mincore(self.addr, self.length, pages)
        return sum(page & 1 for page in pages.raw)

    def close(self):
        LIBC.munmap(self.addr, self.length)


class Peer:
    """A virtual machine monitor, as far as the tool is concerned."""

    def __init__(self, kind="private", touched=False):
        self.memory = {name: Memory(kind, size)
                       for name, size in SIZES.items()}
        if touched:
            ctypes.memset(self.memory["vga.vram"].addr + self.held("vga.vram"),
                          0x5a, PAGE)
        self.uffd = LIBC.syscall(SYS_USERFAULTFD,
                                 os.O_CLOEXEC | os.O_NONBLOCK)
        if self.uffd < 0:
            raise OSError(ctypes.get_errno(), "userfaultfd")
        fcntl.ioctl(self.uffd, UFFDIO_API,
                    struct.pack("QQQ", 0xaa, FEATURES, 0))
        for memory in self.memory.values():
            fcntl.ioctl(self.uffd, UFFDIO_REGISTER,
                        struct.pack("QQQQ", memory.addr, memory.length, 1, 0))
        self.socket = socket.socket(socket.AF_UNIX)

    def mappings(self):
        return [{"name": name, "base_host_virt_addr": memory.addr,
                 "size": memory.length, "offset": 0,
                 "page_size": memory.page_size}
                for name, memory in self.memory.items()]

    def connect(self, path):
        self.socket.connect(path)

    def send(self, data, fds):
        self.socket.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                      array.array("i", fds))] if fds else [])

    def hand_over(self, mappings=None):
        self.send(json.dumps(mappings or self.mappings()).encode(),
                  [self.uffd])

    def answer(self):
        text = b""
        while True:
            try:
                more = self.socket.recv(4096)
            except ConnectionResetError:
                more = b""
            if not more:
                return json.loads(text) if text else None
            text += more

    @staticmethod
    def held(name):
        """Where the first page of a block is that the image holds."""
        zero = bytes(PAGE)
        return next(at for at in range(0, SIZES[name], PAGE)
                    if MODEL[name][at:at + PAGE] != zero)

    def touch(self, name):
        """Somebody waits for a page of the block, when this returns."""
        thread = threading.Thread(target=self.memory[name].read,
                                  args=(self.held(name), PAGE))
        thread.start()
        waits = select.poll()
        waits.register(self.uffd, select.POLLIN)
        waits.poll()
        return thread

    def wrong_pages(self, blocks=None):
        """What is not as it was saved, in a random order, by four threads."""
        places = [(name, at) for name, memory in self.memory.items()
                  if not blocks or name in blocks
                  for at in range(0, memory.length, PAGE)]
        RANDOM.shuffle(places)
        wrong = []

        def look(mine):
            for name, at in mine:
                if self.memory[name].read(at, PAGE) != \
                        MODEL[name][at:at + PAGE]:
                    wrong.append((name, at // PAGE))

        threads = [threading.Thread(target=look, args=(places[i::4],))
                   for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return wrong

    def resident(self):
        """How many pages of all blocks are there."""
        return sum(memory.resident() for memory in self.memory.values())

    def close(self):
        os.close(self.uffd)
        self.socket.close()
        for memory in self.memory.values():
            memory.close()


class Tool:
    """The tool, waiting on its socket."""

    number = 0

    def __init__(self, image, *args, wait=True):
        Tool.number += 1
        self.path = f"{WORK}/socket{Tool.number}"
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            [TOOL, "restore", "--lazy", self.path, "--json", *args, image],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL, text=True)
        while wait and not os.path.exists(self.path) and \
                self.process.poll() is None:
            time.sleep(0.01)

    def has_ended(self):
        """It has, and still waits to be waited for."""
        return os.waitid(os.P_PID, self.process.pid,
                         os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def end(self):
        try:
            out, err = self.process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
        return self.process.returncode, out, err
