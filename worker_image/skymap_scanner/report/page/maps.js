// The maps of a page, what they share, and the controls of contours and colours.

// What all maps share. `rows` finds level and place of a row; `hidden` has the names of rules without contours.
function makeModel(data, replay, hidden = new Set()) {
  const firsts = [];
  let rows = 0;
  for (const level of data.levels) {
    firsts.push(rows);
    rows += level.rise.length;
  }
  return {
    data,
    replay,
    hidden,
    orders: data.levels.map((level) => Math.log2(level.nside)),
    lookups: data.levels.map((level, i) => levelLookup(level, firsts[i])),
    shows: (contour) => !hidden.has(contour.rule),
    rows: (row) => {
      let number = firsts.length - 1;
      while (firsts[number] > row) number -= 1;
      return { level: data.levels[number], index: row - firsts[number] };
    },
  };
}

// Half the width of the zoom (deg): the outermost contour fits, as the published pictures have it, 1° to 60°.
function zoneRadius(data) {
  let most = 0;
  const best = new View(data.best.ra, data.best.dec, 1, false);
  best.resize(2, 2);
  for (const contour of data.contours) {
    for (const line of contour.lines) {
      for (let i = 0; i < line.length; i += 2) {
        const [x, y] = best.project(line[i], line[i + 1]).map((at) => (at - 1) / best.scale);
        most = Math.max(most, (2 * Math.asin(Math.min(1, Math.hypot(x, y) / 2))) / RADIANS);
      }
    }
  }
  return Math.min(60, Math.max(1, most * 1.4));
}

function drawScale(figure, scale) {
  const last = scale.ticks.length - 1;
  const ticks = scale.ticks.map((value, i) => (
    { at: 1 - scale.part(value), label: i === last && scale.clipped ? `${short(value)} or more` : short(value) }
  ));
  figure.querySelector(".scale").replaceChildren(colourBar("Colours of 2 delta ln L", (part) => 1 - part, ticks));
}

// The scales of both maps: the whole sky up to its worst pixel, the zone up to its outermost contour.
function makeScales(data) {
  const worst = data.levels.reduce((most, level) => level.rise.reduce((a, b) => Math.max(a, b ?? 0), most), 0);
  const outermost = data.contours.reduce((most, one) => Math.max(most, one.threshold), 5);
  return [
    lowIsBright(Math.max(2 * worst, 10), true),
    Object.assign(lowIsBright(outermost * 1.5, false), { clipped: true }),
  ];
}

function makeMaps(model) {
  const { data } = model;
  const scales = makeScales(data);
  const views = [
    new View(180, 0, 60, true),
    new View(data.best.ra, data.best.dec, zoneRadius(data), false),
  ];
  return ["sky", "zone"].map((id, i) => {
    const figure = document.getElementById(id);
    drawScale(figure, scales[i]);
    const map = new SkyMap(figure, model, views[i], scales[i]);
    map.recolour(null);
    return map;
  });
}

// Check boxes that show and hide the contours of each rule.
function contourControls(model, maps) {
  const list = document.getElementById("contours");
  list.replaceChildren();
  document.getElementById("contour-controls").replaceChildren();
  for (const contour of model.data.contours) {
    const item = element("li", `${contour.main ? "main" : "other"}${contour.level === 0.9 ? " wide" : ""}`);
    item.append(element("span", "sample"), ` ${contour.name}`);
    list.append(item);
  }
  if (model.data.online) {
    const item = element("li", "online");
    item.append(element("span", "sample"), ` ${model.data.online.label}`);
    list.append(item);
  }
  const others = model.data.contours.filter((one) => !one.main);
  if (!others.length) return;
  const label = element("label");
  const box = element("input");
  Object.assign(box, { type: "checkbox", checked: !others.some((one) => model.hidden.has(one.rule)) });
  box.addEventListener("change", () => {
    for (const one of others) model.hidden[box.checked ? "delete" : "add"](one.rule);
    maps.forEach((map) => map.draw());
  });
  label.append(box, " show the statistical contours");
  document.getElementById("contour-controls").append(label);
}

function themeControl(redraw) {
  const button = document.getElementById("theme");
  const names = ["auto", "light", "dark"];
  let number = 0;
  const again = () => {
    STYLE.colours.clear();
    redraw();
  };
  const apply = (name) => {
    if (name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    again();
  };
  button.addEventListener("click", () => {
    number = (number + 1) % names.length;
    button.textContent = `Colours: ${names[number]}`;
    apply(names[number]);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  addEventListener("beforeprint", () => apply("light"));
  addEventListener("afterprint", () => apply(names[number]));
}
