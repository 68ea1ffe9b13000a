"use strict";
(() => {
const { LEVELS, number, plural, iso, short, h, table, scroll, level, lazy, unfold, firsts, copyButton, calmly, grouped } = Elements;
const data = JSON.parse(document.getElementById("data").textContent);
const { texts, accesses: A, alerts, rules, incidents, meta } = data;
const N = A.time.length;
// A column of one value is written as that value.
for (const [name, column] of Object.entries(A)) if (typeof column === "number") A[name] = new Int32Array(N).fill(column);
const OUTCOMES = ["success", "denied", "failed"];
const PAGE = 100, RANK = 10, MATRIX = 20, GROUP = 25;
const $ = (id) => document.getElementById(id);
const text = (index) => (index < 0 || index === undefined ? "" : texts[index]);
const fill = (id, ...children) => $(id).replaceChildren(...children.flat(Infinity).filter(Boolean));
const say = (message) => { $("status").textContent = message; };

/* ---- marks of rows: alerts, what is new, what is outside the policy ---- */
const NEW = ["secret", "source", "region", "client"], OUTSIDE = ["principal", "source", "region", "key", "decoy"];
const marked = (words, bits) => words.filter((_, bit) => bits & (1 << bit));
const fresh = new Uint8Array(N), outside = new Uint8Array(N);
A.marks.row.forEach((row, i) => { fresh[row] = A.marks.new[i]; outside[row] = A.marks.outside[i]; });
/** The first incident of an alert's evidence, and the highest level; -1 for rows without an alert. */
const rowIncident = new Int32Array(N).fill(-1), rowLevel = new Int8Array(N).fill(-1);
const incidentOf = new Int32Array(alerts.length).fill(-1);
incidents.forEach((incident, index) => {
  for (const a of incident.alerts) {
    incidentOf[a] = index;
    for (const i of alerts[a].rows) if (rowIncident[i] < 0) rowIncident[i] = index;
  }
});
const rowAlerts = new Map();
alerts.forEach((alert, a) => {
  alert.at = a;
  for (const i of alert.rows) {
    rowLevel[i] = Math.max(rowLevel[i], LEVELS.indexOf(rules[alert.rule].level));
    if (rowAlerts.has(i)) rowAlerts.get(i).push(a); else rowAlerts.set(i, [a]);
  }
});
/** How suspicious a row is: the score of its incident. */
const score = (i) => (rowIncident[i] < 0 ? 0 : incidents[rowIncident[i]].score);
const alertScore = (a) => (incidentOf[a] < 0 ? 0 : incidents[incidentOf[a]].score);
/** Incidents by their actors, for rows that no alert lists. */
const ofActor = grouped(incidents, (incident) => incident.actor);
function during(i) {
  const known = ofActor.get(A.principal[i]);
  return known && known.find(({ first, last }) => A.time[i] >= first && A.time[i] <= last);
}

/* ---- state and filters ---- */
const span = N ? [A.time[0], A.time[N - 1]] : alerts.length ? [alerts[0].time, alerts[alerts.length - 1].time] : [0, 0];
for (const alert of alerts) { span[0] = Math.min(span[0], alert.time); span[1] = Math.max(span[1], alert.time); }
const ALL = [span[0] - Math.max(60, (span[1] - span[0]) / 100), span[1] + Math.max(60, (span[1] - span[0]) / 100)];
const state = { range: null, search: "", outcome: -1, level: 0, principal: -1, secret: -1, ip: -1, page: -1, matrix: MATRIX, incident: null };
let rows = [], shownAlerts = [], shownIncidents = [];
const CHIPS = ["principal", "secret", "ip"];
const NAMES = { principal: "principal", secret: "secret", ip: "source" };

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
  const fits = new Uint8Array(alerts.length);
  shownAlerts = alerts.filter((alert, a) => {
    fits[a] = alert.time >= from && (alert.start ?? alert.time) <= to && (!words || matchesText(alert)) && (!chipped || inRows(alert)) ? 1 : 0;
    return fits[a] && LEVELS.indexOf(rules[alert.rule].level) >= state.level;
  });
  const named = (incident) => !chipped && incident.first <= to && incident.last >= from && [incident.id, incident.sentence, incident.headline, text(incident.actor)].some((t) => t.toLowerCase().includes(words));
  shownIncidents = incidents.filter((incident) => LEVELS.indexOf(incident.level) >= state.level && (incident.alerts.some((a) => fits[a]) || (words && named(incident))));
  state.page = -1;
  draw();
  write();
}
function choose(key, value) { state[key] = value; apply(); }
const link = (key, index, label) => h("button", { type: "button", class: "link", title: `Show only ${text(index)}`, onclick: () => choose(key, index) }, label ?? short(text(index)));
const goTo = (id) => { const place = $(id); place.scrollIntoView({ block: "start" }); place.focus({ preventScroll: true }); };
/** A link within the page, which leaves the address alone: it holds the state of the filters. */
const jump = (id, label) => h("a", { href: `#${id}`, onclick: (event) => { event.preventDefault(); goTo(id); } }, label);
function setRange(from, to) {
  wrongDate("");
  state.range = from == null || (from <= ALL[0] && to >= ALL[1]) ? null : [Math.max(ALL[0], Math.floor(from)), Math.min(ALL[1], Math.ceil(to))];
  ["from", "to"].forEach((id, at) => { const shown = state.range ? iso(state.range[at]) : ""; if ($(id).value !== shown) $(id).value = shown; });
  apply();
}

/* ---- headline, about ---- */
function about() {
  fill("about", `${meta.paths.join(", ")} · ${N ? `${iso(A.time[0])} to ${iso(A.time[N - 1])}` : "no accesses"} · ${plural(meta.files, "file")}, ${plural(meta.records, "record")} · ${plural(meta.rules, "rule")}, ${meta.policy ? "with an access policy" : "without an access policy"}`);
  fill("foot", h("p", {}, `Created ${iso(meta.made)} by secretrail ${meta.version}. This file makes no network requests.`), h("p", {}, "Times are in UTC. Charts: uPlot 1.6.32, MIT licence."));
  const lost = data.unread.length;
  if (meta.nothing) { $("warning").hidden = false; fill("warning", "Nothing was read; this says nothing about your secrets. ", jump("h-gaps", "See why.")); return; }
  if (lost) { $("warning").hidden = false; fill("warning", `${plural(lost, "file or path", "files or paths")} could not be read completely: this report is incomplete. `, jump("h-gaps", "See which.")); }
}
const distinct = (column) => new Set(rows.map((i) => column[i]).filter((x) => x >= 0)).size;
function tiles() {
  const of = (outcome) => rows.reduce((n, i) => n + (A.outcome[i] === outcome), 0);
  const tile = (value, label, cls) => h("div", {}, h("dt", {}, label), h("dd", { class: cls || "" }, value == null ? "–" : number(value)));
  const grave = shownIncidents.filter((incident) => LEVELS.indexOf(incident.level) >= 3).length;
  const deny = of(1);
  fill("tiles", tile(shownIncidents.length, `incidents, ${number(grave)} high or critical`, shownIncidents.length ? shownIncidents[0].level : ""), tile(shownAlerts.length, "alerts"), tile(of(0), "secret reads"),
    tile(distinct(A.secret), "secrets"), tile(distinct(A.principal), "principals"), tile(deny, "denied", deny ? "denied" : ""),
    tile(meta.learned ? rows.reduce((n, i) => n + (fresh[i] & 1), 0) : null, meta.learned ? "first reads" : "first reads: logs too short"), tile(rows.reduce((n, i) => n + (A.decrypt[i] === 1), 0), "reads without a Decrypt"));
}
function chips() {
  const chip = (key) => state[key] >= 0 && h("button", { type: "button", class: "chip", onclick: () => choose(key, -1) }, `${NAMES[key]}: ${text(state[key])} ✕`);
  fill("chips", CHIPS.map(chip));
}

/* ---- incidents ---- */
const rawById = new Map();
data.records.forEach((record) => record.ids.forEach((id) => { if (rawById.has(id)) rawById.get(id).push(record); else rawById.set(id, [record]); }));
const records = (id) => rawById.get(id) || [];
/** A raw record: one line, and its JSON on demand. */
function rawRecord({ json, object }) {
  let line = object;
  try {
    const { eventTime, eventName, eventSource, errorCode } = JSON.parse(json);
    line = [eventTime, eventName, eventSource, errorCode].filter((part) => typeof part === "string").join(" · ");
  } catch { /* It was too long, and is truncated. */ }
  return lazy([line], () => [h("p", { class: "quiet" }, object, " ", copyButton(json, "raw record")), h("pre", { tabindex: "0" }, json)], false, { class: "record" });
}
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
const command = (id, raw) => ["secretrail", "explain", id.slice(0, 10), ...meta.paths, ...meta.options, ...(raw ? ["--raw"] : [])].map(quoted).join(" ");
const cards = Incidents({
  data, text, link, story, command, records, span, choose: (key, value) => { choose(key, value); goTo("h-time"); }, record: rawRecord,
  address: (id) => `${location.href.split("#")[0]}#incident=${id}`,
  opened: (id, is) => { if (is) state.incident = id; else if (state.incident === id) state.incident = null; write(); },
});
function showIncidents() {
  $("n-incidents").textContent = `${number(shownIncidents.length)} of ${number(incidents.length)}`;
  if (!shownIncidents.length) return fill("incidents", h("p", { class: "quiet" }, incidents.length ? "None match the filters." : "No rule raised an alert."));
  cards.show(shownIncidents, $("incidents"));
}
const openIncident = (incident) => cards.open(incident, shownIncidents, $("incidents"));

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
  const space = 88;
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
    axes: [{ ...axis, space, values: clock }, { ...axis, size: 52 }],
    series: [{}, { fill: color("read"), stroke: color("read"), width: 0, paths: bars, points: { show: false } },
      { fill: color("bad"), stroke: color("bad"), width: 0, paths: bars, points: { show: false } }],
    hooks: { setSelect: [select], setCursor: [readout] },
  }, [bins.x, bins.total, bins.bad], $("timeline")));
  const sorted = shownAlerts.slice().sort((a, b) => a.time - b.time);
  const lanes = LEVELS.map((level) => sorted.map((a) => (rules[a.rule].level === level ? LEVELS.indexOf(level) : null)));
  plots.push(new uPlot({
    ...common, height: 120, scales: { ...scale, y: { range: [-0.6, 4.6] } },
    axes: [{ ...axis, space, show: false }, { ...axis, size: 52, splits: () => [0, 1, 2, 3, 4], values: () => ["info", "low", "med", "high", "crit"] }],
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
function showAlerts() {
  $("n-alerts").textContent = `${number(shownAlerts.length)} of ${number(alerts.length)}`;
  if (!shownAlerts.length) return fill("alerts", h("p", { class: "quiet" }, alerts.length ? "None match the filters." : "No rule raised an alert."));
  const worst = (list) => list.reduce((most, alert) => Math.max(most, alertScore(alert.at)), 0);
  const scored = (groups) => groups.map(([key, list]) => [key, list, worst(list)]);
  const groups = scored([...grouped(shownAlerts, (a) => a.rule)]).sort((a, b) => LEVELS.indexOf(rules[b[0]].level) - LEVELS.indexOf(rules[a[0]].level) || b[2] - a[2] || b[1].length - a[1].length);
  fill("alerts", groups.map(([index, list], i) => {
    const rule = rules[index];
    return lazy([level(rule.level), " ", rule.title, h("span", { class: "count" }, ` ${number(list.length)}`)], () => {
      const byPrincipal = scored([...grouped(list, (a) => a.principal || "(several principals)")]).sort((a, b) => b[2] - a[2] || b[1].length - a[1].length);
      return [notes(rule), ...firsts(byPrincipal, GROUP, ([who, of]) => lazy([short(who), h("span", { class: "count" }, ` ${plural(of.length, "alert")}`)], () => firsts(of, GROUP, (alert) => story(alert)), byPrincipal.length === 1))];
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
function story(alert, inCard = false) {
  const evidence = alert.rows, rule = rules[alert.rule];
  const incident = incidents[incidentOf[alert.at]];
  const all = alert.accesses_total;
  return h("div", { class: "alert", "data-alert": alert.id }, inCard && h("p", {}, level(rule.level), " ", h("b", {}, rule.title)), h("p", { class: "story" }, alert.summary),
    h("p", { class: "quiet" }, `${iso(alert.time)}${alert.start != null ? ` · window from ${iso(alert.start)}, ${number(alert.count)} counted` : ""} · alert ${alert.id}`, !inCard && incident && [" · ", h("button", { type: "button", class: "link", onclick: () => openIncident(incident) }, "its incident")]),
    alert.secrets_total > 1 && h("p", { class: "quiet" }, `secrets: ${alert.secrets.slice(0, 5).map(short).join(", ")}${alert.secrets_total > 5 ? ` and ${number(alert.secrets_total - 5)} more` : ""}`),
    evidence.length > 0 && lazy([`${number(evidence.length)} of ${plural(all, "access", "accesses")}`], () => [scroll("Accesses of the alert", ledgerTable(evidence))], false),
    alert.events.length > 0 && lazy([plural(alert.events.length, "event")], () => alert.events.map((event) => [h("dl", {}, h("dt", {}, iso(event.time)), h("dd", {}, h("code", {}, `${event.id} · ${text(event.object)}`))), records(event.id).map(rawRecord)]), false));
}

/* ---- matrix, ranks, denied ---- */
/** Two texts as one key: cheaper than a text, for every row. */
const pair = (a, b) => (a + 1) * (texts.length + 1) + b + 1;
function matrix() {
  const cells = new Map(), byPrincipal = new Map(), bySecret = new Map();
  const add = (map, key, i) => {
    let known = map.get(key);
    if (!known) map.set(key, (known = { n: 0, worst: 0 }));
    known.n++;
    if (rowIncident[i] >= 0) known.worst = Math.max(known.worst, score(i));
  };
  for (const i of rows) {
    const p = A.principal[i], s = A.secret[i], key = pair(p, s);
    add(byPrincipal, p, i); add(bySecret, s, i);
    let cell = cells.get(key);
    if (!cell) cells.set(key, (cell = { reads: 0, bad: 0, first: null, level: -1 }));
    if (A.outcome[i] === 0) cell.reads++; else cell.bad++;
    if (fresh[i] & 1 && cell.first == null) cell.first = A.time[i];
    if (rowLevel[i] > cell.level) cell.level = rowLevel[i];
  }
  const top = (map) => [...map].sort((a, b) => b[1].worst - a[1].worst || b[1].n - a[1].n || a[0] - b[0]).map(([key]) => key);
  const people = top(byPrincipal), secrets = top(bySecret);
  const P = people.slice(0, state.matrix), S = secrets.slice(0, state.matrix);
  const most = Math.max(1, ...P.flatMap((p) => S.map((s) => cells.get(pair(p, s))?.reads || 0)));
  const shade = (n) => (n ? `m${1 + Math.min(4, Math.floor((Math.log(n) / Math.log(most + 1)) * 5))}` : "");
  const cell = (p, s) => {
    const c = cells.get(pair(p, s));
    if (!c) return h("td", {});
    const title = `${short(text(p))}: ${text(s)}: ${plural(c.reads, "read")}, ${number(c.bad)} denied or failed${c.first != null ? `, first read ${iso(c.first)}` : ""}${c.level >= 0 ? `, evidence of ${LEVELS[c.level]} alerts` : ""}`;
    return h("td", { class: `${shade(c.reads)} ${c.level >= 0 ? `raised ${LEVELS[c.level]}` : ""} ${c.first != null ? "new" : ""} ${!c.reads && c.bad ? "no" : ""}`, title }, c.reads ? number(c.reads) : `✕${number(c.bad)}`);
  };
  const left = people.length > P.length || secrets.length > S.length;
  fill("matrix-note", `Reads by principal (rows) and secret (columns), most suspicious first: ${number(P.length)} of ${number(people.length)} and ${number(S.length)} of ${number(secrets.length)}. `,
    "A frame marks evidence of alerts; ", meta.learned ? "• marks a first read; " : "the logs are too short to detect first reads; ", "✕ marks denied or failed attempts only.");
  fill("matrix", P.length ? h("table", {}, h("thead", {}, h("tr", {}, h("td", {}), S.map((s) => h("th", { scope: "col" }, h("div", {}, link("secret", s, text(s) || "(unknown)")))))),
    h("tbody", {}, P.map((p) => h("tr", {}, h("th", { scope: "row" }, link("principal", p)), S.map((s) => cell(p, s)))))) : h("p", { class: "quiet" }, "No accesses match the filters."),
    left && h("button", { type: "button", class: "more", onclick: () => { state.matrix *= 2; matrix(); } }, "Show more"));
}
/** Counts of the rows by a key, most suspicious first. */
function ranks(key) {
  const groups = new Map();
  for (const i of rows) {
    const k = key(i);
    let g = groups.get(k);
    if (!g) groups.set(k, (g = { n: 0, bad: 0, principals: new Set(), i, raised: 0, level: -1, worst: 0, fresh: 0, refused: 0, outside: 0, last: null }));
    g.n++;
    if (A.outcome[i] > 0) g.bad++;
    if (g.last !== A.principal[i]) g.principals.add((g.last = A.principal[i]));
    if (rowIncident[i] >= 0) { g.raised++; g.level = Math.max(g.level, rowLevel[i]); g.worst = Math.max(g.worst, score(i)); }
    if (fresh[i]) g.fresh |= fresh[i];
    if (outside[i]) { g.refused |= outside[i]; g.outside++; }
  }
  return [...groups.values()].sort((a, b) => b.level - a.level || b.worst - a.worst || b.n - a.n);
}
/** A table of ranks that grows on request. */
function ranked(label, head, numeric, sorted, row) {
  const out = table(head, sorted.slice(0, RANK).map(row), numeric);
  const place = scroll(label, out);
  if (sorted.length <= RANK) return [place];
  const more = h("button", { type: "button", class: "more", onclick: () => { out.tBodies[0].append(...sorted.slice(RANK, RANK * 20).map(row)); more.remove(); place.focus(); } }, `${number(Math.min(sorted.length, RANK * 20) - RANK)} more${sorted.length > RANK * 20 ? ` of ${number(sorted.length - RANK)}; narrow the filters to see the others` : ""}`);
  return [place, more];
}
const counts = (g) => [h("td", { class: "n" }, number(g.n)), h("td", { class: `n ${g.bad ? "denied" : ""}` }, number(g.bad)), h("td", { class: "n" }, number(g.principals.size))];
const raisedBy = (g) => h("td", {}, g.raised ? [level(LEVELS[g.level]), " ", h("span", { class: "count" }, number(g.raised))] : "");
function sources() {
  const where = (i) => [text(A.country[i]), text(A.org[i])].filter(Boolean).join(", ");
  const row = (g) => h("tr", {}, h("td", { class: "wrap" }, A.ip[g.i] >= 0 ? link("ip", A.ip[g.i], text(A.ip[g.i])) : "(none)", where(g.i) && h("span", { class: "count" }, ` ${where(g.i)}`)), raisedBy(g),
    h("td", {}, meta.learned ? marked(NEW, g.fresh).join(", ") : "–"), h("td", {}, meta.policy ? g.outside > 0 && [marked(OUTSIDE, g.refused).join(", "), h("span", { class: "count" }, ` ${number(g.outside)}`)] : "–"), counts(g));
  fill("sources", ranked("Sources", ["source", "evidence of alerts", "new", "outside the policy", "accesses", "denied or failed", "principals"], [4, 5, 6], ranks((i) => A.ip[i]), row));
  fill("sources-note", "Most suspicious first. ", meta.learned ? "New: a secret, network, region or program that the principal, or the account, did not have before. " : "The logs are too short to say what is new. ", meta.policy ? "Outside: what no grant of the access policy allows." : "There was no access policy.");
}
function regions() {
  const row = (g) => h("tr", {}, h("td", { class: "wrap" }, `${text(A.account[g.i])} ${text(A.region[g.i])}`), raisedBy(g), counts(g));
  fill("regions", ranked("Accounts and regions", ["account, region", "evidence of alerts", "accesses", "denied or failed", "principals"], [2, 3, 4], ranks((i) => pair(A.account[i], A.region[i])), row));
}
function denied() {
  const groups = new Map();
  for (const i of rows) {
    if (A.outcome[i] !== 1) continue;
    const key = `${A.principal[i]} ${A.secret[i]} ${A.denied[i]}`, g = groups.get(key) || { n: 0, i, last: i };
    g.n++; g.last = i; g.worst = Math.max(g.worst || 0, score(i)); groups.set(key, g);
  }
  const sorted = [...groups.values()].sort((a, b) => b.worst - a.worst || b.n - a.n);
  $("n-denied").textContent = number(sorted.reduce((n, g) => n + g.n, 0));
  if (!sorted.length) return fill("denied", h("p", { class: "quiet" }, "None match the filters."));
  const row = (g) => h("tr", {}, h("td", { class: "n" }, number(g.n)), h("td", { class: "wrap" }, link("principal", A.principal[g.i])), h("td", { class: "wrap" }, link("secret", A.secret[g.i], text(A.secret[g.i]) || "(unknown)")),
    h("td", {}, text(A.denied[g.i]).replaceAll("_", " ") || "unknown"), h("td", { class: "t" }, iso(A.time[g.last])));
  const out = table(["times", "principal", "secret", "denied by", "last"], sorted.slice(0, GROUP).map(row), [0]);
  fill("denied", scroll("Denied attempts", out), sorted.length > GROUP && h("p", { class: "quiet" }, `${number(sorted.length - GROUP)} more rows; narrow the filters to see them.`));
}
function gaps() {
  const lines = data.gaps.map((g) => h("tr", {}, h("td", { class: "t" }, iso(g.from)), h("td", { class: "t" }, iso(g.to)), h("td", { class: "wrap" }, `${g.account} ${g.region}`), h("td", { class: "wrap" }, g.what)));
  const unread = data.unread.map((p) => h("tr", {}, h("td", { class: "wrap" }, h("code", {}, p.name)), h("td", { class: "wrap" }, p.message)));
  fill("gaps", lines.length ? scroll("Gaps", table(["from", "to", "account, region", "missing"], lines)) : h("p", { class: "quiet" }, "No gaps found: deliveries arrived at their usual interval, and KMS events were logged around every read."),
    unread.length ? scroll("What could not be read", table(["could not be read", "reason"], unread)) : null,
    h("p", { class: "quiet" }, data.skipped.length ? `Skipped: ${data.skipped.map((p) => `${number(p.count)} ${p.reason}`).join(", ")}.` : "Nothing was skipped."));
}

/* ---- ledger ---- */
const OF = ["paired", "absent", "unknown", "pending", "not expected"];
function ledgerTable(list) {
  const row = (i) => {
    const open = h("button", { type: "button", class: "link", "aria-expanded": "false", onclick: () => {
      const shown = open.getAttribute("aria-expanded") === "true";
      open.setAttribute("aria-expanded", String(!shown));
      if (shown) line.nextSibling.remove(); else line.after(h("tr", {}, h("td", { colspan: 7 }, evidence(i))));
    } }, iso(A.time[i]).split(/(?<=T)/).map((part, at) => [at > 0 && h("wbr"), h("span", { class: "whole" }, part)]));
    const incident = rowIncident[i] >= 0 ? incidents[rowIncident[i]] : during(i);
    const mark = incident && h("button", { type: "button", class: "mark", title: rowLevel[i] >= 0 ? "Evidence of alerts: open the incident" : "Same actor, during the incident: open it", onclick: () => openIncident(incident) },
      rowLevel[i] >= 0 ? level(LEVELS[rowLevel[i]]) : h("span", { class: "level hollow" }, "during"));
    const line = h("tr", { class: rowLevel[i] >= 0 ? `raised ${LEVELS[rowLevel[i]]}` : "" }, h("td", { class: "t" }, open), h("td", {}, mark || ""), h("td", { class: OUTCOMES[A.outcome[i]] }, OUTCOMES[A.outcome[i]]), h("td", { class: "wrap" }, short(text(A.principal[i]))), h("td", { class: "wrap" }, text(A.secret[i]) || "(unknown)"),
      h("td", { class: "wrap" }, text(A.ip[i])), h("td", {}, OF[A.decrypt[i]]));
    return line;
  };
  return table(["time (UTC)", "alert", "outcome", "principal", "secret", "source", "decrypt"], list.map(row));
}
function evidence(i) {
  const pairs = [["event", A.event[i]], ["call", `${text(A.api[i])} (${text(A.method[i])})`], ["principal", text(A.principal[i])], ["session", text(A.actor[i])], ["access key", text(A.key[i])],
    ["secret", text(A.arn[i])], ["account, region", `${text(A.account[i])} ${text(A.region[i])}`], ["user agent", text(A.agent[i])], ["registered", [text(A.country[i]), text(A.org[i])].filter(Boolean).join(", ")], ["error", [text(A.error[i]), text(A.denied[i]).replaceAll("_", " ")].filter(Boolean).join(", denied by ")],
    ["Decrypt", A.decrypted[i]], ["KMS key", text(A.kms[i])], ["object", text(A.object[i])], ["new", marked(NEW, fresh[i]).join(", ")], ["outside policy", marked(OUTSIDE, outside[i]).join(", ")]];
  const raised = (rowAlerts.get(i) || []).map((a) => h("p", {}, level(rules[alerts[a].rule].level), " ", rules[alerts[a].rule].title));
  const raw = [A.event[i], A.decrypted[i]].flatMap((id) => (id ? records(id) : []));
  return [...raised, h("dl", {}, pairs.filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, h("code", {}, value))])), ...raw.map(rawRecord)];
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
  tiles(); chips(); showIncidents(); timeline(); showAlerts(); matrix(); sources(); regions(); denied(); ledger();
}

/* ---- dates ---- */
const DATE = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?)?(Z|[+-]\d\d:\d\d)?$/i;
/** Seconds since 1970; null for no text, NaN for a text that is no date. A day ends with its last second. */
function typed(value, ends) {
  if (!value) return null;
  const part = DATE.exec(value);
  if (!part) return NaN;
  const [, year, month, day, hour = ends ? "23" : "00", minute = ends ? "59" : "00", second = ends && !part[4] ? "59" : "00", zone = "Z"] = part;
  const clock = `${year}-${month}-${day}T${hour}:${minute}:${second}`;
  const time = Date.parse(clock + "Z"), offset = Date.parse(clock + zone.toUpperCase());
  // 30 February is a day in March for some browsers.
  return !Number.isNaN(time) && iso(time / 1000) === `${clock}Z` ? offset / 1000 : NaN;
}
/** Says what is wrong with the dates; nothing, if nothing is. */
function wrongDate(message, ids = []) {
  $("dates").textContent = message;
  $("dates").hidden = !message;
  for (const id of ["from", "to"]) if (ids.includes(id)) $(id).setAttribute("aria-invalid", "true"); else $(id).removeAttribute("aria-invalid");
}
function dated() {
  const found = { from: typed($("from").value.trim(), false), to: typed($("to").value.trim(), true) };
  const wrong = ["from", "to"].filter((id) => Number.isNaN(found[id]));
  if (wrong.length) return wrongDate(`${wrong.map((id) => `“${$(id).value.trim()}”`).join(" and ")} is not a date: write 2026-03-02 or 2026-03-02T10:00, in UTC. The time range is as before.`, wrong);
  const from = found.from ?? ALL[0], to = found.to ?? ALL[1];
  if (from > to) return wrongDate("From is later than To. The time range is as before.", ["from", "to"]);
  if (from > ALL[1] || to < ALL[0]) return wrongDate(`Nothing happened then: the log is from ${iso(span[0])} to ${iso(span[1])}. The time range is as before.`, [from > ALL[1] ? "from" : "to"]);
  setRange(from, to);
  // An end that was left open stays open.
  for (const id of ["from", "to"]) if (found[id] === null) $(id).value = "";
}

/* ---- the state in the address ---- */
let writing = true;
/** Writes the filters and the open incident into the address, so that it can be sent to others. */
function write() {
  if (!writing) return;
  const hash = new URLSearchParams();
  if (state.incident) hash.set("incident", state.incident);
  if (state.search) hash.set("search", state.search);
  if (state.range) { hash.set("from", iso(state.range[0])); hash.set("to", iso(state.range[1])); }
  if (state.outcome >= 0) hash.set("outcome", OUTCOMES[state.outcome]);
  if (state.level > 0) hash.set("level", LEVELS[state.level]);
  for (const key of CHIPS) if (state[key] >= 0) hash.set(NAMES[key], text(state[key]));
  const written = hash.size ? `#${hash}` : "";
  if (written !== location.hash) history.replaceState(null, "", written || location.href.split("#")[0]);
}
/** Takes the filters from the address; says what in it is not in this report. */
function read() {
  const hash = new URLSearchParams(location.hash.slice(1)), unknown = [];
  const column = { principal: A.principal, secret: A.secret, ip: A.ip };
  writing = false;
  $("search").value = state.search = hash.get("search") || "";
  state.outcome = OUTCOMES.indexOf(hash.get("outcome"));
  $("outcome").value = state.outcome < 0 ? "" : OUTCOMES[state.outcome];
  state.level = Math.max(0, LEVELS.indexOf(hash.get("level")));
  $("level").value = String(state.level);
  for (const key of CHIPS) {
    const value = hash.get(NAMES[key]), index = value ? texts.indexOf(value) : -1;
    state[key] = index >= 0 && column[key].includes(index) ? index : -1;
    if (value && state[key] < 0) unknown.push(`${NAMES[key]} “${value}”`);
  }
  state.incident = hash.get("incident");
  const incident = state.incident && cards.find(state.incident.toLowerCase());
  if (state.incident && !incident) { unknown.push(`incident “${state.incident}”`); state.incident = null; }
  const range = ["from", "to"].map((id) => hash.get(id));
  if (range[0] || range[1]) {
    $("from").value = range[0] || "";
    $("to").value = range[1] || "";
    dated();
    if (!$("dates").hidden) apply();
  } else setRange(null);
  fill("unknown", unknown.length > 0 && `Not in this report: ${unknown.join(", ")}.`);
  $("unknown").hidden = !unknown.length;
  if (incident) { state.incident = incident.id; openIncident(incident); }
  writing = true;
  write();
}
$("level").append(...LEVELS.map((name, i) => h("option", { value: i }, name)));
$("search").addEventListener("input", calmly(() => { state.search = $("search").value.trim(); apply(); }));
for (const id of ["from", "to"]) $(id).addEventListener("change", dated);
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
// Print in the light theme, at the width of the paper, with all details open.
addEventListener("beforeprint", () => {
  printing = { theme: root.dataset.theme };
  root.dataset.theme = "light";
  unfold($("incidents"));
  unfold($("alerts"));
  timeline();
});
addEventListener("afterprint", () => {
  if (!printing) return;
  if (printing.theme) root.dataset.theme = printing.theme; else delete root.dataset.theme;
  printing = null;
  timeline();
});
// What is scrolled to must not lie behind the filters, which stay at the top.
const bar = () => root.style.setProperty("--bar", `${getComputedStyle($("filters")).position === "sticky" ? $("filters").offsetHeight + 8 : 8}px`);
new ResizeObserver(bar).observe($("filters"));
$("skip").addEventListener("click", (event) => { event.preventDefault(); goTo("h-incidents"); });
addEventListener("hashchange", read);
bar(); label(); about(); gaps(); read();
// A report about one incident needs no click.
if (!state.incident && incidents.length === 1) cards.unfold(incidents[0]);
})();
