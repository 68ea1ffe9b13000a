/**
 * The cards of the incidents: what happened, what was usual, what to check and what to do. `page` gives the
 * data, what the rest of the page shares with the cards, and is called when a card is opened or closed.
 */
const Incidents = (page) => {
"use strict";
const { number, plural, iso, short, span, lasting, h, table, scroll, level, lazy, firsts, copyButton, copyable, grouped } = Elements;
const { data, text, link, story, command, opened } = page;
const { accesses: A, incidents, alerts, texts } = data;
const SHOWN = 10, STEPS = 8, CHECKS = 6, VALUES = 4;

/* ---- what belongs to an incident ---- */
const indices = new Map();
/** The rows of the ledger by the values of a column, in order of time. */
function rowsBy(column) {
  if (!indices.has(column)) {
    const rows = new Map();
    A[column].forEach((value, i) => { const known = rows.get(value); if (known) known.push(i); else rows.set(value, [i]); });
    indices.set(column, rows);
  }
  return indices.get(column);
}
const indexOf = (() => { let known = null; return (value) => (known ||= new Map(texts.map((t, i) => [t, i]))).get(value) ?? -1; })();
const programs = new Map(A.programs);
const byActor = grouped(incidents, (incident) => incident.actor);
/** Every access of the actor, by time. */
function ofActor(incident, evidence) {
  const column = { principal: "principal", address: "ip", secret: "arn" }[incident.kind];
  if (!column) return evidence;
  const values = new Set(incident.kind === "principal" ? evidence.map((i) => A.principal[i]) : []);
  values.add(incident.actor);
  const own = [...values].flatMap((value) => rowsBy(column).get(value) || []);
  return [...new Set([...own, ...evidence])].sort((a, b) => a - b);
}
/**
 * The accesses of the actor: `usual` ones before the incident, `odd` ones in it, and all `others`. Alerts list
 * only their first accesses: one within the time of the incident is odd, too, if its secret or source was not
 * usual.
 */
function parts(incident) {
  if (incident.parts) return incident.parts;
  const evidence = [...new Set(incident.alerts.flatMap((a) => alerts[a].rows))];
  const own = ofActor(incident, evidence), marked = new Set(evidence);
  const within = (i, { first, last }) => A.time[i] >= first && A.time[i] <= last;
  const same = byActor.get(incident.actor);
  const usual = own.filter((i) => A.time[i] < incident.first && !same.some((other) => within(i, other)));
  const secrets = new Set(usual.map((i) => A.secret[i])), sources = new Set(usual.map((i) => A.ip[i]));
  const unusual = (i) => incident.kind === "principal" && !(secrets.has(A.secret[i]) && sources.has(A.ip[i]));
  const odd = own.filter((i) => within(i, incident) && (marked.has(i) || unusual(i)));
  const chosen = new Set(odd);
  return (incident.parts = { odd, others: own.filter((i) => !chosen.has(i)), usual });
}

/* ---- parts of a card ---- */
const list = ({ first }) => first.map(text);
const some = (values, total, most = 2) => values.slice(0, most).join(", ") + (total > most ? ` and ${number(total - most)} more` : "");
function meta(incident) {
  const { sources, regions } = incident;
  return [span(incident.first, incident.last), sources.total > 0 && incident.kind !== "address" && `from ${some(list(sources), sources.total)}`,
    regions.total > 0 && `in ${some(list(regions), regions.total)}`, plural(incident.alerts_total, "alert"), `score ${incident.score}`, incident.active && "may still grow"].filter(Boolean).join(" · ");
}
function activity(incident, wide) {
  const { odd, others } = parts(incident);
  const time = (rows) => rows.map((i) => A.time[i]);
  return Pictures.activity({ usual: time(others), odd: time(odd), first: incident.first, last: incident.last, from: page.span[0], to: page.span[1], level: incident.level, name: short(text(incident.actor)), wide });
}
function steps({ steps, first }) {
  let day = iso(first).slice(0, 10);
  const step = ({ time, what, rules }) => {
    const [date, clock] = iso(time).slice(0, -1).split("T");
    const changed = date !== day;
    day = date;
    return h("li", {}, h("time", { datetime: iso(time) }, changed ? [date, h("br"), clock] : clock),
      h("div", {}, h("p", {}, what), rules.map((rule) => h("p", { class: "rule" }, level(rule.level), text(rule.title), rule.alerts > 1 && h("span", { class: "count" }, ` ${plural(rule.alerts, "alert")}`)))));
  };
  return h("ol", { class: "steps" }, firsts(steps, STEPS, step, true));
}
const NONE = "–";
/** A value of an incident, marked where the actor did not have it before. */
function value(label, known, shown) {
  return known ? h("li", {}, shown) : h("li", { class: "fresh" }, shown, " ", h("b", {}, "new"));
}
const rest = (n) => n > 0 && h("li", { class: "quiet" }, `${number(n)} more`);
/** A row of what the engine found usual for a principal, with the number of days, and of what is now. */
function learned({ kind, usual, usual_total, now, now_total }, shown) {
  const before = usual.slice(0, VALUES).map(([label, days]) => h("li", {}, text(label), h("span", { class: "count" }, ` ${plural(days, "day")}`)));
  const current = now.slice(0, VALUES).map(([label, fresh]) => value(text(label), fresh !== true, shown(text(label), text(label))));
  return h("tr", {}, h("th", { scope: "row" }, kind === "source" ? "network" : kind),
    h("td", {}, before.length ? h("ul", {}, before, rest(usual_total - before.length)) : NONE),
    h("td", {}, current.length ? h("ul", {}, current, rest(now_total - current.length)) : NONE));
}
/** What was usual for the actor, and what it did now: of a principal what the engine says, of others by their accesses. */
function compared(incident) {
  const { odd, usual: before } = parts(incident);
  const habits = new Map(incident.usual ? incident.usual.habits.map((habit) => [habit.kind, habit]) : []);
  // What the engine calls unknown is not counted here.
  const usual = incident.usual && !habits.size ? [] : before;
  const secret = (arn) => {
    const row = (rowsBy("arn").get(indexOf(arn)) || [])[0];
    return row === undefined ? arn.replace(/^arn:[^:]*:[^:]*:[^:]*:[^:]*:(secret:)?/, "") : text(A.secret[row]);
  };
  const bare = (source) => source.split(" (")[0];
  const found = (kind, label, shown) => { const index = indexOf(label); return index >= 0 && rowsBy(kind).has(index) ? link(kind, index, shown) : shown; };
  const session = (arn) => arn.split("/").pop();
  // Sessions and their keys are new by nature: that says nothing. Addresses are judged by their networks.
  const changing = new Set(["session", "access key", "address"]);
  const kinds = [
    ["session", (i) => session(text(A.actor[i])), list(incident.sessions), incident.sessions.total, session, session],
    ["access key", (i) => text(A.key[i]), list(incident.keys), incident.keys.total],
    [habits.size ? "address" : "source", (i) => text(A.ip[i]), list(incident.sources), incident.sources.total, bare, (label, shown) => found("ip", label, shown)],
    ["region", (i) => text(A.region[i]), list(incident.regions), incident.regions.total],
    ["client", (i) => text(programs.get(A.agent[i]) ?? A.agent[i]), list(incident.clients), incident.clients.total],
    ["secret", (i) => text(A.secret[i]), [...new Set(list(incident.secrets).map(secret))], 0, undefined, (label, shown) => found("secret", label, shown)],
  ];
  const rows = kinds.flatMap(([name, of, now, total, key = (x) => x, shown = (label, x) => x]) => {
    if (habits.has(name)) return [learned(habits.get(name), shown)];
    const counts = new Map();
    for (const i of usual) { const label = of(i); if (label) counts.set(label, (counts.get(label) || 0) + 1); }
    const before = [...counts].sort((a, b) => b[1] - a[1]);
    // What is new comes first: it must not be among those that are cut.
    const known = (label) => !usual.length || changing.has(name) || counts.has(key(label));
    const sorted = now.slice().sort((a, b) => known(a) - known(b));
    const all = Math.max(total, now.length);
    const row = h("tr", {}, h("th", { scope: "row" }, name),
      h("td", {}, before.length ? h("ul", {}, before.slice(0, VALUES).map(([label, n]) => h("li", {}, label, h("span", { class: "count" }, ` ${number(n)}×`))), rest(before.length - VALUES)) : NONE),
      h("td", {}, sorted.length ? h("ul", {}, sorted.slice(0, VALUES).map((label) => value(label, known(label), shown(key(label), label))), rest(all - Math.min(VALUES, sorted.length))) : NONE));
    return name === "address" ? [row, learned(habits.get("source"), (label, x) => x)] : [row];
  });
  const pace = (rows, none) => rows.length ? `${plural(rows.length, "access", "accesses")} in ${lasting(A.time[rows[rows.length - 1]] - A.time[rows[0]])}` : none;
  rows.push(h("tr", {}, h("th", { scope: "row" }, "pace"), h("td", {}, pace(usual, NONE)), h("td", {}, pace(odd, NONE))));
  const note = usual.length ? null : h("p", { class: "quiet" }, "These logs have no earlier access of this actor: what is new cannot be said.");
  const title = habits.size ? incident.usual.heading.replace(/^u/, "U") : "Usual and now";
  return [h("h4", {}, title), note, h("div", { class: "compare" }, table(["", "usual before", "now"], rows))];
}
/** Principal, source, secret and KMS key of the accesses of an incident. */
function reached(incident) {
  const { odd, usual } = parts(incident);
  if (!odd.length) return [];
  const seen = { principal: new Set(), ip: new Set(), secret: new Set(), kms: new Set() };
  for (const i of usual) for (const kind of Object.keys(seen)) seen[kind].add(A[kind][i]);
  const columns = [["principal", "principal"], ["source", "ip"], ["secret", "secret"], ["KMS key", "kms"]].map(([title, kind]) => ({ title, kind, nodes: new Map() }));
  const label = { principal: (t) => short(t), ip: (t) => t, secret: (t) => t, kms: (t) => t.replace(/^arn:[^:]*:kms:/, "") };
  const lines = columns.slice(1).map(() => new Map());
  for (const i of odd) {
    columns.forEach(({ kind, nodes }, at) => {
      const key = A[kind][i];
      const lost = kind === "secret" && A.outcome[i] > 0;
      const known = nodes.get(key);
      if (known) { known.lost &&= lost; known.n++; }
      // A read that was denied reached no key.
      else if (kind !== "kms" || key >= 0) nodes.set(key, { label: key < 0 ? "(unknown)" : label[kind](text(key)), full: text(key) || "(unknown)", odd: usual.length > 0 && !seen[kind].has(key), lost, n: 1 });
      if (!at || !nodes.has(key)) return;
      const from = A[columns[at - 1].kind][i], ends = `${from} ${key}`, line = lines[at - 1].get(ends) || { from, to: key, n: 0, odd: false };
      line.n++;
      line.odd ||= nodes.get(key).odd || columns[at - 1].nodes.get(from).odd;
      lines[at - 1].set(ends, line);
    });
  }
  // What is new and what was read comes first: the last ones share a box.
  for (const column of columns) column.nodes = new Map([...column.nodes].sort(([, a], [, b]) => a.lost - b.lost || b.odd - a.odd || b.n - a.n));
  const used = columns.filter(({ nodes }) => nodes.size);
  const counts = used.map(({ title, nodes }) => plural(nodes.size, title)).join(", ");
  return [h("h4", {}, "From principal to key"),
    scroll("From principal to key", Pictures.graph(used, lines.slice(0, used.length - 1), `Graph: ${counts}. The accesses are listed under Evidence.`)),
    h("p", { class: "quiet keys" }, usual.length > 0 && [h("i", { class: `swatch odd ${incident.level}` }), "new to this actor "], h("i", { class: "swatch usual" }), usual.length ? "known before " : "accesses ", odd.some((i) => A.outcome[i] > 0) && [h("i", { class: "swatch lost" }), "denied or failed"])];
}
/** A link of the engine, if it is one: text from a log never becomes a link. */
const console_ = (address) => /^https:\/\/console\.(aws\.amazon\.com|amazonaws\.cn|amazonaws-us-gov\.com)\/[\w\-./#?=&+,@:%]*$/.test(address)
  ? h("p", {}, h("a", { href: address, rel: "noreferrer noopener", target: "_blank" }, "Open the console page"), " ", copyButton(address, "link to the console page", "Copy link"))
  : copyable(address, "link");
function action({ text: what, command: line, link: address }) {
  return h("li", {}, h("p", {}, what), line && copyable(line, what), address && console_(address));
}
const titled = (title, made) => made.length ? [h("h4", {}, title), made] : [];
const texted = (items, most) => items.length ? [h("ol", {}, firsts(items, most, (i) => h("li", {}, text(i)), true))] : [];
function rawRecords(incident) {
  const found = new Set();
  for (const a of incident.alerts) {
    const ids = [...alerts[a].rows.flatMap((i) => [A.event[i], A.decrypted[i]]), ...alerts[a].events.map((event) => event.id)];
    for (const id of ids) for (const record of page.records(id)) found.add(record);
  }
  const others = [h("p", { class: "quiet" }, found.size ? "All of them:" : "They are not in this file. This command shows them:"), copyable(command(incident.id, true), "command that shows all records")];
  return lazy(["Raw records ", h("span", { class: "count" }, found.size ? `${number(found.size)} in this file` : "in the logs")], () => [...firsts([...found], 20, page.record), others], false, { "data-screen": "1" });
}
function evidence(incident) {
  const order = incident.alerts.slice().sort((a, b) => Elements.LEVELS.indexOf(data.rules[alerts[b].rule].level) - Elements.LEVELS.indexOf(data.rules[alerts[a].rule].level) || alerts[a].time - alerts[b].time);
  return lazy(["Evidence ", h("span", { class: "count" }, plural(order.length, "alert"))], () => firsts(order, 25, (a) => story(alerts[a], true)), false, { "data-screen": "1" });
}
function body(incident) {
  const only = { principal: "principal", address: "ip" }[incident.kind];
  const ends = (time) => iso(time).slice(0, 16).replace("T", " ");
  return h("div", { class: "body" },
    h("div", { class: "tools screen" },
      copyButton(() => page.address(incident.id), "link to this incident", "Copy link"),
      only && rowsBy(only).has(incident.actor) && h("button", { type: "button", onclick: () => page.choose(only, incident.actor) }, "Show only this actor below")),
    h("div", { class: "columns" },
      h("div", {}, titled("What happened", [steps(incident)]), titled("Who is behind it", incident.behind ? [h("p", {}, incident.behind)] : []), compared(incident),
        titled("Why it matters", incident.why.slice(0, 3).map((i) => h("p", {}, text(i))))),
      h("div", {}, titled("Check first", texted(incident.checks, CHECKS)),
        titled("Contain it", incident.actions.length ? [h("ol", {}, incident.actions.map(action))] : []),
        titled("Harmless if", incident.harmless_if.length ? [h("ul", {}, incident.harmless_if.map((i) => h("li", {}, text(i))))] : []))),
    reached(incident),
    h("div", { class: "history" }, h("h4", {}, "This actor in the whole log"), activity(incident, true),
      h("p", { class: "quiet ends" }, h("span", {}, ends(page.span[0])), h("span", { class: "keys" }, h("i", { class: "swatch usual" }), "usual ", h("i", { class: `swatch odd ${incident.level}` }), "this incident"), h("span", {}, `${ends(page.span[1])} UTC`))),
    evidence(incident), rawRecords(incident),
    h("p", { class: "quiet" }, `Incident ${incident.id}`),
    h("div", { class: "screen" }, copyable(command(incident.id, false), "command that explains this incident")));
}

/* ---- the list ---- */
const cards = new Map();
function card(incident) {
  if (cards.has(incident)) return cards.get(incident);
  const made = lazy([h("span", { class: "lead" }, h("span", { class: "arrow", "aria-hidden": "true" }, "▸"), level(incident.level), h("h3", {}, incident.sentence)), h("span", { class: "about" }, meta(incident)), activity(incident, false)], () => [body(incident)], false,
    { class: `incident ${incident.level}`, "data-incident": incident.id });
  made.addEventListener("toggle", () => {
    if (made.dataset.quiet) delete made.dataset.quiet; else opened(incident.id, made.open);
  });
  cards.set(incident, made);
  return made;
}
let least = SHOWN;
/** Shows the cards of these incidents, the first ones at once. */
function show(shown, place) {
  const first = shown.slice(0, least).map(card);
  const left = shown.length - first.length;
  const more = left > 0 && h("button", { type: "button", class: "more", onclick: () => { least += 4 * SHOWN; show(shown, place); shown.slice(first.length, first.length + 1).map(card)[0].querySelector("summary").focus(); } }, `${plural(left, "more incident")}, less suspicious`);
  place.replaceChildren(...first, ...(more ? [more] : []));
}
/** The incident whose id begins with a text; null if there is none. */
const find = (id) => (/^[0-9a-f]{6,32}$/.test(id) && incidents.find((incident) => incident.id.startsWith(id))) || null;
const unfold = (incident) => Elements.openQuietly(card(incident));
/** Opens the card of an incident, which is shown even if the filters leave it out. */
function open(incident, shown, place) {
  const at = shown.indexOf(incident);
  if (at < 0) place.prepend(card(incident));
  else if (at >= least) { least = at + 1; show(shown, place); }
  const made = card(incident);
  made.open = true;
  made.make();
  made.scrollIntoView({ block: "start" });
  made.querySelector("summary").focus({ preventScroll: true });
}
return { show, find, open, unfold };
};
