#!/usr/bin/env python3
"""Packs the function: zip.py BINARY ZIP [ARCHITECTURE]. The same binary gives the same bytes, whoever packs it and when.

With ARCHITECTURE (x86_64 or arm64, as in the template), it packs only what Lambda can start there: an ELF program for that
architecture that needs no newer glibc than Amazon Linux 2023 has. Without, it packs anything, for tests on this machine.
"""

import os
import re
import struct
import sys
import zipfile

# Of Amazon Linux 2023, on which provided.al2023 is built.
GLIBC = (2, 34)
MACHINES = {62: "x86_64", 183: "arm64"}
MACH_O = {b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"}
LOAD, DYNAMIC = 1, 2
STRINGS, NEEDED_VERSIONS = 5, 0x6FFFFFFE


class Refused(Exception):
    """Lambda could not start it, and what to do."""


def with_zig(architecture: str) -> str:
    return f"`infra/package {architecture} --zig` (it needs `pip install cargo-zigbuild`)"


class Elf:
    """What must be known of a 64-bit little-endian ELF file."""

    def __init__(self, data: bytes):
        self.data = data
        kind, machine = struct.unpack_from("<HH", data, 16)
        self.machine = MACHINES.get(machine, f"machine {machine}")
        self.is_program = kind in (2, 3)
        at, = struct.unpack_from("<Q", data, 32)
        size, count = struct.unpack_from("<HH", data, 54)
        self.segments = [struct.unpack_from("<IIQQQQ", data, at + index * size) for index in range(count)]

    def offset(self, address: int) -> int:
        """Where in the file an address of the program is."""
        for kind, _, offset, start, _, length in self.segments:
            if kind == LOAD and start <= address < start + length:
                return offset + address - start
        raise Refused("it is damaged: its dynamic section points outside of it")

    def dynamic(self) -> dict:
        """The dynamic section; empty in a static program."""
        found = {}
        for kind, _, offset, _, _, length in self.segments:
            if kind == DYNAMIC:
                for tag, value in struct.iter_unpack("<QQ", self.data[offset : offset + length // 16 * 16]):
                    found.setdefault(tag, value)
        return found

    def text(self, at: int) -> str:
        return self.data[at : self.data.index(b"\0", at)].decode("ascii", "replace")

    def versions(self) -> set:
        """The versions of symbols that it needs, such as GLIBC_2.34."""
        dynamic = self.dynamic()
        found = set()
        if NEEDED_VERSIONS not in dynamic:
            return found
        strings = self.offset(dynamic[STRINGS])
        library = self.offset(dynamic[NEEDED_VERSIONS])
        while True:
            _, count, _, first, following = struct.unpack_from("<HHIII", self.data, library)
            version = library + first
            for _ in range(count):
                _, _, _, name, step = struct.unpack_from("<IHHII", self.data, version)
                found.add(self.text(strings + name))
                version += step
            if following == 0:
                return found
            library += following


def check(data: bytes, architecture: str) -> None:
    """Refuses what Lambda could not start."""
    if data[:4] in MACH_O:
        raise Refused(f"it is a program for macOS (Mach-O), and Lambda runs Linux. Build it with {with_zig(architecture)}")
    if data[:2] == b"MZ":
        raise Refused(f"it is a program for Windows, and Lambda runs Linux. Build it with {with_zig(architecture)}")
    if data[:6] != b"\x7fELF\x02\x01":
        raise Refused("it is not a 64-bit ELF program. Build it with infra/package")
    elf = Elf(data)
    if not elf.is_program:
        raise Refused("it is an ELF file, but not a program. Build it with infra/package")
    if elf.machine != architecture:
        raise Refused(
            f"it is for {elf.machine}, and the package is for {architecture}. Build it with `infra/package {architecture}`, "
            f"or deploy with Architecture={elf.machine} and `infra/package {elf.machine}`"
        )
    needed = [re.fullmatch(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?", version) for version in elf.versions()]
    highest = max(((int(match[1]), int(match[2])) for match in needed if match), default=(0, 0))
    if highest > GLIBC:
        raise Refused(
            f"it needs glibc {highest[0]}.{highest[1]}, and Amazon Linux 2023 has {GLIBC[0]}.{GLIBC[1]}. "
            f"Build it on an older Linux, or with {with_zig(architecture)}"
        )


def pack(binary: str, target: str, architecture: str | None = None) -> None:
    with open(binary, "rb") as source:
        data = source.read()
    if architecture is not None:
        try:
            check(data, architecture)
        except (struct.error, ValueError):
            sys.exit(f"{binary} is not packed: it is damaged")
        except Refused as why:
            sys.exit(f"{binary} is not packed: {why}.")
    os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
    entry = zipfile.ZipInfo("bootstrap", date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # Unix, so that the mode counts.
    entry.external_attr = 0o100755 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(entry, data, compresslevel=9)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or (len(sys.argv) == 4 and sys.argv[3] not in MACHINES.values()):
        sys.exit(__doc__)
    pack(*sys.argv[1:])
