/** What every part of the page is made of. Text is always inserted as text, never as HTML. */
const Elements = (() => {
"use strict";
const LEVELS = ["informational", "low", "medium", "high", "critical"];
const SVG = "http://www.w3.org/2000/svg";
const number = (n) => n.toLocaleString("en-US");
const plural = (n, word, many = `${word}s`) => `${number(n)} ${n === 1 ? word : many}`;
const iso = (secs) => new Date(secs * 1000).toISOString().slice(0, 19) + "Z";
/** An ARN without what everybody knows: account and resource. */
const short = (arn) => {
  const part = arn.split(":");
  return part[0] === "arn" && part.length > 5 ? `${part[4]} ${part.slice(5).join(":")}` : arn || "(unnamed)";
};
/** Two times in UTC; the date once where it is one day. */
function span(first, last) {
  const [from, to] = [iso(first), iso(last)].map((text) => text.slice(0, -1).split("T"));
  if (first === last) return `${from.join(" ")} UTC`;
  return `${from.join(" ")} to ${from[0] === to[0] ? to[1] : to.join(" ")} UTC`;
}
/** A length of time by its two largest units. */
function lasting(secs) {
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const out = [];
  for (const [size, name] of units) {
    if (secs >= size && out.length < 2) { out.push(`${Math.floor(secs / size)} ${name}`); secs %= size; }
  }
  return out.join(" ") || "one moment";
}
/** At most so many characters, without those in the middle. */
function middle(text, most) {
  const chars = [...text];
  if (chars.length <= most) return text;
  const end = Math.floor((most - 1) / 2);
  return `${chars.slice(0, most - 1 - end).join("")}…${chars.slice(chars.length - end).join("")}`;
}

function made(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((c) => c != null && c !== false));
  return element;
}
/** An element of HTML. */
const h = (tag, attributes, ...children) => made(document.createElement(tag), attributes, children);
/** An element of a drawing. */
const s = (tag, attributes, ...children) => made(document.createElementNS(SVG, tag), attributes, children);

const table = (head, rows, numeric = []) =>
  h("table", {},
    h("thead", {}, h("tr", {}, head.map((title, i) => (title ? h("th", { scope: "col", class: numeric.includes(i) ? "n" : "" }, title) : h("td"))))),
    h("tbody", {}, rows));
/** A place that scrolls sideways, by keyboard too. */
const scroll = (label, ...children) => h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": label }, children);
const level = (name, text = name) => h("span", { class: `level ${name}` }, text);

/** Details whose content is made when they are opened for the first time. */
function lazy(summary, make, open, attributes) {
  const details = h("details", { ...attributes, open }, h("summary", {}, summary));
  details.make = () => { if (details.open && !details.dataset.made) { details.dataset.made = "yes"; details.append(...make().flat(Infinity).filter(Boolean)); } };
  details.addEventListener("toggle", details.make);
  if (open) details.make();
  return details;
}
/** Opens a details element that nobody has asked for: it is not part of the address. */
function openQuietly(details) {
  if (!details.open) details.dataset.quiet = "1";
  details.open = true;
  if (details.make) details.make();
}
/** Opens every closed details element, including nested ones. */
function unfold(place) {
  for (const details of place.querySelectorAll("details:not([open])")) {
    if (details.dataset.screen) continue;
    openQuietly(details);
    unfold(details);
  }
}
/** The first items of a list, and a button that shows more: within a list an item of its own. */
function firsts(list, most, make, listed = false) {
  const out = list.slice(0, most).map(make);
  if (list.length > most) {
    const button = h("button", { type: "button", class: "more", onclick: () => {
      const next = firsts(list.slice(most), most * 4, make, listed);
      more.replaceWith(...next);
      next[0].tabIndex = -1;
      next[0].focus();
    } }, `${number(list.length - most)} more`);
    const more = listed ? h("li", { class: "rest" }, button) : button;
    out.push(more);
  }
  return out;
}

/** Copies a text; false where the browser does not let a page do that. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Older browsers, and those that give a file no clipboard.
    const area = h("textarea", { readonly: true, "aria-hidden": "true", tabindex: "-1", class: "aside" });
    area.value = text;
    const before = document.activeElement;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (before) before.focus();
    return done;
  }
}
/** A button that copies a text and says so. `shown` is selected where copying is not possible. */
function copyButton(text, what, label = "Copy", shown = null) {
  const button = h("button", { type: "button", class: "copy screen", "aria-label": `${label}: ${what}`, onclick: async () => {
    const done = await copied(typeof text === "function" ? text() : text);
    if (!done && shown) getSelection().selectAllChildren(shown);
    button.textContent = done ? "Copied" : "Press Ctrl+C";
    document.getElementById("status").textContent = done ? `Copied: ${what}` : "This browser does not let a page copy. The text is selected: press Ctrl+C.";
    setTimeout(() => { button.textContent = label; }, 2000);
  } }, label);
  return button;
}
/** A text for the clipboard, unbroken, with its button. */
function copyable(text, what) {
  const code = h("code", {}, text);
  return h("div", { class: "command" }, code, copyButton(text, what, "Copy", code));
}
/** Debounces a function by 150 ms. */
const calmly = (act) => { let timer = null; return () => { clearTimeout(timer); timer = setTimeout(act, 150); }; };
function grouped(list, key) {
  const groups = new Map();
  for (const item of list) { const k = key(item); if (groups.has(k)) groups.get(k).push(item); else groups.set(k, [item]); }
  return groups;
}
return { LEVELS, number, plural, iso, short, span, lasting, middle, h, s, table, scroll, level, lazy, openQuietly, unfold, firsts, copyButton, copyable, calmly, grouped };
})();
