// One map of the sky on a canvas: the pixels, found for every point of the canvas, and lines over them.

// Most points of the canvas for which the pixel is found; a larger canvas shows them enlarged.
const MAX_POINTS = 600000;
// Levels up to this order are looked up in an array of all their pixels.
const ARRAY_ORDER = 9;

// The rows of a level's pixels: a function from the number (NESTED) to the row, -1 if there is none.
function levelLookup(level, first) {
  const order = Math.log2(level.nside);
  if (order <= ARRAY_ORDER) {
    const rows = new Int32Array(12 * level.nside * level.nside).fill(-1);
    level.nested.forEach((pixel, i) => { rows[pixel] = first + i; });
    return (pixel) => rows[pixel];
  }
  const rows = new Map(level.nested.map((pixel, i) => [pixel, first + i]));
  return (pixel) => rows.get(pixel) ?? -1;
}

class SkyMap {
  // `model` of `makeModel`, which all maps share; `view`: a View; `scale` of `lowIsBright`.
  constructor(figure, model, view, scale) {
    Object.assign(this, { figure, model, view, scale });
    this.home = { ra: view.ra, dec: view.dec, radius: view.radius, whole: view.whole };
    this.canvas = figure.querySelector("canvas");
    this.output = figure.querySelector("output");
    this.raster = document.createElement("canvas");
    this.colours = new Uint32Array(model.replay.rise.length);
    this.selected = null;
    this.moved = false; // whether the user has chosen another view
    this.pointers = new Map();
    this.listen();
    new ResizeObserver(() => this.resize()).observe(this.canvas);
  }

  // Shows other fits; if the pixels are others too, `model` is a new one.
  update(model, scale) {
    if (model !== this.model) {
      Object.assign(this, { model, selected: null, colours: new Uint32Array(model.replay.rise.length) });
      this.changed();
    }
    if (scale.limit !== this.scale.limit) drawScale(this.figure, scale);
    this.scale = scale;
    this.recolour(null);
    if (!this.frame) this.draw();
  }

  // Makes a view the one of the button "Reset", and shows it unless the user has chosen another one.
  follow(ra, dec, radius) {
    Object.assign(this.home, { ra, dec, radius });
    if (this.moved) return;
    Object.assign(this.view, this.home);
    this.view.update();
    this.changed();
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("pointerleave", () => this.read(null));
    canvas.addEventListener("focus", () => { if (canvas.matches(":focus-visible")) this.readMiddle(); });
    for (const button of this.figure.querySelectorAll("button[data-do]")) {
      button.addEventListener("click", () => this.act(button.dataset.do));
    }
  }

  act(what) {
    const middle = [this.view.width / 2, this.view.height / 2];
    if (what === "closer") this.view.zoom(0.6, middle);
    if (what === "wider") this.view.zoom(1 / 0.6, middle);
    if (what === "home") Object.assign(this.view, this.home);
    if (what === "sky") Object.assign(this.view, { whole: true, ra: 180, dec: 0 });
    this.moved = what !== "home";
    this.view.update();
    this.changed();
  }

  key(event) {
    const step = 40;
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    const acts = { "+": "closer", "=": "closer", "-": "wider", 0: "home" };
    if (moves[event.key]) {
      this.view.drag([0, 0], moves[event.key]);
      this.moved = true;
      this.changed();
    } else if (acts[event.key]) {
      this.act(acts[event.key]);
    } else {
      return;
    }
    event.preventDefault();
    this.readMiddle();
  }

  // The page scrolls unless the map has the focus or Ctrl is held.
  wheel(event) {
    if (!event.ctrlKey && document.activeElement !== this.canvas) return;
    event.preventDefault();
    this.moved = true;
    this.view.zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) / 200), this.place(event));
    this.changed();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.place(event));
  }

  move(event) {
    const at = this.place(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      this.read(at);
      return;
    }
    this.moved = true;
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const [old, now] = [before, at].map((one) => Math.hypot(one[0] - other[0], one[1] - other[1]));
      this.view.zoom(old / Math.max(now, 1), other);
    } else {
      this.view.drag(before, at);
    }
    this.pointers.set(event.pointerId, at);
    this.changed();
  }

  readMiddle() {
    this.read([this.view.width / 2, this.view.height / 2]);
  }

  // Says what the pixel at a place has; null: nothing.
  read(at) {
    const there = at && this.view.invert(at[0], at[1]);
    this.selected = there ? this.rowAt(there.z, there.phi) : -1;
    this.output.textContent = there ? describe(this.model, this.selected, there) : "";
    this.draw();
  }

  // The row that is shown at a direction: the finest with a fit; -1 if there is none.
  rowAt(z, phi) {
    const { orders, lookups, replay } = this.model;
    for (let level = orders.length - 1; level >= 0; level -= 1) {
      const row = lookups[level](directionToPixel(orders[level], z, phi));
      if (row >= 0 && replay.has(row)) return row;
    }
    return -1;
  }

  resize() {
    const box = this.canvas.getBoundingClientRect();
    if (!box.width || !box.height) return;
    const density = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(box.width * density);
    this.canvas.height = Math.round(box.height * density);
    this.density = density;
    this.view.resize(box.width, box.height);
    this.changed();
  }

  // The view has changed: finds the pixels coarsely now, and finely when it has come to rest.
  changed() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      const moving = this.pointers.size > 0;
      this.find(moving ? MAX_POINTS / 6 : MAX_POINTS);
      this.draw();
      clearTimeout(this.rest);
      if (moving) this.rest = setTimeout(() => { this.find(MAX_POINTS); this.draw(); }, 150);
    });
  }

  // Finds, for every point of the raster and each level, the row of the pixel there.
  find(points) {
    const { orders, lookups } = this.model;
    if (!this.canvas.width || !orders.length) return;
    const share = Math.min(1, Math.sqrt(points / (this.canvas.width * this.canvas.height)));
    const width = Math.max(1, Math.round(this.canvas.width * share));
    const height = Math.max(1, Math.round(this.canvas.height * share));
    this.raster.width = width;
    this.raster.height = height;
    this.rows = orders.map(() => new Int32Array(width * height).fill(-1));
    const finest = orders[orders.length - 1];
    const [across, down] = [this.view.width / width, this.view.height / height];
    const shrink = orders.map((order) => 4 ** (finest - order));
    for (let y = 0, i = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1, i += 1) {
        const there = this.view.invert((x + 0.5) * across, (y + 0.5) * down);
        if (!there) continue;
        const pixel = directionToPixel(finest, there.z, there.phi);
        for (let level = 0; level < orders.length; level += 1) {
          this.rows[level][i] = lookups[level](Math.floor(pixel / shrink[level]));
        }
      }
    }
    this.image = new ImageData(width, height);
    this.points = new Uint32Array(this.image.data.buffer);
  }

  // Colours of the rows in `changed`, or of all.
  recolour(changed) {
    const { replay } = this.model;
    const { rise } = replay;
    const paint = (row) => {
      if (!replay.has(row)) {
        this.colours[row] = 0;
        return;
      }
      const [red, green, blue] = colourAt(this.scale.part(2 * rise[row]));
      this.colours[row] = (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
    };
    if (changed) changed.forEach(paint);
    else for (let row = 0; row < rise.length; row += 1) paint(row);
  }

  draw() {
    if (!this.rows) return;
    const { points, rows, colours } = this;
    for (let i = 0; i < points.length; i += 1) {
      let colour = 0;
      for (let level = rows.length - 1; level >= 0 && colour === 0; level -= 1) {
        const row = rows[level][i];
        if (row >= 0) colour = colours[row];
      }
      points[i] = colour;
    }
    this.raster.getContext("2d").putImageData(this.image, 0, 0);
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.raster, 0, 0, this.canvas.width, this.canvas.height);
    context.setTransform(this.density, 0, 0, this.density, 0, 0);
    drawLines(context, this.view, this.model, this.selected);
  }
}

// What is known about a row at a direction, in a sentence.
function describe(model, row, there) {
  const ra = turn(there.phi / RADIANS).toFixed(2);
  const dec = (Math.asin(Math.max(-1, Math.min(1, there.z))) / RADIANS).toFixed(2);
  const place = `RA ${ra}° Dec ${dec >= 0 ? "+" : ""}${dec}°`;
  if (row < 0) return `${place}: no fit`;
  const { level, index } = model.rows(row);
  const rise = model.replay.rise[row];
  const at = ["x", "y", "z"].map((name) => short(level[name][index])).join(", ");
  return (
    `${place}: nside ${level.nside} pixel ${level.index[index]}, −ln L ${(model.data.best.llh + rise).toFixed(2)} ` +
    `(2Δ ${(2 * rise).toFixed(2)}), losses ${short(level.energy[index])} TeV, ` +
    `${short(level.energyIn[index])} TeV in the detector, vertex (${at}) m at ${short(level.t[index])} ns`
  );
}
