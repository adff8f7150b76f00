"""FORM RATE FILL: takes blocks of 256 KiB, RATE KiB of them a second by the clock.

`leak` keeps each, `steady` frees each before it takes the next, `cache` keeps them for FILL seconds and then frees the
oldest for each that it takes.
"""

import collections
import sys
import time

BLOCK = 256 << 10
form, rate, fill = sys.argv[1], int(sys.argv[2]) << 10, int(sys.argv[3])
most = {"leak": None, "steady": 0, "cache": max(1, rate * fill // BLOCK)}[form]
kept = collections.deque(maxlen=most)
taken = 0
print("ready", flush=True)
start = time.monotonic()
while True:
    while taken < (time.monotonic() - start) * rate:
        kept.append(bytearray(b"x") * BLOCK)
        taken += BLOCK
    time.sleep(BLOCK / rate)
