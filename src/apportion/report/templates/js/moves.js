// Arcs of causal influence: how far a step moves a later one, or the answer, by an intervention.

const USES = "uses";

// The measure whose arcs are shown, null where dependencies are.
function moveOf(trace) {
  const moves = trace.probed ? trace.probed.moves : [];
  const chosen = moves.find((move) => move.by === state.arcs);
  return chosen || (edgesOf(trace).length ? null : moves[0] || null);
}

function arcsOf(trace) {
  const move = moveOf(trace);
  return move ? moveEdges(trace, move) : edgesOf(trace);
}

function moveEdges(trace, move) {
  return move.arcs.map(([from, to, value]) => ({
    from, to, value, way: value < 0 ? "minus" : "plus", width: (1 + 3 * Math.abs(value) / move.strongest).toFixed(2),
    said: `${moveInWords(trace, from, to, value)}: ${words(move.by)}`,
  }));
}

function moveInWords(trace, from, to, value) {
  const target = trace.steps[to].status === "answer" ? "the answer" : `step ${to + 1}`;
  return `step ${from + 1} moves ${target} by ${signed(value)}`;
}

function movesInWords(trace) {
  const move = moveOf(trace);
  return `Influence by ${words(move.by)}, ${move.unit}. ` + move.arcs.map(([from, to, value]) => moveInWords(trace, from, to, value)).join("; ");
}

function movesLegend(move) {
  const sample = (way) => svgNode("svg", { class: "arc-key", viewBox: "0 0 26 10", "aria-hidden": "true" }, svgNode("path", { class: way, d: "M1,5 H25" }));
  const signs = [["plus", "+ supports it"], ["minus", `${MINUS} works against it`]].filter(([way]) => move.arcs.some((arc) => (arc[2] < 0) === (way === "minus")));
  return el("div", { class: "legend arcs-legend" }, el("span", {}, `A step moves a later one or the answer (${words(move.by)}, ${move.unit}):`),
    signs.map(([way, name]) => el("span", { class: "arc-name" }, sample(way), ` ${name}`)), el("span", {}, `thickest: ${plain(move.strongest)}`));
}

function arcChoices(trace) {
  const moves = trace.probed ? trace.probed.moves : [];
  if (!moves.length) return null;
  const shown = moveOf(trace);
  const options = [...(edgesOf(trace).length ? [[USES, "dependencies"]] : []), ...moves.map((move) => [move.by, words(move.by)])];
  const select = el("select", { id: "arcs-of" }, options.map(([value, text]) => el("option", { value }, text)));
  select.value = shown ? shown.by : USES;
  select.addEventListener("change", () => setArcs(select.value));
  return el("label", {}, "Arcs", select);
}

function setArcs(value) {
  state.arcs = value;
  drawTrace();
}

function nextArcs() {
  const select = byId("arcs-of");
  if (!select) return;
  const values = [...select.options].map((option) => option.value);
  setArcs(values[(values.indexOf(select.value) + 1) % values.length]);
  const fresh = byId("arcs-of");
  if (fresh) fresh.focus();
}
