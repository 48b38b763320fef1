// What is known of the chosen step: verdicts and reasons, dependencies, credit, tokens.

function choose(column, s, opened) {
  Object.assign(state, { column, step: s, open: opened });
  const columns = columnsOf(state.trace);
  const { trace } = columns[column];
  const used = new Set(edgesInto(trace, s).map((edge) => edge.from));
  for (const node of document.querySelectorAll(".step[data-step]")) {
    const here = Number(node.dataset.column) === column;
    const at = Number(node.dataset.step);
    const current = here && at === s;
    node.setAttribute("aria-current", String(current));
    node.tabIndex = current ? 0 : -1;
    node.classList.toggle("linked", here && used.has(at));
  }
  drawArcs();
  markStrip();
  drawDetail();
}

function drawDetail() {
  const place = byId("detail");
  place.classList.toggle("open", state.step !== null && state.open);
  if (state.step === null || !state.open) {
    const says = state.trace.reviews.length ? "what each reviewer says of it, and why" : "its credit by token";
    place.replaceChildren(el("p", { class: "hint" }, `Choose a step to see ${says}.`));
    return;
  }
  const { trace, method } = columnsOf(state.trace)[state.column];
  const blocks = [verdicts(trace, state.step), interventions(trace, state.step), el("div", {}, [credits(trace, state.step), dependencies(trace, state.step)].filter(Boolean)), tokenStrip(trace, method, state.step)];
  const close = el("button", { type: "button", class: "close", onclick: () => choose(state.column, state.step, false) }, "close");
  place.replaceChildren(close, ...blocks.filter(Boolean));
}

function block(title, ...children) {
  return el("div", { class: title.startsWith("Advantage") ? "block wide" : "block" }, el("h4", {}, title), ...children);
}

function verdicts(trace, s) {
  const shown = trace.steps[s];
  const name = shown.status === "answer" ? "The answer" : `Step ${s + 1}`;
  const state_ = {
    agreed: () => `: ${shown.label}, ${Math.round(100 * shown.agreement)} % of the votes`,
    disputed: () => `: disputed, the most common label has ${Math.round(100 * shown.agreement)} % of the votes`,
  }[shown.status];
  return block(name + (state_ ? state_() : ""), trace.reviews.length
    ? trace.reviews.map((review) => verdict(trace, review, s, shown))
    : el("p", { class: "hint" }, "not reviewed"));
}

function verdict(trace, review, s, shown) {
  const said = review.at[s] >= 0 ? review.verdicts[review.at[s]] : null;
  const who = el("span", { class: "who" }, review.reviewer);
  if (review.error !== null) {
    return el("div", { class: "review failed" }, who, " ", el("span", { class: "says" }, "failed"), el("span", { class: "reason", dir: "auto" }, review.error), dialogue(review));
  }
  if (!said) return el("div", { class: "review" }, who, " ", el("span", { class: "says" }, shown.status === "answer" ? "does not judge the answer" : "does not cover it"));
  const parts = [said.label || (said.correct === undefined ? "abstains" : null)];
  if (said.correct === true) parts.push("correct");
  if (said.correct === false) parts.push("incorrect");
  if (said.confidence !== undefined) parts.push(`${Math.round(100 * said.confidence)} % sure`);
  const clash = clashes(trace, s).includes(review.reviewer) ? el("span", { class: "clash" }, ` \u2260 decoration, need ${signed(needOf(trace, s))}`) : null;
  return el("div", { class: "review" }, who, " ", el("span", { class: "says" }, parts.filter(Boolean).join(", ")), clash,
    said.reason ? el("span", { class: "reason", dir: "auto" }, said.reason) : null,
    said.instead ? el("span", { class: "instead", dir: "auto" }, el("span", { class: "says" }, "instead: "), said.instead) : null,
    argument(review), dialogue(review), mended(review));
}

// What the reviewer argued of the whole chain before it judged; open or shut for all steps alike.
function argument(review) {
  if (!review.argument) return null;
  const box = el("details", { class: "argument", open: state.argued }, el("summary", {}, "argument"), el("div", { class: "reason", dir: "auto" }, review.argument));
  box.addEventListener("toggle", () => { state.argued = box.open; });
  return box;
}

// What the reviewer and the assistant said to each other; a note is of neither.
function dialogue(review) {
  if (!review.transcript) return null;
  const questions = review.transcript.filter(([role]) => role === "reviewer").length;
  const lines = review.transcript.map(([role, text]) => el("p", { class: role === "note" ? "note" : "line", dir: "auto" }, role === "note" ? null : el("span", { class: "who" }, role + ": "), text));
  const box = el("details", { class: "dialogue", open: state.talked }, el("summary", { title: "The reviewer counts steps from 0." }, "dialogue, " + count(questions, "question")), lines);
  box.addEventListener("toggle", () => { state.talked = box.open; });
  return box;
}

function mended(review) {
  if (!review.repairs) return null;
  return el("details", { class: "mended" }, el("summary", {}, `${count(review.repairs.length, "repair")} of its answer`), el("ul", { dir: "auto" }, review.repairs.map((repair) => el("li", {}, repair))));
}

function dependencies(trace, s) {
  const link = (i) => el("button", { type: "button", class: "goto", "aria-label": `go to step ${i + 1}`, onclick: () => focusStep(state.column, i) }, String(i + 1));
  const line = (text, found) => (found.length ? el("div", {}, text + " ", found.map(link)) : null);
  const into = edgesOf(trace).filter((edge) => edge.to === s);
  const out = edgesOf(trace).filter((edge) => edge.from === s);
  const froms = (edges) => edges.map((edge) => edge.from).sort((a, b) => a - b);
  const tos = (edges) => edges.map((edge) => edge.to);
  const said = ({ way }) => way !== "known";
  const known = ({ way }) => way === "known";
  if (!into.length && !out.length) return null;
  return block("Dependencies",
    line("uses step", froms(into.filter(said))), line("used by step", tos(out.filter(said))),
    line("in the known solution it also uses step", froms(into.filter(known))),
    line("in the known solution it is also used by step", tos(out.filter(known))));
}

function credits(trace, s) {
  const methods = methodsOf(trace);
  if (!methods.length) return null;
  const whys = methods.map((method) => trace.credit[method].why[s]);
  const differ = new Set(whys).size > 1;
  const rows = methods.map((method, m) => {
    const value = trace.credit[method].steps[s];
    const sign = value > 0 ? " plus-text" : value < 0 ? " minus-text" : "";
    return el("tr", {}, el("td", {}, method), el("td", { class: "num" + sign }, signed(value, 3)), el("td", { class: "why" }, differ ? whys[m] : ""));
  });
  return block("Credit: mean advantage of its tokens", el("table", {}, el("tbody", {}, rows)));
}

function tokenStrip(trace, method, s) {
  const credit = trace.credit[method];
  const { a, b } = trace.steps[s];
  const tokens = tokensIn(trace, a, b);
  if (!credit || !credit.advantages.length || !tokens.length) return null;
  const advantages = expand(credit.advantages);
  const values = expand(credit.values);
  const strongest = data.strongest[method];
  const chips = tokens.slice(0, 400).map((t) => {
    const text = slice(trace, trace.tokens[2 * t], trace.tokens[2 * t + 1]);
    const shown = visible(text);
    return tint(el("span", { class: "token", title: `token ${t}, value ${plain(values[t], 3)}` }, shown, el("small", {}, signed(advantages[t]))), advantages[t], strongest);
  });
  const more = tokens.length > 400 ? el("p", { class: "hint" }, `and ${tokens.length - 400} more`) : null;
  return block(`Advantage of its ${count(tokens.length, "token")} under ${method}`, el("div", { class: "tokens" }, chips), more);
}

// Blanks, line ends and characters without a shape of their own, made visible.
function visible(text) {
  const named = (c) => "U+" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
  return text.replace(/\n/g, "\u21b5").replace(/ /g, "\u00b7").replace(/[\p{Cc}\p{Cf}]/gu, named) || "\u2205";
}

function focusStep(column, s) {
  choose(column, s, true);
  const node = document.querySelector(`.step[data-column="${column}"][data-step="${s}"]`);
  if (node) { node.focus({ preventScroll: true }); node.scrollIntoView({ block: "nearest", inline: "nearest" }); }
}

// A token's own number, beside the pointer.
let tipNode = null;
function hideTip() {
  if (tipNode) tipNode.remove();
  tipNode = null;
}
function showTip(target) {
  hideTip();
  const holder = target.closest(".step");
  const column = columnsOf(state.trace)[Number(holder.dataset.column)];
  const credit = column.trace.credit[column.method];
  if (!credit || !credit.advantages.length) return;
  const t = Number(target.dataset.t);
  const text = slice(column.trace, column.trace.tokens[2 * t], column.trace.tokens[2 * t + 1]);
  tipNode = el("div", { class: "tip" }, el("bdi", {}, `\u201c${text}\u201d`), ` token ${t}: advantage ${signed(expand(credit.advantages)[t], 3)}, value ${plain(expand(credit.values)[t], 3)}`);
  document.body.append(tipNode);
  const box = target.getBoundingClientRect();
  const left = Math.min(box.left, window.innerWidth - tipNode.offsetWidth - 8);
  tipNode.style.left = Math.max(8, left) + "px";
  tipNode.style.top = (box.top > tipNode.offsetHeight + 8 ? box.top - tipNode.offsetHeight - 4 : box.bottom + 6) + "px";
}
