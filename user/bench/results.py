# SPDX-License-Identifier: GPL-2.0-or-later
"""Results of mram-bench: reading them, naming them, finding some of them."""
import json

PAGE = 4096

# As they stand in plots and tables, with a colour that stays apart for most eyes.
ENGINES = {
    "module-pin": "#0072b2",
    "module": "#56b4e9",
    "uring": "#e69f00",
    "uring-plain": "#f0c060",
    "pwrite": "#999999",
    "pread": "#999999",
    "populate": "#d0d0d0",
    "lazy": "#009e73",
    "lazy-1": "#40be93",
    "copy": "#999999",
    "move": "#d55e00",
    "move-copied": "#e08a50",
    "minor": "#d55e00",
    "buffered": "#666666",
    "bio": "#000000",
    "qemu-direct": "#cc79a7",
    "qemu-multifd": "#b05080",
    "qemu-plain": "#803060",
}


def load(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def case(r):
    """The name of a case, with what was asked for besides."""
    name = r["case"]
    if r["bridge"] == "auto":
        name += "+auto"
    elif r["bridge"]:
        name += "+bridge" + (str(r["bridge"]) if r["bridge"] < 1 << 20 else "")
    if r["image"] == "fresh":
        name += "+fresh"
    if r.get("into") == "used":
        name += "+used"
    if r.get("then") == "mapped":
        name += "+mapped"
    if r.get("around", PAGE) > PAGE:
        name += "+around"
    return name


def kernel(r):
    """6.1.0-56-amd64 is 6.1."""
    return ".".join(r["kernel"].split("-")[0].split(".")[:2])


def cost(r):
    """Of the whole job, for each dirty page."""
    return r.get("insn_per_page", r.get("ns_per_page"))


def find(results, **wanted):
    """Those whose fields are as wanted; a callable says so itself."""
    def fits(r):
        for key, value in wanted.items():
            have = {"case": case, "kernel": kernel}.get(
                key, lambda r, key=key: r.get(key))(r)
            if not (value(have) if callable(value) else have == value):
                return False
        return True
    return [r for r in results if fits(r)]


def ordered(values):
    """Each once, in the order of their first appearance."""
    return list(dict.fromkeys(values))


def standard(results):
    """The plain cases: no sweep over windows, sizes or threads."""
    return [r for r in results if "sweep" not in r]
