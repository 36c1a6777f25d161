// Sorts and filters the list of scans.

const table = document.getElementById("scans");
const body = table.tBodies[0];

function sortBy(column, heading) {
  const up = heading.getAttribute("aria-sort") !== "ascending";
  for (const one of table.tHead.rows[0].cells) one.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", up ? "ascending" : "descending");
  const texts = [...body.rows].map((row) => row.cells[column].textContent.trim());
  const numeric = texts.some((text) => /^[+-]?[\d.]+$/.test(text));
  const keys = numeric ? texts.map((text) => Number.parseFloat(text) || 0) : texts;
  const { compare } = new Intl.Collator();
  const order = numeric ? (a, b) => keys[a] - keys[b] : (a, b) => compare(keys[a], keys[b]);
  const places = [...keys.keys()].sort((a, b) => (up ? order(a, b) : order(b, a)));
  const rows = places.map((place) => body.rows[place]);
  body.append(...rows);
}

[...table.tHead.rows[0].cells].forEach((heading, column) => {
  heading.querySelector("button").addEventListener("click", () => sortBy(column, heading));
});

document.getElementById("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
});

document.body.dataset.ready = "yes";
