// A picture comes in, its caption is asked for, then maps of its words, which the viewer draws.
const picture = { blob: null, name: "", url: "", caption: null, answers: new Map() };
let work = null;  // what runs: its AbortController
let shownAnswer = null;

function complain(text) {
  byId("error").textContent = text;
  byId("error").hidden = !text;
}

// What is about to be hidden or replaced gives the focus on: it would fall to the page's beginning.
function keepFocus(gone, next = byId("items")) {
  if (gone.contains(document.activeElement)) next.focus({ preventScroll: true });
}

function busy(text) {  // null: nothing runs
  if (text === null) keepFocus(byId("cancel"));
  byId("cancel").hidden = byId("progress").hidden = text === null;
  byId("progress").removeAttribute("value");
  byId("items").setAttribute("aria-busy", String(text !== null));
  if (text !== null) byId("status").textContent = text;
}

// Does one thing at a time: what ran before is given up, here and on the server.
async function run(doing) {
  work?.abort(new DOMException("another question", "AbortError"));
  const own = work = new AbortController();
  complain("");
  try {
    await doing(own.signal);
  } catch (error) {
    if (own !== work) return;
    byId("status").textContent = error.name === "AbortError" ? "Cancelled." : "";
    if (error.status === 401) askForToken();
    else if (error.name !== "AbortError") complain(error.status === undefined ? `The server cannot be reached: ${error.message}` : error.message);
  } finally {
    if (own === work) { work = null; busy(null); }
  }
}

function askForToken() {  // the first time it is no error
  const form = byId("sign-in");
  complain(form.hidden ? "" : "The server does not take this token.");
  form.hidden = false;
}

const waiting = (seconds) => busy(`The server is busy; trying again in ${seconds} s.`);

function take(blob, name) {
  if (blob) run((signal) => taken(blob, name, signal));
}

async function taken(blob, name, signal) {
  URL.revokeObjectURL(picture.url);
  const plain = name.replace(/[/\\:\p{C}\p{Z}]/gu, " ").trim().slice(0, 200) || "picture";
  Object.assign(picture, { blob, name: plain, url: URL.createObjectURL(blob), caption: null, answers: new Map() });
  byId("query").value = byId("contrast").value = "";
  preview();
  busy("Writing the caption …");
  const response = await send(addressed("/caption", { name: plain }), { body: blob, signal, waiting });
  picture.caption = await response.json();
  items[0].element.querySelector(".said").textContent = picture.caption.caption;
  others();
  await explain(signal);
}

// The picture alone, until there is something to say about it.
function preview() {
  const element = make("article", { className: "item" }), photo = make("div", { className: "photo" });
  photo.append(make("img", { src: picture.url, alt: picture.name }));
  const text = make("div", { className: "text" });
  text.append(make("p", { className: "said", dir: "auto" }));
  element.append(photo, make("div", { className: "bar" }), text);
  keepFocus(byId("items"));
  byId("items").replaceChildren(element);
  items = [{ element, redraw() {}, pinned: -1 }];
  shownAnswer = null;
  byId("legend").textContent = "";
  byId("items").scrollIntoView({ block: "nearest" });
  byId("others").hidden = byId("save-png").disabled = byId("save-json").disabled = true;
}

const question = () => ({
  methods: byId("method").value,
  query: byId("query").value.trim(),
  contrast: byId("contrast").value.trim(),
  linguistic: byId("linguistic").checked ? "leave_one_out" : "",
});

async function explain(signal) {
  const asked = question(), key = JSON.stringify(asked);
  if (!picture.answers.has(key)) {
    busy(`Explaining by ${asked.methods} …`);
    const path = addressed("/explain", { ...asked, name: picture.name, view: "true" });
    const headers = { Accept: "text/event-stream" };
    const response = await send(path, { body: picture.blob, headers, signal, waiting });
    picture.answers.set(key, await streamed(response, ({ done, of }) => {
      byId("progress").max = of;
      if (of > 1) byId("progress").value = done;  // the status says begin and end alone: it is read out
    }));
  }
  show(picture.answers.get(key));
  byId("status").textContent = `Explained by ${asked.methods}.`;
}

// The viewer's own item; styles that stand in attributes are set from here, as the page's policy asks.
function show(answer) {
  const { html, ranges, units, legend } = answer.view;
  const said = items[0].asked?.labels.join(), { pinned } = items[0];  // a chosen word stays chosen
  Object.assign(report, { ranges, units });
  offerUnits();
  keepFocus(byId("items"));
  byId("items").innerHTML = html.replaceAll(' style="', ' data-style="');
  const element = byId("items").firstElementChild;
  element.querySelectorAll("[data-style]").forEach((own) => { own.style.cssText = own.dataset.style; });
  items = [new Item(element)];
  items[0].show(-1);
  items[0].pin(items[0].asked.labels.join() === said && pinned >= 0 ? pinned : items[0].sharpest());
  byId("legend").textContent = Object.entries(legend).map(([name, text]) => `${name}: ${text}`).join(" · ");
  shownAnswer = answer;
  byId("save-png").disabled = byId("save-json").disabled = false;
}

function others() {
  const list = byId("others").querySelector("ol"), { alternatives } = picture.caption;
  list.replaceChildren(...alternatives.map(({ caption, score }) => {
    const entry = make("li"), button = make("button", { type: "button", textContent: caption, dir: "auto" });
    button.addEventListener("click", () => { byId("query").value = caption; run(explain); });
    entry.append(button, make("span", { className: "hint", textContent: `score ${number(score)}` }));
    return entry;
  }));
  byId("others").hidden = !alternatives.length;
}

async function begin() {
  const { model, decoding, samples, methods } = await (await send("/model")).json();
  keepFocus(byId("sign-in"), byId("file"));
  byId("sign-in").hidden = true;
  document.title = `capjax · ${model}`;
  byId("model").hidden = false;
  byId("model").querySelector("dd").textContent = model;
  const { method, ...settings } = decoding;
  byId("decoding").hidden = false;
  byId("decoding").querySelector("dd").textContent = [method, ...Object.entries(settings).map(([name, value]) => `${name.replace("_", " ")} ${value}`)].join(", ");
  for (const option of byId("method").options) option.title = methods.find(({ name }) => name === option.value)?.cost ?? "";
  byId("samples").replaceChildren(...samples.map((name) => {
    const button = make("button", { type: "button" });
    button.append(make("img", { src: `/samples/${name}`, alt: name.replace(/\.\w+$/, "") }));
    button.addEventListener("click", () => run(async (signal) => {
      busy("Fetching the sample …");
      await taken(await (await send(`/samples/${name}`, { signal })).blob(), name, signal);
    }));
    return button;
  }));
}

new Webcam(take);
byId("file").addEventListener("change", ({ target }) => { if (target.files[0]) take(target.files[0], target.files[0].name); target.value = ""; });
addEventListener("paste", ({ clipboardData }) => { const file = [...clipboardData.files][0]; if (file) take(file, file.name); });
addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("over"); });
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  const file = event.dataTransfer.files[0];
  if (file) take(file, file.name); else complain("That was no file; drop a picture from your own disk.");
});
const again = () => { if (picture.blob) run(explain); else complain("Choose a picture first."); };
byId("question").addEventListener("submit", (event) => { event.preventDefault(); again(); });
byId("method").addEventListener("change", () => { if (picture.blob) run(explain); });
byId("linguistic").addEventListener("change", () => { if (picture.blob) run(explain); });
byId("cancel").addEventListener("click", () => work?.abort(new DOMException("cancelled", "AbortError")));
byId("save-json").addEventListener("click", () => {
  const { view, ...answer } = shownAnswer;
  save(new Blob([JSON.stringify(answer)], { type: "application/json" }), `${picture.name}.json`);
});
byId("save-png").addEventListener("click", () => {
  const canvas = make("canvas");
  items[0].paint(canvas, items[0].shown);
  canvas.toBlob((blob) => save(blob, `${picture.name}.png`));
});
byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  run(async () => {
    await send("/session", { body: "", headers: { Authorization: `Bearer ${byId("token").value}` } });
    byId("token").value = "";
    await begin();
    byId("status").textContent = "Signed in. Choose a picture to begin.";
  });
});
run(begin);
