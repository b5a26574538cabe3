// The toolbar, and what it does to every item.
function select() {
  const wanted = byId("find").value.trim().normalize().toLowerCase(), filter = byId("filter").value, all = marks.read();
  let seen = 0;
  for (const { element, keys } of items) {
    const own = keys.map((key) => all[key] ?? "unmarked");
    const fits = filter === "all" || own.includes(filter) || (filter === "noted" && element.querySelector(".note"));
    const found = !wanted || `${element.dataset.file} ${element.dataset.text}`.normalize().toLowerCase().includes(wanted);
    element.hidden = !(fits && found);
    seen += element.hidden ? 0 : 1;
  }
  byId("empty").hidden = seen > 0;
}

const items = [...document.querySelectorAll(".item")].map((element) => new (element.querySelector(".player") ? Clip : Item)(element));
const redraw = () => items.forEach((item) => item.redraw());
state.method = byId("method").value;
byId("method").addEventListener("change", (event) => { state.method = event.target.value; redraw(); });
byId("values").closest("label").hidden = !Object.keys(report.units).length;
byId("values").addEventListener("change", (event) => { state.values = event.target.value; redraw(); });
byId("look").addEventListener("change", (event) => { state.look = event.target.value; redraw(); });
byId("strength").addEventListener("input", (event) => { state.strength = Number(event.target.value); redraw(); });
document.querySelectorAll("input[name=scale]").forEach((input) => input.addEventListener("change", () => { state.scale = input.value; redraw(); }));
byId("filter").addEventListener("change", select);
byId("find").addEventListener("input", select);
byId("export").addEventListener("click", exportMarks);
for (const item of items) {
  item.element.querySelectorAll("[data-mark]").forEach((button) => button.addEventListener("click", () => mark(item, button.dataset.mark)));
  item.show(-1);
  if (document.documentElement.classList.contains("inline")) item.pin(item.sharpest());  // a picture at once
}
drawMarks();
