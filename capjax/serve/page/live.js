// A picture comes in, its caption is asked for, then maps of its words, which the viewer draws.
const STREAM = { Accept: "text/event-stream" };
const picture = { blob: null, name: "", url: "", phrase: "" };
let panes = [];
let work = null;  // what runs: its AbortController

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

function progress({ done, of }) {
  if (of <= 1) return;  // the status says begin and end alone: it is read out
  byId("progress").max = of;
  byId("progress").value = done;
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
  Object.assign(picture, { blob, name: plain, url: URL.createObjectURL(blob), phrase: "" });
  byId("query").value = byId("contrast").value = "";
  for (const pane of panes) pane.preview(picture.url, plain, blob.type);
  items = panes.map(({ item }) => item);
  noFindings();
  byId("legend").textContent = "";
  byId("items").scrollIntoView({ block: "nearest" });
  byId("others").hidden = byId("more").hidden = true;
  saveable();
  busy("Writing the caption …");
  for (const pane of panes) {
    const response = await send(addressed("/caption", { ...pane.own, name: plain }), { body: blob, signal, waiting });
    pane.says(await response.json());
  }
  others();
  await explain(signal);
}

const question = () => ({
  methods: byId("method").value,
  query: byId("query").value.trim(),
  contrast: byId("contrast").value.trim(),
  linguistic: byId("linguistic").checked ? "leave_one_out" : "",
});

async function explain(signal) {
  const asked = question(), key = JSON.stringify(asked), refused = [];
  for (const pane of panes) {
    if (!pane.answers.has(key)) {
      busy(`Explaining by ${asked.methods} …`);
      const path = addressed("/explain", { ...asked, ...pane.own, name: picture.name, view: "true" });
      try {
        pane.answers.set(key, await streamed(await send(path, { body: picture.blob, headers: STREAM, signal, waiting }), progress));
      } catch (error) {
        if (error.status !== 422) throw error;
        refused.push(panes.length > 1 ? `${pane.model}: ${error.message}` : error.message);  // the other one may be able to
        continue;
      }
    }
    const answer = pane.answers.get(key), { ranges, units } = answer.view;
    Object.assign(report.ranges, ranges);
    Object.assign(report.units, units);
    pane.show(answer);
  }
  items = panes.map(({ item }) => item);
  showAround();
  if (refused.length) throw new Refused(422, refused.join(" "));
  byId("status").textContent = `Explained by ${asked.methods}.`;
}

function showAround() {
  offerUnits();
  removing(false);
  const legend = Object.assign({}, ...panes.map(({ answer }) => answer?.view.legend));
  byId("legend").textContent = Object.entries(legend).map(([name, text]) => `${name}: ${text}`).join(" · ");
  byId("more").hidden = !panes.some(({ answer }) => answer);
  saveable();
}

function saveable() {
  for (const kind of ["png", "json", "html"]) byId(`save-${kind}`).disabled = !panes.length || !panes.every(({ answer }) => answer);
}

// Words that somebody picked, as a phrase: the sentence is asked again, with this phrase in brackets.
report.phrase = (item, first, last) => {
  const { labels, words } = item.asked, said = labels.slice(0, words);
  const phrase = said.slice(first, last + 1).join(" ");
  byId("query").value = [...said.slice(0, first), `[${phrase}]`, ...said.slice(last + 1)].join(" ");
  picture.phrase = phrase;
  run(explain);
  return true;
};

function others() {
  const list = byId("others").querySelector("ol"), { alternatives } = panes[0].caption;
  list.replaceChildren(...alternatives.map(({ caption, score }) => {
    const entry = make("li"), button = make("button", { type: "button", textContent: caption, dir: "auto" });
    button.addEventListener("click", () => ask(caption));
    entry.append(button, make("span", { className: "hint", textContent: `score ${number(score)}` }));
    return entry;
  }));
  byId("others").hidden = !alternatives.length;
}

function ask(sentence) {
  byId("query").value = sentence;
  picture.phrase = "";
  run(explain);
}

function about(name, text) {
  byId(name).hidden = false;
  byId(name).querySelector("dd").textContent = text;
}

async function begin() {
  const { models, samples, methods, formats } = await (await send("/model")).json();
  keepFocus(byId("sign-in"), byId("file"));
  byId("sign-in").hidden = true;
  const names = Object.keys(models), [first] = names;
  panes = names.map((name) => Object.assign(new Pane(name, names.length === 1), { own: names.length > 1 ? { model: name } : {} }));
  byId("items").replaceChildren(...panes.map(({ element }) => element));
  byId("items").classList.toggle("pair", names.length > 1);
  document.title = `capjax · ${names.join(" and ")}`;
  about("model", names.join(" and "));
  const { method, ...settings } = models[first].decoding;
  about("decoding", [method, ...Object.entries(settings).map(([name, value]) => `${name.replace("_", " ")} ${value}`)].join(", "));
  if (formats.some((format) => ["MP4", "WebM"].includes(format))) byId("file").accept += ",video/mp4,video/webm";
  const { concepts, sheets } = models[first];
  for (const option of byId("method").options) {
    option.title = methods.find(({ name }) => name === option.value)?.cost ?? "";
    if (option.value === "concepts" && !concepts.length) option.title = "none are fitted yet; choose it to be told how";
  }
  byId("concept-words").replaceChildren(...concepts.map((word) => {
    const button = make("button", { type: "button", textContent: word });
    button.addEventListener("click", () => ask(word));
    return button;
  }));
  byId("sheets").replaceChildren(...sheets.map((word) => {
    const sheet = make("details"), image = make("img", { alt: `Patches of the concepts behind ${word}, and where they lie`, loading: "lazy" });
    sheet.append(make("summary", { textContent: `What “${word}” is made of` }), image);
    sheet.addEventListener("toggle", () => { image.src ||= addressed(`/concepts/${encodeURIComponent(word)}.png`, panes[0].own); });
    return sheet;
  }));
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
const again = () => { picture.phrase = ""; if (picture.blob) run(explain); else complain("Choose a picture first."); };
byId("question").addEventListener("submit", (event) => { event.preventDefault(); again(); });
byId("method").addEventListener("change", ({ target }) => {
  byId("concepts").hidden = target.value !== "concepts" || !byId("concept-words").children.length;
  if (picture.blob) run(explain);
});
byId("linguistic").addEventListener("change", () => { if (picture.blob) run(explain); });
byId("cancel").addEventListener("click", () => work?.abort(new DOMException("cancelled", "AbortError")));

const called = (pane, kind) => `${[picture.name, ...(panes.length > 1 ? [pane.model] : [])].join(" ")}.${kind}`;
byId("save-json").addEventListener("click", () => {
  for (const pane of panes) {
    const told = ({ view, ...answer }) => answer, found = pane.findings.map(told);
    const all = { ...told(pane.answer), ...(found.length ? { findings: found } : {}) };
    save(new Blob([JSON.stringify(all)], { type: "application/json" }), called(pane, "json"));
  }
});
byId("save-png").addEventListener("click", () => {
  for (const pane of panes) {
    const canvas = make("canvas");
    pane.item.paint(canvas, pane.item.shown);
    canvas.toBlob((blob) => save(blob, called(pane, "png")));
  }
});
byId("save-html").addEventListener("click", () => {
  for (const pane of panes) save(new Blob([pane.report()], { type: "text/html" }), called(pane, "html"));
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
