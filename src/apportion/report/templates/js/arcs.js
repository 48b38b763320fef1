// Arcs beside the steps: which earlier step each one uses, as the reviewers say and as the known
// solution has it. The same is said in words: on the picture, on each step, and in the detail.

const WAYS = {
  both: "the reviewers and the known solution",
  said: "the reviewers",
  known: "the known solution only",
};

// {from, to, way} for each dependency, nearest first.
const edgesOf = (() => {
  const found = new WeakMap();
  return (trace) => {
    if (!found.has(trace)) found.set(trace, trace.steps.flatMap((_, to) => edgesInto(trace, to)));
    return found.get(trace);
  };
})();

function edgesInto(trace, to) {
  const said = trace.steps[to].uses || [];
  const known = trace.steps[to].known || [];
  return [...new Set([...said, ...known])].sort((a, b) => b - a).map((from) => ({
    from, to, way: !said.includes(from) ? "known" : known.includes(from) ? "both" : "said",
  }));
}

function stepList(indices) {
  const names = [...indices].sort((a, b) => a - b).map((i) => String(i + 1));
  const last = names.pop();
  return (names.length ? `steps ${names.join(", ")} and ` : "step ") + last;
}

// "uses steps 1 and 2; in the known solution also step 3", or an empty text.
function usesInWords(trace, s) {
  const into = edgesOf(trace).filter((edge) => edge.to === s);
  const said = into.filter((edge) => edge.way !== "known").map((edge) => edge.from);
  const known = into.filter((edge) => edge.way === "known").map((edge) => edge.from);
  const parts = [];
  if (said.length) parts.push("uses " + stepList(said));
  if (known.length) parts.push(said.length ? "in the known solution also " + stepList(known) : `uses ${stepList(known)} in the known solution`);
  return parts.join("; ");
}

function graphInWords(trace) {
  const steps = trace.steps.map((_, s) => [s, usesInWords(trace, s)]).filter(([, words]) => words);
  return "Dependencies. " + steps.map(([s, words]) => `Step ${s + 1} ${words}.`).join(" ");
}

function arcLegend(columns) {
  const linked = linkedColumns(columns);
  const moved = linked.map(({ trace }) => moveOf(trace)).find(Boolean);
  if (moved) return movesLegend(moved);
  const ways = new Set(linked.flatMap(({ trace }) => edgesOf(trace).map((edge) => edge.way)));
  const { known } = columns[0].trace;
  if (!ways.size) return null;
  const sample = (way) => svgNode("svg", { class: "arc-key", viewBox: "0 0 26 10", "aria-hidden": "true" },
    svgNode("path", { class: way, d: "M1,5 H25" }));
  const keys = Object.keys(WAYS).filter((way) => ways.has(way)).map((way) => el("span", { class: "arc-name" }, sample(way), ` ${WAYS[way]}`));
  const carried = known && known.drawn < known.of
    ? el("span", {}, `of ${count(known.of, "dependency", "dependencies")} in the known solution, ${known.drawn} can be drawn in this text`) : null;
  return el("div", { class: "legend arcs-legend" }, el("span", {}, "A step uses an earlier one, say"), keys, carried);
}

function svgNode(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Side by side, the columns show one chain: the first has its arcs. Answers have each their own.
function linkedColumns(columns) {
  const own = state.view === ANSWERS ? columns : columns.slice(0, 1);
  return own.filter(({ trace }) => arcsOf(trace).length);
}

function drawArcs() {
  const columns = columnsOf(state.trace);
  const linked = linkedColumns(columns);
  for (const holder of document.querySelectorAll(".column")) {
    const index = Number(holder.dataset.column);
    const chain = holder.querySelector(".chain");
    const old = holder.querySelector(".arcs");
    if (old) old.remove();
    holder.classList.toggle("linked-steps", linked.includes(columns[index]));
    if (linked.includes(columns[index])) chain.before(arcs(columns[index].trace, chain, index));
  }
}

function arcs(trace, chain, index) {
  const nodes = chain.querySelectorAll(".step");
  const width = parseFloat(getComputedStyle(chain).marginLeft);
  const edges = arcsOf(trace);
  const longest = Math.max(...edges.map(({ from, to }) => to - from));
  const picture = svgNode("svg", { class: "arcs", role: "img", "aria-label": moveOf(trace) ? movesInWords(trace) : graphInWords(trace) });
  picture.style.top = chain.offsetTop + "px";
  picture.style.width = width + "px";
  picture.style.height = chain.offsetHeight + "px";
  // What leaves a step starts a little below what arrives at it.
  const y = (s, by) => nodes[s].offsetTop + 18 + by;
  const here = state.column === index || state.view !== ANSWERS ? state.step : null;
  const drawn = edges.map(({ from, to, way, said, width: thick }) => {
    const reach = 4 + (width - 7) * Math.sqrt((to - from) / longest);
    // A cubic whose middle is three quarters of the way to its control points.
    const out = width - 1 - reach / 0.75;
    const [a, b] = [y(from, 3), y(to, -3)];
    const on = here === to ? " on uses" : here === from ? " on" : "";
    const label = svgNode("title", {}, said || `step ${to + 1} uses step ${from + 1}: ${WAYS[way]}`);
    const path = svgNode("path", { class: way + on, "data-from": from, "data-to": to, d: `M${width - 1},${a} C${out},${a} ${out},${b} ${width - 1},${b}` }, label);
    if (thick) path.style.strokeWidth = thick + "px";
    return path;
  });
  // The chosen step's own arcs lie on top.
  picture.append(...drawn.sort((a, b) => a.classList.contains("on") - b.classList.contains("on")));
  return picture;
}

// Along an arc: to the nearest step that the chosen one uses, or that uses it.
function followArc(back) {
  if (!state.trace || state.step === null) return;
  const { trace } = columnsOf(state.trace)[state.column];
  const next = back
    ? arcsOf(trace).filter((edge) => edge.to === state.step).map((edge) => edge.from)
    : arcsOf(trace).filter((edge) => edge.from === state.step).map((edge) => edge.to);
  if (next.length) focusStep(state.column, back ? Math.max(...next) : Math.min(...next));
}
