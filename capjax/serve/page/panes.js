// One pane a captioner: what it says of the picture, and the viewer's own item with its maps.
class Pane {
  constructor(model, alone) {
    this.model = model;
    this.element = make("section", { className: "pane" });
    this.element.setAttribute("aria-label", model);
    if (!alone) this.element.append(make("h2", { textContent: model }));
    this.place = make("div");
    this.element.append(this.place);
    this.clear();
  }

  clear() {
    Object.assign(this, { caption: null, answers: new Map(), answer: null, findings: [] });
  }

  // The picture alone, until there is something to say about it.
  preview(url, name, kind) {
    this.clear();
    const element = make("article", { className: "item" }), photo = make("div", { className: "photo" });
    photo.append(kind.startsWith("video/") ? make("video", { src: url, muted: true, loop: true, autoplay: true, ariaLabel: name }) : make("img", { src: url, alt: name }));
    this.said = make("p", { className: "said", dir: "auto" });
    const text = make("div", { className: "text" });
    text.append(this.said);
    element.append(photo, make("div", { className: "bar" }), text);
    keepFocus(this.element);
    this.place.replaceChildren(element);
    this.item = { element, redraw() {}, pinned: -1 };
  }

  says(caption) {
    this.caption = caption;
    this.said.textContent = caption.caption;
  }

  show(answer) {
    const { pinned } = this.item, said = this.item.asked?.labels.join();  // a chosen word stays chosen
    keepFocus(this.element);
    this.place.innerHTML = policed(answer.view.html);
    const element = this.place.firstElementChild;
    styled(element);
    this.item = new (element.querySelector(".player") ? Clip : Item)(element);
    this.item.pane = this;
    this.item.show(-1);
    const { labels, words } = this.item.asked, phrase = picture.phrase ? labels.indexOf(picture.phrase, words) : -1;
    const kept = labels.join() === said && pinned >= 0 ? pinned : this.item.sharpest();
    this.item.pin(phrase >= 0 ? phrase : kept);
    this.answer = answer;
    if (phrase < 0) return;
    const { item } = this;  // the pointer still lies where the phrase was picked
    item.resting = true;
    addEventListener("pointermove", () => { item.resting = false; }, { once: true });
  }

  // A one-picture report, as explain.py writes it; what was found since stands in it too.
  report() {
    const { html, page: [start, end] } = this.answer.view, found = this.findings.map(({ view }) => view.html).join("\n");
    return start + html.replace('<div class="actions">', () => `${found}<div class="actions">`) + end;
  }
}

// The page's policy takes no style attributes; they are set from here.
const policed = (html) => html.replaceAll(' style="', ' data-style="');
function styled(element) {
  element.querySelectorAll("[data-style]").forEach((own) => { own.style.cssText = own.dataset.style; });
}
