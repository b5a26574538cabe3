// Marks live in this browser, under the run's name; a sandboxed frame has no storage.
const marks = {
  key: `capjax marks ${report.run}`,
  read() { try { return JSON.parse(localStorage.getItem(this.key) ?? "{}"); } catch { return this.kept ?? {}; } },
  write(all) { this.kept = all; try { localStorage.setItem(this.key, JSON.stringify(all)); } catch { /* kept in memory */ } },
};

function drawMarks() {
  const all = marks.read();
  for (const item of items) {
    for (const button of item.element.querySelectorAll("[data-mark]")) {
      button.setAttribute("aria-pressed", String(all[item.keys[item.sentence]] === button.dataset.mark));
    }
  }
  const values = Object.values(all);
  const count = (mark) => values.filter((value) => value === mark).length;
  byId("export").textContent = values.length ? `Export marks (${count("right")} right, ${count("wrong")} wrong)` : "Export marks";
  byId("export").disabled = !values.length;
}

function mark(item, value) {
  const all = marks.read(), key = item.keys[item.sentence];
  if (all[key] === value) delete all[key]; else all[key] = value;
  marks.write(all);
  drawMarks();
}

function exportMarks() {
  const body = JSON.stringify({ run: report.run, model: report.model, marks: marks.read() }, null, 2);
  const link = make("a", { href: URL.createObjectURL(new Blob([body], { type: "application/json" })), download: "marks.json" });
  link.click();
  URL.revokeObjectURL(link.href);
}
