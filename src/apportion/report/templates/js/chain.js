// The open trace: its problem, and its chain of thought once for each column.

const MANY_TOKENS = 12000; // beyond this the text is written by step, and tokens show in the detail

function drawTrace() {
  const place = byId("trace");
  hideTip();
  if (!state.trace) {
    place.replaceChildren(el("p", { class: "count" }, "No trace is open."));
    return;
  }
  const trace = state.trace;
  const columns = columnsOf(trace);
  const stage = el("div", { class: columns.length > 1 ? "stage many" : "stage" });
  const strongest = strength(columns);
  const detailed = columns.reduce((sum, c) => sum + c.trace.tokens.length / 2, 0) < MANY_TOKENS;
  const holder = el("div", { class: "columns" }, columns.map((c, i) => columnNode(c, i, columns, strongest, detailed)));
  stage.append(holder, el("aside", { class: "detail", id: "detail", "aria-live": "polite", "aria-label": "Step" }));
  place.replaceChildren(...[heading(trace), problem(trace), probeSummary(trace), viewControls(trace), missing(trace), legend(strongest, columns), arcLegend(columns), stage, editsOf(trace), others(trace)].filter(Boolean));
  drawArcs();
  drawDetail();
}

// One scale for all columns and all traces, so that equal colours are equal credits. The few
// credits beyond it get the full colour; their number tells them apart.
function strength(columns) {
  return Math.max(0, ...columns.map(({ method }) => data.strongest[method] || 0));
}

// Credit of each step, or its difference from the chain's mean over tokens.
function shownCredit(trace, method) {
  const credit = trace.credit[method];
  if (!credit) return trace.steps.map(() => null);
  if (!state.relative) return credit.steps;
  const middle = chainMean(trace, credit);
  return credit.steps.map((value) => (value === null ? null : value - middle));
}

function chainMean(trace, credit) {
  const tokens = expand(credit.advantages);
  const values = tokens.length ? tokens : credit.steps.filter((v) => v !== null);
  return values.length ? values.reduce((a, b) => a + b, 0) / values.length : 0;
}

function heading(trace) {
  const where = [trace.seed === null && data.showArms && trace.arm, trace.update !== null && `update ${trace.update}`, count(trace.tokens.length / 2, "token"), trace.finish === "length" && "cut off at the length limit", trace.cut && `the first ${characters(trace).length.toLocaleString("en")} of ${count(trace.cut, "character")}`];
  return el("div", { class: "trace-head" },
    el("span", { class: "verdict" }, trace.class),
    el("span", { class: "id" }, trace.id),
    el("span", {}, where.filter(Boolean).join(" · ")),
    el("span", { class: "turn" },
      el("button", { type: "button", onclick: () => step(-1), "aria-label": "previous trace" }, "\u2190"),
      el("button", { type: "button", onclick: () => step(1), "aria-label": "next trace" }, "\u2192"),
      el("a", { href: hashOf(trace), title: "Link to this trace" }, "link")));
}

function problem(trace) {
  const box = el("div", {});
  if (trace.prompt.trim()) box.append(el("p", { class: "problem", dir: "auto" }, trace.prompt.trim()));
  if (trace.answers.length) box.append(el("p", { class: "expected" }, "reference answer: ", el("bdi", {}, trace.answers.join(" or "))));
  return box;
}

function viewControls(trace) {
  const methods = methodsOf(trace);
  const same = sameProblem(trace);
  const choices = methods.map((m) => [m, m]);
  if (methods.length > 1) choices.push([SIDE, SIDE]);
  if (same.length > 1) choices.push([ANSWERS, new Set(same.map((t) => t.arm)).size > 1 ? "across " + data.arms : "other answers"]);
  const arcs = arcChoices(trace);
  if (!choices.length) return arcs ? el("div", { class: "view" }, arcs) : null;
  const group = el("div", { class: "segments", id: "methods", role: "group", "aria-label": "Credit method" });
  const chosen = columnsOf(trace).length > 1 ? state.view : methodFor(trace);
  segments(group, choices, chosen, setView);
  const select = el("select", { id: "relative" }, el("option", { value: "" }, "advantage"), el("option", { value: "1" }, "relative to the chain's mean"));
  select.value = state.relative ? "1" : "";
  select.addEventListener("change", () => { state.relative = Boolean(select.value); drawTrace(); });
  return el("div", { class: "view" }, group, methods.length ? el("label", {}, "Tint", select) : null, arcs);
}

function setView(value) {
  state.view = value === SIDE || value === ANSWERS ? value : "one";
  if (state.view === "one") state.method = value;
  state.column = 0;
  if (state.sort === "credit") relist();
  draw();
  writeHash();
}

function missing(trace) {
  const absent = [];
  if (!methodsOf(trace).length) absent.push("No credit is recorded for this trace, so its text is not tinted.");
  if (!trace.reviews.length) absent.push("No review is recorded for this trace.");
  return absent.length ? el("p", { class: "untinted" }, absent.join(" ")) : null;
}

function legend(strongest, columns) {
  if (!strongest) return null;
  const chip = el("span", { class: "chip hatched" });
  const disputed = columns.some(({ trace }) => trace.steps.some((s) => s.status === "disputed"));
  return el("div", { class: "legend" },
    el("span", {}, "\u2264 " + signed(-strongest)), el("span", { class: "scale", "aria-hidden": "true" }), el("span", {}, "\u2265 " + signed(strongest)),
    disputed ? [chip, el("span", {}, "the reviewers disagree")] : null);
}

function columnNode(column, index, columns, strongest, detailed) {
  const { trace, method } = column;
  const many = columns.length > 1;
  const answers = many && state.view === ANSWERS;
  const title = answers ? trace.arm + (trace.seed === null ? "" : ` s${trace.seed}`) : method;
  const small = answers ? [trace.class, trace.update === null ? "" : `update ${trace.update}`, method && `credit: ${method}`].filter(Boolean).join(" · ") : "";
  const credit = shownCredit(trace, method);
  const chain = el("ol", { class: "chain", "aria-label": title || "chain of thought" }, trace.steps.map((_, s) => stepNode(column, index, s, credit[s], strongest, detailed)));
  return el("div", { class: "column", "data-column": index }, many ? el("h3", {}, el("span", {}, title), el("small", {}, small)) : null, answers || index === 0 ? answerStrip(trace, index) : null, chain);
}

function stepNode(column, index, s, value, strongest, detailed) {
  const { trace, method } = column;
  const shown = trace.steps[s];
  const answer = shown.status === "answer";
  const label = shown.status === "disputed" ? "disputed" : shown.status === "agreed" ? shown.label : answer ? "answer" : trace.reviews.length ? "not judged" : "";
  const current = state.step === s && state.column === index;
  const used = usesInWords(trace, s);
  const node = el("li", {
    class: `step ${shown.status}${shown.status === "disputed" ? " hatched" : ""}`, "data-column": index, "data-step": s,
    tabindex: current || (state.step === null && s === 0 && index === 0) ? 0 : -1,
    "aria-current": String(current),
  },
    el("span", { class: "n" }, answer ? "\u2234" : String(s + 1)),
    stepText(trace, s, method, detailed),
    el("span", { class: "side" },
      el("span", { class: "credit" }, trace.credit[method] ? signed(value) : ""),
      " ", el("span", { class: "tag" }, label), needTag(trace, s), used ? el("span", { class: "unseen" }, ` ${used}`) : null));
  return tint(node, value, strongest);
}

function stepText(trace, s, method, detailed) {
  const { a, b, focus } = trace.steps[s];
  const text = el("span", { class: "text", dir: "auto" });
  // The line end that closes a step is not shown; its length is counted in code points.
  const stop = a + Array.from(slice(trace, a, b).replace(/\s+$/u, "")).length;
  if (stop === a) {
    text.append(el("span", { class: "blank" }, "(blank)"));
    return text;
  }
  const inFocus = (x, y) => focus && x < focus[1] && y > focus[0];
  const put = (x, y, t) => {
    if (y <= x) return;
    const classes = [t >= 0 && "tok", inFocus(x, y) && "focus"].filter(Boolean).join(" ");
    const piece = slice(trace, x, y);
    text.append(classes ? el("span", { class: classes, "data-t": t >= 0 ? t : null }, piece) : piece);
  };
  let at = a;
  for (const t of detailed ? tokensIn(trace, a, stop) : []) {
    const x = Math.max(at, trace.tokens[2 * t]);
    const y = Math.min(stop, trace.tokens[2 * t + 1]);
    put(at, x, -1);
    put(x, y, t);
    at = Math.max(at, y);
  }
  if (!detailed && focus) {
    put(at, Math.max(at, focus[0]), -1);
    at = Math.max(at, focus[0]);
    put(at, Math.min(stop, focus[1]), -1);
    at = Math.min(stop, Math.max(at, focus[1]));
  }
  put(at, stop, -1);
  return text;
}

// Indices of the tokens that start in [a, b), found by bisection since spans are in order.
function tokensIn(trace, a, b) {
  const first = (offset) => {
    let low = 0;
    let high = trace.tokens.length / 2;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (trace.tokens[2 * middle] < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const found = [];
  for (let t = first(a); t < first(b); t++) found.push(t);
  return found;
}

function others(trace) {
  const same = sameProblem(trace);
  if (same.length < 2) return null;
  const update = new Set(same.map((t) => t.update)).size > 1;
  const lines = [...new Set(same.map((t) => t.arm))].map((arm) => {
    const own = same.filter((t) => t.arm === arm);
    const more = own.length > 12 ? el("span", { class: "arm" }, `and ${own.length - 12} more`) : null;
    return el("p", {}, el("span", { class: "arm" }, data.showArms ? arm : ""), own.slice(0, 12).map((t) => answerButton(t, trace, update)), more);
  });
  return el("div", { class: "others" }, el("h4", {}, "Answers to the same problem"), lines);
}

function answerButton(other, trace, update) {
  const parts = [other.seed === null ? null : `s${other.seed}`, other.class, update && other.update !== null ? `update ${other.update}` : null];
  return el("button", {
    type: "button", title: other.id, "aria-current": String(other === trace),
    onclick: () => { open(other); draw(); writeHash(); },
  }, parts.filter(Boolean).join(" "));
}
