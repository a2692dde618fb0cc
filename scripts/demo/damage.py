#!/usr/bin/env python3
"""Makes broken files of sound ones: damage.py id3|cut|overwrite FROM TO."""

import sys


def with_big_id3(sound):
    """An ID3v2.3 tag of 96 KiB in front: a picture's room, more than one 64 KiB chunk."""
    body = b"TIT2" + (14).to_bytes(4, "big") + b"\0\0" + b"\0Seven strings"
    size = 96 * 1024
    body = body.ljust(size, b"\0")
    synchsafe = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + synchsafe + body + sound


def cut(sound):
    """Ends in the middle of a packet, at five eighths."""
    return sound[: len(sound) * 5 // 8 + 3]


def overwritten(sound):
    """Two places of 400 bytes that are no audio; headers of the file stay."""
    damaged = bytearray(sound)
    for part in (3, 5):
        at = len(sound) * part // 8
        damaged[at : at + 400] = bytes((i * 73 + part) % 251 for i in range(400))
    return bytes(damaged)


def main():
    how, source, target = sys.argv[1:]
    change = {"id3": with_big_id3, "cut": cut, "overwrite": overwritten}[how]
    with open(source, "rb") as file:
        sound = file.read()
    with open(target, "wb") as file:
        file.write(change(sound))


main()
