// The list of traces. Only the rows in sight exist, so thousands of traces cost no more than ten.

const ROW = 68;

function drawControls() {
  const classes = ["right", "wrong", "undecided"].filter((c) => data.traces.some((t) => t.class === c));
  segments(byId("filter"), ["all", ...classes].map((c) => [c, c]), state.filter, setFilter);
  byId("sort").value = state.sort;
}

function drawList() {
  const list = byId("list");
  const total = data.traces.length;
  byId("count").textContent =
    listed.length === total ? count(total, "trace") : `${listed.length.toLocaleString("en")} of ${count(total, "trace")}`;
  byId("rows").style.height = listed.length * ROW + "px";
  const place = listed.indexOf(state.trace);
  if (place >= 0) {
    if (place * ROW < list.scrollTop) list.scrollTop = place * ROW;
    const over = (place + 1) * ROW - list.scrollTop - list.clientHeight;
    if (over > 0) list.scrollTop += over;
  }
  drawRows();
}

function drawRows() {
  const list = byId("list");
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
  const last = Math.min(listed.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 4);
  const rows = [];
  for (let i = first; i < last; i++) rows.push(row(listed[i], i));
  if (!listed.length) rows.push(el("p", { class: "count", style: "padding: 16px 10px" }, "No trace fits."));
  byId("rows").replaceChildren(...rows);
  const place = listed.indexOf(state.trace);
  if (place >= first && place < last) list.setAttribute("aria-activedescendant", "row-" + place);
  else list.removeAttribute("aria-activedescendant");
}

function row(trace, place) {
  const about = data.showArms ? [trace.arm + (trace.seed === null ? "" : ` s${trace.seed}`)] : [trace.id];
  if (trace.update !== null) about.push(`update ${trace.update}`);
  const sorted =
    state.sort === "disagreement" && trace.disagreement !== null ? `disagreement ${plain(trace.disagreement)}`
    : state.sort === "credit" && peak(trace) >= 0 ? `|credit| ${plain(peak(trace))}` : "";
  const node = el("div", {
    class: "row", role: "option", id: "row-" + place, "aria-selected": String(trace === state.trace),
    "aria-posinset": place + 1, "aria-setsize": listed.length,
    onclick: () => { open(trace); draw(); writeHash(); },
  },
    el("div", { class: "first" }, el("span", { class: "mark" }, trace.class), " · ", el("bdi", {}, trace.prompt.slice(0, 90).trim() || trace.problem)),
    el("div", { class: "second" }, el("span", {}, about.join(" · ")), el("span", {}, sorted)),
    bar(trace));
  node.style.top = place * ROW + "px";
  return node;
}

// The chain in small: a piece for each step, as long as its share of the text.
function bar(trace) {
  const credit = trace.credit[methodFor(trace)];
  const strip = el("div", { class: "bar", "aria-hidden": "true" });
  trace.steps.forEach((step, s) => {
    const piece = el("i");
    piece.style.flexGrow = step.b - step.a;
    if (credit) tint(piece, credit.steps[s], data.strongest[methodFor(trace)]);
    strip.append(piece);
  });
  return strip;
}

function setFilter(filter) {
  state.filter = filter;
  refresh();
}

// After a change of filter, search, arm or order: keep the open trace if it is still listed.
function refresh() {
  relist();
  if (!listed.includes(state.trace)) open(listed[0] || null);
  byId("list").scrollTop = 0;
  draw();
}

function step(by) {
  if (!listed.length) return;
  const place = listed.indexOf(state.trace);
  const next = Math.min(listed.length - 1, Math.max(0, place < 0 ? 0 : place + by));
  open(listed[next]);
  draw();
  writeHash();
}
