// Findings whose first picture has places to tap: another picture takes its place, with what is said of it.
function hearWorlds(root) {
  root.querySelectorAll(".worlds").forEach((worlds) => {
    const views = [...worlds.querySelectorAll(".stage img")], spots = [...worlds.querySelectorAll(".spot")];
    const said = [...worlds.querySelectorAll(".said")];
    const show = (index) => {
      views.forEach((view, at) => { view.hidden = at !== index; });
      said.forEach((line, at) => { line.hidden = at !== index; });
      spots.forEach((spot) => spot.setAttribute("aria-pressed", String(Number(spot.dataset.view) === index)));
    };
    spots.forEach((spot) => spot.addEventListener("click", () => show(spot.getAttribute("aria-pressed") === "true" ? 0 : Number(spot.dataset.view))));
    worlds.addEventListener("keydown", (event) => { if (event.key === "Escape") show(0); });
  });
}
