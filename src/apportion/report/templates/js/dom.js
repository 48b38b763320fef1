// Small helpers. Text from records reaches the page through textContent and nothing else.

const [firstLine, ...traceLines] = document.getElementById("data").textContent.split("\n");
const data = JSON.parse(firstLine);

// The larger part of a trace is parsed when it is first looked at.
const folded = {};
for (const name of ["tokens", "steps", "known", "reviews", "credit", "probed", "edits"]) {
  Object.defineProperty(folded, name, { get() { return unfold(this)[name]; } });
}
data.traces.forEach((trace, line) => Object.assign(Object.setPrototypeOf(trace, folded), { line, rest: null }));

function unfold(trace) {
  if (!trace.rest) {
    const rest = JSON.parse(traceLines[trace.line]);
    trace.rest = Object.assign(rest, { tokens: edges(rest.tokens) });
  }
  return trace.rest;
}

// Token spans as [a, b, a, b, ...]; where they touch only their lengths are written down.
function edges(tokens) {
  if (Array.isArray(tokens)) return tokens;
  let at = tokens.from;
  return tokens.lengths.flatMap((length) => [at, at += length]);
}
const byId = (id) => document.getElementById(id);

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "onclick") node.addEventListener("click", value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  return node;
}

const MINUS = "\u2212";

function plain(value, places = 2) {
  return value.toFixed(places).replace("-", MINUS);
}

// With its sign, which is never left to the colour alone; what rounds to zero has none.
function signed(value, places = 2) {
  if (value === null || value === undefined) return "\u2013";
  const text = plain(value, places);
  if (Number(value.toFixed(places)) === 0) return plain(0, places);
  return value > 0 ? "+" + text : text;
}

function count(n, noun, nouns = noun + "s") {
  return n.toLocaleString("en") + " " + (n === 1 ? noun : nouns);
}

// Offsets in records count code points, those of JavaScript strings UTF-16 units.
const pointsOf = new WeakMap();
function characters(trace) {
  if (!pointsOf.has(trace)) pointsOf.set(trace, Array.from(trace.text));
  return pointsOf.get(trace);
}
function slice(trace, a, b) {
  return characters(trace).slice(a, b).join("");
}

// [[value, how often], ...] written out, one value for each token.
function expand(runs) {
  const values = [];
  for (const [value, times] of runs) for (let i = 0; i < times; i++) values.push(value);
  return values;
}

// Blue above zero, orange below; the strength is the share of the strongest credit in sight.
function tint(node, value, strongest) {
  if (!value || !strongest) return node;
  node.style.setProperty("--tint", value >= 0 ? "var(--plus)" : "var(--minus)");
  node.style.setProperty("--t", Math.min(1, Math.abs(value) / strongest).toFixed(3));
  return node;
}

function segments(node, choices, chosen, choose) {
  node.replaceChildren(
    ...choices.map(([value, text]) =>
      el("button", {
        type: "button", "data-value": value, "aria-pressed": String(value === chosen),
        onclick: () => choose(value),
      }, text)),
  );
}
