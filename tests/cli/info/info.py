#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `vmspace info` says, against what this host says by other means."""
import fcntl
import json
import os
import subprocess
import sys

exe = sys.argv[1]
KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS = 0xAE03, 10


def run(*args):
    return subprocess.run([exe, "info", *args], capture_output=True, text=True)


def first_number(path):
    with open(path, encoding="ascii") as f:
        return int(f.read().split()[0])


def kvm_slots():
    try:
        fd = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    slots = fcntl.ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS)
    os.close(fd)
    return slots


r = run("--json")
assert r.returncode == 0 and not r.stderr, r
told = json.loads(r.stdout)
assert told["page_size"] == os.sysconf("SC_PAGESIZE"), told
assert told["max_maps"] == first_number("/proc/sys/vm/max_map_count"), told
slots = kvm_slots()
assert told["kvm"] == (slots is not None), told
assert told["kvm_slots"] == (slots or 0), told
try:
    os.close(os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
    assert told["memfd"], told
except OSError:
    assert not told["memfd"], told
with open("/sys/kernel/mm/transparent_hugepage/enabled", encoding="ascii") as f:
    assert f"[{told['thp']}]" in f.read(), told

r = run()
assert r.returncode == 0 and not r.stderr, r
assert ("yes  /dev/kvm" in r.stdout) == told["kvm"], r.stdout
assert len([l for l in r.stdout.splitlines() if l.startswith(("  yes  ", "  no   "))]) == 12, r.stdout

assert run("--help").returncode == 0
r = run("--nonsense")
assert r.returncode == 2 and "--nonsense" in r.stderr and not r.stdout, r
