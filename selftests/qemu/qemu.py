# SPDX-License-Identifier: GPL-2.0
"""A QEMU of selftests/vm/qemu-root under the tests' control: started, asked
over QMP, told to save, and its memory read past it, from the process."""

import json
import os
import re
import socket
import subprocess
import time

HERE = os.path.dirname(os.path.realpath(__file__))
PROJECT = os.path.realpath(os.path.join(HERE, "../.."))
VM = os.path.join(PROJECT, "selftests/vm")


class QemuError(Exception):
    """QEMU said no, or has gone."""


def output_of(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE,
                          text=True).stdout.strip()


class Qemu:
    """One QEMU process. @version is 10 or 11; @directory takes its socket."""

    def __init__(self, version, directory, arguments):
        self.serial = os.path.join(directory, "serial")
        path = os.path.join(directory, "qmp")
        open(self.serial, "w", encoding="ascii").close()
        root = output_of(f"{VM}/qemu-root", str(version))
        self.process = subprocess.Popen(
            [f"{VM}/qemu-in-root", root, "-nodefaults", "-no-user-config",
             "-display", "none", "-no-reboot", "-serial", f"file:{self.serial}",
             "-qmp", f"unix:{path},server=on,wait=off", *arguments],
            stdin=subprocess.DEVNULL)
        self.socket = socket.socket(socket.AF_UNIX)
        # No limit: whoever started the test has one.
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if self.process.poll() is not None:
                    raise QemuError("QEMU did not start") from None
                time.sleep(0.05)
        self.stream = self.socket.makefile("rw", encoding="utf-8")
        self.answer()
        self.qmp("qmp_capabilities")
        self.version = self.qmp("query-version")["qemu"]

    def gone(self):
        """What is known of its end: to be raised."""
        self.process.kill()
        with open(self.serial, encoding="ascii", errors="replace") as f:
            last = "".join(f.readlines()[-30:])
        return QemuError(f"QEMU has gone, status {self.process.wait()}; "
                         f"the guest said last\n{last}")

    def answer(self):
        """The next line that is no event."""
        while True:
            line = self.stream.readline()
            if not line:
                raise self.gone()
            message = json.loads(line)
            if "event" not in message:
                return message

    def qmp(self, command, **arguments):
        request = {"execute": command,
                   "arguments": {key.replace("_", "-"): value
                                 for key, value in arguments.items()}}
        try:
            self.stream.write(json.dumps(request) + "\n")
            self.stream.flush()
        except OSError:
            raise self.gone() from None
        message = self.answer()
        if "error" in message:
            raise QemuError(f"{command}: {message['error']['desc']}")
        return message["return"]

    def close(self):
        self.process.kill()
        self.process.wait()
        self.socket.close()

    def guest(self):
        """What the guest said of itself last: round, writes, errors."""
        with open(self.serial, encoding="ascii", errors="replace") as f:
            lines = re.findall(r"guest: round (\d+) writes (\d+) "
                               r"errors (\d+) checksum \w+\n", f.read())
        return [int(number) for number in lines[-1]] if lines else None

    def wait_for_guest(self, rounds):
        """Until it has done so many rounds more."""
        start = self.guest() or [0]
        while True:
            now = self.guest()
            if now and now[0] >= start[0] + rounds:
                return now
            if self.process.poll() is not None:
                raise self.gone()
            time.sleep(0.1)

    def save(self, uri, capabilities, parameters):
        """QEMU's own save, of a machine that is stopped."""
        known = [entry["capability"]
                 for entry in self.qmp("query-migrate-capabilities")]
        self.qmp("migrate-set-capabilities", capabilities=[
            {"capability": name, "state": name in capabilities}
            for name in known
            if name in ("mapped-ram", "multifd", "validate-uuid")])
        self.qmp("migrate-set-parameters", **parameters)
        self.qmp("migrate", uri=uri)
        while True:
            status = self.qmp("query-migrate")
            if status["status"] == "completed":
                return
            if status["status"] in ("failed", "cancelled"):
                raise QemuError(f"migrate {uri}: "
                                f"{status.get('error-desc', 'failed')}")
            time.sleep(0.05)

    def blocks(self):
        """The memory: name -> (address in QEMU, bytes in use)."""
        text = self.qmp("human-monitor-command", command_line="info ramblock")
        blocks = {}
        for line in text.splitlines()[1:]:
            # Names may hold blanks, what follows does not.
            match = re.match(r"\s*(.*?)\s+[\d.]+ \S+\s+0x[0-9a-f]+\s+"
                             r"0x([0-9a-f]+)\s+0x[0-9a-f]+\s+0x([0-9a-f]+)",
                             line)
            if not match:
                raise QemuError(f"info ramblock: what is '{line}'?")
            blocks[match[1]] = (int(match[3], 16), int(match[2], 16))
        return blocks

    def memory(self, block):
        """All bytes of a block, read past QEMU."""
        address, length = self.blocks()[block]
        data = bytearray(length)
        view = memoryview(data)
        done = 0
        with open(f"/proc/{self.process.pid}/mem", "rb", buffering=0) as f:
            f.seek(address)
            while done < length:
                done += f.readinto(view[done:])
        return data
