// Edited chains against their original. What happened to a piece is said by a sign, by its
// element, and by a line; colour only repeats it.

const CHANGES = {
  kept: ["span", "", "kept"],
  deleted: ["del", "\u2212 ", "deleted"],
  inserted: ["ins", "+ ", "inserted"],
  moved: ["ins", "\u2195 ", "moved here"],
  away: ["del", "\u2195 ", "moved away"],
};

function editsOf(trace) {
  if (!trace.edits || !trace.edits.length) return null;
  const boxes = trace.edits.map((edit, i) => editBox(edit, i === 0 || trace.edits.length < 4));
  return el("section", { class: "edits", "aria-label": "Edited chains" }, el("h4", {}, "Edited chains"), editKey(trace), boxes);
}

function editKey(trace) {
  const kinds = new Set(trace.edits.flatMap((edit) => edit.pieces.map(([kind]) => kind)));
  const keys = Object.keys(CHANGES).filter((kind) => kind !== "kept" && kinds.has(kind));
  return keys.length ? el("p", { class: "legend" }, keys.map((kind) => pieceNode(kind, CHANGES[kind][2]))) : null;
}

function editBox(edit, open) {
  const asked = edit.asked.join(", ") || "edit";
  const changed = edit.operations.length ? `changed by ${edit.operations.join(", ")}` : "";
  const box = el("details", { class: "edit", open }, el("summary", {}, el("b", {}, asked), " ", el("span", { class: "says" }, [changed, edit.state].filter(Boolean).join(" \u00b7 "))));
  box.append(el("div", { class: "diff", dir: "auto" }, edit.pieces.length ? edit.pieces.map(([kind, text]) => pieceNode(kind, text)) : el("p", { class: "hint" }, "too long to be shown")));
  if (edit.why.length) box.append(el("ul", { class: "why", dir: "auto" }, edit.why.map((why) => el("li", {}, why))));
  return box;
}

function pieceNode(kind, text) {
  const [tag, sign, name] = CHANGES[kind];
  if (kind === "kept") return el(tag, { class: kind }, text);
  // A line end that is all there is to see would be invisible.
  const shown = text.trim() ? text : text.replace(/\n/g, "\u21b5\n");
  return el(tag, { class: kind, title: name }, el("span", { class: "sign" }, sign), shown);
}
