// How maps are drawn: the toolbar, and what it does to every item of the page (`items`, which the page declares).
const byId = (id) => document.getElementById(id);
const state = { method: byId("method").value, scale: "word", values: "natural", look: "heat", strength: 0.65 };
const offerUnits = () => { byId("values").closest("label").hidden = !Object.keys(report.units).length; };
offerUnits();
const redraw = () => items.forEach((item) => item.redraw());
byId("method").addEventListener("change", (event) => { state.method = event.target.value; redraw(); });
byId("values").addEventListener("change", (event) => { state.values = event.target.value; redraw(); });
byId("look").addEventListener("change", (event) => { state.look = event.target.value; redraw(); });
byId("strength").addEventListener("input", (event) => { state.strength = Number(event.target.value); redraw(); });
document.querySelectorAll("input[name=scale]").forEach((input) => input.addEventListener("change", () => { state.scale = input.value; redraw(); }));
