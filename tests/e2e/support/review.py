"""Opens the review of a proposed policy in headless Chromium, decides as a person would, and prints what was seen as JSON.

usage: review.py CHROMIUM LIBRARIES AXE PAGE SCREENSHOTS
"""
import json
import os
import sys

from playwright.sync_api import sync_playwright

chromium, libraries, axe, report, screenshots = sys.argv[1:]
env = dict(os.environ, LD_LIBRARY_PATH=libraries)
seen = {"errors": [], "requests": []}


def violations(page):
    page.evaluate(open(axe, encoding="utf-8").read())
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [f"{rule['id']}: {node['html'][:200]}" for rule in found["violations"] for node in rule["nodes"]]


with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=chromium, env=env, args=["--no-sandbox", "--disable-gpu"])
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light", accept_downloads=True)
    page.on("request", lambda request: seen["requests"].append(request.url.rsplit("/", 1)[-1]))
    page.on("console", lambda message: seen["errors"].append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: seen["errors"].append(str(error)))
    page.on("dialog", lambda dialog: (seen["errors"].append("dialog: " + dialog.message), dialog.dismiss()))
    page.goto("file://" + report)
    page.wait_for_selector(".grant")
    policy = lambda: page.inner_text("#policy")
    tally = lambda: page.inner_text("#tally")
    seen["grants"] = len(page.query_selector_all(".grant"))
    seen["risky"] = len(page.query_selector_all("#risky .grant"))
    seen["first"] = page.evaluate("document.querySelector('.grant').closest('section').id")
    seen["nothing"] = [tally(), policy()]
    if page.is_visible("#rest"):
        page.click("#rest")
    seen["rest"] = [tally(), policy()]
    # The first to check is rejected by the keyboard, the second is accepted.
    first, second = (page.locator(".grant").nth(n) for n in (0, 1))
    first.locator("input[value=rejected]").focus()
    page.keyboard.press("Space")
    second.locator("input[value=accepted]").click()
    seen["rejected"] = first.locator("h3").inner_text()
    seen["decided"] = [tally(), policy()]
    with page.expect_download() as download:
        page.click("#save")
    path = os.path.join(screenshots, "reviewed.yaml")
    download.value.save_as(path)
    seen["saved"] = [download.value.suggested_filename, open(path, encoding="utf-8").read() == page.evaluate("document.getElementById('policy').textContent")]
    # What was decided is there after the page was loaded again.
    page.reload()
    page.wait_for_selector(".grant")
    seen["again"] = tally()
    seen["axe"] = violations(page)
    seen["pwned"] = page.evaluate("typeof window.pwned")
    seen["markup"] = page.evaluate("document.querySelectorAll('main img, main script').length")
    seen["overflow"] = {}
    for width in (1280, 400):
        for scheme in ("light", "dark"):
            other = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            other.goto("file://" + report)
            other.wait_for_selector(".grant")
            seen["overflow"][f"{width}-{scheme}"] = other.evaluate("document.documentElement.scrollWidth")
            seen["axe"] += violations(other)
            other.screenshot(path=os.path.join(screenshots, f"review-{width}-{scheme}.png"))
            other.close()
    browser.close()
print(json.dumps(seen))
