// One image of the page: its words, and the map of one of them over the photograph.
class Item {
  constructor(element) {
    this.element = element;
    this.image = element.querySelector(".photo img");
    this.bar = element.querySelector(".bar");
    this.blocks = [...element.querySelectorAll(".sentence")];
    this.heard = new Map();
    this.sentence = 0;
    this.pinned = -1;
    this.shown = -1;
    this.frame = 0;
    this.resting = false;  // whether the pointer only seems to enter words: they came to lie under it
    this.cache = new Map();
    this.hear();
    element.querySelectorAll(".choice input").forEach((input) => input.addEventListener("change", () => this.ask(Number(input.value))));
    element.querySelector("[data-all]").addEventListener("click", (event) => this.toggleAll(event.currentTarget));
  }

  get data() {  // parsed when first needed: a page holds hundreds
    this.parsed ??= JSON.parse(this.element.querySelector("script").textContent);
    return this.parsed;
  }

  get asked() { return this.data.sentences[this.sentence]; }

  get method() { return state.method in this.asked.methods ? state.method : Object.keys(this.asked.methods)[0]; }

  // What marks are kept under: the file, and of several sentences each its own.
  get keys() {
    const { file } = this.element.dataset, texts = [...this.element.querySelectorAll(".choice span")];
    return texts.length ? texts.map((text) => `${file} · ${text.textContent}`) : [file];
  }

  hear() {  // the words of the sentence and, after them, what else was asked: a page holds tens of thousands
    if (!this.heard.has(this.sentence)) {
      const words = [...this.blocks[this.sentence].querySelectorAll(".word")];
      this.heard.set(this.sentence, words);
      this.pick(words);
      words.forEach((word, index) => this.listen(word, index));
    }
    this.words = this.heard.get(this.sentence);
  }

  pick(words) {  // phrases of them; those that were asked about come after the words
    new Picking(words.slice(0, this.asked.words), (first, last) => this.phrase(first, last));
  }

  ask(sentence) {
    if (this.pinned >= 0) this.pin(this.pinned);
    this.show(-1);
    this.sentence = sentence;
    this.blocks.forEach((block, at) => { block.hidden = at !== sentence; });
    this.hear();
    this.redraw();
    drawMarks();
  }

  numbers(name) {  // of the method: its "maps", or the "relevance" of a clip's frames
    const { picked = [], labels, methods } = this.asked, key = `${this.sentence} ${this.method} ${name} ${picked.length}`;
    if (!this.cache.has(key)) {
      const values = unpacked(methods[this.method][name]);
      this.cache.set(key, withPhrases(values, values.length / (labels.length - picked.length), picked, name === "maps" && this.reads));
    }
    return this.cache.get(key);
  }

  // Whether the method shows what was read and explains no scalar: of several words such maps are averaged, others are summed.
  get reads() { return !this.asked.methods[this.method].measure && !report.units[this.method]; }

  phrase(first, last) {  // words that a reader picked, as a phrase beside those that were asked about
    if (report.phrase?.(this, first, last)) return;  // somebody can be asked
    const { asked } = this, label = asked.labels.slice(first, last + 1).join(" ");
    asked.picked ??= [];
    let index = asked.picked.findIndex(([from, to]) => from === first && to === last);
    if (index < 0) {
      index = asked.picked.push([first, last]) - 1;
      asked.labels.push(label);
      const scores = asked.log_probs.slice(first, last + 1).filter((score) => score !== null);
      asked.log_probs.push(scores.length ? scores.reduce((sum, score) => sum + score) : null);
      this.words.push(this.phraseButton(label, asked.log_probs.at(-1)));
      this.listen(this.words.at(-1), this.words.length - 1);
      this.added();
    }
    index += asked.labels.length - asked.picked.length;
    if (this.pinned !== index) this.pin(index);
  }

  phraseButton(label, score) {
    const block = this.blocks[this.sentence];
    let place = block.querySelector(".phrases");
    if (!place) {
      place = make("div", { className: "words phrases", dir: "auto" });
      place.setAttribute("role", "group");
      place.setAttribute("aria-label", "phrases");
      block.querySelector(".words").after(place);
    }
    const button = make("button", { type: "button", className: "word phrase" });
    button.append(make("span", { textContent: label }));
    button.style.setProperty("--p", score === null ? 0 : Math.exp(score).toFixed(3));
    place.append(button);
    return button;
  }

  added() {}  // a phrase; a clip has a row of it

  // Of maps that are logarithms: their exponentials are drawn unless raw values are asked for.
  get unit() { return (state.values === "natural" && report.units[this.method]) || ""; }

  maps() {  // as they are drawn
    if (!this.unit) return this.numbers("maps");
    const key = `${this.sentence} ${this.method} exp ${this.asked.picked?.length ?? 0}`;
    if (!this.cache.has(key)) this.cache.set(key, this.numbers("maps").map(Math.exp));
    return this.cache.get(key);
  }

  map(index, frame, maps = this.maps()) {  // [h * w] of one word in one frame, in all frames without one
    const size = this.data.grid[0] * this.data.grid[1], whole = size * this.data.frames;
    const start = index * whole + (frame ?? 0) * size;
    return maps.subarray(start, start + (frame === undefined ? whole : size));
  }

  alike(index, numbers) {  // those of all words, or of all else that was asked: these are sums over words
    const each = numbers.length / this.asked.labels.length, cut = each * this.asked.words;
    return index < this.asked.words ? numbers.subarray(0, cut) : numbers.subarray(cut);
  }

  run() {  // extremes of this method in the whole report, as they are drawn
    const range = report.ranges[this.method];
    return range && this.unit ? range.map(Math.exp) : range;
  }

  range(index) {
    let range;
    if (state.scale === "word") range = extent(this.map(index));
    else if (state.scale === "raw" && index < this.asked.words) range = [...(this.run() ?? extent(this.map(index)))];
    else range = extent(this.alike(index, this.maps()));
    if (this.signed(index)) { const most = Math.max(Math.abs(range[0]), Math.abs(range[1])); return [-most, most]; }
    return state.scale === "raw" ? [Math.min(0, range[0]), Math.max(0, range[1])] : range;
  }

  signed(index) {
    if (this.unit) return false;
    const run = this.run();
    return state.scale === "raw" && index < this.asked.words && run ? bothSigns(run) : this.asked.methods[this.method].signed;
  }

  colours(index) { return tables[this.signed(index) ? "signed" : state.look]; }

  // How opaque a colour lies on the photograph: weak signed values let it through.
  opacity(index) { return this.signed(index) ? (level) => state.strength * Math.min(1, 0.12 + 2.4 * Math.abs(level - 0.5)) : () => state.strength; }

  paint(canvas, index, frame = this.frame) {  // the frame alone for a negative index
    const width = this.image.naturalWidth / this.data.frames, height = this.image.naturalHeight;
    canvas.width = width; canvas.height = height;
    const context = canvas.getContext("2d");
    context.drawImage(this.image, frame * width, 0, width, height, 0, 0, width, height);
    if (index < 0) return;
    const { grid, box } = this.data;
    context.drawImage(colourLayer(width, height, {
      map: this.map(index, frame), grid, box, range: this.range(index), colours: this.colours(index), opacity: this.opacity(index),
    }), 0, 0);
  }

  show(index) {
    this.shown = index;
    this.words.forEach((word, at) => word.classList.toggle("shown", at === index));
    this.bar.classList.toggle("idle", index < 0);
    const alone = index >= 0 && index < this.asked.words;  // of phrases there are no arrows
    this.blocks[this.sentence].querySelectorAll(".earlier [data-to]").forEach((arrow) => {
      arrow.classList.toggle("off", alone && Number(arrow.dataset.to) !== index);
    });
    if (index >= 0) this.scaleBar();
    this.describe();
    this.draw();
  }

  draw() {  // the photograph itself lies beneath: no word, no canvas
    if (this.shown < 0) { this.canvas?.remove(); this.canvas = null; return; }
    this.onCanvas();
    this.canvas.setAttribute("aria-label", `${this.method} map of ${this.asked.labels[this.shown]}`);
  }

  onCanvas() {
    if (!this.canvas) {
      this.canvas = make("canvas");
      this.canvas.setAttribute("role", "img");
      this.canvas.addEventListener("pointermove", (event) => this.probe(event));
      this.canvas.addEventListener("pointerleave", () => this.describe());
      this.image.after(this.canvas);
    }
    if (this.image.complete) this.paint(this.canvas, this.shown);
    else this.image.addEventListener("load", () => this.draw(), { once: true });
  }

  scaleBar() {
    const [low, high] = this.range(this.shown);
    this.bar.querySelector(".low").textContent = `${this.unit} ${number(low)}`.trim();
    this.bar.querySelector(".high").textContent = number(high);
    const canvas = this.bar.querySelector("canvas");
    canvas.width = 256; canvas.height = 1;
    const context = canvas.getContext("2d"), colours = this.colours(this.shown);
    for (let i = 0; i < 256; i++) {
      context.fillStyle = `rgb(${colours[3 * i]} ${colours[3 * i + 1]} ${colours[3 * i + 2]})`;
      context.fillRect(i, 0, 1, 1);
    }
  }

  describe() {
    if (this.shown < 0) { this.bar.querySelector(".readout").textContent = "Point at a word to see its map."; return; }
    const score = this.asked.log_probs[this.shown];
    const [low, high] = extent(this.map(this.shown));
    const entropy = this.asked.methods[this.method].entropy?.[this.shown];
    const contrast = this.asked.contrasts?.includes(this.shown), { measure } = this.asked.methods[this.method];
    const said = score === null ? "not read" : contrast ? `${number(Math.exp(score))} times as likely` : `p ${number(Math.exp(score))}`;
    const parts = [`“${isolated(this.asked.labels[this.shown])}”`, said];
    for (const [name, bits] of Object.entries(this.asked.bits ?? {})) {
      if (bits[this.shown] != null) parts.push(`${name} ${bits[this.shown].toFixed(1)} bits`);
    }
    const what = `map ${this.unit || (measure ? `of ${measure}` : "")}`.trim();
    parts.push(high > low ? `${what} ${number(low)} to ${number(high)}` : `${what} constant, ${number(low)}`);
    if (this.shown >= this.asked.labels.length - (this.asked.picked?.length ?? 0)) parts.push(`the ${this.reads ? "mean" : "sum"} of its words’ maps`);
    if (high > low && entropy != null) parts.push(`spread ${(100 * entropy).toFixed(0)} %`);
    this.say(parts.join(" · ")).title = "p: probability of the word given the words before it, of a contrast as a multiple of the other word's. Spread: entropy of the map as a share of a uniform map's.";
  }

  probe(event) {  // the raw value of the cell under the pointer
    if (this.shown < 0) return;
    const [x, y] = within(this.canvas, this.canvas.width, this.canvas.height, event);
    const [rows, columns] = this.data.grid, [x0, y0, x1, y1] = this.data.box;
    const row = Math.floor((y - y0) / (y1 - y0) * rows), column = Math.floor((x - x0) / (x1 - x0) * columns);
    if (row < 0 || column < 0 || row >= rows || column >= columns || x < 0 || y < 0 || x >= 1 || y >= 1) { this.describe(); return; }
    const cell = row * columns + column, raw = this.map(this.shown, this.frame, this.numbers("maps"))[cell];
    const near = rounded(raw, this.asked.methods[this.method].maps.step[this.shown]);
    const value = this.unit ? `${this.unit} ${number(this.map(this.shown, this.frame)[cell])} (raw ${near})` : near;
    this.say(`row ${row + 1}, column ${column + 1} of ${rows} × ${columns}: ${value}`);
  }

  // Of a word's map. The line never shrinks: words below it would slip from under the pointer and back, again and again.
  say(text) {
    const line = this.bar.querySelector(".readout");
    line.textContent = text;
    const { height } = line.getBoundingClientRect();  // unrounded; nothing where the item is hidden
    if (height) line.style.minHeight = `${height}px`;
    return line;
  }

  sharpest() {  // the word whose map is least spread out
    const spread = this.asked.methods[this.method].entropy;
    return spread.indexOf(Math.min(...spread));
  }

  pin(index) {
    this.pinned = this.pinned === index ? -1 : index;
    this.words.forEach((word, at) => word.setAttribute("aria-pressed", String(at === this.pinned)));
    this.show(this.pinned);
  }

  listen(word, index) {
    word.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse" && !this.resting) this.show(index); });
    word.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") this.show(this.pinned); });
    word.addEventListener("focus", () => { if (word.matches(":focus-visible")) this.show(index); });
    word.addEventListener("blur", () => this.show(this.pinned));
    word.addEventListener("click", () => this.pin(index));
    word.addEventListener("keydown", (event) => {
      const onward = getComputedStyle(word).direction === "rtl" ? -1 : 1;
      const step = { ArrowRight: onward, ArrowLeft: -onward }[event.key];
      if (step) { this.words[(index + step + this.words.length) % this.words.length].focus(); event.preventDefault(); }
      if (event.key === "Escape" && this.pinned >= 0) this.pin(this.pinned);
    });
  }

  toggleAll(button) {
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(open));
    const place = this.element.querySelector(".all");
    place.hidden = !open;
    place.replaceChildren(...(open ? this.asked.labels.map((label, index) => this.small(label, index)) : []));
  }

  small(label, index, frame = 0) {
    const figure = make("figure"), canvas = make("canvas");
    this.paint(canvas, index, frame);
    figure.append(canvas, make("figcaption", { textContent: label, dir: "auto" }));
    return figure;
  }

  redraw() {
    if (this.shown >= 0) this.show(this.shown);
    const button = this.element.querySelector("[data-all]");
    if (button.getAttribute("aria-expanded") === "true") { this.toggleAll(button); this.toggleAll(button); }
  }
}
