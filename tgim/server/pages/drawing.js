// The stage: before and after with a divider, parts that light up, a box or a brushed mask.

const COLOUR = [217, 71, 43]; // of what is drawn
const LIT = [0, 229, 238]; // of a part that lights up
const MASK_SIDE = 1024; // longer side of a brushed mask, pixels

export class Stage {
  // `changed` is called when a box or mask was drawn or cleared.
  constructor(root, changed) {
    this.root = root;
    this.changed = changed;
    this.before = root.querySelector("#before");
    this.after = root.querySelector("#after");
    this.divider = root.querySelector("#divider");
    this.overlay = root.querySelector("#overlay");
    this.tool = "";
    this.thick = 8; // of the brush, percent of the picture's longer side
    this.reset();
    for (const [name, handler] of [["pointerdown", this.begin], ["pointermove", this.move], ["pointerup", this.end],
      ["pointercancel", this.end]]) {
      this.overlay.addEventListener(name, handler.bind(this));
    }
    new ResizeObserver(() => this.draw()).observe(root);
  }

  reset() {
    this.box = null;
    this.mask = null;
    this.labels = null; // indices of parts, at most as large as the picture
    this.lit = -1;
    this.from = null;
  }

  async show(url) {
    this.reset();
    this.after.hidden = this.divider.hidden = true;
    this.before.src = url;
    await this.before.decode();
    this.draw();
  }

  async showAfter(url) {
    this.after.src = url;
    await this.after.decode();
    this.after.hidden = this.divider.hidden = false;
  }

  split(percent) {
    this.after.style.clipPath = `inset(0 0 0 ${percent}%)`;
    this.divider.style.left = `${percent}%`;
  }

  get size() {
    return [this.before.naturalWidth, this.before.naturalHeight];
  }

  async setParts(png) {
    const image = new Image();
    image.src = `data:image/png;base64,${png}`;
    await image.decode();
    const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const index = new Uint8Array(canvas.width * canvas.height);
    for (let i = 0; i < index.length; i++) index[i] = pixels[4 * i];
    this.labels = { index, width: canvas.width, height: canvas.height };
  }

  partAt(event) {
    if (!this.labels) return 0;
    const [x, y] = this.place(event);
    const { index, width, height } = this.labels;
    const column = Math.min(width - 1, Math.floor(x * width)), row = Math.min(height - 1, Math.floor(y * height));
    return index[row * width + column];
  }

  light(part) {
    if (part === this.lit) return;
    this.lit = part;
    this.draw();
  }

  use(tool) {
    this.tool = tool;
    this.root.classList.toggle("drawing", Boolean(tool));
  }

  clear() {
    this.box = this.mask = null;
    this.draw();
    this.changed();
  }

  // Box in pixels of the picture as the server takes it, or an empty string.
  boxField() {
    if (!this.box) return "";
    const [width, height] = this.size, [x0, y0, x1, y1] = this.box;
    const left = Math.round(x0 * width), top = Math.round(y0 * height);
    return [left, top, Math.round(x1 * width) - left, Math.round(y1 * height) - top].join(",");
  }

  async maskFile() {
    if (!this.mask) return null;
    const flat = new OffscreenCanvas(this.mask.width, this.mask.height);
    const context = flat.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, flat.width, flat.height);
    context.drawImage(this.mask, 0, 0);
    return flat.convertToBlob({ type: "image/png" });
  }

  place(event) {
    const frame = this.overlay.getBoundingClientRect();
    const clamp = (value) => Math.min(1, Math.max(0, value));
    return [clamp((event.clientX - frame.left) / frame.width), clamp((event.clientY - frame.top) / frame.height)];
  }

  begin(event) {
    if (!this.tool || event.button) return;
    event.preventDefault();
    this.overlay.setPointerCapture(event.pointerId);
    this.from = this.last = this.place(event);
    if (this.tool === "brush") {
      const [width, height] = this.size, scale = Math.min(1, MASK_SIDE / Math.max(width, height));
      this.mask ??= new OffscreenCanvas(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
      this.stroke(this.from);
    }
  }

  move(event) {
    if (!this.from) return;
    const here = this.place(event);
    if (this.tool === "brush") this.stroke(here);
    else this.box = [0, 1].map((i) => Math.min(this.from[i], here[i]))
      .concat([0, 1].map((i) => Math.max(this.from[i], here[i])));
    this.last = here;
    this.draw();
  }

  end() {
    if (!this.from) return;
    this.from = null;
    const [width, height] = this.size;
    if (this.box && ((this.box[2] - this.box[0]) * width < 4 || (this.box[3] - this.box[1]) * height < 4)) this.box = null;
    this.draw();
    this.changed();
  }

  stroke(to) {
    const context = this.mask.getContext("2d"), { width, height } = this.mask;
    context.strokeStyle = "#fff";
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = this.thick / 100 * Math.max(width, height);
    context.beginPath();
    context.moveTo(this.last[0] * width, this.last[1] * height);
    context.lineTo(to[0] * width + 0.01, to[1] * height);
    context.stroke();
    this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.root;
    if (!width || !height) return;
    const sharp = window.devicePixelRatio || 1, context = this.overlay.getContext("2d");
    this.overlay.width = Math.round(width * sharp);
    this.overlay.height = Math.round(height * sharp);
    context.scale(sharp, sharp);
    if (this.labels && this.lit > 0) context.drawImage(this.shape(this.lit), 0, 0, width, height);
    if (this.mask) {
      context.globalAlpha = 0.45;
      context.drawImage(this.tinted(), 0, 0, width, height);
      context.globalAlpha = 1;
    }
    if (this.box) {
      const [x0, y0, x1, y1] = this.box;
      context.lineWidth = 2;
      for (const [colour, dash] of [["#fff", []], [`rgb(${COLOUR})`, [6, 6]]]) {
        context.strokeStyle = colour;
        context.setLineDash(dash);
        context.strokeRect(x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height);
      }
    }
  }

  shape(part) {
    const { index, width, height } = this.labels;
    const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let i = 0; i < index.length; i++) {
      if (index[i] === part) image.data.set([...LIT, 140], 4 * i);
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  tinted() {
    const canvas = new OffscreenCanvas(this.mask.width, this.mask.height), context = canvas.getContext("2d");
    context.drawImage(this.mask, 0, 0);
    context.globalCompositeOperation = "source-in";
    context.fillStyle = `rgb(${COLOUR})`;
    context.fillRect(0, 0, canvas.width, canvas.height);
    return canvas;
  }
}
