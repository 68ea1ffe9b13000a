/** The two drawings of an incident, as SVG: when its actor was active, and who reached what from where. */
const Pictures = (() => {
"use strict";
const { s, plural, iso, middle } = Elements;

/**
 * Accesses over time, in bars: usual ones in grey, those of the incident in the colour of its level.
 * `usual` and `odd` are times in seconds; `[from, to]` is the time of the whole log.
 */
function activity({ usual, odd, first, last, from, to, level, name, wide }) {
  const W = wide ? 960 : 320, H = wide ? 56 : 30, count = wide ? 160 : 80;
  const step = Math.max(1, to - from) / count;
  const place = (time) => Math.max(0, Math.min(count - 1, Math.floor((time - from) / step)));
  const grey = new Array(count).fill(0), colour = new Array(count).fill(0);
  for (const time of usual) grey[place(time)]++;
  for (const time of odd) colour[place(time)]++;
  const most = Math.max(1, ...grey.map((n, i) => n + colour[i]));
  // By their square roots: a bulk read must not flatten what is usual.
  const tall = (n) => (n ? Math.max(3, Math.sqrt(n / most) * (H - 2)) : 0);
  const bar = (i, base, height) => `M${(i * W) / count} ${base - height}h${W / count - 0.8}v${height}h${-(W / count - 0.8)}z`;
  let under = "", over = "";
  for (let i = 0; i < count; i++) {
    const all = tall(grey[i] + colour[i]), own = grey[i] ? (all * grey[i]) / (grey[i] + colour[i]) : 0;
    if (own) under += bar(i, H, own);
    if (colour[i]) over += bar(i, H - own, Math.max(2, all - own));
  }
  const x = (time) => ((time - from) / Math.max(1, to - from)) * W;
  const left = x(first), width = Math.max(W / count, x(last) - left);
  const text = `Accesses of ${name} from ${iso(from)} to ${iso(to)}: ${plural(usual.length, "usual one")}, ${plural(odd.length, "of this incident", "of this incident")}.`;
  return s("svg", { class: `activity ${level}`, viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", role: "img", "aria-label": text },
    s("rect", { class: "when", x: Math.min(left, W - width), y: 0, width, height: H }),
    s("path", { class: "usual", d: under }), s("path", { class: "odd", d: over }), s("rect", { class: "base", x: 0, y: H - 0.7, width: W, height: 0.7 }));
}

const BOX = 26, GAP = 7, WIDE = 208, BETWEEN = 58, MOST = 7, HEAD = 20;

/**
 * Columns of boxes with lines between neighbours. A column is `{ title, nodes: Map(key, { label, full, odd, lost }) }`;
 * `lines[i]` is a Map from "key key" to `{ from, to, n, odd }` between columns i and i + 1.
 */
function graph(columns, lines, label) {
  const shown = columns.map(({ nodes }) => {
    const keys = [...nodes.keys()];
    const first = keys.length > MOST ? keys.slice(0, MOST - 1) : keys;
    return { first, more: keys.length - first.length };
  });
  const rows = Math.max(...shown.map(({ first, more }) => first.length + (more ? 1 : 0)));
  const W = columns.length * WIDE + (columns.length - 1) * BETWEEN, H = HEAD + rows * (BOX + GAP);
  const x = (column) => column * (WIDE + BETWEEN);
  const y = (column, row) => {
    const { first, more } = shown[column], own = first.length + (more ? 1 : 0);
    return HEAD + ((rows - own) * (BOX + GAP)) / 2 + row * (BOX + GAP);
  };
  const row = (column, key) => { const at = shown[column].first.indexOf(key); return at < 0 ? shown[column].first.length : at; };
  const paths = lines.flatMap((between, column) => {
    const drawn = new Map();
    for (const { from, to, n, odd } of between.values()) {
      const ends = [row(column, from), row(column + 1, to)], known = drawn.get(ends.join()) || { ends, n: 0, odd: false };
      known.n += n; known.odd ||= odd;
      drawn.set(ends.join(), known);
    }
    const most = Math.max(...[...drawn.values()].map(({ n }) => n));
    return [...drawn.values()].sort((a, b) => a.odd - b.odd).map(({ ends: [a, b], n, odd }) => {
      const x1 = x(column) + WIDE, x2 = x(column + 1), y1 = y(column, a) + BOX / 2, y2 = y(column + 1, b) + BOX / 2, bend = BETWEEN / 2;
      return s("path", { class: odd ? "odd" : "usual", "stroke-width": (1 + 3 * Math.sqrt(n / most)).toFixed(1), d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` });
    });
  });
  const box = (column, at, { label: text, full, odd, lost }) => s("g", { class: lost ? "lost" : odd ? "odd" : "usual" },
    s("title", {}, full), s("rect", { x: x(column) + 0.5, y: y(column, at), width: WIDE - 1, height: BOX, rx: 4 }),
    // A drawing of its own cuts off letters that are wider than others.
    s("svg", { x: x(column) + 9, y: y(column, at), width: WIDE - 14, height: BOX }, s("text", { x: 0, y: 17 }, middle(text, 28))));
  const boxes = columns.flatMap(({ title, nodes }, column) => {
    const { first, more } = shown[column];
    const drawn = first.map((key, at) => box(column, at, nodes.get(key)));
    if (more) drawn.push(box(column, first.length, { label: `${more} more`, full: `${more} more` }));
    return [s("text", { class: "head", x: x(column), y: 12 }, title), ...drawn];
  });
  return s("svg", { class: "graph", viewBox: `0 0 ${W} ${H}`, width: W, height: H, role: "img", "aria-label": label }, paths, boxes);
}
return { activity, graph };
})();
