# SPDX-License-Identifier: MIT
"""Name every test that did not pass and show the end of what it said.

Reads Meson's testlog lines (one JSON object a line and a test) on standard input. Printed last, so
that a log of which only the end was kept still tells what went wrong.
"""
import json
import sys

LAST_LINES = 40
GOOD = ("OK", "EXPECTEDFAIL", "SKIP")


def tail(text):
    return "\n".join("    " + line for line in (text or "").splitlines()[-LAST_LINES:])


for line in sys.stdin:
    test = json.loads(line)
    if test["result"] in GOOD:
        continue
    print(f'{test["name"]}: {test["result"]}, status {test.get("returncode")}, '
          f'{test.get("duration", 0):.1f} s')
    print("  command:", " ".join(test.get("command", [])))
    for stream in ("stdout", "stderr"):
        if test.get(stream):
            print(f"  {stream}:\n{tail(test[stream])}")
