// The event from above and from the side, in the detector's frame: strings, hit DOMs, the best fit and its losses.

// Metres beyond the strings that are drawn, and the radius of the dots of a hit and of a loss.
const MARGIN = 130;
const hitRadius = (charge) => Math.min(14, 2.2 + 2.4 * Math.log10(1 + Math.max(charge, 0)));
const lossRadius = (energy) => Math.max(3, Math.min(22, 4 * Math.log10(1 + energy / 10)));

// First and last time of the scale (ns): 90 % of the charge, since noise comes long before and after the event.
function timesOfLight(hits) {
  const sorted = [...hits].sort((a, b) => a[5] - b[5]);
  const half = 0.05 * sorted.reduce((sum, hit) => sum + hit[6], 0);
  const reached = (list) => {
    let sum = 0;
    return list.find((hit) => (sum += hit[6]) >= half)?.[5] ?? 0;
  };
  const [first, last] = [reached(sorted), reached(sorted.reverse())];
  return [first, Math.max(last, first + 1)];
}

// One drawing: `flat` turns a place (x, y, z) into (right, up), both in metres.
function drawEventView(title, data, flat, box) {
  const [left, right, low, high] = box;
  const width = 460;
  const scale = width / (right - left);
  const height = (high - low) * scale;
  const place = (x, y, z) => {
    const [over, up] = flat(x, y, z);
    return [(over - left) * scale, height - (up - low) * scale];
  };
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "event", role: "img", "aria-label": title });
  for (const [x1, y1, x2, y2] of box.strings(place)) {
    drawing.append(svg("line", { x1, y1, x2, y2, class: "string" }));
  }
  const [first, late] = timesOfLight(data.hits);
  for (const [string, om, x, y, z, time, charge] of [...data.hits].sort((a, b) => b[6] - a[6])) {
    const [cx, cy] = place(x, y, z);
    const fill = cssColour((time - first) / (late - first));
    const dot = svg("circle", { cx, cy, r: hitRadius(charge), fill, class: "hit" });
    dot.append(svg("title", {}, `string ${string} DOM ${om}: ${time - first} ns, ${short(charge)} PE`));
    drawing.append(dot);
  }
  for (const [x, y, z, time, energy] of data.losses) {
    const [cx, cy] = place(x, y, z);
    const ring = svg("circle", { cx, cy, r: lossRadius(energy), class: "loss" });
    ring.append(svg("title", {}, `loss of ${short(energy / 1000)} TeV at ${time - first} ns`));
    drawing.append(ring);
  }
  if (data.track) drawTrack(drawing, data.track, place);
  const bar = 200 * scale;
  drawing.append(svg("path", { d: `M 12 ${height - 12} h ${bar}`, class: "ruler" }));
  drawing.append(svg("text", { x: 12, y: height - 18 }, "200 m"));
  return drawing;
}

function drawTrack(drawing, track, place) {
  const far = (metres) => place(...track.point.map((x, i) => x + metres * track.along[i]));
  const [from, to] = [far(-2500), far(2500)];
  drawing.append(svg("path", { d: `M ${from} L ${to}`, class: "track" }));
  const tip = place(...track.point);
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  const length = Math.hypot(dx, dy);
  if (length < 40) return; // seen from its end
  const [ux, uy] = [(dx / length) * 14, (dy / length) * 14];
  const wings = [[-uy, ux], [uy, -ux]].map(([x, y]) => [tip[0] - ux + x / 2, tip[1] - uy + y / 2]);
  drawing.append(svg("path", { d: `M ${wings[0]} L ${tip} L ${wings[1]}`, class: "tip" }));
}

function drawEvent(section, data) {
  const xs = data.strings.map((one) => one[1]);
  const ys = data.strings.map((one) => one[2]);
  const zs = data.hits.map((one) => one[4]);
  const [bottom, top] = [Math.min(-520, ...zs), Math.max(520, ...zs)];
  // From the side: along the horizontal part of the best fit, or along x.
  const [ax, ay] = data.track ? data.track.along : [1, 0];
  const length = Math.hypot(ax, ay);
  const [cx, cy] = length > 0.05 ? [ax / length, ay / length] : [1, 0];
  const along = data.strings.map((one) => one[1] * cx + one[2] * cy);
  const above = [Math.min(...xs) - MARGIN, Math.max(...xs) + MARGIN, Math.min(...ys) - MARGIN, Math.max(...ys) + MARGIN];
  above.strings = (place) => data.strings.map(([, x, y]) => {
    const [px, py] = place(x, y, 0);
    return [px - 1.5, py, px + 1.5, py];
  });
  const side = [Math.min(...along) - MARGIN, Math.max(...along) + MARGIN, bottom - MARGIN, top + MARGIN];
  side.strings = (place) => data.strings.map(([, x, y]) => [...place(x, y, bottom), ...place(x, y, top)]);
  const views = section.querySelector(".views");
  const made = [
    ["From above", drawEventView("The event from above", data, (x, y) => [x, y], above)],
    ["From the side", drawEventView("The event from the side", data, (x, y, z) => [x * cx + y * cy, z], side)],
  ];
  for (const [title, drawing] of made) {
    const figure = element("figure");
    figure.append(drawing, element("figcaption", "", title));
    views.append(figure);
  }
  const [first, late] = timesOfLight(data.hits);
  const ticks = [0, 0.3, 0.6, 1].map((at) => {
    const time = `${Math.round((late - first) * at)}`;
    return { at, label: at === 1 ? `${time} ns or later` : at === 0 ? "0 or earlier" : time };
  });
  section.querySelector(".legend").append(
    element("p", "", "First pulse of a DOM (ns, from the first of the light); larger dots have more charge."),
    colourBar("Colours of the times of hits", (part) => part, ticks),
  );
  const charge = data.hits.reduce((sum, hit) => sum + hit[6], 0);
  const strings = new Set(data.hits.map((hit) => hit[0])).size;
  section.querySelector(".facts").textContent =
    `${data.hits.length} hit DOMs on ${strings} ${strings === 1 ? "string" : "strings"}, ` +
    `${short(charge)} PE; ${data.losses.length} fitted losses (rings), arrow along the best fit.`;
}
