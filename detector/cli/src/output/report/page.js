"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const { texts, accesses: A, alerts, rules, meta } = data;
const N = A.time.length;
const LEVELS = ["informational", "low", "medium", "high", "critical"];
const OUTCOMES = ["success", "denied", "failed"];
const PAGE = 100, RANK = 10, MATRIX = 20, GROUP = 25;
const $ = (id) => document.getElementById(id);
const number = (n) => n.toLocaleString("en-US");
const plural = (n, word, many = `${word}s`) => `${number(n)} ${n === 1 ? word : many}`;
const iso = (secs) => new Date(secs * 1000).toISOString().slice(0, 19) + "Z";
const text = (index) => (index < 0 ? "" : texts[index]);
const short = (arn) => {
  const part = arn.split(":");
  return part[0] === "arn" && part.length > 5 ? `${part[4]} ${part.slice(5).join(":")}` : arn || "(unnamed)";
};

/** Creates an element. Text is always inserted as text, never as HTML. */
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((c) => c != null && c !== false));
  return element;
}
const fill = (id, ...children) => $(id).replaceChildren(...children.flat(Infinity).filter(Boolean));
const table = (head, rows, numeric = []) =>
  h("table", {},
    h("thead", {}, h("tr", {}, head.map((title, i) => h("th", { scope: "col", class: numeric.includes(i) ? "n" : "" }, title)))),
    h("tbody", {}, rows));

/* ---- state and filters ---- */
const span = N ? [A.time[0], A.time[N - 1]] : alerts.length ? [alerts[0].time, alerts[alerts.length - 1].time] : [0, 0];
for (const alert of alerts) { span[0] = Math.min(span[0], alert.time); span[1] = Math.max(span[1], alert.time); }
const ALL = [span[0] - Math.max(60, (span[1] - span[0]) / 100), span[1] + Math.max(60, (span[1] - span[0]) / 100)];
const state = { range: null, search: "", outcome: -1, level: 0, principal: -1, secret: -1, ip: -1, page: -1, matrix: MATRIX };
let rows = [], shownAlerts = [];
const CHIPS = ["principal", "secret", "ip"];

function lowerBound(time) {
  let low = 0, high = N;
  while (low < high) { const mid = (low + high) >> 1; if (A.time[mid] < time) low = mid + 1; else high = mid; }
  return low;
}
function apply() {
  const [from, to] = state.range || ALL;
  const words = state.search.toLowerCase();
  const hit = words ? texts.map((t) => t.toLowerCase().includes(words)) : null;
  const searched = [A.principal, A.secret, A.arn, A.ip, A.country, A.org, A.agent, A.api, A.key, A.actor, A.account, A.region];
  rows = [];
  for (let i = lowerBound(from), end = lowerBound(to + 1); i < end; i++) {
    if (state.outcome >= 0 && A.outcome[i] !== state.outcome) continue;
    if (state.principal >= 0 && A.principal[i] !== state.principal) continue;
    if (state.secret >= 0 && A.secret[i] !== state.secret) continue;
    if (state.ip >= 0 && A.ip[i] !== state.ip) continue;
    if (hit && !searched.some((c) => c[i] >= 0 && hit[c[i]]) && !A.event[i].includes(words) && !(A.decrypted[i] || "").includes(words)) continue;
    rows.push(i);
  }
  const inRows = (alert) => alert.rows.some((i) =>
    (state.principal < 0 || A.principal[i] === state.principal) && (state.secret < 0 || A.secret[i] === state.secret) &&
    (state.ip < 0 || A.ip[i] === state.ip) && (state.outcome < 0 || A.outcome[i] === state.outcome));
  const chipped = state.principal >= 0 || state.secret >= 0 || state.ip >= 0 || state.outcome >= 0;
  const matchesText = (alert) => [alert.summary, alert.principal || "", alert.id, rules[alert.rule].title, ...alert.secrets].some((t) => t.toLowerCase().includes(words))
    || alert.rows.some((i) => A.event[i].includes(words) || (hit && searched.some((c) => c[i] >= 0 && hit[c[i]])));
  shownAlerts = alerts.filter((alert) =>
    LEVELS.indexOf(rules[alert.rule].level) >= state.level
    && alert.time >= from && (alert.start ?? alert.time) <= to && (!words || matchesText(alert)) && (!chipped || inRows(alert)));
  state.page = -1;
  draw();
}
function choose(key, value) { state[key] = value; apply(); }
const link = (key, index, label) => h("button", { type: "button", class: "link", title: `Show only ${text(index)}`, onclick: () => choose(key, index) }, label ?? short(text(index)));
function setRange(from, to) {
  state.range = from == null || (from <= ALL[0] && to >= ALL[1]) ? null : [Math.max(ALL[0], Math.floor(from)), Math.min(ALL[1], Math.ceil(to))];
  $("from").value = state.range ? iso(state.range[0]) : "";
  $("to").value = state.range ? iso(state.range[1]) : "";
  apply();
}

/* ---- headline, about ---- */
function about() {
  fill("about", `${meta.paths.join(", ")} · ${N ? `${iso(A.time[0])} to ${iso(A.time[N - 1])}` : "no accesses"} · ${plural(meta.files, "file")}, ${plural(meta.records, "record")} · ${plural(meta.rules, "rule")}, ${meta.policy ? "with an access policy" : "without an access policy"}`);
  fill("foot", `Created ${iso(meta.made)} by secretrail ${meta.version}. This file makes no network requests. Charts: uPlot 1.6.32 (MIT).`);
  const lost = data.unread.length;
  if (meta.nothing) { $("warning").hidden = false; fill("warning", "Nothing was read; this says nothing about your secrets. ", h("a", { href: "#h-gaps" }, "See why.")); return; }
  if (lost) { $("warning").hidden = false; fill("warning", `${plural(lost, "file or path", "files or paths")} could not be read completely: this report is incomplete. `, h("a", { href: "#h-gaps" }, "See which.")); }
}
const distinct = (column) => new Set(rows.map((i) => column[i]).filter((x) => x >= 0)).size;
function tiles() {
  const of = (outcome) => rows.reduce((n, i) => n + (A.outcome[i] === outcome), 0);
  const tile = (value, label, cls) => h("div", { class: "tile" }, h("b", { class: cls || "" }, value == null ? "–" : number(value)), h("span", {}, label));
  const worst = shownAlerts.reduce((w, a) => Math.max(w, LEVELS.indexOf(rules[a.rule].level)), -1);
  const grave = shownAlerts.filter((a) => LEVELS.indexOf(rules[a.rule].level) >= 3).length;
  fill("tiles", tile(shownAlerts.length, `alerts, ${number(grave)} high or critical`, worst >= 0 ? LEVELS[worst] : ""), tile(of(0), "secret reads"),
    tile(distinct(A.secret), "secrets"), tile(distinct(A.principal), "principals"), tile(of(1), "denied", of(1) ? "denied" : ""),
    tile(meta.learned ? rows.reduce((n, i) => n + A.first[i], 0) : null, meta.learned ? "first reads" : "first reads: the logs are too short"), tile(rows.reduce((n, i) => n + (A.decrypt[i] === 1), 0), "reads without a Decrypt"));
}
function chips() {
  const chip = (key) => state[key] >= 0 && h("button", { type: "button", class: "chip", onclick: () => choose(key, -1) }, `${key === "ip" ? "source" : key}: ${text(state[key])} ✕`);
  fill("chips", CHIPS.map(chip));
}

/* ---- timeline ---- */
const STEPS = [1, 5, 15, 60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400, 14 * 86400, 30 * 86400, 91 * 86400, 365 * 86400];
/** Width of the charts in print, in CSS pixels: fits A4 and Letter with usual margins. */
const PAPER = 680;
let plots = [], bins = null, printing = null;
const wide = () => (printing ? PAPER : $("timeline").clientWidth);
function binned() {
  const [from, to] = state.range || ALL;
  const most = Math.max(20, Math.min(120, Math.floor(wide() / 9)));
  const step = STEPS.find((s) => (to - from) / s <= most) || STEPS[STEPS.length - 1];
  const start = Math.floor(from / step) * step, count = Math.max(1, Math.ceil((to - start) / step));
  const x = [], total = new Array(count).fill(0), bad = new Array(count).fill(0);
  for (let i = 0; i < count; i++) x.push(start + i * step + step / 2);
  for (const i of rows) {
    const bin = Math.floor((A.time[i] - start) / step);
    total[bin]++;
    if (A.outcome[i] > 0) bad[bin]++;
  }
  return { from, to, step, x, total, bad };
}
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
function timeline() {
  plots.forEach((plot) => plot.destroy());
  plots = [];
  bins = binned();
  const width = wide();
  if (!width) return;
  const axis = { stroke: color("soft"), grid: { stroke: color("line"), width: 1 }, ticks: { stroke: color("line"), width: 1 } };
  const utc = (secs) => uPlot.tzDate(new Date(secs * 1000), "UTC");
  // Deferred, because setRange replaces the charts while they still handle the mouse event. Both charts report a selection; the first one counts.
  let chosen = null;
  const select = (plot) => {
    if (plot.select.width <= 4 || chosen) return;
    chosen = [plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x")];
    setTimeout(() => setRange(...chosen), 0);
  };
  const clock = (_, splits, __, ___, step) => splits.map((secs, i) => {
    const [day, time] = new Date(secs * 1000).toISOString().split("T");
    const newDay = !i || new Date(splits[i - 1] * 1000).toISOString().slice(0, 10) !== day;
    return step >= 86400 ? day : `${time.slice(0, step < 60 ? 8 : 5)}${newDay ? `\n${day}` : ""}`;
  });
  const common = {
    padding: [8, 36, 0, 0], width, tzDate: utc, legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false }, sync: { key: "time" }, bind: { dblclick: () => () => { setTimeout(() => setRange(null), 0); return null; } } },
  };
  const scale = { x: { time: true, range: () => [bins.from, bins.to] } };
  const bars = uPlot.paths.bars({ size: [0.86, 60] });
  fill("timeline", h("div", { class: "legend" }, swatch("read", `accesses, ${stepName(bins.step)} per bar`), swatch("bad", "denied or failed"), LEVELS.slice().reverse().map((level) => swatch(level, level))));
  plots.push(new uPlot({
    ...common, height: 190, scales: { ...scale, y: { range: (_, __, max) => [0, Math.max(4, max * 1.08)] } },
    axes: [{ ...axis, values: clock }, { ...axis, size: 52 }],
    series: [{}, { fill: color("read"), stroke: color("read"), width: 0, paths: bars, points: { show: false } },
      { fill: color("bad"), stroke: color("bad"), width: 0, paths: bars, points: { show: false } }],
    hooks: { setSelect: [select], setCursor: [readout] },
  }, [bins.x, bins.total, bins.bad], $("timeline")));
  const sorted = shownAlerts.slice().sort((a, b) => a.time - b.time);
  const lanes = LEVELS.map((level) => sorted.map((a) => (rules[a.rule].level === level ? LEVELS.indexOf(level) : null)));
  plots.push(new uPlot({
    ...common, height: 120, scales: { ...scale, y: { range: [-0.6, 4.6] } },
    axes: [{ ...axis, show: false }, { ...axis, size: 52, splits: () => [0, 1, 2, 3, 4], values: () => ["info", "low", "med", "high", "crit"] }],
    series: [{}, ...LEVELS.map((level) => ({ stroke: color(level), width: 0, paths: () => null, points: { show: true, size: 9, fill: color(level), stroke: color(level) } }))],
    hooks: { setSelect: [select] },
  }, [sorted.map((a) => a.time), ...lanes], $("timeline")));
  const count = bins.total.reduce((a, b) => a + b, 0);
  fill("readout", `${iso(Math.max(bins.from, span[0]))} to ${iso(Math.min(bins.to, span[1]))}: ${plural(count, "access", "accesses")}, ${plural(shownAlerts.length, "alert")}`);
}
const swatch = (name, label) => { const i = h("i"); i.style.background = `var(--${name})`; return h("span", {}, i, label); };
const stepName = (step) => step % 86400 === 0 ? plural(step / 86400, "day") : step % 3600 === 0 ? plural(step / 3600, "hour") : step % 60 === 0 ? plural(step / 60, "minute") : plural(step, "second");
function readout(plot) {
  const i = plot.cursor.idx;
  if (i == null || bins.total[i] === undefined) return;
  $("readout").textContent = `${iso(bins.x[i] - bins.step / 2)}, ${stepName(bins.step)}: ${number(bins.total[i])} accesses, ${number(bins.bad[i])} denied or failed`;
}
$("timeline").addEventListener("keydown", (event) => {
  const [from, to] = state.range || ALL, width = to - from, middle = (from + to) / 2;
  const move = { ArrowLeft: [from - width / 4, to - width / 4], ArrowRight: [from + width / 4, to + width / 4], "+": [middle - width / 4, middle + width / 4], "=": [middle - width / 4, middle + width / 4], "-": [middle - width, middle + width], "0": [null], Escape: [null] }[event.key];
  if (!move) return;
  event.preventDefault();
  if (move[0] != null && event.key.startsWith("Arrow") && (move[0] < ALL[0] || move[1] > ALL[1])) return setRange(...(event.key === "ArrowLeft" ? [ALL[0], ALL[0] + width] : [ALL[1] - width, ALL[1]]));
  setRange(...move);
});

/* ---- alerts ---- */
function lazy(summary, make, open) {
  const details = h("details", { open }, h("summary", {}, ...summary));
  details.make = () => { if (details.open && !details.dataset.made) { details.dataset.made = "yes"; details.append(...make()); } };
  details.addEventListener("toggle", details.make);
  if (open) details.make();
  return details;
}
/** The first items of a list, and a button that shows more. */
function firsts(list, most, make) {
  const out = list.slice(0, most).map(make);
  if (list.length > most) {
    const more = h("button", { type: "button", class: "more", onclick: () => { const next = firsts(list.slice(most), most * 4, make); more.replaceWith(...next); if (next[0].focus) next[0].focus(); } }, `${number(list.length - most)} more`);
    out.push(more);
  }
  return out;
}
function grouped(list, key) {
  const groups = new Map();
  for (const item of list) { const k = key(item); if (groups.has(k)) groups.get(k).push(item); else groups.set(k, [item]); }
  return groups;
}
const level = (name) => h("span", { class: `level ${name}` }, name);
function showAlerts() {
  $("n-alerts").textContent = `${number(shownAlerts.length)} of ${number(alerts.length)}`;
  if (!shownAlerts.length) return fill("alerts", h("p", { class: "quiet" }, alerts.length ? "None match the filters." : "No rule raised an alert."));
  const groups = [...grouped(shownAlerts, (a) => a.rule)].sort((a, b) => LEVELS.indexOf(rules[b[0]].level) - LEVELS.indexOf(rules[a[0]].level) || b[1].length - a[1].length);
  fill("alerts", groups.map(([index, list], i) => {
    const rule = rules[index];
    return lazy([level(rule.level), rule.title, h("span", { class: "count" }, ` ${number(list.length)}`)], () => {
      const byPrincipal = [...grouped(list, (a) => a.principal || "(several principals)")].sort((a, b) => b[1].length - a[1].length);
      return [notes(rule), ...firsts(byPrincipal, GROUP, ([who, of]) => lazy([short(who), h("span", { class: "count" }, ` ${plural(of.length, "alert")}`)], () => firsts(of, GROUP, story), byPrincipal.length === 1))];
    }, i === 0 && groups.length === 1);
  }));
}
function notes(rule) {
  const url = (reference) => (/^https:\/\//.test(reference) ? h("a", { href: reference, rel: "noreferrer noopener", target: "_blank" }, reference) : reference);
  return h("dl", {}, h("dt", {}, "rule"), h("dd", {}, h("code", {}, `${rule.id} · ${rule.file}`)),
    rule.tags.length ? [h("dt", {}, "tags"), h("dd", {}, rule.tags.join(", "))] : [],
    rule.false_positives.length ? [h("dt", {}, "false positives"), h("dd", {}, rule.false_positives.join("; "))] : [],
    rule.references.length ? [h("dt", {}, "references"), h("dd", {}, rule.references.map((r, i) => [i ? ", " : "", url(r)]))] : []);
}
function story(alert) {
  const evidence = alert.rows.filter((i) => i >= 0);
  return h("div", { class: "alert", "data-alert": alert.id }, h("p", { class: "story" }, alert.summary),
    h("p", { class: "quiet" }, `${iso(alert.time)}${alert.start != null ? ` · window from ${iso(alert.start)}, ${number(alert.count)} counted` : ""} · alert ${alert.id}`),
    alert.secrets_total > 1 && h("p", { class: "quiet" }, `secrets: ${alert.secrets.slice(0, 5).map(short).join(", ")}${alert.secrets_total > 5 ? ` and ${number(alert.secrets_total - 5)} more` : ""}`),
    evidence.length > 0 && lazy([`evidence: ${number(evidence.length)} of ${number(alert.accesses_total)} accesses`], () => [h("div", { class: "scroll" }, ledgerTable(evidence))], false));
}

/* ---- matrix, ranks, denied ---- */
function matrix() {
  const cells = new Map(), byPrincipal = new Map(), bySecret = new Map();
  const add = (map, key) => map.set(key, (map.get(key) || 0) + 1);
  for (const i of rows) {
    const p = A.principal[i], s = A.secret[i], key = `${p} ${s}`;
    add(byPrincipal, p); add(bySecret, s);
    const cell = cells.get(key) || { reads: 0, bad: 0, first: null };
    if (A.outcome[i] === 0) cell.reads++; else cell.bad++;
    if (A.first[i] && cell.first == null) cell.first = A.time[i];
    cells.set(key, cell);
  }
  const top = (map) => [...map].sort((a, b) => b[1] - a[1] || a[0] - b[0]).map(([key]) => key);
  const people = top(byPrincipal), secrets = top(bySecret);
  const P = people.slice(0, state.matrix), S = secrets.slice(0, state.matrix);
  const most = Math.max(1, ...P.flatMap((p) => S.map((s) => cells.get(`${p} ${s}`)?.reads || 0)));
  const shade = (n) => (n ? `m${1 + Math.min(4, Math.floor((Math.log(n) / Math.log(most + 1)) * 5))}` : "");
  const cell = (p, s) => {
    const c = cells.get(`${p} ${s}`);
    if (!c) return h("td", {});
    const title = `${short(text(p))}: ${text(s)}: ${plural(c.reads, "read")}, ${number(c.bad)} denied or failed${c.first != null ? `, first read ${iso(c.first)}` : ""}`;
    return h("td", { class: `${shade(c.reads)} ${c.first != null ? "new" : ""} ${!c.reads && c.bad ? "no" : ""}`, title }, c.reads ? number(c.reads) : `✕${number(c.bad)}`);
  };
  const left = people.length > P.length || secrets.length > S.length;
  fill("matrix-note", `Reads by principal (rows) and secret (columns), most first: ${number(P.length)} of ${number(people.length)} and ${number(S.length)} of ${number(secrets.length)}. `,
    meta.learned ? "A red frame marks a first read; " : "The logs are too short to detect first reads; ", "✕ marks denied or failed attempts only.");
  fill("matrix", P.length ? h("table", {}, h("thead", {}, h("tr", {}, h("td", {}), S.map((s) => h("th", { scope: "col" }, h("div", {}, link("secret", s, text(s) || "(unknown)")))))),
    h("tbody", {}, P.map((p) => h("tr", {}, h("th", { scope: "row" }, link("principal", p)), S.map((s) => cell(p, s)))))) : h("p", { class: "quiet" }, "No accesses match the filters."),
    left && h("button", { type: "button", class: "more", onclick: () => { state.matrix *= 2; matrix(); } }, "Show more"));
}
function rank(id, title, key, others) {
  const groups = new Map();
  for (const i of rows) {
    const k = key(i), g = groups.get(k) || { n: 0, bad: 0, others: new Set(), i };
    g.n++; g.bad += A.outcome[i] > 0; g.others.add(others[i]); groups.set(k, g);
  }
  const sorted = [...groups.values()].sort((a, b) => b.n - a.n);
  fill(id, ranked(title, sorted));
}
function ranked([name, make, counted], sorted) {
  const row = (g) => h("tr", {}, h("td", { class: "wrap" }, make(g.i)), h("td", { class: "n" }, number(g.n)), h("td", { class: `n ${g.bad ? "denied" : ""}` }, number(g.bad)), h("td", { class: "n" }, number(g.others.size)));
  const out = table([name, "accesses", "denied or failed", counted], sorted.slice(0, RANK).map(row), [1, 2, 3]);
  if (sorted.length <= RANK) return [out];
  const more = h("button", { type: "button", class: "more", onclick: () => { out.tBodies[0].append(...sorted.slice(RANK, RANK * 20).map(row)); more.remove(); } }, `${number(Math.min(sorted.length, RANK * 20) - RANK)} more`);
  return [out, more];
}
function denied() {
  const groups = new Map();
  for (const i of rows) {
    if (A.outcome[i] !== 1) continue;
    const key = `${A.principal[i]} ${A.secret[i]} ${A.denied[i]}`, g = groups.get(key) || { n: 0, i, last: i };
    g.n++; g.last = i; groups.set(key, g);
  }
  const sorted = [...groups.values()].sort((a, b) => b.n - a.n);
  $("n-denied").textContent = number(sorted.reduce((n, g) => n + g.n, 0));
  if (!sorted.length) return fill("denied", h("p", { class: "quiet" }, "None match the filters."));
  const row = (g) => h("tr", {}, h("td", { class: "n" }, number(g.n)), h("td", { class: "wrap" }, link("principal", A.principal[g.i])), h("td", { class: "wrap" }, link("secret", A.secret[g.i], text(A.secret[g.i]) || "(unknown)")),
    h("td", {}, text(A.denied[g.i]).replaceAll("_", " ") || "unknown"), h("td", { class: "t" }, iso(A.time[g.last])));
  const out = table(["times", "principal", "secret", "denied by", "last"], sorted.slice(0, GROUP).map(row), [0]);
  fill("denied", h("div", { class: "scroll" }, out), sorted.length > GROUP && h("p", { class: "quiet" }, `${number(sorted.length - GROUP)} more rows; narrow the filters to see them.`));
}
function gaps() {
  const lines = data.gaps.map((g) => h("tr", {}, h("td", { class: "t" }, iso(g.from)), h("td", { class: "t" }, iso(g.to)), h("td", { class: "wrap" }, `${g.account} ${g.region}`), h("td", { class: "wrap" }, g.what)));
  const unread = data.unread.map((p) => h("tr", {}, h("td", { class: "wrap" }, h("code", {}, p.name)), h("td", { class: "wrap" }, p.message)));
  fill("gaps", lines.length ? h("div", { class: "scroll" }, table(["from", "to", "account, region", "missing"], lines)) : h("p", { class: "quiet" }, "No gaps found: deliveries arrived at their usual interval, and KMS events were logged around every read."),
    unread.length ? h("div", { class: "scroll" }, table(["could not be read", "reason"], unread)) : null,
    h("p", { class: "quiet" }, data.skipped.length ? `Skipped: ${data.skipped.map((p) => `${number(p.count)} ${p.reason}`).join(", ")}.` : "Nothing was skipped."));
}

/* ---- ledger ---- */
const OF = ["paired", "absent", "unknown", "pending", "not expected"];
function ledgerTable(list) {
  const row = (i) => {
    const open = h("button", { type: "button", class: "link", "aria-expanded": "false", onclick: () => {
      const shown = open.getAttribute("aria-expanded") === "true";
      open.setAttribute("aria-expanded", String(!shown));
      if (shown) line.nextSibling.remove(); else line.after(h("tr", {}, h("td", { colspan: 6 }, evidence(i))));
    } }, iso(A.time[i]));
    const line = h("tr", {}, h("td", { class: "t" }, open), h("td", { class: OUTCOMES[A.outcome[i]] }, OUTCOMES[A.outcome[i]]), h("td", { class: "wrap" }, short(text(A.principal[i]))), h("td", { class: "wrap" }, text(A.secret[i]) || "(unknown)"),
      h("td", { class: "wrap" }, text(A.ip[i])), h("td", {}, OF[A.decrypt[i]]));
    return line;
  };
  return table(["time (UTC)", "outcome", "principal", "secret", "source", "decrypt"], list.map(row));
}
function evidence(i) {
  const pairs = [["event", A.event[i]], ["call", `${text(A.api[i])} (${text(A.method[i])})`], ["principal", text(A.principal[i])], ["session", text(A.actor[i])], ["access key", text(A.key[i])],
    ["secret", text(A.arn[i])], ["account, region", `${text(A.account[i])} ${text(A.region[i])}`], ["user agent", text(A.agent[i])], ["registered", [text(A.country[i]), text(A.org[i])].filter(Boolean).join(", ")], ["error", [text(A.error[i]), text(A.denied[i]).replaceAll("_", " ")].filter(Boolean).join(", denied by ")],
    ["Decrypt", A.decrypted[i]], ["KMS key", text(A.kms[i])], ["object", text(A.object[i])]];
  return h("dl", {}, pairs.filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, h("code", {}, value))]));
}
function ledger() {
  const pages = Math.max(1, Math.ceil(rows.length / PAGE));
  if (state.page < 0 || state.page >= pages) state.page = pages - 1;
  $("n-ledger").textContent = `${number(rows.length)} of ${number(N)}`;
  fill("ledger", ledgerTable(rows.slice(state.page * PAGE, (state.page + 1) * PAGE)));
  fill("page", `page ${number(state.page + 1)} of ${number(pages)}, in order of time`);
  $("prev").disabled = state.page === 0;
  $("next").disabled = state.page === pages - 1;
}

/* ---- draw everything ---- */
function draw() {
  tiles(); chips(); timeline(); showAlerts(); matrix(); denied(); ledger();
  rank("sources", ["source", (i) => (A.ip[i] >= 0 ? link("ip", A.ip[i], text(A.ip[i])) : "(none)"), "principals"], (i) => A.ip[i], A.principal);
  rank("regions", ["account, region", (i) => `${text(A.account[i])} ${text(A.region[i])}`, "principals"], (i) => `${A.account[i]} ${A.region[i]}`, A.principal);
}
/** Debounces a function by 150 ms. */
const calmly = (act) => { let timer = null; return () => { clearTimeout(timer); timer = setTimeout(act, 150); }; };
const typed = (id) => {
  const value = $(id).value.trim(), time = Date.parse(/[zZ]$|[+-]\d\d:\d\d$/.test(value) ? value : value.includes("T") ? value + "Z" : value);
  return value && !Number.isNaN(time) ? time / 1000 : null;
};
$("level").append(...LEVELS.map((name, i) => h("option", { value: i }, name)));
$("search").addEventListener("input", calmly(() => { state.search = $("search").value.trim(); apply(); }));
for (const id of ["from", "to"]) $(id).addEventListener("change", () => setRange(typed("from") ?? ALL[0], typed("to") ?? ALL[1]));
$("outcome").addEventListener("change", () => { state.outcome = OUTCOMES.indexOf($("outcome").value); apply(); });
$("level").addEventListener("change", () => { state.level = Number($("level").value); apply(); });
$("reset").addEventListener("click", () => { Object.assign(state, { search: "", outcome: -1, level: 0, principal: -1, secret: -1, ip: -1, matrix: MATRIX }); $("search").value = ""; $("outcome").value = ""; $("level").value = "0"; setRange(null); });
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("prev").addEventListener("click", () => { state.page--; ledger(); });
$("next").addEventListener("click", () => { state.page++; ledger(); });
const root = document.documentElement, prefersDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
const label = () => { $("theme").textContent = isDark() ? "Light" : "Dark"; $("theme").setAttribute("aria-pressed", String(isDark())); };
$("theme").addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; label(); timeline(); });
prefersDark.addEventListener("change", () => { label(); timeline(); });
const resized = calmly(timeline);
new ResizeObserver(() => { if (!printing && plots[0] && wide() !== plots[0].width) resized(); }).observe($("timeline"));
/** Opens every closed details element, including nested ones. */
function unfold(place) {
  for (const details of place.querySelectorAll("details:not([open])")) {
    details.open = true;
    details.make();
    unfold(details);
  }
}
// Print in the light theme, at the width of the paper, with all details open.
addEventListener("beforeprint", () => {
  printing = { theme: root.dataset.theme };
  root.dataset.theme = "light";
  unfold($("alerts"));
  timeline();
});
addEventListener("afterprint", () => {
  if (!printing) return;
  if (printing.theme) root.dataset.theme = printing.theme; else delete root.dataset.theme;
  printing = null;
  timeline();
});
label(); about(); gaps(); apply();
})();
