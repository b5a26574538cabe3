// Which items are shown, and the reader's marks on them.
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
byId("filter").addEventListener("change", select);
byId("find").addEventListener("input", select);
byId("export").addEventListener("click", exportMarks);
for (const item of items) {
  item.element.querySelectorAll("[data-mark]").forEach((button) => button.addEventListener("click", () => mark(item, button.dataset.mark)));
  item.show(-1);
  if (document.documentElement.classList.contains("inline")) item.pin(item.sharpest());  // a picture at once
}
drawMarks();
hearWorlds(document);
