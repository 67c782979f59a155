# SPDX-License-Identifier: GPL-2.0
"""The machine that tests save and restore from outside: a guest that keeps
writing and checking its memory, which is two shared files.
  MRAM_QEMU        10 or 11 (10), or the root of another QEMU
  MRAM_TEST_ACCEL  kvm or tcg (kvm in the test machine, tcg elsewhere)"""

import os
import shutil
import tempfile
import time

from qemu import HERE, Qemu, output_of

IN_MACHINE = "MAPPED_RAM_VM" in os.environ
VERSION = os.environ.get("MRAM_QEMU", "10")
MIB = 1 << 20
NODE = 80 * MIB
PAGE = 4096


# What a memory is made of, where nothing else is asked for.
FILE = "memory-backend-file,share=on,mem-path={directory}/ram{node}"


class Machine(Qemu):
    """One with the guest, in a directory of its own on shared memory."""

    accel = guest_dir = append = None

    def __init__(self, *more, settings="work=24 writes=64", **other):
        self.directory = tempfile.mkdtemp(dir="/dev/shm")
        super().__init__(VERSION, self.directory, [
            *self.arguments(settings, **other), *more])

    def arguments(self, settings, machine="q35", size=NODE, backend=FILE,
                  display=True):
        """A machine of two NUMA nodes, whose memory is two files, and two
        monitors for others."""
        args = ["-accel", self.accel, "-machine", machine, "-smp", "1",
                "-m", f"{2 * size // MIB}M",
                "-kernel", f"{self.guest_dir}/kernel",
                "-initrd", f"{self.guest_dir}/initrd",
                "-append", f"{self.append} {settings}"]
        if display:
            args += ["-device", "VGA,vgamem_mb=1"]
        for node in range(2):
            where = backend.format(directory=self.directory, node=node)
            args += ["-object", f"{where},id=node{node},size={size}",
                     "-numa", f"node,memdev=node{node}"]
        for monitor in range(2):
            args += ["-qmp", f"unix:{self.directory}/tool{monitor},"
                             "server=on,wait=off"]
        return args

    @classmethod
    def find_guest(cls):
        """Before the first one."""
        cls.accel = os.environ.get("MRAM_TEST_ACCEL", "kvm" if IN_MACHINE
                                   else "tcg")
        cls.guest_dir = output_of(f"{HERE}/guest/make-guest")
        with open(f"{cls.guest_dir}/append", encoding="ascii") as f:
            cls.append = f.read().strip()

    def close(self):
        super().close()
        shutil.rmtree(self.directory)

    def tool_socket(self, number=0):
        return f"{self.directory}/tool{number}"

    def pmemsave(self):
        """QEMU's own word for the memory above the hole in which a PC has its
        ROMs, while it stands still."""
        path = f"{self.directory}/pmemsave"
        self.qmp("pmemsave", val=MIB, size=2 * NODE - MIB, filename=path)
        with open(path, "rb") as f:
            contents = f.read()
        os.unlink(path)
        return contents

    def running(self):
        return self.qmp("query-status")["running"]

    def settings(self):
        """All that a save sets and has to set back."""
        capabilities = {c["capability"]: c["state"]
                        for c in self.qmp("query-migrate-capabilities")}
        return capabilities, self.qmp("query-migrate-parameters")

    def set_capability(self, name, state):
        self.qmp("migrate-set-capabilities", capabilities=[
            {"capability": name, "state": state}])

    def load(self, path, *capabilities, **parameters):
        for name in ("mapped-ram", *capabilities):
            self.set_capability(name, True)
        if parameters:
            self.qmp("migrate-set-parameters", **parameters)
        self.qmp("migrate-incoming", uri=f"file:{path}")
        while self.qmp("query-status")["status"] == "inmigrate":
            time.sleep(0.1)
