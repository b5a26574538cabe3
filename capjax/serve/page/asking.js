// Requests to the server: errors with its own words, patience where it is busy, progress as it comes.
class Refused extends Error {
  constructor(status, text) { super(text); this.status = status; }
}

const pause = (seconds, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, 1000 * seconds);
  signal?.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
});

const TRIES = 4;

async function send(path, { headers = {}, body, signal, waiting = () => {} } = {}) {
  for (let tries = 1; ; tries++) {
    const response = await fetch(path, { method: body === undefined ? "GET" : "POST", headers, body, signal });
    if (response.ok) return response;
    const seconds = Number(response.headers.get("Retry-After"));
    if (response.status === 503 && seconds && tries < TRIES) {
      waiting(seconds);
      await pause(seconds, signal);
      continue;
    }
    const { detail } = await response.json().catch(() => ({ detail: response.statusText }));
    throw new Refused(response.status, detail);
  }
}

// The result of a stream of events; `progress` hears of {method, done, of}.
async function streamed(response, progress) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { done, value } = await reader.read();
    if (done) throw new Refused(0, "The connection broke off; try again.");
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const [kind, data] = part.split("\n");
      if (kind === "event: progress") progress(JSON.parse(data.slice(6)));
      if (kind === "event: result") return JSON.parse(data.slice(6));
      if (kind === "event: error") { const { status, detail } = JSON.parse(data.slice(6)); throw new Refused(status, detail); }
    }
  }
}

const addressed = (path, values) => {
  const own = Object.entries(values).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
  return `${path}?${new URLSearchParams(own.filter(([, value]) => value !== ""))}`;
};

function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}
