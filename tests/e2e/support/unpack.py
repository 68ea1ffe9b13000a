"""Unpacks the Chromium that an npm package holds, and the libraries that it needs.

usage: unpack.py PACKED PLACE
"""
import io
import os
import sys
import tarfile

import brotli

packed, place = sys.argv[1:]


def part(name):
    with open(os.path.join(packed, name), "rb") as file:
        return brotli.decompress(file.read())


os.makedirs(place, exist_ok=True)
with open(os.path.join(place, "chromium"), "wb") as file:
    file.write(part("chromium.br"))
os.chmod(file.name, 0o755)
for name in "al2023.tar.br", "swiftshader.tar.br", "fonts.tar.br":
    with tarfile.open(fileobj=io.BytesIO(part(name))) as archive:
        archive.extractall(place, filter="data")
