// What is shown: which traces are listed, which is open, under which method, at which step.

const SIDE = "side by side";
const ANSWERS = "answers";
const state = {
  filter: "all", query: "", sort: "disagreement", arm: "",
  trace: null, method: "", view: "one", relative: false,
  column: 0, step: null, open: false, arcs: "uses", argued: false, talked: false,
};
let listed = [];
const problemOf = (trace) => trace.problem + "\n" + trace.prompt;
const tracesOf = new Map();
for (const trace of data.traces) {
  if (!tracesOf.has(problemOf(trace))) tracesOf.set(problemOf(trace), []);
  tracesOf.get(problemOf(trace)).push(trace);
}
const traceById = new Map(data.traces.map((trace) => [trace.id, trace]));
const searchable = new WeakMap();

function haystack(trace) {
  if (!searchable.has(trace)) {
    const parts = [trace.id, trace.problem, trace.arm, trace.prompt, trace.text, trace.answers.join(" ")];
    searchable.set(trace, parts.join("\n").toLowerCase());
  }
  return searchable.get(trace);
}

function methodsOf(trace) {
  return data.methods.filter((method) => method in trace.peaks);
}

// The method whose credit is shown where one has to be chosen: the one asked for, else the
// trace's own arm, else the first that it has.
function methodFor(trace) {
  const has = methodsOf(trace);
  if (has.includes(state.method)) return state.method;
  return has.includes(trace.arm) ? trace.arm : has.find((method) => method !== "outcome") || has[0] || "";
}

function peak(trace) {
  const highest = trace.peaks[methodFor(trace)];
  return highest === undefined || highest === null ? -1 : highest;
}

const byName = new Intl.Collator("en", { numeric: true });
const ORDERS = {
  disagreement: (t) => (t.disagreement === null ? -1 : t.disagreement),
  credit: peak,
  id: () => 0,
};

function relist() {
  const query = state.query.trim().toLowerCase();
  const key = ORDERS[state.sort];
  listed = data.traces
    .filter((t) => state.filter === "all" || t.class === state.filter)
    .filter((t) => !state.arm || t.arm === state.arm)
    .filter((t) => !query || haystack(t).includes(query))
    .map((t) => [key(t), state.sort === "id" ? 0 : peak(t), t])
    .sort((a, b) => b[0] - a[0] || b[1] - a[1] || byName.compare(a[2].id, b[2].id))
    .map((entry) => entry[2]);
}

// The columns of the main panel: one trace and one method each.
function columnsOf(trace) {
  const methods = methodsOf(trace);
  if (state.view === SIDE && methods.length > 1) return methods.map((method) => ({ trace, method }));
  if (state.view === ANSWERS) return answersBeside(trace).map((t) => ({ trace: t, method: methodFor(t) }));
  return [{ trace, method: methodFor(trace) }];
}

// The nearest answer of each other arm to the same problem (same seed, same time of training);
// where there is one arm only, its other answers.
function answersBeside(trace) {
  const far = (t) => (t.seed === trace.seed ? 0 : 1e9) + Math.abs((t.update || 0) - (trace.update || 0));
  const rest = sameProblem(trace).filter((t) => t !== trace).sort((a, b) => far(a) - far(b) || byName.compare(a.id, b.id));
  const arms = [...new Set(rest.map((t) => t.arm))].filter((arm) => arm !== trace.arm).sort();
  const beside = arms.length ? arms.map((arm) => rest.find((t) => t.arm === arm)) : rest;
  return [trace, ...beside.slice(0, 7)];
}

function sameProblem(trace) {
  return tracesOf.get(problemOf(trace));
}

function readHash() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const trace = traceById.get(wanted.get("trace") || "");
  if (!trace) return false;
  const method = wanted.get("method") || "";
  if (method === "all") state.view = SIDE;
  else if (data.methods.includes(method)) Object.assign(state, { method, view: "one" });
  if (wanted.get("view") === ANSWERS) state.view = ANSWERS;
  open(trace);
  return true;
}

function hashOf(trace) {
  const parts = new URLSearchParams({ trace: trace.id });
  const method = state.view === SIDE ? "all" : methodFor(trace);
  if (method) parts.set("method", method);
  if (state.view === ANSWERS) parts.set("view", ANSWERS);
  return "#" + parts.toString();
}

function writeHash() {
  if (state.trace) history.replaceState(null, "", hashOf(state.trace));
}

function open(trace) {
  Object.assign(state, { trace, column: 0, step: null, open: false });
}
