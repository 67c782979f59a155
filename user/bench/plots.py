# SPDX-License-Identifier: GPL-2.0-or-later
"""Plots of results, with gnuplot, as SVG."""
import os
import subprocess

from goals import LATENCY
from results import ENGINES, case, cost, find, ordered, standard

HEAD = """
set terminal svg size {width},{height} dynamic font "sans-serif,13" \\
	background "#ffffff"
set output "{path}"
set border 3 lc rgb "#888888"
set bmargin 4
set tics nomirror out tc rgb "#333333"
set grid ytics lc rgb "#e4e4e4" lt 1
set key {key}
set title "{title}" font ",15"
set ylabel "{ylabel}"
"""


def unit(results):
    return results[0]["unit"]


def gnuplot(script, directory, name, title, ylabel, width=900, height=420,
            key="outside right top Left reverse samplen 1.5"):
    head = HEAD.format(width=width, height=height, key=key, title=title,
                       ylabel=ylabel, path=os.path.join(directory, name))
    subprocess.run(["gnuplot"], input=head + script, text=True, check=True)
    return name


def block(name, rows):
    """A data block of gnuplot; - stands for nothing."""
    lines = "\n".join(" ".join("-" if v is None else f'"{v}"' if
                               isinstance(v, str) else f"{v}" for v in row)
                      for row in rows)
    return f"${name} << EOD\n{lines}\nEOD\nset datafile missing '-'\n"


def bars(results, names, directory, file, title, log=False):
    """Engines side by side, for each case, memory and target."""
    here = [r for r in results if case(r) in names]
    groups = ordered((case(r), r["memory"], r["target"]) for r in here)
    engines = [e for e in ENGINES if find(here, engine=e)]
    if not groups:
        return None
    rows = []
    for name, memory, target in groups:
        label = f"{memory}\\n{target}"
        if len(names) > 1:
            label = f"{name}\\n{label}"
        found = {r["engine"]: cost(r)
                 for r in find(here, case=name, memory=memory, target=target)}
        rows.append([label] + [found.get(e) for e in engines])
    script = block("data", rows)
    script += ("set style data histograms\n"
               "set style histogram clustered gap 1.2\n"
               "set style fill solid border rgb '#ffffff'\n"
               "set boxwidth 1\nset xtics scale 0 font ',11'\n")
    script += "set logscale y\nset yrange [10:*]\n" if log else \
              "set yrange [0:*]\n"
    script += "plot " + ", ".join(
        f"$data using {i + 2}:xtic(1) title '{e}' lc rgb '{ENGINES[e]}'"
        for i, e in enumerate(engines)) + "\n"
    width = max(700, 240 + 26 * len(groups) * (len(engines) + 1))
    return gnuplot(script, directory, file, title,
                   f"{unit(results)} a dirty page", width=min(width, 1700))


def lines(series, directory, file, title, xlabel, ylabel, extra="", more=""):
    """@series: name -> (colour, [(x, y)])"""
    script, parts = "", []
    for i, (name, (colour, points)) in enumerate(series.items()):
        script += block(f"d{i}", sorted(points))
        parts.append(f"$d{i} using 1:2 with linespoints pt 7 ps 0.7 lw 2 "
                     f"lc rgb '{colour}' title '{name}'")
    script += f"set xlabel '{xlabel}'\n{extra}\n"
    script += "plot " + ", ".join(parts + ([more] if more else [])) + "\n"
    return gnuplot(script, directory, file, title, ylabel)


def by_engine(results, x, y):
    return {e: (ENGINES[e], [(x(r), y(r)) for r in find(results, engine=e)])
            for e in ENGINES if find(results, engine=e)}


def sweeps(results, directory, prefix):
    flat = find(results, sweep="flat")
    if flat:
        yield lines(by_engine(flat, lambda r: r["size"] >> 20, cost), directory,
                    f"{prefix}-flat.svg", "The same cost at any size",
                    "MiB", f"{unit(results)} a page",
                    "set logscale x 2\nset yrange [0:*]"), \
            "All pages dirty, huge pages, a block device."
    for target, latency in LATENCY.items():
        slow = find(results, target=target)
        if slow:
            yield lines(
                by_engine(slow, lambda r: r["window"],
                          lambda r: r["pass_ns"] / r["ios"] / 1000), directory,
                f"{prefix}-{target}.svg",
                f"A device that takes {latency // 1000} us for each I/O",
                "I/Os in flight, at most", "us for each I/O",
                "set logscale xy 2",
                f"{latency / 1000.0}/x with lines lw 1.5 dt 2 lc rgb '#333333'"
                " title 'latency / window'"), \
                ("One I/O for every fourth page. Below the dashed line nobody"
                 " can get; where a line leaves it, the processor has become"
                 " the limit.")
    threads = find(results, sweep="threads")
    if threads:
        series = {}
        for e, name, memory in ordered((r["engine"], r["case"], r["memory"])
                                       for r in threads):
            found = find(threads, engine=e, case=name, memory=memory)
            base = next((cost(r) for r in found if r["threads"] == 1), None)
            if base:
                shade = ENGINES[e] if name == "full" else \
                    {"module": "#e69f00", "module-pin": "#d55e00"}[e]
                series[f"{e} {name} {memory}"] = (shade, [
                    (r["threads"], cost(r) / base) for r in found])
        yield lines(series, directory, f"{prefix}-threads.svg",
                    "Several threads, one region, one processor", "threads",
                    "cost of all, one thread = 1",
                    "set logscale x 2\nset yrange [0:1.5]"), \
            ("On one processor nothing can be won; what threads cost each"
             " other in instructions would show as a rise.")


def draw(results, directory, kernel):
    """Yields (file, caption)."""
    prefix = f"plot-{kernel}"
    plain = standard(results)
    # Others are in the tables.
    usual = [r for r in plain if r["target"] in ("xfs", "block")
             and r["engine"][:4] != "qemu"]
    programs = find(plain, case=lambda c: c in ("full", "full+fresh"),
                    memory="thp", target="xfs")
    pictures = []
    if find(programs, engine=lambda e: e.startswith("qemu")):
        pictures.append((bars(programs, ("full", "full+fresh"), directory,
                              f"{prefix}-programs.svg",
                              "Saving a stopped guest, all pages dirty", True),
                         "The scale is logarithmic. QEMU always writes into"
                         " holes (fresh)."))
    for name in ordered(r["case"] for r in usual):
        names = ordered(case(r) for r in usual if r["case"] == name)
        for wanted in names:
            file = bars(usual, (wanted,), directory,
                        f"{prefix}-{wanted.replace('+', '-')}.svg", wanted)
            if file:
                pictures.append((file, CAPTIONS.get(name, "")))
    yield from pictures
    yield from sweeps(results, directory, prefix)


CAPTIONS = {
    "full": "Every page dirty, none zero.",
    "zero": "Every page dirty, touched, and zero.",
    "untouched": "Every page dirty, few ever touched.",
    "scatter25": "Every fourth page dirty.",
    "random1": "One page in a hundred dirty, at random.",
    "load-full": "Loading an image that holds every page.",
    "load-sparse": "Loading an image that holds runs of 4 MiB, one in four.",
    "load-scattered": "Loading an image that holds every fourth page.",
    "hot": "Clusters of 64 KiB dirty, one in ten.",
}
