"""Keeps 256 KiB each half second (`leak`), or frees each before it takes the next (`steady`)."""

import sys
import time

keeps = sys.argv[1] == "leak"
kept = []
while True:
    block = bytearray(b"x" * (256 << 10))
    if keeps:
        kept.append(block)
    del block
    time.sleep(0.5)
