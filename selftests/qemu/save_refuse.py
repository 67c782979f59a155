#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Proves that `mapped-ram save --qmp` names what excludes saving, and has
touched nothing then: the machine runs, QEMU's settings are what they were,
there is no image.

settings	capabilities and parameters of QEMU's migration
others	another process, client or migration is in the way
memory	backends whose memory cannot be seen, or not be followed
vhost	real vhost-user backends: a disk and a network card

saving.py says what it needs. save_vfio.py is the same for VFIO.
"""

import mmap
import os
import socket
import subprocess
import sys
import tempfile
import time

import vhost_user
from machine import PAGE, VERSION, Machine
from saving import WORK, result, run_parts, save
from tool import failed_with, run

IMAGE = f"{WORK}/refused"


def check_refused(machine, done, pattern, settings, name):
    result(failed_with(done, pattern) and
               not os.path.exists(IMAGE) and machine.running() and
               machine.settings() == settings, name, done.stdout, done.stderr)


def refused_with(pattern, name, *more):
    """A machine of its own, with this and that."""
    other = Machine(*more)
    done = save(other, IMAGE)
    check_refused(other, done, pattern, other.settings(), name)
    other.close()


def test_settings(machine):
    known = [c["capability"] for c in machine.qmp("query-migrate-capabilities")]
    for name in ("xbzrle", "postcopy-ram", "multifd", "compress"):
        # Newer ones have lost some.
        if name not in known:
            continue
        machine.set_capability(name, True)
        settings = machine.settings()
        check_refused(machine, save(machine, IMAGE), f"'{name}'", settings,
                      f"{name} is on")
        machine.set_capability(name, False)
    machine.qmp("migrate-set-parameters", tls_creds="tls0")
    check_refused(machine, save(machine, IMAGE), "TLS", machine.settings(),
                  "TLS is asked for")
    machine.qmp("migrate-set-parameters", tls_creds="")


def test_others(machine):
    settings = machine.settings()
    with open(f"{machine.directory}/ram0", "r+b") as f, \
            mmap.mmap(f.fileno(), PAGE):
        check_refused(machine, save(machine, IMAGE), "maps", settings,
                      "another process maps the memory")
    check_refused(machine, save(machine, f"{machine.directory}/ram0"),
                  "is the memory of backend", settings,
                  "the image is the memory")
    done = run("save", "--qmp", f"{WORK}/none", IMAGE)
    check_refused(machine, done, "cannot connect", settings,
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
        done = save(machine, IMAGE)
        check_refused(machine, done, "one client at a time", settings,
                      "another client has the monitor")
        other.stdin.close()
    # A migration that does not come to its end, as nobody reads.
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{machine.directory}/incoming")
    listener.listen()
    machine.qmp("migrate", uri=f"unix:{machine.directory}/incoming")
    reader = listener.accept()[0]
    check_refused(machine, save(machine, IMAGE), "being migrated", settings,
                  "it is being migrated")
    machine.qmp("migrate_cancel")
    while machine.qmp("query-migrate")["status"] not in ("cancelled",
                                                         "failed"):
        time.sleep(0.1)
    reader.close()
    listener.close()


def test_memory(machine):
    huge = tempfile.mkdtemp()
    with open("/proc/sys/vm/nr_hugepages", "w", encoding="ascii") as f:
        f.write("16")
    subprocess.run(["mount", "-t", "hugetlbfs", "none", huge], check=True)
    refused_with("is on hugetlbfs", "huge pages",
                 "-object", "memory-backend-file,id=p,size=16M,share=on,"
                 f"mem-path={huge}/p")
    os.unlink(f"{huge}/p")
    subprocess.run(["umount", huge], check=True)
    with open("/proc/sys/vm/nr_hugepages", "w", encoding="ascii") as f:
        f.write("0")
    refused_with("share=off", "private RAM",
                 "-object", "memory-backend-ram,id=p,size=16M")
    refused_with("share=off", "a private file",
                 "-object", "memory-backend-file,id=p,size=16M,share=off,"
                 f"mem-path={machine.directory}/private")
    refused_with("memory-backend-memfd", "a memfd",
                 "-object", "memory-backend-memfd,id=p,size=16M,share=on")
    refused_with("has a ivshmem", "ivshmem",
                 "-object", "memory-backend-file,id=p,size=1M,share=on,"
                 f"mem-path={machine.directory}/shm",
                 "-device", "ivshmem-plain,memdev=p")
    refused_with("has a virtio-mem", "virtio-mem",
                 "-m", "maxmem=1G", "-object",
                 "memory-backend-file,id=p,size=64M,share=on,"
                 f"mem-path={machine.directory}/plugged",
                 "-device", "virtio-mem-pci,memdev=p,node=0")


def test_vhost(machine):
    disk = vhost_user.Disk(VERSION, machine.directory)
    refused_with("has a vhost-user-blk", "a vhost-user disk",
                 "-chardev", f"socket,id=c,path={disk.path}",
                 "-device", "vhost-user-blk-pci,chardev=c")
    disk.close()
    network = vhost_user.Network(machine.directory)
    refused_with("type vhost-user", "a vhost-user network card",
                 "-chardev", f"socket,id=c,path={network.path}",
                 "-netdev", "vhost-user,id=n,chardev=c",
                 "-device", "virtio-net-pci,netdev=n,romfile=")
    network.close()


if __name__ == "__main__":
    run_parts(settings=test_settings, others=test_others, memory=test_memory,
              vhost=test_vhost)
