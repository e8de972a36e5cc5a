#!/usr/bin/env python3
"""Adds up lines of word, tab, count that are sorted by word, as Hadoop
Streaming would run it. Serves as combiner too."""
import sys

out = sys.stdout.buffer
word, total = None, 0
for line in sys.stdin.buffer:
    key, _, count = line.rstrip(b"\n").rpartition(b"\t")
    if key != word:
        if word is not None:
            out.write(b"%s\t%d\n" % (word, total))
        word, total = key, 0
    total += int(count)
if word is not None:
    out.write(b"%s\t%d\n" % (word, total))
