// What is drawn over the pixels: grid, Galactic plane, contours, best fit.

// Whether a line between two directions leaves the map on one side and comes back on the other.
function leavesTheMap(view, ra, lastRa, at, last) {
  if (!view.whole) return Math.hypot(at[0] - last[0], at[1] - last[1]) > 4 * view.width;
  return Math.abs(turn(ra - view.ra + 180) - turn(lastRa - view.ra + 180)) > 180;
}

// Draws a line through directions [ra, dec, ra, dec, …]; it is broken where it leaves the map.
function drawPath(context, view, directions) {
  context.beginPath();
  let last = null;
  for (let i = 0; i < directions.length; i += 2) {
    const at = view.project(directions[i], directions[i + 1]);
    if (last && !leavesTheMap(view, directions[i], directions[i - 2], at, last)) context.lineTo(at[0], at[1]);
    else context.moveTo(at[0], at[1]);
    last = at;
  }
  context.stroke();
}

// Distance of the lines of the grid (deg), so that a view has a few.
function gridStep(view) {
  if (view.whole) return 30;
  return [30, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02].find((step) => step <= view.radius / 1.5) ?? 0.01;
}

function drawGrid(context, view) {
  const step = gridStep(view);
  const near = view.whole ? 90 : view.radius * 1.6;
  const [south, north] = [Math.max(-90, view.dec - near), Math.min(90, view.dec + near)];
  const [from, to] = view.whole ? [-90, 90] : [south, north];
  const polar = view.whole || Math.max(Math.abs(south), Math.abs(north)) > 85;
  const east = polar ? 180 : Math.min(180, near / Math.cos(Math.max(Math.abs(from), Math.abs(to)) * RADIANS));
  const raStep = view.whole ? 30 : polar ? 30 : step * Math.max(1, Math.round(1 / Math.cos(view.dec * RADIANS)));
  context.lineWidth = 0.6;
  context.strokeStyle = cssVariable("--grid");
  context.font = "11px system-ui, sans-serif";
  const labels = [];
  const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
  for (let dec = Math.ceil(from / step) * step; dec <= to + 1e-9; dec += step) {
    const line = [];
    for (let i = 0; i <= 90; i += 1) line.push(view.ra - east + (2 * east * i) / 90 + (i === 90 ? -1e-6 : 1e-6), dec);
    drawPath(context, view, line);
    const at = view.whole ? view.project(view.ra + 179.99, dec) : [4, view.project(view.ra, dec)[1]];
    if (Math.abs(dec) < 89) labels.push([`${dec > 0 ? "+" : ""}${dec.toFixed(digits)}°`, at[0] + 2, at[1] - 3]);
  }
  for (let ra = Math.ceil((view.ra - east) / raStep) * raStep; ra <= view.ra + east + 1e-9; ra += raStep) {
    const line = [];
    for (let i = 0; i <= 60; i += 1) line.push(ra, from + ((to - from) * i) / 60);
    drawPath(context, view, line);
    if (view.whole && (turn(ra) % 60 || Math.abs(ra - view.ra) > 170)) continue;
    const at = view.whole ? view.project(ra, 0) : [view.project(ra, view.dec)[0], view.height - 5];
    labels.push([`${turn(ra).toFixed(digits)}°`, at[0] + 3, at[1] - 3]);
  }
  context.fillStyle = "#fff";
  context.strokeStyle = "rgb(0 0 0 / 75%)";
  context.lineWidth = 2.5;
  context.lineJoin = "round";
  for (const [text, x, y] of labels) {
    context.strokeText(text, x, y);
    context.fillText(text, x, y);
  }
}

function drawOutline(context, view) {
  if (!view.whole) return;
  context.lineWidth = 1;
  context.strokeStyle = cssVariable("--line");
  context.beginPath();
  const [wide, high] = [2 * ROOT2 * view.scale, ROOT2 * view.scale];
  context.ellipse(view.width / 2, view.height / 2, wide, high, 0, 0, 2 * Math.PI);
  context.stroke();
}

// Contours of the scan's rule are solid, those of Wilks' theorem beside them dashed and red.
function drawContour(context, view, contour) {
  for (const line of contour.lines) {
    const width = contour.level === 0.9 ? 2.5 : 1.5;
    if (contour.main) {
      context.lineWidth = width + 2;
      context.strokeStyle = "#000";
      drawPath(context, view, line);
    }
    context.setLineDash(contour.main ? [] : [5, 3]);
    context.lineWidth = width;
    context.strokeStyle = contour.main ? "#fff" : "#f4511e";
    drawPath(context, view, line);
    context.setLineDash([]);
  }
}

function drawStar(context, at, size) {
  context.beginPath();
  for (let i = 0; i < 10; i += 1) {
    const [radius, angle] = [i % 2 ? size * 0.42 : size, (Math.PI * i) / 5];
    context.lineTo(at[0] + radius * Math.sin(angle), at[1] - radius * Math.cos(angle));
  }
  context.closePath();
  context.fillStyle = "#fff";
  context.strokeStyle = "#000";
  context.lineWidth = 1.5;
  context.fill();
  context.stroke();
}

function rowDirection(model, row) {
  const { level, index } = model.rows(row);
  const { z, phi } = pixelCentre(Math.log2(level.nside), level.nested[index]);
  return [phi / RADIANS, Math.asin(z) / RADIANS];
}

// Where the star stands: at the best fit that the page states, and during the replay at the lowest fit so far.
function bestDirection(model) {
  const { replay, data } = model;
  if (replay.done === null) return [data.best.ra, data.best.dec];
  return replay.best < 0 ? null : rowDirection(model, replay.best);
}

// The online direction: a cross, and its 90 % circle, dotted, where the event states an error.
function drawOnline(context, view, online) {
  const at = view.project(online.ra, online.dec);
  const cross = [[-5, -5, 5, 5], [-5, 5, 5, -5]];
  for (const [colour, width] of [["#000", 3.5], ["#ff8fc1", 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    for (const [x1, y1, x2, y2] of cross) {
      context.beginPath();
      context.moveTo(at[0] + x1, at[1] + y1);
      context.lineTo(at[0] + x2, at[1] + y2);
      context.stroke();
    }
    context.setLineDash([2, 3]);
    drawPath(context, view, online.line);
    context.setLineDash([]);
  }
}

function drawLines(context, view, model, selected) {
  drawGrid(context, view);
  const plane = [];
  for (let l = 0; l <= 360; l += 2) plane.push(...galacticToEquatorial(l, 0));
  context.lineWidth = 1.2;
  context.strokeStyle = cssVariable("--plane");
  context.setLineDash([2, 3]);
  drawPath(context, view, plane);
  context.setLineDash([]);
  drawOutline(context, view);
  if (model.replay.done === null) {
    for (const contour of model.data.contours) if (model.shows(contour)) drawContour(context, view, contour);
  }
  if (model.data.online) drawOnline(context, view, model.data.online);
  const best = bestDirection(model);
  if (best) drawStar(context, view.project(...best), view.whole ? 6 : 8);
  if (selected !== null && selected >= 0) {
    const at = view.project(...rowDirection(model, selected));
    context.lineWidth = 3;
    for (const [colour, width] of [["#000", 3], ["#fff", 1.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.arc(at[0], at[1], 6, 0, 2 * Math.PI);
      context.stroke();
    }
  }
}
