#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""broken_elf.py VMSPACE PROGRAM COUNT: damaged copies of an ELF program, each run under vmspace.

Whatever the headers say, vmspace must not be the one that crashes: either it refuses in one
sentence (126), or the program runs and does what its damage makes it do. A death of the program is
told apart from ours by the sentence that names it.
"""
import os
import random
import struct
import subprocess
import sys
import tempfile

vmspace, program, count = os.path.abspath(sys.argv[1]), sys.argv[2], int(sys.argv[3])
whole = open(program, "rb").read()
phoff = struct.unpack_from("<Q", whole, 32)[0]
phnum = struct.unpack_from("<H", whole, 56)[0]
rnd = random.Random(20261)
nasty = [0, 1, 7, 4095, 4096, 4097, 2**31 - 1, 2**31, 2**32 - 1, 2**47 - 4096, 2**47, 2**63 - 1,
         2**63, 2**64 - 4096, 2**64 - 1, 0x7ff000000000, 0x7fefffffffff, len(whole), len(whole) + 1]
statuses = {}


def damage(image):
    image = bytearray(image)
    for _ in range(rnd.choice([1, 1, 1, 2, 3])):
        kind = rnd.randrange(5)
        if kind == 0:  # a field of the file header
            off, size = rnd.choice([(16, 2), (18, 2), (24, 8), (32, 8), (52, 2), (54, 2), (56, 2)])
        elif kind < 4:  # a field of a program header
            at = phoff + 56 * rnd.randrange(phnum)
            off, size = rnd.choice([(0, 4), (4, 4), (8, 8), (16, 8), (32, 8), (40, 8), (48, 8)])
            off += at
        else:
            off, size = rnd.randrange(64 + 56 * phnum), 1
        value = rnd.choice(nasty) if rnd.random() < 0.7 else rnd.getrandbits(64)
        image[off:off + size] = (value & (256**size - 1)).to_bytes(size, "little")
    if rnd.random() < 0.1:
        del image[rnd.randrange(len(image)):]
    return bytes(image)


with tempfile.TemporaryDirectory() as where:
    path = os.path.join(where, "damaged")
    for n in range(count):
        image = damage(whole)
        with open(path, "wb") as f:
            f.write(image)
        os.chmod(path, 0o755)
        try:
            r = subprocess.run([vmspace, "run", path], capture_output=True, timeout=20)
        except subprocess.TimeoutExpired:
            statuses["time out"] = statuses.get("time out", 0) + 1
            os.remove(path)
            continue
        bare = None
        if r.returncode < 0:
            try:
                bare = subprocess.run([path], capture_output=True, timeout=20).returncode
            except (OSError, subprocess.TimeoutExpired):
                pass  # the kernel refuses it, or it runs on: no death to compare with
        os.remove(path)
        told = r.stderr.decode(errors="replace")
        ours = [line for line in told.splitlines() if line.startswith("vmspace: ")]
        statuses[r.returncode] = statuses.get(r.returncode, 0) + 1
        bad = None
        if r.returncode == 126 and len(ours) != 1:
            bad = "refused without one sentence"
        elif r.returncode < 0 and r.returncode != bare and not any("the program died of" in line for line in ours):
            bad = "killed by %d without a word" % -r.returncode
        if bad:
            keep = "/tmp/broken-elf-%d" % n
            open(keep, "wb").write(image)
            print("%s: %s (kept as %s)\n%s" % (n, bad, keep, told))
            sys.exit(1)
print("%d damaged programs: %s" % (count, statuses))
sys.exit(0 if 126 in statuses else 1)
