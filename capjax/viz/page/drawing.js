// Colours, numbers and interpolation: nothing here knows the page.
const COLOURS = {
  heat: ["#000004", "#1b0c41", "#4a0c6b", "#781c6d", "#a52c60", "#cf4446", "#ed6925", "#fb9b06", "#f7d13d", "#fcffa4"],
  spotlight: ["#000000", "#ffffff"],
  signed: ["#053061", "#2166ac", "#67a9cf", "#f7f7f7", "#ef8a62", "#b2182b", "#67001f"],
};
const tables = Object.fromEntries(Object.entries(COLOURS).map(([name, stops]) => [name, table(stops)]));

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

const UNSEEN = 65535;

// Maps of 16 bits a value, each over its own range: low + step * level.
function unpacked({ levels, low, step }) {
  const raw = atob(levels), each = raw.length / 2 / low.length;
  return Float32Array.from({ length: raw.length / 2 }, (_, i) => {
    const level = raw.charCodeAt(2 * i) + 256 * raw.charCodeAt(2 * i + 1), map = Math.floor(i / each);
    return level === UNSEEN ? NaN : low[map] + step[map] * level;
  });
}

// A value that is known to half a step, with no more digits than that allows.
function rounded(value, step) {
  const digits = step > 0 ? Math.floor(Math.log10(Math.abs(value) / step)) : 3;
  return digits >= 3 || value === 0 && !step ? number(value) : `≈ ${digits < 1 ? 0 : Number(value.toPrecision(digits))}`;
}

const number = (value) => {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1000 || size < 0.001 ? value.toExponential(2) : value.toPrecision(3);
};

// A word whose direction leaves that of the text around it alone.
const isolated = (word) => `\u2068${word}\u2069`;

function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
  return [low, high];
}

// Zero is the middle of the colours only where values of both signs occur, rounding aside.
const bothSigns = ([low, high]) => Math.min(-low, high) > 1e-5 * Math.max(-low, high);

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

function make(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}

// Where an event lies in a picture of width x height pixels that fills its element but for borders: shares of its sides.
function within(element, width, height, { clientX, clientY }) {
  const frame = element.getBoundingClientRect(), scale = Math.min(frame.width / width, frame.height / height);
  return [(clientX - frame.left - frame.width / 2) / scale / width + 0.5, (clientY - frame.top - frame.height / 2) / scale / height + 0.5];
}

// A map over a photograph of width x height pixels; `opacity` of a level from 0 to 1.
function colourLayer(width, height, { map, grid: [rows, columns], box: [x0, y0, x1, y1], range: [low, high], colours, opacity }) {
  const layer = make("canvas", { width, height });
  const context = layer.getContext("2d"), paper = context.createImageData(width, height);
  const xs = axis(width, x0, x1, columns), ys = axis(height, y0, y1, rows);
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
      paper.data[at + 3] = 255 * opacity(level);
    }
  }
  context.putImageData(paper, 0, 0);
  return layer;
}
