// What interventions found: the answer along the chain, and how much each step is needed.

const MOST_NAMED = 16; // with more columns than this there is no room for an answer in each

// What the answer loses without a step, null where that was not tried.
function needOf(trace, s) {
  return trace.probed && trace.probed.need ? trace.probed.need.steps[s] : null;
}

// Reviewers that call a step useful which the answer can do without.
function clashes(trace, s) {
  const need = needOf(trace, s);
  if (need === null || need >= trace.probed.need.least) return [];
  return trace.reviews.filter((review) => saysUseful(review, s)).map((review) => review.reviewer);
}

function saysUseful(review, s) {
  const said = review.error === null && review.at[s] >= 0 ? review.verdicts[review.at[s]] : null;
  return Boolean(said && said.label === "useful");
}

function needTag(trace, s) {
  const need = needOf(trace, s);
  if (need === null) return null;
  const against = clashes(trace, s);
  const title = `without this step the answer loses ${signed(need)} of its probability (${words(trace.probed.need.by)})`
    + (against.length ? `; ${against.join(", ")}: useful` : "");
  return el("span", { class: against.length ? "need clash" : "need", title }, `need ${signed(need)}`, against.length ? el("b", {}, "\u2260 decoration") : null);
}

const words = (name) => name.replace(/_/g, " ");

// The figures of the whole chain, and how often a reviewer and the intervention part.
function probeSummary(trace) {
  if (!trace.probed) return null;
  const { measures, scoring, need } = trace.probed;
  const items = measures.map(([name, value, error]) => el("li", error ? { class: "failed", title: error } : {}, words(name) + " ", el("b", {}, error ? "not measured" : value === null ? "\u2013" : plain(value, 3))));
  const lines = [el("ul", {}, items)];
  if (scoring.length) lines.push(el("span", {}, `by ${scoring.join(" and ")}`));
  const useful = need ? trace.steps.map((_, s) => s).filter((s) => needOf(trace, s) !== null && trace.reviews.some((r) => saysUseful(r, s))) : [];
  const idle = useful.filter((s) => clashes(trace, s).length);
  if (useful.length) lines.push(el("p", { class: idle.length ? "clash" : "" }, `${idle.length} of ${count(useful.length, "step")} that a reviewer calls useful ${idle.length === 1 ? "is" : "are"} decoration: without ${idle.length === 1 ? "it" : "one of them"} the answer loses less than ${plain(need.least)} of its probability.`));
  return el("div", { class: "probed" }, el("h4", {}, "Interventions"), lines);
}

// A column for each place where the answer was asked for, stacked by what was answered.
function answerStrip(trace, index) {
  const strip = trace.probed && trace.probed.strip;
  if (!strip) return null;
  const width = strip.rows.length;
  const picture = svgNode("svg", { class: "answers", viewBox: `0 0 ${width} 1`, preserveAspectRatio: "none", role: "img", "aria-label": stripInWords(strip) }, patterns(index));
  strip.rows.forEach((row, k) => picture.append(stripColumn(trace, strip, row, k, index)));
  const ends = el("div", { class: "ends", "aria-hidden": "true" }, el("span", {}, "no chain"), el("span", {}, "asked for the answer at once, behind each step"), el("span", {}, "whole chain"));
  const tops = width <= MOST_NAMED ? el("div", { class: "tops", "aria-hidden": "true", style: `grid-template-columns: repeat(${width}, 1fr)` }, strip.tops.map(([answer, share]) => el("bdi", { title: share === null ? answer : `${answer} ${plain(share)}` }, share === null || share >= 0.5 ? answer : "\u2013"))) : null;
  return el("figure", { class: "answer-strip" }, picture, tops, ends, stripKey(trace, strip, index), stripTable(strip));
}

function stripColumn(trace, strip, row, k, index) {
  const column = svgNode("g", { class: state.step !== null && strip.after[k] === state.step ? "at here" : "at", "data-after": strip.after[k] }, svgNode("title", {}, placeName(strip, k) + ": " + rowInWords(strip, row, k)));
  column.append(svgNode("rect", { class: "rest", x: k, y: 0, width: 1, height: 1 }));
  let top = 1;
  row.forEach((share, a) => {
    top -= share;
    column.append(svgNode("rect", { class: "answer-" + a, x: k + 0.04, y: Math.max(0, top), width: 0.92, height: share, fill: a ? `url(#hatch-${index}-${a})` : "var(--accent)" }));
  });
  const [answer, share] = strip.tops[k];
  if (share !== null && !strip.answers.includes(answer)) column.append(svgNode("rect", { class: "another", x: k + 0.04, y: Math.max(0, top - share), width: 0.92, height: share }));
  if (strip.after[k] >= 0) column.addEventListener("click", () => focusStep(index, strip.after[k]));
  return column;
}

// Each answer but the chain's own has stripes of its own, so that no two differ by colour alone.
function patterns(index) {
  const made = [1, 2, 3].map((a) => svgNode("pattern", { id: `hatch-${index}-${a}`, width: 0.3, height: 0.14, patternUnits: "userSpaceOnUse" },
    svgNode("rect", { class: "ground-" + a, width: 0.3, height: 0.14 }),
    a === 1 ? svgNode("rect", { class: "stripe", width: 0.3, height: 0.05 }) : a === 2 ? svgNode("rect", { class: "stripe", width: 0.1, height: 0.14 }) : svgNode("rect", { class: "stripe", width: 0.12, height: 0.06 })));
  return svgNode("defs", {}, ...made);
}

const placeName = (strip, k) => (k === 0 && strip.after[k] < 0 ? "without the chain" : strip.after[k] < 0 ? "behind a step that is not shown" : `behind step ${strip.after[k] + 1}`);

function rowInWords(strip, row, k) {
  const named = strip.answers.includes(strip.tops[k][0]) ? 0 : strip.tops[k][1] || 0;
  const rest = 1 - named - row.reduce((a, b) => a + b, 0);
  const parts = row.map((share, a) => `${strip.answers[a]} ${plain(share)}`);
  const [answer, share] = strip.tops[k];
  if (!strip.answers.includes(answer)) parts.unshift(share === null ? `most likely ${answer}` : `${answer} ${plain(share)}`);
  if (rest > 0.005) parts.push(`anything else ${plain(rest)}`);
  return parts.join(", ");
}

const stripInWords = (strip) => "Answers along the chain. " + strip.rows.map((row, k) => `${placeName(strip, k)}: ${rowInWords(strip, row, k)}`).join("; ");

function stripKey(trace, strip, index) {
  const sample = (a) => svgNode("svg", { class: "answer-key", viewBox: "0 0 1 0.7", preserveAspectRatio: "none", "aria-hidden": "true" },
    svgNode("rect", { width: 1, height: 0.7, fill: a ? `url(#hatch-${index}-${a})` : "var(--accent)" }));
  const about = (answer, a) => [a === 0 && "stated", trace.answers.includes(answer) && "reference"].filter(Boolean).join(", ");
  const keys = strip.answers.map((answer, a) => el("span", {}, sample(a), el("bdi", {}, answer), about(answer, a) ? el("small", {}, ` ${about(answer, a)}`) : null));
  return el("figcaption", { class: "legend" }, keys, el("span", {}, el("span", { class: "answer-key blank" }), "anything else"));
}

function stripTable(strip) {
  const head = el("tr", {}, el("th", { scope: "col" }, "asked"), strip.answers.map((answer) => el("th", { scope: "col" }, el("bdi", {}, answer))));
  const rows = () => strip.rows.map((row, k) => el("tr", {}, el("th", { scope: "row" }, placeName(strip, k)), row.map((share) => el("td", {}, plain(share)))));
  const box = el("details", { class: "numbers" }, el("summary", {}, `numbers, by ${words(strip.by)}`));
  box.addEventListener("toggle", () => { if (box.open && !box.querySelector("table")) box.append(el("div", { class: "scroll", tabindex: 0 }, el("table", {}, el("thead", {}, head), el("tbody", {}, rows())))); });
  return box;
}

function markStrip() {
  for (const column of document.querySelectorAll(".answers .at")) {
    column.classList.toggle("here", state.step !== null && Number(column.dataset.after) === state.step);
  }
}

// The step's effect on the answer and on later steps, beside what reviewers say of it.
function interventions(trace, s) {
  if (!trace.probed) return null;
  const lines = [];
  const need = needOf(trace, s);
  if (need !== null) lines.push(el("p", {}, `Without it the answer loses ${signed(need)} of its probability (${words(trace.probed.need.by)}).`));
  for (const move of trace.probed.moves) {
    const out = move.arcs.filter(([from]) => from === s).sort((a, b) => Math.abs(b[2]) - Math.abs(a[2])).slice(0, 6);
    const into = move.arcs.filter(([, to]) => to === s).sort((a, b) => Math.abs(b[2]) - Math.abs(a[2])).slice(0, 6);
    const names = (arcs, end) => arcs.map((arc) => `${trace.steps[arc[end]].status === "answer" ? "the answer" : "step " + (arc[end] + 1)} ${signed(arc[2])}`).join(", ");
    if (out.length) lines.push(el("p", {}, `Moves ${names(out, 1)}: ${words(move.by)}, ${move.unit}.`));
    if (into.length) lines.push(el("p", {}, `Moved by ${names(into, 0)}: ${words(move.by)}.`));
  }
  const against = clashes(trace, s);
  if (against.length) lines.push(el("p", { class: "clash" }, `${against.join(", ")} ${against.length === 1 ? "calls" : "call"} it useful; the intervention says decoration.`));
  return lines.length ? block("Interventions", ...lines) : null;
}
