"""Opens a report in headless Chromium, does what an analyst does, and prints what was seen as JSON.

usage: browser.py CHROMIUM LIBRARIES REPORT STORY SCREENSHOTS
STORY is a text that one alert of the report tells.
"""
import json
import os
import sys

from playwright.sync_api import sync_playwright

chromium, libraries, report, story, screenshots = sys.argv[1:]
env = dict(os.environ, LD_LIBRARY_PATH=libraries)
seen = {"requests": [], "errors": []}


def shown(page):
    """Numbers of alerts and of rows of the ledger that are shown."""
    first = lambda name: int(page.inner_text(name).split()[0].replace(",", ""))
    return [first("#n-alerts"), first("#n-ledger")]


with sync_playwright() as playwright:
    browser = playwright.chromium.launch(
        executable_path=chromium, env=env, args=["--no-sandbox", "--disable-gpu"]
    )
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.on("request", lambda request: seen["requests"].append(request.url.split("?")[0].rsplit("/", 1)[-1]))
    page.on("console", lambda message: seen["errors"].append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: seen["errors"].append(str(error)))
    page.on("dialog", lambda dialog: (seen["errors"].append("dialog: " + dialog.message), dialog.dismiss()))
    page.goto("file://" + report)
    page.wait_for_selector("#ledger table")
    seen["ready_ms"] = page.evaluate("Math.round(performance.now())")
    seen["all"] = shown(page)

    # Brush over the right half of the timeline.
    box = page.query_selector("#timeline .u-over").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 60, steps=8)
    page.mouse.up()
    page.wait_for_timeout(100)
    seen["brushed"] = shown(page)
    seen["from"] = page.input_value("#from")

    # Everything again, with the keyboard; then closer, and a step to the left.
    page.focus("#timeline")
    page.keyboard.press("0")
    seen["unbrushed"] = shown(page)
    page.keyboard.press("+")
    zoomed = page.input_value("#from")
    page.keyboard.press("ArrowLeft")
    seen["moved"] = [zoomed, page.input_value("#from")]
    page.click("#reset")

    # Search for the story, open its alert and its evidence.
    page.fill("#search", story)
    page.wait_for_timeout(300)
    seen["searched"] = shown(page)
    for selector in ("#alerts > details > summary", "#alerts details details > summary"):
        for summary in page.query_selector_all(selector):
            if not summary.evaluate("s => s.parentElement.open"):
                summary.click()
    page.wait_for_timeout(100)
    seen["stories"] = [element.inner_text() for element in page.query_selector_all(".alert .story")]
    seen["evidence"] = len(page.query_selector_all("#alerts tbody tr"))
    page.click("#reset")

    # One principal only, by a click in the matrix.
    principal = page.query_selector("#matrix tbody th button")
    seen["principal"] = principal.get_attribute("title")
    principal.click()
    seen["clicked"] = shown(page)
    seen["chip"] = page.inner_text("#chips")
    page.click("#reset")
    page.select_option("#outcome", "denied")
    seen["denied"] = shown(page)
    seen["denied_outcomes"] = page.evaluate("[...new Set([...document.querySelectorAll('#ledger tbody tr')].map(r => r.cells[2].textContent))]")
    page.click("#reset")

    # A row of the ledger opens its evidence.
    page.click("#ledger tbody button")
    seen["row"] = page.inner_text("#ledger dl")

    seen["scripts"] = page.evaluate("document.querySelectorAll('script').length")
    seen["pwned"] = page.evaluate("typeof window.pwned")
    seen["text"] = page.evaluate("document.body.innerText")
    # The policy of the page lets nothing else run, however it came in.
    page.evaluate("() => { const s = document.createElement('script'); s.textContent = 'window.injected = 1'; document.body.append(s); }")
    seen["injected"] = page.evaluate("typeof window.injected")
    seen["errors"] = [error for error in seen["errors"] if "Content Security Policy" not in error]

    seen["overflow"] = {}
    for width in (1280, 400):
        for scheme in ("light", "dark"):
            other = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            other.goto("file://" + report)
            other.wait_for_selector("#ledger table")
            other.wait_for_timeout(300)
            name = f"{width}-{scheme}"
            seen["overflow"][name] = other.evaluate("document.documentElement.scrollWidth")
            other.screenshot(path=os.path.join(screenshots, f"report-{name}.png"))
            if name == "1280-dark":
                look = """() => ({theme: document.documentElement.dataset.theme || "", chart: document.querySelector("#timeline canvas").clientWidth,
                    closed: document.querySelectorAll("#alerts details:not([open])").length, evidence: document.querySelectorAll("#alerts tbody tr").length})"""
                before = other.evaluate(look)
                other.evaluate("dispatchEvent(new Event('beforeprint'))")
                other.emulate_media(media="print", color_scheme="dark")
                seen["print"] = other.evaluate(look)
                seen["print"]["ink"] = other.evaluate("getComputedStyle(document.body).color")
                other.emulate_media(media="screen", color_scheme="dark")
                other.evaluate("dispatchEvent(new Event('afterprint'))")
                after = other.evaluate(look)
                seen["printed"] = [[look["theme"], look["chart"]] for look in (before, after)]
            other.close()
    browser.close()
print(json.dumps(seen))
