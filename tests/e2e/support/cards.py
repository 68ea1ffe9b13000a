"""Opens a report in headless Chromium, uses its incident cards as a person would, and prints what was seen as JSON.

usage: cards.py CHROMIUM LIBRARIES AXE REPORT INCIDENT
INCIDENT is the id of one that is not the first.
"""
import json
import os
import re
import sys

from playwright.sync_api import sync_playwright

chromium, libraries, axe, report, incident = sys.argv[1:]
env = dict(os.environ, LD_LIBRARY_PATH=libraries)
address = "file://" + report
seen = {"errors": [], "requests": []}

# Everything that a person can use, and that is shown.
USABLE = """() => [...document.querySelectorAll("a[href], button:not([disabled]), input, select, summary, [tabindex='0']")]
    .filter((e) => e.getClientRects().length && !e.classList.contains("skip"))"""
UNFOLD = """() => { for (let found; (found = [...document.querySelectorAll("details:not([open])")]).length;) for (const d of found) { d.open = true; if (d.make) d.make(); } }"""


def opened(browser, fragment="", width=1280, scheme="light"):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.on("request", lambda request: seen["requests"].append(request.url.split("#")[0].rsplit("/", 1)[-1]))
    page.on("console", lambda message: seen["errors"].append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: seen["errors"].append(str(error)))
    page.on("dialog", lambda dialog: (seen["errors"].append("dialog: " + dialog.message), dialog.dismiss()))
    page.goto(address + fragment)
    page.wait_for_selector("#ledger table")
    return page


def shown(page):
    """Ids of the incidents that are shown, and numbers of alerts and of rows of the ledger."""
    first = lambda name: int(page.inner_text(name).split()[0].replace(",", ""))
    return [page.evaluate("[...document.querySelectorAll('.incident')].map(card => card.dataset.incident)"), first("#n-alerts"), first("#n-ledger")]


def hash_of(page):
    page.wait_for_timeout(250)
    return page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")


def place(page, selector):
    """How far below the filters a place begins, and whether it has the focus."""
    return page.evaluate("""(selector) => { const at = document.querySelector(selector), bar = document.querySelector("#filters");
        const sticky = getComputedStyle(bar).position === "sticky" ? bar.getBoundingClientRect().bottom : 0;
        return [Math.round(at.getBoundingClientRect().top - sticky), document.activeElement === at]; }""", selector)


def violations(page):
    page.evaluate(open(axe, encoding="utf-8").read())
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [f"{rule['id']}: {node['html'][:200]} {[check['message'] for kind in ('any', 'all', 'none') for check in node[kind]]}" for rule in found["violations"] for node in rule["nodes"]]


with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=chromium, env=env, args=["--no-sandbox", "--disable-gpu"])

    # A link to an incident, by the beginning of its id; and one to an incident of another report.
    page = opened(browser, f"#incident={incident[:10]}")
    page.wait_for_timeout(300)
    seen["all"] = shown(page)
    seen["open"] = page.evaluate("[...document.querySelectorAll('.incident[open]')].map(card => card.dataset.incident)")
    seen["linked"] = place(page, f"[data-incident='{incident}'] > summary")
    seen["linked_hash"] = hash_of(page)
    seen["card"] = page.inner_text(f"[data-incident='{incident}']")
    seen["pictures"] = page.evaluate(f"[...document.querySelectorAll(\"[data-incident='{incident}'] svg[role=img]\")].map(svg => svg.getAttribute('aria-label'))")
    page.context.close()
    page = opened(browser, "#incident=00000000000000000000000000000000&source=192.0.2.254")
    seen["unknown"] = page.inner_text("#unknown")
    seen["unknown_shown"] = shown(page)[1:]
    page.context.close()

    # A step is copied, and a link to the incident.
    page = opened(browser, f"#incident={incident}")
    command = page.query_selector(f"[data-incident='{incident}'] .command")
    seen["command"] = command.query_selector("code").text_content()
    command.query_selector(".copy").click()
    page.wait_for_timeout(100)
    seen["copied"] = page.evaluate("navigator.clipboard.readText()")
    seen["copied_said"] = page.inner_text("#status")
    page.click(f"[data-incident='{incident}'] .tools .copy")
    page.wait_for_timeout(100)
    seen["copied_link"] = page.evaluate("navigator.clipboard.readText()")
    # Evidence and raw records, on demand.
    details = f"[data-incident='{incident}'] .body > details"
    seen["before_evidence"] = page.evaluate(f"document.querySelectorAll(\"{details} .alert\").length")
    for summary in page.query_selector_all(f"{details} > summary"):
        summary.click()
    page.wait_for_timeout(100)
    seen["evidence"] = page.evaluate(f"document.querySelectorAll(\"{details} .alert\").length")
    record = page.query_selector(f"{details} .record > summary")
    if record:
        record.click()
        page.wait_for_timeout(100)
    seen["raw"] = page.inner_text(f"{details} .record pre") if record else None
    page.context.close()

    # Filters are in the address: another browser shows the same.
    page = opened(browser)
    seen["first"] = page.get_attribute(".incident", "data-incident")
    page.select_option("#level", "4")
    seen["critical"] = shown(page)
    page.click("#reset")
    page.fill("#search", "198.51.100")
    page.wait_for_timeout(300)
    page.select_option("#outcome", "success")
    page.fill("#from", "2026-03-02 11:05")
    page.fill("#to", "2026-03-02")
    page.press("#to", "Tab")
    seen["filtered"] = shown(page)
    seen["filtered_hash"] = hash_of(page)
    again = opened(browser, page.evaluate("location.hash"))
    seen["again"] = shown(again)
    seen["again_fields"] = [again.input_value(name) for name in ("#search", "#from", "#to", "#outcome")]
    again.context.close()
    # What is no date is said, and changes nothing.
    seen["dates"] = []
    for name, text in (("#from", "2026-02-30"), ("#from", "soon"), ("#to", "2026-03-02T09:00"), ("#to", "2026-03-02T24:00")):
        page.fill(name, text)
        page.press(name, "Tab")
        invalid = page.evaluate("[...document.querySelectorAll('[aria-invalid]')].map(field => field.id)")
        seen["dates"].append([page.inner_text("#dates"), invalid, shown(page) == seen["filtered"]])
        page.fill(name, "2026-03-02T11:05" if name == "#from" else "2026-03-02")
        page.press(name, "Tab")
        seen["dates"][-1].append(page.is_visible("#dates"))
    page.fill("#from", "2031-01-01")
    page.fill("#to", "2031-01-02")
    page.press("#to", "Tab")
    seen["nothing_then"] = page.inner_text("#dates")
    page.click("#reset")
    seen["reset"] = [shown(page), hash_of(page)]
    page.context.close()

    # With the keyboard alone: the skip link, then everything, and nothing behind the filters.
    page = opened(browser)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_timeout(100)
    seen["skipped"] = place(page, "#h-incidents")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_timeout(200)
    seen["opened_by_key"] = page.evaluate("document.querySelector('.incident').open")
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    wanted = page.evaluate(f"({USABLE})().forEach((e, i) => e.dataset.stop = i), document.querySelectorAll('[data-stop]').length")
    reached, hidden = set(), []
    page.evaluate("document.querySelector('#theme').focus()")
    for _ in range(wanted + 20):
        stop = page.evaluate("""() => { const e = document.activeElement, bar = document.querySelector("#filters").getBoundingClientRect().bottom;
            const above = !e.closest("#filters, header") && e.getBoundingClientRect().bottom <= bar;
            return [e.dataset.stop ?? null, above ? e.outerHTML.slice(0, 120) : null]; }""")
        if stop[0] in reached and len(reached) > 1:
            break
        reached.add(stop[0])
        if stop[1]:
            hidden.append(stop[1])
        page.keyboard.press("Tab")
    seen["keyboard"] = {"wanted": wanted, "reached": len(reached - {None}), "hidden": hidden}
    page.context.close()

    # On paper each incident has a page of its own.
    page = opened(browser)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 702, "height": 1000})
    seen["paper"] = page.evaluate("""() => [...document.querySelectorAll(".incident")].map((card) => [card.open, Math.round(card.getBoundingClientRect().height),
        getComputedStyle(card).breakBefore, card.scrollWidth <= card.clientWidth])""")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    seen["printed_hash"] = hash_of(page)
    seen["pages"] = len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4", margin={side: "12mm" for side in ("top", "right", "bottom", "left")})))
    page.context.close()

    # With everything open: what axe finds, and what could do harm.
    seen["axe"], seen["overflow"] = {}, {}
    for width in (1280, 400):
        for scheme in ("light", "dark"):
            page = opened(browser, width=width, scheme=scheme)
            page.click("#ledger tbody button")
            page.evaluate(UNFOLD)
            page.wait_for_timeout(300)
            seen["overflow"][f"{width}-{scheme}"] = page.evaluate("document.documentElement.scrollWidth")
            seen["axe"][f"{width}-{scheme}"] = violations(page)
            if (width, scheme) == (1280, "light"):
                seen["text"] = page.evaluate("document.body.innerText")
                seen["cards"] = page.evaluate("document.querySelector('#incidents').innerText")
                seen["pwned"] = page.evaluate("typeof window.pwned")
                seen["links"] = page.evaluate("[...new Set([...document.querySelectorAll('a')].map(a => a.href))]")
                seen["foreign"] = page.evaluate("[...document.querySelectorAll('img, iframe, object, embed, form form, base, link, body script ~ script ~ script')].map(e => e.outerHTML)")
            page.context.close()
    browser.close()
print(json.dumps(seen))
