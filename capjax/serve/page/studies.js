// What studies find out about the picture: without an object, or changed so that the caption changes.
const studies = { cards: byId("findings") };

function noFindings() {
  studies.cards.replaceChildren();
  removing(false);
}

// One answer a captioner, before those to earlier questions.
async function study(path, values, status, signal) {
  busy(status);
  const before = studies.cards.firstElementChild;
  for (const pane of panes) {
    const asked = addressed(path, { ...values, ...pane.own, name: picture.name, view: "true" });
    const answer = await streamed(await send(asked, { body: picture.blob, headers: STREAM, signal, waiting }), progress);
    pane.findings.push(answer);
    const card = make("article", { className: "card" });
    card.innerHTML = policed(answer.view.html);
    styled(card);
    card.querySelector("h3").textContent = [TITLES[answer.study], ...(panes.length > 1 ? [pane.model] : [])].join(" · ");
    hearWorlds(card);
    fold(card);
    card.tabIndex = -1;
    studies.cards.insertBefore(card, before);
    if (values.at || values.region) card.querySelector(".spot")?.click();  // the picture without it, at once
    card.scrollIntoView({ block: "nearest" });
    byId("status").textContent = answer.refused ? "Nothing was found." : `${TITLES[answer.study]}: done.`;
  }
  saveable();
}

// What is to be seen at once stays; figures and tables behind it are a click away.
function fold(card) {
  const worlds = card.querySelector(".worlds");
  if (!worlds) return;
  const rest = make("details"), behind = [];
  for (let next = worlds.nextElementSibling; next; next = next.nextElementSibling) behind.push(next);
  rest.append(make("summary", { textContent: "Figures and numbers" }), ...behind);
  worlds.after(rest);
}

const TITLES = { adversarial: "A small change that changes the caption", counterfactual: "Without it" };

function without(values) {
  removing(false);
  run((signal) => study("/counterfactual", values, "Removing it and asking again …", signal));
}

// While something is to be removed, the picture takes taps and strokes.
function removing(on) {
  byId("remove").setAttribute("aria-pressed", String(on));
  byId("remove-hint").hidden = !on;
  if (on) byId("items").scrollIntoView({ block: "start" });
  for (const { item } of panes) {
    item?.element?.querySelector(".stroke")?.remove();
    if (on) item.element.querySelector(".photo").append(stroke(item));
  }
}

const NEAR = 6;  // pixels within which a stroke is a tap

function stroke(item) {
  const canvas = make("canvas", { className: "stroke", ariaHidden: "true" }), image = item.image, points = [];
  const share = (event) => within(canvas, image.naturalWidth, image.naturalHeight, event).map((end) => Math.min(1, Math.max(0, end)));
  let drawn = null;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    canvas.width = canvas.clientWidth; canvas.height = canvas.clientHeight;
    drawn = [event];
    points.splice(0, points.length, share(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drawn) return;
    const last = drawn.at(-1);
    if (Math.hypot(event.clientX - last.clientX, event.clientY - last.clientY) < 3) return;
    drawn.push(event);
    points.push(share(event));
    outline(canvas, drawn);
  });
  canvas.addEventListener("pointercancel", () => { drawn = null; });
  canvas.addEventListener("pointerup", () => {
    if (!drawn) return;
    const [first] = drawn, far = drawn.some(({ clientX, clientY }) => Math.hypot(clientX - first.clientX, clientY - first.clientY) > NEAR);
    drawn = null;
    const text = (point) => point.map((end) => end.toFixed(4)).join(",");
    without(far ? { region: thinned(points).map(text).join(" ") } : { at: text(points[0]) });
  });
  return canvas;
}

function outline(canvas, events) {
  const context = canvas.getContext("2d"), { left, top } = canvas.getBoundingClientRect();
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.beginPath();
  events.forEach(({ clientX, clientY }) => context.lineTo(clientX - left, clientY - top));
  context.closePath();
  context.fillStyle = "rgb(224 101 31 / 30%)";
  context.strokeStyle = "#fff";
  context.lineWidth = 3;
  context.fill();
  context.stroke();
}

const MOST_CORNERS = 200;  // of the server's
const thinned = (points) => points.filter((_, at) => at % Math.ceil(points.length / MOST_CORNERS) === 0);

byId("remove").addEventListener("click", () => removing(byId("remove").getAttribute("aria-pressed") !== "true"));
addEventListener("keydown", (event) => { if (event.key === "Escape") removing(false); });
byId("remove-each").addEventListener("click", () => {
  removing(false);
  run((signal) => study("/counterfactual", {}, "Removing each object in turn …", signal));
});
byId("goal").addEventListener("change", ({ target }) => {
  byId("goal-words").hidden = target.value === "untargeted";
  byId("words").required = target.value !== "untargeted";
});
byId("fool").addEventListener("submit", (event) => {
  event.preventDefault();
  const goal = byId("goal").value, words = goal === "untargeted" ? "" : byId("words").value.trim();
  const values = { goal, words, epsilon: byId("epsilon").value };
  run((signal) => study("/adversarial", values, "Changing the picture …", signal));
});
