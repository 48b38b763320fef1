// Learning curves: which measure is shown, and the numbers under the pointer.

function showChart(id) {
  for (const node of document.querySelectorAll(".chart")) {
    node.classList.toggle("shown", node.id === id);
    node.classList.toggle("later", node.id !== id);
  }
  for (const button of document.querySelectorAll(".thumb")) {
    button.setAttribute("aria-pressed", String(button.dataset.chart === id));
  }
  const select = document.querySelector(".pick-chart select");
  if (select) select.value = [...select.options].some((o) => o.value === id) ? id : "";
  readOut(chartById(id), Infinity);
  if (document.querySelector(".numbers").open) drawNumbers();
}

function chartById(id) {
  return data.charts.find((chart) => chart.id === id);
}

function counted(chart) {
  return chart.against.replace("training ", "");
}

function shownChart() {
  return chartById(document.querySelector(".chart.shown").id);
}

// Decimals that tell the values of a chart apart.
function places(chart) {
  const top = Math.max(...chart.series.flatMap((s) => s.y.map(Math.abs)));
  return top >= 100 ? 0 : top >= 10 ? 1 : 3;
}

function nearest(xs, x) {
  let best = 0;
  xs.forEach((value, i) => { if (Math.abs(value - x) < Math.abs(xs[best] - x)) best = i; });
  return best;
}

function estimate(series, i, digits) {
  const band = series.low[i] === null ? "no interval" : `[${plain(series.low[i], digits)}, ${plain(series.high[i], digits)}]`;
  return [plain(series.y[i], digits), band];
}

function keyOf(series) {
  return svgNode("svg", { class: "key " + series.style, viewBox: "-5.5 -5.5 11 11", "aria-hidden": "true" },
    svgNode("path", { class: "mark", d: series.mark }));
}

function readOut(chart, x) {
  const digits = places(chart);
  const at = Number.isFinite(x) ? x : chart.x[1];
  const longest = chart.series.reduce((a, b) => (b.x[b.x.length - 1] > a.x[a.x.length - 1] ? b : a));
  const where = longest.x[nearest(longest.x, at)];
  const items = chart.series.map((series) => {
    const i = nearest(series.x, at);
    const [value, band] = estimate(series, i, digits);
    const elsewhere = series.x[i] === where ? "" : ` at ${series.x[i].toLocaleString("en")}`;
    return el("span", { class: "item" }, keyOf(series), el("b", { class: series.style }, series.arm), `${elsewhere} ${value} ${band} n = ${series.of}`);
  });
  document.querySelector(".readout").replaceChildren(el("span", { class: "item" }, `${where.toLocaleString("en")} ${counted(chart)}`), ...items);
}

function onPlot(event) {
  const svg = event.currentTarget;
  const chart = shownChart();
  const box = svg.getBoundingClientRect();
  const at = ((event.clientX - box.left) / box.width) * Number(svg.dataset.width);
  const left = Number(svg.dataset.left);
  const right = Number(svg.dataset.right);
  const share = Math.min(1, Math.max(0, (at - left) / (right - left)));
  const xs = [...new Set(chart.series.flatMap((s) => s.x))];
  const x = xs[nearest(xs, chart.x[0] + share * (chart.x[1] - chart.x[0]))];
  const cursor = svg.querySelector(".cursor");
  const place = left + ((x - chart.x[0]) / (chart.x[1] - chart.x[0] || 1)) * (right - left);
  cursor.setAttribute("x1", place);
  cursor.setAttribute("x2", place);
  cursor.setAttribute("visibility", "visible");
  readOut(chart, x);
}

function drawNumbers() {
  const chart = shownChart();
  const digits = places(chart);
  const xs = [...new Set(chart.series.flatMap((s) => s.x))].sort((a, b) => a - b);
  const head = el("tr", {}, el("th", {}, counted(chart)), chart.series.map((s) => el("th", {}, `${s.arm} (n = ${s.of})`)));
  const body = xs.map((x) => el("tr", {}, el("th", {}, x.toLocaleString("en")), chart.series.map((s) => {
    const i = s.x.indexOf(x);
    return el("td", {}, i < 0 ? "\u2013" : estimate(s, i, digits).join(" "));
  })));
  document.querySelector(".numbers .scroll").replaceChildren(el("table", {}, el("thead", {}, head), el("tbody", {}, body)));
}

function startCharts() {
  if (!data.charts.length) return;
  for (const button of document.querySelectorAll(".thumb")) {
    button.addEventListener("click", () => showChart(button.dataset.chart));
  }
  const select = document.querySelector(".pick-chart select");
  if (select) select.addEventListener("change", () => showChart(select.value || data.charts[0].id));
  for (const svg of document.querySelectorAll(".plot")) {
    svg.addEventListener("pointermove", onPlot);
    svg.addEventListener("pointerleave", () => {
      svg.querySelector(".cursor").setAttribute("visibility", "hidden");
      readOut(shownChart(), Infinity);
    });
  }
  document.querySelector(".numbers").addEventListener("toggle", drawNumbers);
  showChart(data.charts[0].id);
}
