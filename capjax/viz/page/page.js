"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const COLOURS = {
    heat: ["#000004", "#1b0c41", "#4a0c6b", "#781c6d", "#a52c60", "#cf4446", "#ed6925", "#fb9b06", "#f7d13d", "#fcffa4"],
    spotlight: ["#000000", "#ffffff"],
    signed: ["#053061", "#2166ac", "#67a9cf", "#f7f7f7", "#ef8a62", "#b2182b", "#67001f"],
  };
  const tables = Object.fromEntries(Object.entries(COLOURS).map(([name, stops]) => [name, table(stops)]));
  const state = { method: "", scale: "word", look: "heat", strength: 0.65 };
  const byId = (id) => document.getElementById(id);

  // 256 RGB triples between the stops of a colour map.
  function table(stops) {
    const rgb = stops.map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));
    const out = new Uint8Array(256 * 3);
    for (let i = 0; i < 256; i++) {
      const at = (i / 255) * (rgb.length - 1);
      const left = Math.min(Math.floor(at), rgb.length - 2);
      for (let c = 0; c < 3; c++) out[3 * i + c] = Math.round(rgb[left][c] + (at - left) * (rgb[left + 1][c] - rgb[left][c]));
    }
    return out;
  }

  function float32(text) {
    const raw = atob(text);
    const bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    const view = new DataView(bytes.buffer);  // little-endian whatever the machine
    return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
  }

  const number = (value) => {
    if (value === 0) return "0";
    const size = Math.abs(value);
    return size >= 1000 || size < 0.001 ? value.toExponential(2) : value.toPrecision(3);
  };

  function extent(values) {
    let low = Infinity, high = -Infinity;
    for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
    return [low, high];
  }

  class Item {
    constructor(element) {
      this.element = element;
      this.image = element.querySelector(".photo img");
      this.bar = element.querySelector(".bar");
      this.words = [...element.querySelectorAll(".word")];
      this.pinned = -1;
      this.shown = -1;
      this.cache = new Map();
      this.words.forEach((word, index) => this.listen(word, index));
      element.querySelector("[data-all]").addEventListener("click", (event) => this.toggleAll(event.currentTarget));
    }

    get data() {  // parsed when first needed: a page holds hundreds
      this.parsed ??= JSON.parse(this.element.querySelector("script").textContent);
      return this.parsed;
    }

    get method() { return state.method in this.data.methods ? state.method : Object.keys(this.data.methods)[0]; }

    map(index) {  // [h * w] raw values of one word
      const size = this.data.grid[0] * this.data.grid[1];
      if (!this.cache.has(this.method)) this.cache.set(this.method, float32(this.data.methods[this.method].maps));
      return this.cache.get(this.method).subarray(index * size, (index + 1) * size);
    }

    range(index) {
      let range;
      if (state.scale === "word") range = extent(this.map(index));
      else if (state.scale === "sentence") { this.map(0); range = extent(this.cache.get(this.method)); }
      else range = [...(report.ranges[this.method] ?? extent(this.map(index)))];
      const signed = this.data.methods[this.method].signed;
      if (signed) { const most = Math.max(Math.abs(range[0]), Math.abs(range[1])); range = [-most, most]; }
      else if (state.scale === "raw") range[0] = Math.min(0, range[0]);
      return range;
    }

    colours() { return tables[this.data.methods[this.method].signed ? "signed" : state.look]; }

    // How opaque a colour lies on the photograph: weak signed values let it through.
    opacity(level) { return state.strength * (this.data.methods[this.method].signed ? Math.min(1, 0.12 + 2.4 * Math.abs(level - 0.5)) : 1); }

    paint(canvas, index) {
      const { naturalWidth: width, naturalHeight: height } = this.image;
      canvas.width = width; canvas.height = height;
      const context = canvas.getContext("2d");
      context.drawImage(this.image, 0, 0);
      const layer = blank(width, height);
      const paper = layer.getContext("2d").createImageData(width, height);
      const [rows, columns] = this.data.grid;
      const [x0, y0, x1, y1] = this.data.box;
      const xs = axis(width, x0, x1, columns), ys = axis(height, y0, y1, rows);
      const map = this.map(index), colours = this.colours();
      const [low, high] = this.range(index);
      for (let y = 0, at = 0; y < height; y++) {
        for (let x = 0; x < width; x++, at += 4) {
          if (!xs.inside[x] || !ys.inside[y]) { paper.data.set([128, 128, 128, 190], at); continue; }
          const top = ys.left[y] * columns, bottom = ys.right[y] * columns;
          const fx = xs.part[x], fy = ys.part[y];
          const value = (map[top + xs.left[x]] * (1 - fx) + map[top + xs.right[x]] * fx) * (1 - fy)
            + (map[bottom + xs.left[x]] * (1 - fx) + map[bottom + xs.right[x]] * fx) * fy;
          if (!(high > low)) continue;  // a constant map has nothing to show
          const level = Math.min(1, Math.max(0, (value - low) / (high - low)));
          const colour = 3 * Math.round(255 * level);
          paper.data[at] = colours[colour]; paper.data[at + 1] = colours[colour + 1]; paper.data[at + 2] = colours[colour + 2];
          paper.data[at + 3] = 255 * this.opacity(level);
        }
      }
      layer.getContext("2d").putImageData(paper, 0, 0);
      context.drawImage(layer, 0, 0);
    }

    show(index) {
      this.shown = index;
      this.words.forEach((word, at) => word.classList.toggle("shown", at === index));
      this.bar.classList.toggle("idle", index < 0);
      if (index < 0) {
        this.canvas?.remove(); this.canvas = null;
        this.bar.querySelector(".readout").textContent = "Point at a word to see its map.";
        return;
      }
      if (!this.canvas) {
        this.canvas = document.createElement("canvas");
        this.canvas.setAttribute("role", "img");
        this.canvas.addEventListener("pointermove", (event) => this.probe(event));
        this.canvas.addEventListener("pointerleave", () => this.describe());
        this.image.after(this.canvas);
      }
      this.canvas.setAttribute("aria-label", `${this.method} map of the word ${this.data.words[index]}`);
      if (this.image.complete) this.paint(this.canvas, index);
      else this.image.addEventListener("load", () => this.redraw(), { once: true });
      this.scaleBar();
      this.describe();
    }

    scaleBar() {
      const [low, high] = this.range(this.shown);
      this.bar.querySelector(".low").textContent = number(low);
      this.bar.querySelector(".high").textContent = number(high);
      const canvas = this.bar.querySelector("canvas");
      canvas.width = 256; canvas.height = 1;
      const context = canvas.getContext("2d"), colours = this.colours();
      for (let i = 0; i < 256; i++) {
        context.fillStyle = `rgb(${colours[3 * i]} ${colours[3 * i + 1]} ${colours[3 * i + 2]})`;
        context.fillRect(i, 0, 1, 1);
      }
    }

    describe() {
      if (this.shown < 0) return;
      const word = this.data.words[this.shown], p = Math.exp(this.data.log_probs[this.shown]);
      const [low, high] = extent(this.map(this.shown));
      const entropy = this.data.methods[this.method].entropy?.[this.shown];
      const parts = [`“${word}”`, `p ${number(p)}`];
      parts.push(high > low ? `map ${number(low)} to ${number(high)}` : `map constant, ${number(low)}`);
      if (high > low && entropy != null) parts.push(`spread ${(100 * entropy).toFixed(0)} %`);
      const line = this.bar.querySelector(".readout");
      line.textContent = parts.join(" · ");
      line.title = "p: probability of the word given the words before it. Spread: entropy of the map as a share of a uniform map's.";
    }

    probe(event) {  // the raw value of the cell under the pointer
      const frame = this.canvas.getBoundingClientRect();
      const scale = Math.min(frame.width / this.canvas.width, frame.height / this.canvas.height);
      const x = ((event.clientX - frame.left - frame.width / 2) / scale) / this.canvas.width + 0.5;
      const y = ((event.clientY - frame.top - frame.height / 2) / scale) / this.canvas.height + 0.5;
      const [rows, columns] = this.data.grid, [x0, y0, x1, y1] = this.data.box;
      const row = Math.floor((y - y0) / (y1 - y0) * rows), column = Math.floor((x - x0) / (x1 - x0) * columns);
      if (row < 0 || column < 0 || row >= rows || column >= columns || x < 0 || y < 0 || x >= 1 || y >= 1) return this.describe();
      this.bar.querySelector(".readout").textContent =
        `row ${row + 1}, column ${column + 1} of ${rows} × ${columns}: ${number(this.map(this.shown)[row * columns + column])}`;
    }

    sharpest() {  // the word whose map is least spread out
      const spread = this.data.methods[this.method].entropy;
      return spread.indexOf(Math.min(...spread));
    }

    pin(index) {
      this.pinned = this.pinned === index ? -1 : index;
      this.words.forEach((word, at) => word.setAttribute("aria-pressed", String(at === this.pinned)));
      this.show(this.pinned);
    }

    listen(word, index) {
      word.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") this.show(index); });
      word.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") this.show(this.pinned); });
      word.addEventListener("focus", () => { if (word.matches(":focus-visible")) this.show(index); });
      word.addEventListener("blur", () => this.show(this.pinned));
      word.addEventListener("click", () => this.pin(index));
      word.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (step) { this.words[(index + step + this.words.length) % this.words.length].focus(); event.preventDefault(); }
        if (event.key === "Escape" && this.pinned >= 0) this.pin(this.pinned);
      });
    }

    toggleAll(button) {
      const open = button.getAttribute("aria-expanded") !== "true";
      button.setAttribute("aria-expanded", String(open));
      const place = this.element.querySelector(".all");
      place.hidden = !open;
      place.replaceChildren(...(open ? this.data.words.map((word, index) => this.small(word, index)) : []));
    }

    small(word, index) {
      const figure = document.createElement("figure"), caption = document.createElement("figcaption");
      const canvas = document.createElement("canvas");
      this.paint(canvas, index);
      caption.textContent = word;
      figure.append(canvas, caption);
      return figure;
    }

    redraw() {
      if (this.shown >= 0) this.show(this.shown);
      const button = this.element.querySelector("[data-all]");
      if (button.getAttribute("aria-expanded") === "true") { this.toggleAll(button); this.toggleAll(button); }
    }
  }

  // Grid neighbours of each pixel of one side: cells are centred on half-integers.
  function axis(pixels, from, to, cells) {
    const out = { left: new Int32Array(pixels), right: new Int32Array(pixels), part: new Float32Array(pixels), inside: new Uint8Array(pixels) };
    for (let i = 0; i < pixels; i++) {
      const share = ((i + 0.5) / pixels - from) / (to - from);
      out.inside[i] = share >= 0 && share <= 1 ? 1 : 0;
      const at = Math.min(cells - 1, Math.max(0, share * cells - 0.5));
      out.left[i] = Math.floor(at);
      out.right[i] = Math.min(cells - 1, out.left[i] + 1);
      out.part[i] = at - out.left[i];
    }
    return out;
  }

  function blank(width, height) {
    return Object.assign(document.createElement("canvas"), { width, height });
  }

  // Marks live in this browser, under the run's name; a sandboxed frame has no storage.
  const marks = {
    key: `capjax marks ${report.run}`,
    read() { try { return JSON.parse(localStorage.getItem(this.key) ?? "{}"); } catch { return this.kept ?? {}; } },
    write(all) { this.kept = all; try { localStorage.setItem(this.key, JSON.stringify(all)); } catch { /* kept in memory */ } },
  };

  function drawMarks() {
    const all = marks.read();
    for (const item of items) {
      for (const button of item.element.querySelectorAll("[data-mark]")) {
        button.setAttribute("aria-pressed", String(all[item.element.dataset.file] === button.dataset.mark));
      }
    }
    const values = Object.values(all);
    const count = (mark) => values.filter((value) => value === mark).length;
    byId("export").textContent = values.length ? `Export marks (${count("right")} right, ${count("wrong")} wrong)` : "Export marks";
    byId("export").disabled = !values.length;
  }

  function mark(item, value) {
    const all = marks.read(), file = item.element.dataset.file;
    if (all[file] === value) delete all[file]; else all[file] = value;
    marks.write(all);
    drawMarks();
  }

  function exportMarks() {
    const body = JSON.stringify({ run: report.run, model: report.model, marks: marks.read() }, null, 2);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([body], { type: "application/json" }));
    link.download = "marks.json";
    link.click();
    URL.revokeObjectURL(link.href);
  }

  function select() {
    const wanted = byId("find").value.trim().toLowerCase(), filter = byId("filter").value, all = marks.read();
    let seen = 0;
    for (const { element } of items) {
      const own = all[element.dataset.file] ?? "unmarked";
      const fits = filter === "all" || filter === own || (filter === "noted" && element.querySelector(".note"));
      const found = !wanted || `${element.dataset.file} ${element.dataset.text}`.toLowerCase().includes(wanted);
      element.hidden = !(fits && found);
      seen += element.hidden ? 0 : 1;
    }
    byId("empty").hidden = seen > 0;
  }

  const items = [...document.querySelectorAll(".item")].map((element) => new Item(element));
  const redraw = () => items.forEach((item) => item.redraw());
  state.method = byId("method").value;
  byId("method").addEventListener("change", (event) => { state.method = event.target.value; redraw(); });
  byId("look").addEventListener("change", (event) => { state.look = event.target.value; redraw(); });
  byId("strength").addEventListener("input", (event) => { state.strength = Number(event.target.value); redraw(); });
  document.querySelectorAll("input[name=scale]").forEach((input) => input.addEventListener("change", () => { state.scale = input.value; redraw(); }));
  byId("filter").addEventListener("change", select);
  byId("find").addEventListener("input", select);
  byId("export").addEventListener("click", exportMarks);
  for (const item of items) {
    item.element.querySelectorAll("[data-mark]").forEach((button) => button.addEventListener("click", () => mark(item, button.dataset.mark)));
    item.show(-1);
    if (document.documentElement.classList.contains("inline")) item.pin(item.sharpest());  // a picture at once
  }
  drawMarks();
})();
