// Curves over the time of the scan, and a lane for each worker.

const CHART = { width: 640, height: 190, left: 58, right: 12, top: 12, bottom: 26 };
// Height of a lane, and of all lanes together at most: browsers limit the size of a canvas.
const LANE = 20;
const MOST_HEIGHT = 6000;

// Seconds as "1:02" or "1:02:03".
function clock(seconds) {
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts[0] ? parts : parts.slice(1);
  return shown.map((part, i) => (i ? String(part).padStart(2, "0") : String(part))).join(":");
}

// Round steps for about `count` ticks of a time axis.
function timeStep(duration, count) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400];
  return steps.find((step) => duration / step <= count) ?? Math.ceil(duration / count / 86400) * 86400;
}

// A curve of steps with a logarithmic axis; `points` are [time, value], values of 0 lie on the axis.
function drawCurve(title, unit, points, duration) {
  const { width, height, left, right, top, bottom } = CHART;
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img" });
  const values = points.map((point) => point[1]).filter((value) => value > 0);
  const [least, most] = values.length ? [Math.min(...values), Math.max(...values)] : [1, 1];
  const [low, high] = [Math.floor(Math.log10(least) - 0.1), Math.ceil(Math.log10(most) + 0.05)];
  const x = (time) => left + ((width - left - right) * time) / Math.max(duration, 1e-9);
  const y = (value) => {
    const part = value > 0 ? (Math.log10(value) - low) / Math.max(high - low, 1) : 0;
    return height - bottom - (height - top - bottom) * part;
  };
  const first = points[0];
  const last = points[points.length - 1];
  const words = points.length
    ? `${title}: from ${short(first[1])} ${unit} after ${clock(first[0])} to ${short(last[1])} ${unit} at the end`
    : `${title}: not known`;
  chart.setAttribute("aria-label", words);
  for (let power = low; power <= high; power += Math.max(1, Math.ceil((high - low) / 5))) {
    const at = y(10 ** power);
    chart.append(svg("path", { d: `M ${left} ${at} H ${width - right}`, class: "grid" }));
    const label = power < -2 || power > 4 ? `1e${power}` : String(10 ** power);
    chart.append(svg("text", { x: left - 6, y: at + 4, "text-anchor": "end" }, label));
  }
  const step = timeStep(duration, 8);
  for (let time = 0; time <= duration; time += step) {
    chart.append(svg("text", { x: x(time), y: height - bottom + 18, "text-anchor": "middle" }, clock(time)));
  }
  let path = "";
  points.forEach(([time, value], i) => { path += i ? `H ${x(time)} V ${y(value)}` : `M ${x(time)} ${y(value)}`; });
  if (points.length) chart.append(svg("path", { d: `${path} H ${x(duration)}`, class: "curve" }));
  for (const [time, value] of points) {
    const dot = svg("circle", { cx: x(time), cy: y(value), r: 2.5, class: "point" });
    dot.append(svg("title", {}, `${clock(time)}: ${short(value)} ${unit}`));
    chart.append(dot);
  }
  const cursor = svg("path", { d: "", class: "cursor" });
  chart.append(cursor);
  chart.seek = (time) => cursor.setAttribute("d", time >= duration ? "" : `M ${x(time)} ${top} V ${height - bottom}`);
  return chart;
}

function drawCurves(container, growth, duration) {
  const areas = growth.filter((one) => one[4] !== null).map((one) => [one[0], one[4]]);
  const curves = [
    ["Area of the pixels inside the 90 % threshold", "deg²", areas],
    ["Distance of the best fit from the last one", "°", growth.map((one) => [one[0], one[3]])],
  ];
  return curves.map(([title, unit, points]) => {
    const figure = element("figure");
    const chart = drawCurve(title, unit, points, duration);
    figure.append(element("figcaption", "", `${title} (${unit}), since the first fit began`), chart);
    container.append(figure);
    return chart;
  });
}

// What each worker did, in numbers.
function workerRows(history) {
  const none = { fits: 0, busy: 0, repeated: 0, failed: 0, from: Infinity, to: 0 };
  const rows = history.workers.map((name) => ({ name, ...none }));
  const { worker, began, took, attempt, failed } = history.fits;
  worker.forEach((number, i) => {
    const row = rows[number];
    row.fits += 1;
    row.busy += took[i];
    row.repeated += attempt[i] > 1 ? 1 : 0;
    row.failed += failed[i];
    row.from = Math.min(row.from, began[i]);
    row.to = Math.max(row.to, began[i] + took[i]);
  });
  return rows;
}

function fillWorkerTable(body, rows) {
  for (const row of rows) {
    const line = element("tr");
    const busy = `${Math.round((100 * row.busy) / Math.max(row.to - row.from, 1e-9))} %`;
    const name = element("th", "", row.name);
    name.setAttribute("scope", "row");
    line.append(name);
    for (const text of [row.fits, clock(row.from), clock(row.to), busy, row.repeated, row.failed]) {
      line.append(element("td", "", String(text)));
    }
    body.append(line);
  }
}

// A canvas with a lane for each worker; failed and repeated fits are marked by shape as well as by colour.
class Lanes {
  constructor(canvas, history, duration) {
    Object.assign(this, { canvas, history, now: duration });
    const { began, took } = history.fits;
    this.duration = began.reduce((most, time, i) => Math.max(most, time + took[i]), duration);
    this.lane = Math.max(2, Math.min(LANE, MOST_HEIGHT / history.workers.length));
    canvas.style.height = `${Math.min(history.workers.length * this.lane, MOST_HEIGHT) + 24}px`;
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  seek(time) {
    this.now = time;
    this.draw();
  }

  draw() {
    const { canvas, history, duration } = this;
    const box = canvas.getBoundingClientRect();
    if (!box.width) return;
    const density = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(box.width * density), Math.round(box.height * density)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, box.width, box.height);
    const x = (time) => (box.width * time) / Math.max(duration, 1e-9);
    const colours = { lane: cssVariable("--empty"), fit: cssVariable("--accent"), bad: cssVariable("--bad") };
    const { worker, began, took, attempt, failed } = history.fits;
    const gap = this.lane > 8 ? 3 : 0;
    const bar = (from, width, number) => context.fillRect(from, number * this.lane + gap, width, this.lane - 2 * gap);
    context.fillStyle = colours.lane;
    history.workers.forEach((_, number) => bar(0, box.width, number));
    context.fillStyle = colours.fit;
    worker.forEach((number, i) => {
      if (!failed[i] && attempt[i] === 1) bar(x(began[i]), Math.max(x(took[i]) - 0.4, 0.6), number);
    });
    context.fillStyle = colours.bad;
    worker.forEach((number, i) => {
      const top = number * this.lane;
      if (failed[i]) context.fillRect(x(began[i]) - 2, top + 1, Math.max(x(took[i]), 5), Math.max(this.lane - 2, 2));
      else if (attempt[i] > 1) triangle(context, x(began[i]), top + this.lane / 2);
    });
    this.axis(context, x, box);
  }

  axis(context, x, box) {
    context.fillStyle = cssVariable("--text");
    context.font = "12px system-ui, sans-serif";
    const step = timeStep(this.duration, box.width / 90);
    for (let time = 0; time <= this.duration; time += step) {
      context.textAlign = time === 0 ? "left" : x(time) > box.width - 20 ? "right" : "center";
      context.fillText(clock(time), x(time), box.height - 5);
    }
    if (this.now < this.duration) {
      context.fillStyle = cssVariable("--text");
      context.fillRect(x(this.now), 0, 1.5, box.height - 20);
    }
  }
}

function triangle(context, x, y) {
  context.beginPath();
  context.moveTo(x - 5, y + 6);
  context.lineTo(x + 5, y + 6);
  context.lineTo(x, y - 7);
  context.fill();
}
