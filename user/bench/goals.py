# SPDX-License-Identifier: GPL-2.0-or-later
"""What the module has to reach, and what it does reach."""
from results import PAGE, case, cost, find, standard

LATENCY = {"slow": 10000, "slow-1ms": 1000000}


def one(results, **wanted):
    """The cost of the one result that is as wanted, or None."""
    found = find(results, **wanted)
    return cost(found[0]) if found else None


class Goals:
    """A list of (what, value, limit, reached)."""

    def __init__(self):
        self.rows = []

    def add(self, what, value, limit):
        if value is not None and limit is not None:
            self.rows.append((what, value, limit, value <= limit))

    def ratio(self, what, value, base, most):
        if value is not None and base:
            self.add(f"{what} (x)", value / base, most)


def contiguous(g, results, qemu):
    def full(memory, engine, name="full"):
        return one(results, case=name, memory=memory, target="xfs",
                   engine=engine)

    g.add("full, thp, xfs: module-pin", full("thp", "module-pin"), 100)
    g.ratio("full, thp, xfs: module-pin / uring", full("thp", "module-pin"),
            full("thp", "uring"), 0.5)
    g.ratio("full, thp, xfs: module / uring", full("thp", "module"),
            full("thp", "uring"), 0.7)
    g.ratio("full, anon, xfs: module-pin / uring", full("anon", "module-pin"),
            full("anon", "uring"), 0.75)
    # QEMU empties the file first. Its save stands beside one over an older
    # image, and beside one that writes into holes as it does.
    beside = one(qemu, case="full+fresh", engine="qemu-direct", target="xfs")
    for name, also in (("full", "'s full+fresh"), ("full+fresh", "")):
        for engine in ("module-pin", "module"):
            g.ratio(f"{name}, thp, xfs: {engine} / qemu-direct{also}",
                    full("thp", engine, name), beside, 1 / 25)


def scattered(g, results):
    for target in ("xfs", "block"):
        for memory in ("anon", "thp", "hugetlb"):
            def at(engine, name="scatter25", where=target, kind=memory):
                found = find(results, case=lambda c: c == name or
                             c.startswith(name + "+bridge"),
                             memory=kind, target=where, engine=engine)
                plain = [r for r in found if not r["bridge"]]
                bridged = [r for r in found if r["bridge"]]
                return (cost(plain[0]) if plain else None,
                        cost(bridged[0]) if bridged else None)

            text = f"scatter25, {memory}, {target}"
            plain, bridged = at("module")
            g.ratio(f"{text}: module / uring", plain, at("uring")[0], 0.85)
            g.ratio(f"{text}: module / pwrite", plain, at("pwrite")[0], 0.85)
            g.ratio(f"{text}: module bridged / unbridged", bridged, plain, 0.25)


def apart_from_memory(g, results, text, other, limit, at):
    """What is left to do beside making the memory, as populate does it; nothing,
    when the module makes it itself for less than that."""
    module, beside, made = [one(results, engine=e, **at)
                            for e in ("module", other, "populate")]
    if None not in (module, beside, made):
        g.ratio(f"{text}: module / {other}, apart from making the memory",
                max(0, module - made), beside - made, limit)


def loads(g, results):
    for name in ("load-full", "load-sparse", "load-scattered"):
        for case in (name, name + "+used", name + "+mapped"):
            for target in ("xfs", "block"):
                for memory in ("anon", "thp", "memfd"):
                    at = {"case": case, "memory": memory, "target": target}
                    g.ratio(f"{case}, {memory}, {target}: module / uring",
                            one(results, engine="module", **at),
                            one(results, engine="uring", **at), 0.75)
                    apart_from_memory(g, results, f"{case}, {memory}, {target}",
                                      "uring", 0.75, at)
    # QEMU loads into memory that has to be made.
    for name, also in (("load-full", ""), ("load-full+used", "'s load-full")):
        for qemu in ("qemu-plain", "qemu-multifd"):
            g.ratio(f"{name}, xfs-ram: module / {qemu}{also}",
                    one(results, case=name, target="xfs-ram",
                        engine="module"),
                    one(results, case="load-full", target="xfs-ram",
                        engine=qemu), 1 / 10)
    for qemu in ("qemu-plain", "qemu-multifd"):
        apart_from_memory(g, results, "load-full, xfs-ram", qemu, 1 / 10,
                          {"case": "load-full", "target": "xfs-ram"})


def lazily(g, results):
    for name in ("lazy-full", "lazy-sparse", "lazy-scattered"):
        for r in find(results, case=name, engine="lazy"):
            copy = find(results, case=name, engine="copy",
                        memory=r["memory"], target=r["target"])
            if copy:
                g.ratio(f"{name}, {r['memory']}, {r['target']}: lazy / copy,"
                        " system calls", r["calls_per_page"],
                        copy[0]["calls_per_page"], 1 / 20)


def but_slots(r):
    """Up to the first instruction, but for tables that KVM makes of the guest's
    size. Image and bitmaps are apart anyway."""
    return r["first_cpu_ns"] - r["slots_cpu_ns"]


def started(g, results):
    here = sorted(find(results, case="lazy-start", engine="lazy"),
                  key=lambda r: r["size"])
    if len(here) > 1:
        g.ratio(f"first instruction but for KVM's slots, {here[-1]['size'] >> 20}"
                f" / {here[0]['size'] >> 20} MiB", but_slots(here[-1]),
                but_slots(here[0]), 1.1)
    for r in find(results, case="lazy-set", how="a working set, awaited"):
        alone = find(results, case="lazy-set", how="no working set",
                     steps=r["steps"])
        if alone:
            g.ratio(f"faults of {r['steps']} steps of a guest: with its"
                    " working set, awaited / without", r["faults"], alone[0]["faults"],
                    1 / 5)


def cached(g, results):
    for r in find(results, sweep="cache", cache="cold",
                  engine=lambda e: e != "buffered"):
        g.add(f"cache, {r['memory']}, {r['target']}: {r['engine']},"
              " pages in the page cache", r["cached_pages"], 0)


def sparse(g, results):
    for r in find(results, case="untouched",
                  engine=lambda e: e.startswith("module")):
        text = f"untouched, {r['memory']}, {r['target']}: {r['engine']}"
        g.add(text, cost(r), 2)
        g.add(f"{text}, pages made", r["made_bytes"] / PAGE, 0)
    for r in find(results, case="zero",
                  engine=lambda e: e.startswith("module")):
        g.ratio(f"zero, {r['memory']}, {r['target']}: {r['engine']} / one scan",
                cost(r), r.get("scan_per_page"), 1.3)


def waiting(g, results):
    for r in find(results, target=lambda t: t in LATENCY,
                  engine=lambda e: e.startswith("module")):
        ideal = LATENCY[r["target"]] * r["ios"] / r["window"]
        g.ratio(f"{r['target']}, window {r['window']}: {r['engine']}"
                " / (latency x I/Os / window)", r["pass_ns"], ideal, 1.05)


def sizes(g, results):
    for engine in ("module", "module-pin"):
        sweep = find(results, case="full", engine=engine, sweep="flat")
        if len(sweep) > 1:
            costs = [cost(r) for r in sweep]
            g.ratio(f"flat, {len(sweep)} sizes to "
                    f"{max(r['size'] for r in sweep) >> 20} MiB: {engine}, "
                    "highest / lowest", max(costs), min(costs), 1.05)
            # What a commit costs does not depend on the size.
            costs = [r["pass_per_page"] for r in sweep]
            g.ratio(f"flat, the pass alone: {engine}, highest / lowest",
                    max(costs), min(costs), 1.05)
            big = max(sweep, key=lambda r: r["size"])
            pages = big["size"] / PAGE
            held = big["session_kernel_bytes"] + big["session_user_bytes"]
            # Two bitmaps of a bit a page
            g.add(f"memory of a session, {big['size'] >> 20} MiB: {engine}, "
                  "bytes a page beside the bitmaps", held / pages - 0.25, 1)


def guests(g, results):
    """A stopped guest: the whole job beside QEMU's own."""
    stopped = find(results, sweep="qemu-save", guest="stopped")
    for r in find(stopped, engine="module"):
        g.ratio(f"{case(r)}, {r['memory']}, {r['target']}:"
                " module / qemu-direct", r["cpu_ns"],
                next((q["cpu_ns"] for q in find(
                    stopped, engine="qemu-direct", memory=r["memory"],
                    image=r["image"], target=r["target"])), None), 1 / 15)
    for r in find(results, sweep="qemu-save", engine="module"):
        g.add(f"{case(r)}, {r['memory']}, {r['target']}, {r['guest']}: module,"
              " pages in the page cache", r["cached_pages"], 0)


def goals(results):
    """All of them that @results, of one kernel, say something about."""
    g = Goals()
    plain = standard(results)
    contiguous(g, plain, [r for r in plain if r["engine"][:4] == "qemu"])
    scattered(g, plain)
    sparse(g, plain)
    loads(g, plain)
    lazily(g, plain)
    started(g, results)
    cached(g, results)
    waiting(g, results)
    sizes(g, results)
    guests(g, results)
    return g.rows

