// The keyboard. Keys do nothing while a text is being typed, nor with Ctrl, Alt or Meta held.

function moveStep(by) {
  const { trace } = columnsOf(state.trace)[state.column];
  const next = state.step === null ? (by > 0 ? 0 : trace.steps.length - 1) : state.step + by;
  if (next >= 0 && next < trace.steps.length) {
    const opened = state.step === null ? true : state.open;
    focusStep(state.column, next);
    if (!opened) choose(state.column, next, false);
  }
}

function moveColumn(by) {
  const columns = columnsOf(state.trace);
  const next = state.column + by;
  if (next < 0 || next >= columns.length) return;
  focusStep(next, Math.min(state.step || 0, columns[next].trace.steps.length - 1));
}

function nextMethod() {
  if (!state.trace) return;
  const buttons = [...document.querySelectorAll("#methods button")];
  const at = buttons.findIndex((b) => b.getAttribute("aria-pressed") === "true");
  if (buttons.length) setView(buttons[(at + 1) % buttons.length].dataset.value);
}

function nextFilter() {
  const values = [...byId("filter").querySelectorAll("button")].map((b) => b.dataset.value);
  setFilter(values[(values.indexOf(state.filter) + 1) % values.length]);
}

function intoView() {
  const box = byId("browser").getBoundingClientRect();
  if (box.top > window.innerHeight * 0.6 || box.bottom < 80) byId("browser").scrollIntoView({ block: "start" });
}

const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  f: nextFilter,
  m: nextMethod,
  a: nextArcs,
  u: () => followArc(true),
  b: () => followArc(false),
  "/": () => { byId("search").focus(); byId("search").select(); },
};

function inBrowser(target) {
  return target === document.body || byId("browser").contains(target);
}

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const help = byId("help");
  if (event.key === "?" && !isTyping(event.target)) {
    event.preventDefault();
    if (!help.open) help.showModal();
    return;
  }
  if (help.open) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (!byId("browser")) return;
  if (KEYS[event.key]) {
    event.preventDefault();
    intoView();
    KEYS[event.key]();
    return;
  }
  // Arrows scroll the page unless a step or the list of traces has the focus.
  if (!state.trace || !inBrowser(event.target)) return;
  const onStep = event.target instanceof Element && event.target.classList.contains("step");
  const inList = event.target === byId("list");
  const chosen = onStep || (state.step !== null && event.target === document.body);
  if (inList && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    event.preventDefault();
    step(event.key === "ArrowDown" ? 1 : -1);
  } else if (inList && event.key === "Enter") {
    focusStep(0, 0);
  } else if (chosen && ARROWS[event.key]) {
    event.preventDefault();
    ARROWS[event.key]();
  } else if (onStep && (event.key === "Enter" || event.key === " ")) {
    event.preventDefault();
    const at = Number(event.target.dataset.step);
    const column = Number(event.target.dataset.column);
    choose(column, at, !(state.open && state.step === at && state.column === column));
  } else if (event.key === "Escape" && state.step !== null) {
    choose(state.column, state.step, false);
  }
}

const ARROWS = {
  ArrowDown: () => moveStep(1),
  ArrowUp: () => moveStep(-1),
  ArrowLeft: () => moveColumn(-1),
  ArrowRight: () => moveColumn(1),
};

function isTyping(target) {
  return target instanceof Element && target.matches("input, select, textarea");
}
