// The webcam: single pictures, and captions one after another, each asked for when the last is there.
const SIDE = 640;

class Webcam {
  constructor(take) {
    this.take = take;  // a picture for the page
    this.video = byId("video");
    byId("webcam").addEventListener("click", () => { if (!this.starting) this.stream ? this.stop() : this.start(); });
    byId("shoot").addEventListener("click", async () => this.take(await this.frame(), "webcam"));
    byId("live").addEventListener("change", () => {
      this.asking?.abort();
      if (byId("live").checked) this.caption();
    });
  }

  async start() {
    if (!navigator.mediaDevices) {
      complain("The browser gives a webcam only to localhost and to HTTPS; open the page there.");
      return;
    }
    this.starting = true;  // until the permission is given or refused
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: SIDE } } });
      this.video.srcObject = this.stream;
      await this.video.play();
      this.shown(true);
    } catch (error) {
      if (this.stream) this.stop();
      complain(`There is no picture of a webcam: ${error.message}`);
    } finally {
      this.starting = false;
    }
  }

  stop() {
    byId("live").checked = false;
    this.asking?.abort();
    this.stream.getTracks().forEach((track) => track.stop());
    this.stream = this.video.srcObject = null;
    this.shown(false);
  }

  shown(on) {
    byId("camera").hidden = !on;
    byId("webcam").setAttribute("aria-pressed", String(on));
  }

  frame() {
    const { videoWidth: width, videoHeight: height } = this.video;
    const scale = Math.min(1, SIDE / Math.max(width, height));
    const canvas = make("canvas", { width: Math.round(width * scale), height: Math.round(height * scale) });
    canvas.getContext("2d").drawImage(this.video, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
  }

  async caption() {
    const { signal } = this.asking = new AbortController();  // of this loop alone
    try {
      while (!signal.aborted) {
        const start = performance.now();
        const response = await send("/caption?name=webcam", { body: await this.frame(), signal });
        byId("live-caption").textContent = (await response.json()).caption;
        byId("latency").textContent = `${Math.round(performance.now() - start)} ms from the picture to its caption`;
      }
    } catch (error) {
      if (error.name === "AbortError") return;
      byId("live").checked = false;
      complain(error.message);
    }
  }
}
