// A clip: one frame of its sprite at a time, a slider, and the relevance of every frame for every word.
const SHORTEST_MS = 80, LONGEST_MS = 600, UNTIMED_MS = 250;
const ROW = 14, COLUMN = 12;  // pixels of the timeline's canvas, before it is stretched

class Clip extends Item {
  constructor(element) {
    super(element);
    this.slider = element.querySelector(".player input");
    this.button = element.querySelector("[data-play]");
    this.output = element.querySelector(".player output");
    this.image.hidden = true;  // the sprite, all frames side by side
    this.image.parentNode.classList.add("clip");
    this.slider.addEventListener("input", () => { this.pause(); this.go(Number(this.slider.value)); });
    this.button.addEventListener("click", () => (this.timer ? this.pause() : this.play()));
    // Frames are decoded when a reader comes near: a page of sprites is hundreds of megabytes.
    new IntersectionObserver((entries, observer) => {
      if (entries.some((entry) => entry.isIntersecting)) { observer.disconnect(); this.near = true; this.layOut(); this.draw(); }
    }, { rootMargin: "400px" }).observe(element);
  }

  draw() {
    if (!this.near) return;
    this.onCanvas();
    const what = this.shown < 0 ? "" : `, ${this.method} map of ${this.asked.labels[this.shown]}`;
    this.canvas.setAttribute("aria-label", `${this.position()}${what}`);
    this.output.textContent = this.position();
    this.slider.value = String(this.frame);
    this.slider.setAttribute("aria-valuetext", this.position());
    this.drawTimeline();
  }

  position() {
    const second = this.data.seconds[this.frame];
    return `frame ${this.frame + 1} of ${this.data.frames}${second === undefined ? "" : ` · ${second.toFixed(1)} s`}`;
  }

  go(frame) {
    this.frame = Math.min(this.data.frames - 1, Math.max(0, frame));
    this.draw();
  }

  relevance(index) {
    const { frames } = this.data;
    return this.numbers("relevance").subarray(index * frames, (index + 1) * frames);
  }

  best(index) {  // its most relevant frame, the first of equal ones
    const values = this.relevance(index);
    return values.indexOf(Math.max(...values));
  }

  pin(index) {
    super.pin(index);
    if (this.pinned >= 0) { this.pause(); this.go(this.best(this.pinned)); }
  }

  describe() {
    super.describe();
    if (this.shown >= 0) this.say(`${this.bar.querySelector(".readout").textContent} · this frame ${number(this.relevance(this.shown)[this.frame])}`);
  }

  play() {
    for (const item of items) item.pause?.();
    const next = () => {
      this.go((this.frame + 1) % this.data.frames);
      const [now, then] = [this.data.seconds[this.frame], this.data.seconds[this.frame + 1]];
      const wait = then > now ? 1000 * (then - now) : UNTIMED_MS;
      this.timer = setTimeout(next, Math.min(LONGEST_MS, Math.max(SHORTEST_MS, wait)));
    };
    this.timer = setTimeout(next, SHORTEST_MS);
    this.playing(true);
  }

  pause() {
    clearTimeout(this.timer);
    this.timer = null;
    this.playing(false);
  }

  playing(on) {
    this.button.textContent = on ? "❚❚" : "▶";
    this.button.setAttribute("aria-pressed", String(on));
    this.button.setAttribute("aria-label", on ? "pause" : "play");
  }

  layOut() {  // the word × frame bar: a name and a row for each word and phrase
    const { labels } = this.asked, place = this.element.querySelector(".timeline");
    const names = make("div", { className: "names" });
    names.setAttribute("aria-hidden", "true");
    names.append(...labels.map((label) => make("span", { textContent: label, title: label, dir: "auto" })));
    this.timeline = make("canvas", { width: COLUMN * this.data.frames, height: ROW * labels.length, tabIndex: 0 });
    this.timeline.style.height = `${1.05 * labels.length}rem`;
    this.timeline.setAttribute("role", "img");
    this.timeline.setAttribute("aria-label", "Relevance of each frame for each word, darker is more relevant. Left and right choose the frame, up and down the word.");
    this.timeline.addEventListener("click", (event) => this.point(event));
    this.timeline.addEventListener("keydown", (event) => this.key(event));
    place.replaceChildren(names, this.timeline);
  }

  point(event) {
    const box = this.timeline.getBoundingClientRect(), { labels } = this.asked, { frames } = this.data;
    const row = Math.min(labels.length - 1, Math.floor(labels.length * (event.clientY - box.top) / box.height));
    this.choose(row, Math.floor(frames * (event.clientX - box.left) / box.width));
  }

  key(event) {
    const along = { ArrowRight: 1, ArrowLeft: -1 }[event.key], down = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!along && !down) return;
    event.preventDefault();
    const rows = this.asked.labels.length;
    if (down) this.choose((Math.max(this.pinned, 0) + (this.pinned < 0 ? 0 : down) + rows) % rows, this.frame);
    else { this.pause(); this.go(this.frame + along); this.describe(); }
  }

  choose(index, frame) {
    if (this.pinned !== index) this.pin(index);
    this.pause();
    this.go(frame);
    this.describe();
  }

  drawTimeline() {  // white to black between the extremes of the word, or of all words
    const context = this.timeline.getContext("2d"), { labels } = this.asked, { frames } = this.data;
    context.fillStyle = "#fff";
    context.fillRect(0, 0, this.timeline.width, this.timeline.height);
    labels.forEach((_, row) => {
      const values = this.relevance(row);
      const [low, high] = extent(state.scale === "word" ? values : this.alike(row, this.numbers("relevance")));
      const best = this.best(row);
      for (let frame = 0; frame < frames; frame++) {
        const level = high > low ? (values[frame] - low) / (high - low) : 0, grey = Math.round(255 * (1 - level));
        context.fillStyle = `rgb(${grey} ${grey} ${grey})`;
        context.fillRect(frame * COLUMN, row * ROW, COLUMN, ROW - 1);
        if (frame === best && high > low) { context.fillStyle = "#e0651f"; context.fillRect(frame * COLUMN, (row + 1) * ROW - 4, COLUMN, 3); }
      }
      if (row === this.shown) { context.strokeStyle = "#1558b0"; context.lineWidth = 2; context.strokeRect(1, row * ROW + 1, frames * COLUMN - 2, ROW - 3); }
    });
    context.strokeStyle = "#1558b0"; context.lineWidth = 2;
    context.strokeRect(this.frame * COLUMN + 1, 1, COLUMN - 2, this.timeline.height - 2);
  }

  small(label, index) {
    const frame = this.best(index);
    return super.small(`${label} · ${frame + 1}`, index, frame);
  }

  ask(sentence) {
    this.pause();
    super.ask(sentence);
    if (this.near) { this.layOut(); this.draw(); }
  }

  added() { if (this.near) this.layOut(); }

  redraw() {
    super.redraw();
    this.draw();
  }
}
