"""Photographs the card of one incident in a report, and prints what the card says as JSON.

usage: image.py CHROMIUM LIBRARIES REPORT INCIDENT [IMAGE]
INCIDENT is the beginning of an id. IMAGE is a PNG; its text chunk `Card` is the SHA-256 of what the
card says, so that a test can tell an old image from a new one without comparing pixels.
"""
import hashlib
import json
import os
import struct
import sys
import zlib

from playwright.sync_api import sync_playwright

chromium, libraries, report, incident, *image = sys.argv[1:]
env = dict(os.environ, LD_LIBRARY_PATH=libraries)

# What is below is evidence, for the report itself; in CSS pixels.
HEIGHT = 875


def with_text(png, keyword, text):
    """The image with a text chunk before its end."""
    body = b"tEXt" + keyword.encode() + b"\0" + text.encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    end = png.rindex(b"IEND") - 4
    return png[:end] + chunk + png[end:]


with sync_playwright() as playwright:
    browser = playwright.chromium.launch(
        executable_path=chromium, env=env, args=["--no-sandbox", "--disable-gpu"]
    )
    page = browser.new_page(
        viewport={"width": 1120, "height": 900}, color_scheme="light", device_scale_factor=1.25
    )
    page.goto(f"file://{report}#incident={incident}")
    page.wait_for_selector(f'.incident[open][data-incident^="{incident}"]')
    page.wait_for_timeout(300)
    card = page.query_selector(f'.incident[data-incident^="{incident}"]')
    # The command at its end names the paths of this machine.
    text = " ".join(card.text_content().split("secretrail explain")[0].split())
    digest = hashlib.sha256(text.encode()).hexdigest()
    if image:
        card.evaluate("card => card.querySelector('summary').blur()")
        box = card.bounding_box()
        top = page.evaluate("window.scrollY") + box["y"]
        clip = {"x": box["x"], "y": top, "width": box["width"], "height": min(box["height"], HEIGHT)}
        photo = page.screenshot(full_page=True, clip=clip, animations="disabled")
        png = with_text(photo, "Card", digest)
        with open(image[0], "wb") as file:
            file.write(png)
    browser.close()
print(json.dumps({"text": text, "digest": digest}))
