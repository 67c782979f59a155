# SPDX-License-Identifier: GPL-2.0
"""A QEMU of selftests/vm/qemu-root under the tests' control: started, asked
over QMP, told to save, and its memory read past it, from the process."""

import collections
import json
import os
import re
import signal
import socket
import subprocess
import time

# As a shell's background job this ignored SIGINT, and so would the tool.
signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = os.path.dirname(os.path.realpath(__file__))
PROJECT = os.path.realpath(os.path.join(HERE, "../.."))
VM = os.path.join(PROJECT, "selftests/vm")


class QemuError(Exception):
    """QEMU said no, or has gone."""


def output_of(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE,
                          text=True).stdout.strip()


class Qemu:
    """One QEMU process. @version is 10 or 11, or the root of another one;
    @directory takes its socket."""

    def __init__(self, version, directory, arguments):
        self.serial = os.path.join(directory, "serial")
        self.stderr = os.path.join(directory, "stderr")
        self.events = collections.deque(maxlen=5)
        path = os.path.join(directory, "qmp")
        open(self.serial, "w", encoding="ascii").close()
        root = version if version.startswith("/") else \
            output_of(f"{VM}/qemu-root", version)
        with open(self.stderr, "w", encoding="utf-8") as stderr:
            # A guest that dies leaves a QEMU that can say so.
            self.process = subprocess.Popen(
                [f"{VM}/qemu-in-root", root, "-nodefaults", "-no-user-config",
                 "-display", "none", "-no-reboot", "-no-shutdown",
                 "-serial", f"file:{self.serial}",
                 "-qmp", f"unix:{path},server=on,wait=off", *arguments],
                stdin=subprocess.DEVNULL, stderr=stderr)
        self.socket = socket.socket(socket.AF_UNIX)
        # No limit: whoever started the test has one.
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if self.process.poll() is not None:
                    raise self.gone("QEMU did not start") from None
                time.sleep(0.05)
        self.stream = self.socket.makefile("rw", encoding="utf-8")
        self.answer()
        self.qmp("qmp_capabilities")
        self.version = self.qmp("query-version")["qemu"]

    @staticmethod
    def tail(path, lines):
        with open(path, encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-lines:]).strip() or "nothing"

    def gone(self, what="QEMU has gone"):
        """All that is known of its end, or of its guest's: to be raised."""
        if self.process.poll() is None:
            # It may be about to end; if it is not, it ends by our hand.
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                what += ", but its process lived"
                self.process.kill()
        status = self.process.wait()
        if status < 0:
            status = signal.Signals(-status).name
        killed = subprocess.run("dmesg | grep -i 'killed process' | tail -n 3",
                                shell=True, text=True, capture_output=True,
                                check=False).stdout
        return QemuError(
            f"{what}; its process ended with {status}\n"
            f"last events: {list(self.events)}\n"
            f"it said {self.tail(self.stderr, 8)}\n"
            f"the guest said last {self.tail(self.serial, 8)}\n{killed}")

    def answer(self):
        """The next line that is no event."""
        while True:
            try:
                line = self.stream.readline()
            except OSError:
                line = None
            if not line:
                raise self.gone()
            message = json.loads(line)
            if "event" not in message:
                return message
            self.events.append(f"{message['event']} {message.get('data', '')}")

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
            # Without an end of its own, QEMU would outlive its guest.
            status = self.qmp("query-status")["status"]
            if status in ("shutdown", "internal-error", "guest-panicked",
                          "io-error"):
                raise self.gone(f"the guest has died: {status}")
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
