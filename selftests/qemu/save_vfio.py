#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Proves that `mapped-ram save --qmp` refuses a machine that has a PCI device of
the host's, by name and with nothing touched. The device is a real one behind an
IOMMU, so this runs in a test machine of its own (selftests/vm/run --iommu), in
which the guest of the other tests is too slow to boot; it need not.

saving.py says what it needs.
"""

import os
import subprocess

from machine import Machine
from saving import OUT, result
from save_refuse import refused_with

# pci-testdev, which does nothing that a driver would want
DEVICE = ("0x1b36", "0x0005")


def take_from_host():
    """The device's address, when vfio-pci has it."""
    def says(device, name):
        with open(f"{devices}/{device}/{name}", encoding="ascii") as f:
            return f.read().strip()

    devices = "/sys/bus/pci/devices"
    subprocess.run(["modprobe", "vfio-pci"], check=True)
    for device in os.listdir(devices):
        if (says(device, "vendor"), says(device, "device")) == DEVICE:
            for path, word in ((f"{devices}/{device}/driver_override",
                                "vfio-pci"),
                               ("/sys/bus/pci/drivers_probe", device)):
                with open(path, "w", encoding="ascii") as f:
                    f.write(word)
            return device
    return None


def main():
    Machine.find_guest()
    device = take_from_host()
    if result(bool(device), "there is a device to hand over"):
        refused_with("has a vfio-pci", "a device of the host",
                     "-device", f"vfio-pci,host={device}")
    OUT.end()


if __name__ == "__main__":
    main()
