#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Proves that `mapped-ram restore --lazy` fills the memory of another process
while that uses it: threads touch pages in random order and find what was saved,
for each kind of memory, and in the end all of it is there; that what the process
says of its memory is taken in any pieces and with any keys, and refused with one
line when it is wrong; and that the end of either side is noticed by the other.
peer.py says what the environment may set.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

from peer import MODEL, PAGE, SEED, SIZES, TOOL, WORK, Peer, Tool, save

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../qemu"))
import tap  # pylint: disable=wrong-import-position

OUT = tap.Tap()


def result(good, name, *seen):
    return OUT.ok(good, name, "\n".join([*map(str, seen), f"seed {SEED}"]))


def set_pages():
    zero = bytes(PAGE)
    return sum(data[at:at + PAGE] != zero for data in MODEL.values()
               for at in range(0, len(data), PAGE))


def cached_pages(path):
    return int(subprocess.run(
        ["fincore", "--noheadings", "--output", "PAGES", path], check=True,
        stdout=subprocess.PIPE, text=True).stdout)


def drop_cached(path):
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def serve(image, peer, *args, mappings=None, blocks=None):
    """A whole restore: what was wrong, what both sides said."""
    tool = Tool(image, *args)
    peer.connect(tool.path)
    waits = peer.touch("vga.vram")
    peer.hand_over(mappings)
    wrong = peer.wrong_pages(blocks)
    waits.join()
    answer = peer.answer()
    # All of it once more, when nobody serves it any longer.
    status, out, err = tool.end()
    wrong += peer.wrong_pages(blocks)
    return wrong, answer, status, json.loads(out or "{}"), err, tool


def check_served(name, done, pages):
    wrong, answer, status, report, err, tool = done
    result(not wrong and answer == {"resident": True} and status == 0 and
           not err and report["read"] == pages and
           report["streamed"] + report["fault_pages"] == report["read"] and
           not os.path.exists(tool.path),
           name, wrong[:8], answer, status, report, err)
    return report


def test_kinds(image):
    for kind in ("private", "shared", "memfd", "hugetlb"):
        try:
            peer = Peer(kind)
        except OSError as error:
            print(f"ok {OUT.number + 1} {kind} memory # SKIP {error}")
            OUT.number += 1
            continue
        drop_cached(image)
        done = serve(image, peer)
        if kind == "hugetlb":
            # A huge page is read as a whole, with all pages that it has.
            check_served("hugetlb memory", done, done[3]["read"])
        else:
            report = check_served(f"{kind} memory", done, set_pages())
            result(report["faults"] > 0,
                   f"{kind} memory: faults were served", report)
        result(cached_pages(image) == 0 or not DIRECT,
               f"{kind} memory: nothing of the image is cached",
               cached_pages(image))
        peer.close()


def test_words(image):
    """Ways to say what is where."""
    peer = Peer()
    offset, nameless = 0, []
    for mapping in peer.mappings():
        del mapping["name"]
        mapping["offset"] = offset
        mapping["page_size_kib"] = mapping.pop("page_size")
        offset += mapping["size"]
        nameless.append(mapping)
    check_served("as Firecracker says it, without names",
                 serve(image, peer, mappings=nameless), set_pages())
    peer.close()

    peer = Peer()
    done = serve(image, peer, mappings=[
        dict(m, offset=offset, more={"of": [1, None]})
        for m in peer.mappings()[1:] for offset in (SIZES["pc.ram"],)],
        blocks=["vga.vram"])
    check_served("one block of two, keys nobody knows", done,
                 done[3]["read"])
    peer.close()

    peer = Peer()
    tool = Tool(image, "--max-extent", "64K", "--fault-around", "1")
    peer.connect(tool.path)
    waits = peer.touch("vga.vram")
    text = json.dumps(peer.mappings(), indent=8).encode()
    peer.send(text[:1], [peer.uffd])
    for at in range(1, len(text), 5):
        peer.send(text[at:at + 5], [])
    wrong = peer.wrong_pages()
    waits.join()
    answer = peer.answer()
    status, out, err = tool.end()
    report = json.loads(out or "{}")
    result(not wrong and answer == {"resident": True} and status == 0 and
           report["read"] == set_pages(), "in many pieces",
           wrong[:8], answer, status, out, err)
    # How many were faster than the streaming nobody knows.
    result(0 < report["bytes"] <= report["ios"] * (64 << 10) and
           report["fault_pages"] <= report["faults"],
           "no more at once than --max-extent and --fault-around say", report)
    peer.close()

    with subprocess.Popen(
            [TOOL, "restore", "--lazy", f"{WORK}/text", image],
            stdout=subprocess.PIPE, text=True) as process:
        while not os.path.exists(f"{WORK}/text"):
            time.sleep(0.01)
        result(os.stat(f"{WORK}/text").st_mode & 0o777 == 0o600,
               "the socket is its owner's")
        peer = Peer()
        peer.connect(f"{WORK}/text")
        peer.hand_over()
        answer = peer.answer()
        out = process.communicate()[0]
        result(answer == {"resident": True} and process.returncode == 0 and
               "2 of 2 blocks restored" in out, "words for people", out)
        peer.close()


def test_working_set(image):
    record = f"{WORK}/set"
    touched = [("pc.ram", at * PAGE) for at in range(0, 4000, 40)]
    for args in (["--record", record], ["--working-set", record]):
        peer = Peer()
        tool = Tool(image, *args)
        peer.connect(tool.path)
        waits = peer.touch("vga.vram")
        peer.hand_over()
        for name, at in touched:
            peer.memory[name].read(at, PAGE)
        waits.join()
        answer = peer.answer()
        status, out, err = tool.end()
        wrong = peer.wrong_pages()
        report = json.loads(out or "{}")
        result(not wrong and status == 0 and not err and
               answer == {"resident": True} and
               (report["working_set"] > 0) == (args[0] == "--working-set"),
               f"{args[0]}", wrong[:8], report, err)
        peer.close()
    with open(record, "r+b") as f:
        f.write(b"x" * 16)
    peer = Peer()
    wrong, answer, status, report, err, _ = serve(
        image, peer, "--working-set", record)
    result(not wrong and status == 0 and report["working_set"] == 0 and
           "warning" in err and len(err.splitlines()) == 1,
           "a damaged working set is a warning", wrong[:8], answer, report,
           err)
    peer.close()

    # The warnings of other jobs wait for the end, and only for a good one.
    cut = f"{WORK}/cut"
    shutil.copyfile(image, cut)
    tool = Tool(cut, "--working-set", record)
    os.truncate(cut, 8 << 20)
    peer = Peer()
    peer.connect(tool.path)
    peer.hand_over()
    peer.answer()
    status, out, err = tool.end()
    lines = err.splitlines()
    result(status == 1 and not out and len(lines) == 2 and
           lines[0].startswith("mapped-ram: warning: working set") and
           "block '" in lines[1],
           "which comes while it goes on, and not when it is done",
           status, out, err)
    peer.close()
    os.unlink(cut)


def check_refused(name, pattern, done, answered=True, answer=None):
    status, out, err = done
    result(status == 1 and not out and len(err.splitlines()) == 1 and
           pattern in err and err.startswith("mapped-ram: ") and
           (not answered or "error" in (answer or {})),
           f"refused: {name}", status, out, err, answer)


def refused_words(image, name, pattern, data, fds=None):
    """What was said is not accepted, and the other side is told so."""
    peer = Peer()
    tool = Tool(image)
    peer.connect(tool.path)
    peer.send(data, [peer.uffd] if fds is None else fds)
    peer.socket.shutdown(socket.SHUT_WR)
    answer = peer.answer()
    check_refused(name, pattern, tool.end(), answer=answer)
    peer.close()


def test_refused(image):
    peer = Peer()
    good = peer.mappings()
    peer.close()
    ram, vram = good

    def changed(**other):
        return json.dumps([dict(ram, **other), vram]).encode()

    for name, pattern, data in (
            ("no JSON", "no JSON array", b"hello"),
            ("an object", "expected a JSON array", b"{}"),
            ("an empty array", "0 mappings", b"[]"),
            ("half a text", "has gone before", b'[{"name":'),
            ("a number for a mapping", "expected a JSON object", b"[1]"),
            ("no address", "'base_host_virt_addr'",
             json.dumps([{"size": 4096}]).encode()),
            ("no size", "'size'",
             json.dumps([{"base_host_virt_addr": 4096}]).encode()),
            ("a negative address", "'base_host_virt_addr'",
             changed(base_host_virt_addr=-4096)),
            ("a size in words", "'size'", changed(size="4096")),
            ("an offset in words", "'offset'", changed(offset="0")),
            ("a page size in words", "'page_size'", changed(page_size=[])),
            ("a name that is a number", "'name'", changed(name=7)),
            ("a name of no block", "no block 'pc.rom'",
             changed(name="pc.rom")),
            ("a part of a block", "only whole blocks", changed(offset=8192)),
            ("another length", "bytes, the memory for it",
             changed(size=ram["size"] - PAGE)),
            ("an address that is none", "not a multiple",
             changed(base_host_virt_addr=ram["base_host_virt_addr"] + 1)),
            ("a page size that is none", "no memory has pages of",
             changed(page_size=5000)),
            ("the same block twice", "was added already",
             json.dumps([ram, ram]).encode()),
            ("no name, and no such offset", "no block of",
             json.dumps([{key: value for key, value in ram.items()
                          if key != "name"} | {"offset": 4096}]).encode())):
        refused_words(image, name, pattern, data)
    refused_words(image, "no file descriptor", "no userfaultfd came",
                  json.dumps(good).encode(), [])
    with open("/dev/null", "rb") as null:
        refused_words(image, "a descriptor of something else",
                      "not a userfaultfd", json.dumps(good).encode(),
                      [null.fileno()])
        refused_words(image, "two descriptors", "more than one",
                      json.dumps(good).encode(),
                      [null.fileno(), null.fileno()])
    refused_words(image, "a text without end", "too long",
                  b"[" + b" " * (2 << 20))

    for name, pattern, args in (
            ("no image", "No such file", [f"{WORK}/none"]),
            ("no socket's name", "too long", ["x" * 200, image])):
        path = [] if len(args) > 1 else [f"{WORK}/free"]
        done = subprocess.run([TOOL, "restore", "--lazy", *path, *args],
                              capture_output=True, text=True, check=False)
        check_refused(name, pattern,
                      (done.returncode, done.stdout, done.stderr), False)
    with open(f"{WORK}/taken", "w", encoding="ascii"):
        pass
    done = subprocess.run([TOOL, "restore", "--lazy", f"{WORK}/taken", image],
                          capture_output=True, text=True, check=False)
    check_refused("a file in the socket's place", "exists",
                  (done.returncode, done.stdout, done.stderr), False)
    result(os.path.exists(f"{WORK}/taken"), "which stays")


def test_ends(image):
    # Somebody who connects and leaves again.
    tool = Tool(image)
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(tool.path)
    check_refused("nobody who says a word", "has gone before", tool.end(),
                  False)

    # One that says nothing: not for ever.
    tool = Tool(image)
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(tool.path)
        check_refused("somebody who says nothing", "says nothing", tool.end(),
                      False)

    # Memory that was used before it was handed over is not the image's.
    for kind in ("private", "memfd"):
        peer = Peer(kind, touched=True)
        tool = Tool(image)
        peer.connect(tool.path)
        peer.hand_over()
        answer = peer.answer()
        check_refused(f"{kind} memory that was touched before",
                      "was in memory already", tool.end(), answer=answer)
        peer.close()

    # The name is somebody else's by then.
    tool = Tool(image)
    os.unlink(tool.path)
    with open(tool.path, "w", encoding="ascii"):
        pass
    tool.process.send_signal(signal.SIGINT)
    tool.end()
    result(os.path.exists(tool.path), "a file under its socket's name stays")

    # The machine has gone when the tool gets to it.
    tool = Tool(image)
    tool.process.send_signal(signal.SIGSTOP)
    child = os.fork()
    if not child:
        peer = Peer()
        peer.connect(tool.path)
        peer.hand_over()
        os._exit(0)
    os.waitpid(child, 0)
    tool.process.send_signal(signal.SIGCONT)
    check_refused("a machine that has gone", f"(process {child}) has gone",
                  tool.end(), False)

    # The tool has gone, and the machine notices.
    tool = Tool(image)
    peer = Peer()
    tool.process.send_signal(signal.SIGSTOP)
    peer.connect(tool.path)
    peer.hand_over()
    tool.process.kill()
    answer = peer.answer()
    status, _, _ = tool.end()
    result(answer is None and status == -signal.SIGKILL,
           "the tool is killed: its end comes without a word", answer)
    os.unlink(tool.path)
    peer.close()

    # The image is cut when it was looked at, but not read.
    cut = f"{WORK}/cut"
    shutil.copyfile(image, cut)
    tool = Tool(cut)
    os.truncate(cut, 8 << 20)
    peer = Peer()
    peer.connect(tool.path)
    peer.hand_over()
    answer = peer.answer()
    check_refused("an image that was cut meanwhile", "block '", tool.end(),
                  answer=answer)
    peer.close()
    os.unlink(cut)

    for number in (signal.SIGINT, signal.SIGTERM):
        tool = Tool(image)
        tool.process.send_signal(number)
        status, out, err = tool.end()
        result(status == -number and not out and
               len(err.splitlines()) == 1 and not os.path.exists(tool.path),
               f"{number.name} while it waits", status, out, err)
        # And while it waits for a word.
        tool = Tool(image)
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(tool.path)
            while os.path.exists(tool.path):
                time.sleep(0.01)
            tool.process.send_signal(number)
            status, out, err = tool.end()
            result(status == -number and not out and
                   len(err.splitlines()) == 1,
                   f"{number.name} while it listens", status, out, err)

    # At once, and then when the first pages are there. It may have been done by
    # then, on a machine that is fast or that has let us wait: hence many tries.
    amid = tries = 0
    while amid < 3 and tries < 100:
        tool = Tool(image, "--max-extent", "4096")
        peer = Peer()
        peer.connect(tool.path)
        peer.hand_over()
        while tries and not peer.resident() and not tool.has_ended():
            pass
        # It stands still while what has come is looked at, and for longer than
        # it waits between two looks at whether it was interrupted. Unlike
        # send_signal(), this leaves it to be waited for if it has ended.
        os.kill(tool.process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, tool.process.pid,
                  os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        time.sleep(0.12)
        there = peer.resident()
        os.kill(tool.process.pid, signal.SIGINT)
        os.kill(tool.process.pid, signal.SIGCONT)
        answer = peer.answer() or {}
        status, out, err = tool.end()
        ended = status == -signal.SIGINT and len(err.splitlines()) == 1 and \
            "resident" not in answer
        # An interrupt at the very end takes nothing back.
        whole = status in (0, -signal.SIGINT) and \
            answer == {"resident": True} and not peer.wrong_pages()
        result(ended or whole, f"SIGINT, try {tries}", there, status, out,
               err, answer)
        amid += ended and there > 0
        tries += 1
        peer.close()
    result(amid, "some of them in the middle", amid, tries)


def can_direct():
    """Does direct I/O leave nothing in the page cache here?"""
    if not shutil.which("fincore"):
        return False
    path = f"{WORK}/direct"
    done = subprocess.run(["dd", "if=/dev/zero", f"of={path}", "bs=4096",
                           "count=1", "oflag=direct", "status=none"],
                          stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0 and cached_pages(path) == 0


DIRECT = can_direct()


def main():
    image = f"{WORK}/image"
    print(f"# seed {SEED}")
    try:
        Peer().close()
    except OSError as error:
        print(f"1..0 # SKIP {error}")
        sys.exit(4)
    save(image)
    for part in sys.argv[1:] or ["kinds", "words", "working_set", "refused",
                                 "ends"]:
        globals()[f"test_{part}"](image)
    shutil.rmtree(WORK)
    OUT.end()


main()
