/** Decisions about the grants of a proposal, and the policy of those that are accepted. */
(() => {
"use strict";
const { number, plural, iso, short, middle, h, table, scroll, firsts, lazy, copyButton, grouped } = Elements;
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const day = (secs) => iso(secs).slice(0, 10);
const MOST = 200;

/** One of "accepted" and "rejected" for each grant that is decided. */
let decided = data.grants.map(() => null);
// A page of a file keeps what was decided until the tab is closed, under what it is about.
const name = `secretrail-review-${data.digest}`;
try {
  const kept = JSON.parse(sessionStorage.getItem(name));
  if (Array.isArray(kept) && kept.length === decided.length) decided = kept.map((one) => (one === "accepted" || one === "rejected" ? one : null));
} catch { /* Without storage, decisions live as long as the page. */ }

function items(title, list) {
  if (list.length === 0) return [h("tr", {}, h("th", { scope: "row" }, title), h("td", { class: "wrap", colspan: "3" }, "any"))];
  return list.map((one, i) => h("tr", {},
    i === 0 ? h("th", { scope: "row", rowspan: String(list.length) }, title) : null,
    h("td", { class: "wrap" }, one.name),
    h("td", { class: "n" }, one.reads ? `${plural(one.reads[0], "read")} on ${plural(one.reads[1], "day")}` : ""),
    h("td", { class: "t" }, one.span ? (day(one.span[0]) === day(one.span[1]) ? day(one.span[0]) : `${day(one.span[0])} to ${day(one.span[1])}`) : "")));
}

function headline(grant) {
  const who = short(grant.principals[0]);
  const what = middle(short(grant.secrets[0].name), 80);
  const more = (list, word) => (list.length > 1 ? ` and ${plural(list.length - 1, `other ${word}`)}` : "");
  return `${who}${more(grant.principals, "principal")} reads ${what}${more(grant.secrets, "secret")}`;
}

const cards = data.grants.map((grant, i) => {
  const choice = (value, label) => h("label", {}, h("input", { type: "radio", name: `grant${i}`, value, checked: decided[i] === value, onchange: () => { decided[i] = value; shown(); } }), label);
  const [seen, granted] = grant.pairs;
  const wide = granted > seen ? ` · covers ${plural(granted, "pair")} of principal and secret, of which ${number(seen)} were read` : "";
  return h("article", { class: "grant" },
    h("div", { class: "top" }, h("h3", {}, headline(grant)),
      h("fieldset", {}, h("legend", { class: "aside" }, `Decision: ${headline(grant)}`), choice("accepted", "Accept"), choice("rejected", "Reject"))),
    h("p", { class: "quiet" }, `${plural(grant.reads, "read")} on ${plural(grant.days, "day")}, last ${iso(grant.last)}${wide}`),
    grant.doubts.map((doubt) => h("p", { class: "doubt" }, doubt)),
    lazy("Evidence", () => [
      scroll("Evidence", table(["", "allowed", "reads", "seen"], [
        grant.principals.map((one, n) => h("tr", {}, n === 0 ? h("th", { scope: "row", rowspan: String(grant.principals.length) }, "principals") : null, h("td", { class: "wrap", colspan: "3" }, one))),
        items("secrets", grant.secrets), items("regions", grant.regions), items("sources", grant.sources), items("keys", grant.keys)].flat(2), [2])),
      h("p", { class: "quiet" }, `baseline_per_hour: ${number(grant.baseline_per_hour)}`)], grant.doubts.length > 0));
});

function policy() {
  const accepted = data.grants.filter((_, i) => decided[i] === "accepted");
  const rejected = data.grants.filter((_, i) => decided[i] === "rejected");
  const open = data.grants.length - accepted.length - rejected.length;
  const head = data.is_new ? (accepted.length ? "grants:\n" : "grants: []\n") : "";
  const note = `\n# Reviewed: ${plural(accepted.length, "grant")} accepted, ${number(rejected.length)} rejected, ${number(open)} not decided and left out.\n`;
  const refused = rejected.map((grant) => `# Rejected: ${headline(grant)}\n`).join("");
  // How much is covered was said of all grants.
  const before = accepted.length === data.grants.length ? data.before : data.before.replace(/^# Covers .*\n/m, "");
  return before + head + accepted.map((grant) => grant.yaml).join("") + note + refused + (data.after ? `\n${data.after.trimStart()}` : "");
}

function shown() {
  const count = (value) => decided.filter((one) => one === value).length;
  const open = count(null);
  at("tally").textContent = decided.length === 0 ? "The proposal has no grants: there is nothing to decide." : `${number(count("accepted"))} accepted, ${number(count("rejected"))} rejected, ${number(open)} to decide`;
  cards.forEach((card, i) => {
    card.className = `grant${data.grants[i].doubts.length ? " check" : ""}${decided[i] ? ` ${decided[i]}` : ""}`;
    for (const input of card.querySelectorAll("input")) input.checked = input.value === decided[i];
  });
  const left = data.grants.filter((grant, i) => !grant.doubts.length && !decided[i]).length;
  at("rest").hidden = left === 0;
  at("rest").textContent = `Accept the ${number(left)} without a remark`;
  at("clear").disabled = open === decided.length;
  at("policy").textContent = policy();
  try { sessionStorage.setItem(name, JSON.stringify(decided)); } catch { /* As above. */ }
}

at("rest").addEventListener("click", () => {
  decided = decided.map((one, i) => one || (data.grants[i].doubts.length ? one : "accepted"));
  shown();
});
at("clear").addEventListener("click", () => { decided = decided.map(() => null); shown(); });
at("save").addEventListener("click", () => {
  const url = URL.createObjectURL(new Blob([policy()], { type: "application/yaml" }));
  h("a", { href: url, download: "access-policy.yaml" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
});
at("copy").append(copyButton(policy, "the policy", "Copy", at("policy")));

at("about").textContent = `Proposed from ${plural(data.learned, "access", "accesses")}${data.span ? `, ${iso(data.span[0])} to ${iso(data.span[1])}` : ""}. It shows what was read, not what should be allowed: accept what is meant to be.`;
for (const [id, wanted] of [["risky", true], ["quiet", false]]) {
  const of = cards.filter((_, i) => (data.grants[i].doubts.length > 0) === wanted);
  at(`n-${id}`).textContent = number(of.length);
  at(`s-${id}`).hidden = of.length === 0;
  at(id).append(...firsts(of, MOST, (card) => card));
}
const reasons = [...grouped(data.omitted, (one) => one.why)];
at("n-omitted").textContent = plural(data.omitted.reduce((sum, one) => sum + one.accesses, 0), "access", "accesses");
at("s-omitted").hidden = reasons.length === 0;
at("omitted").append(...reasons.map(([why, list]) => lazy(`${why}: ${plural(list.length, "principal")}`, () => [
  scroll(why, table(["principal", "accesses", "secrets", "first", "alerts"], list.map((one) => h("tr", {},
    h("td", { class: "wrap" }, one.principal), h("td", { class: "n" }, number(one.accesses)), h("td", { class: "n" }, number(one.secrets)),
    h("td", { class: "t" }, iso(one.first)), h("td", { class: "wrap" }, one.alerts.join(", ")))), [1, 2]))], list.length <= 50)));
at("foot").textContent = `Secretrail ${data.version}. This page makes no network requests.`;
shown();
})();
