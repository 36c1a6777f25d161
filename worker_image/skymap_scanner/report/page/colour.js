// Colours: cividis (Nuñez, Anderton and Renslow 2018, PLOS ONE 13), which looks alike to people who see red and green
// alike, and rises evenly in brightness.

const CIVIDIS = [
  [0x00, 0x22, 0x4e], [0x08, 0x33, 0x70], [0x35, 0x45, 0x6c], [0x4f, 0x57, 0x6c], [0x66, 0x69, 0x70],
  [0x7d, 0x7c, 0x78], [0x94, 0x8e, 0x77], [0xae, 0xa3, 0x71], [0xc8, 0xb8, 0x66], [0xe5, 0xcf, 0x52],
  [0xfe, 0xe8, 0x38],
];

// Red, green and blue at `part` of the scale, 0 to 1.
function colourAt(part) {
  const place = Math.max(0, Math.min(1, part)) * (CIVIDIS.length - 1);
  const below = Math.min(CIVIDIS.length - 2, Math.floor(place));
  return CIVIDIS[below].map((value, i) => Math.round(value + (CIVIDIS[below + 1][i] - value) * (place - below)));
}

function cssColour(part) {
  return `rgb(${colourAt(part).join(" ")})`;
}

// A scale of 2 delta ln L: the best fit is bright, `limit` and everything above it dark. Its root shows both the
// surroundings of the best fit and the whole sky.
function lowIsBright(limit, root) {
  const power = root ? 0.5 : 1;
  const part = (value) => 1 - (Math.max(value, 0) / limit) ** power;
  return { limit, part, ticks: [0, 0.25, 0.5, 1].map((share) => share ** (1 / power) * limit) };
}

// Colours of the style, which are read again when the theme changes.
const STYLE = { colours: new Map() };

function cssVariable(name) {
  if (!STYLE.colours.has(name)) {
    STYLE.colours.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  }
  return STYLE.colours.get(name);
}

const SVG = "http://www.w3.org/2000/svg";

// An SVG element with attributes, and text if given; texts never become markup.
function svg(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// An HTML element with a class and text.
function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// A bar of colours with a label for each of `ticks` ({at: 0 to 1, label}).
function colourBar(label, partOf, ticks) {
  const bar = svg("svg", { viewBox: "0 0 400 34", class: "bar", role: "img", "aria-label": label });
  for (let i = 0; i < 50; i += 1) {
    bar.append(svg("rect", { x: 10 + i * 7.6, y: 0, width: 8, height: 12, fill: cssColour(partOf(i / 49)) }));
  }
  ticks.forEach(({ at, label: text }, i) => {
    const anchor = i === 0 ? "start" : i === ticks.length - 1 ? "end" : "middle";
    bar.append(svg("text", { x: 10 + at * 380, y: 28, "text-anchor": anchor }, text));
  });
  return bar;
}

// A number with about three digits.
function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  return Math.abs(value) >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString();
}
