#!/usr/bin/env python3
"""Counts words, as Hadoop Streaming would run it: word, tab, 1 for each word.

A word is a run of bytes other than space, tab and newline.
"""
import re
import sys

words = re.compile(rb"[^ \t\n]+")
out = sys.stdout.buffer
for line in sys.stdin.buffer:
    for word in words.findall(line):
        out.write(word + b"\t1\n")
