// A phrase of the reader's own: words that the pointer is drawn over, or Shift and the arrow keys.
class Picking {
  constructor(words, done) {
    this.words = words;  // of one sentence, in order
    this.done = done;  // hears of the first and the last word
    this.from = this.to = -1;
    words.forEach((word, index) => {
      word.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        word.releasePointerCapture?.(event.pointerId);  // of touch: other words are to be met
        this.from = this.to = index;
        addEventListener("pointerup", () => this.end(), { once: true });
      });
      word.addEventListener("keydown", (event) => this.key(event, index));
      word.addEventListener("keyup", (event) => { if (event.key === "Shift") this.end(); });
      word.addEventListener("blur", ({ relatedTarget }) => { if (this.keyed && !words.includes(relatedTarget)) this.drop(); });
    });
    const place = words[0]?.parentNode;
    place?.addEventListener("pointermove", (event) => { if (this.from >= 0 && event.buttons) this.reach(this.under(event)); });
    place?.addEventListener("pointercancel", () => this.drop());
  }

  under({ clientX, clientY }) { return this.words.indexOf(document.elementFromPoint(clientX, clientY)?.closest(".word")); }

  reach(index) {
    if (index < 0 || index === this.to) return;
    this.to = index;
    this.mark();
  }

  mark() {
    const [first, last] = this.range();
    this.words.forEach((word, at) => word.classList.toggle("picked", last > first && at >= first && at <= last));
  }

  range() { return [Math.min(this.from, this.to), Math.max(this.from, this.to)]; }

  key(event, index) {
    const onward = getComputedStyle(this.words[index]).direction === "rtl" ? -1 : 1;
    const step = { ArrowRight: onward, ArrowLeft: -onward }[event.key];
    if (event.key === "Escape") this.drop();
    if (!step || !event.shiftKey) return;
    event.preventDefault();
    event.stopImmediatePropagation();  // without Shift the arrows go from word to word
    if (!this.keyed) { this.keyed = true; this.from = this.to = index; }
    const next = index + step;
    if (next < 0 || next >= this.words.length) return;
    this.reach(next);
    this.words[next].focus();
  }

  end() {
    const [first, last] = this.range(), some = this.from >= 0 && last > first;
    this.drop();
    if (some) this.done(first, last);
  }

  drop() {
    this.from = this.to = -1;
    this.keyed = false;
    this.words.forEach((word) => word.classList.remove("picked"));
  }
}

// Values of all words and, after them, those of phrases [first, last]: sums over their words, or means.
function withPhrases(values, each, phrases, mean) {
  const all = new Float32Array(values.length + phrases.length * each);
  all.set(values);
  phrases.forEach(([first, last], number) => {
    const own = all.subarray(values.length + number * each, values.length + (number + 1) * each);
    for (let word = first; word <= last; word++) own.forEach((_, at) => { own[at] += values[word * each + at] / (mean ? last - first + 1 : 1); });
  });
  return all;
}
