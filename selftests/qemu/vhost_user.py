# SPDX-License-Identifier: GPL-2.0
"""Two backends of vhost-user, which map a machine's memory: a disk, exported by
QEMU's own storage daemon, and a network card that answers what QEMU asks at its
start and moves nothing."""

import os
import socket
import struct
import subprocess
import threading
import time

from qemu import VM, QemuError, output_of

GET = {1: "features", 11: "vring base", 15: "protocol features", 17: "queues"}
REPLY = 5
HEADER = struct.Struct("<III")


class Disk:
    """qemu-storage-daemon with one export, at @path."""

    def __init__(self, version, directory):
        self.path = os.path.join(directory, "vhost-user-blk")
        data = os.path.join(directory, "vhost-user-blk-data")
        with open(data, "wb") as f:
            f.truncate(1 << 20)
        root = output_of(f"{VM}/qemu-root", version)
        self.process = subprocess.Popen(
            [f"{VM}/qemu-in-root", root, "qemu-storage-daemon",
             "--blockdev", f"driver=file,node-name=disk,filename={data}",
             "--export", "type=vhost-user-blk,id=export,node-name=disk,"
             f"writable=on,addr.type=unix,addr.path={self.path}"],
            stdin=subprocess.DEVNULL)
        while not os.path.exists(self.path):
            if self.process.poll() is not None:
                raise QemuError("qemu-storage-daemon did not start")
            time.sleep(0.05)

    def close(self):
        self.process.kill()
        self.process.wait()


class Network:
    """A thread that has no features and says so, at @path."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "vhost-user-net")
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    @staticmethod
    def take(peer, length):
        data = b""
        while len(data) < length:
            # File descriptors that come along are dropped.
            some = peer.recv(length - len(data))
            if not some:
                raise ConnectionError
            data += some
        return data

    def serve(self):
        try:
            peer = self.socket.accept()[0]
            while True:
                request, _, size = HEADER.unpack(self.take(peer, HEADER.size))
                self.take(peer, size)
                if request in GET:
                    peer.sendall(HEADER.pack(request, REPLY, 8) + bytes(8))
        except OSError:
            pass

    def close(self):
        self.socket.close()
