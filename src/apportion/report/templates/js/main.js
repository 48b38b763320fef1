// Puts the parts together.

function draw() {
  drawControls();
  drawList();
  drawTrace();
}

function startBrowser() {
  const arms = [...new Set(data.traces.map((t) => t.arm))];
  byId("arm").append(el("option", { value: "" }, "all"), ...arms.map((arm) => el("option", { value: arm }, arm)));
  if (arms.length < 2) byId("arm-label").remove();
  else byId("arm").addEventListener("change", (event) => { state.arm = event.target.value; refresh(); });
  byId("sort").addEventListener("change", (event) => { state.sort = event.target.value; refresh(); });
  byId("search").addEventListener("input", (event) => { state.query = event.target.value; refresh(); });
  byId("list").addEventListener("scroll", () => requestAnimationFrame(drawRows));

  const panel = byId("trace");
  const stepOf = (event) => event.target.closest(".step[data-step]");
  panel.addEventListener("click", (event) => {
    const node = stepOf(event);
    if (!node || String(getSelection())) return;
    const [column, s] = [Number(node.dataset.column), Number(node.dataset.step)];
    choose(column, s, !(state.open && state.step === s && state.column === column));
  });
  panel.addEventListener("pointerover", (event) => {
    if (event.target.dataset.t !== undefined) showTip(event.target);
    else hideTip();
  });
  panel.addEventListener("pointerleave", hideTip);

  state.view = data.view;
  if (!data.traces.some((trace) => trace.disagreement > 0)) state.sort = "credit";
  relist();
  if (readHash()) { draw(); byId("traces").scrollIntoView(); }
  else { open(firstTrace()); draw(); }
  window.addEventListener("hashchange", () => { if (readHash()) draw(); });
  window.addEventListener("resize", () => requestAnimationFrame(() => { drawRows(); drawArcs(); }));
}

// The first in the list among those that most methods gave credit to: there is most to see.
function firstTrace() {
  const most = Math.max(0, ...listed.map((trace) => methodsOf(trace).length));
  return listed.find((trace) => methodsOf(trace).length === most) || null;
}

document.documentElement.classList.add("scripted");
startCharts();
if (byId("browser")) startBrowser();
document.addEventListener("keydown", onKey);
byId("help-close").addEventListener("click", () => byId("help").close());
