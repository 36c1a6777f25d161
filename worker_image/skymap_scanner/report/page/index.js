// Sorts and filters the list of scans.

const table = document.getElementById("scans");
const body = table.tBodies[0];

function sortBy(column, heading) {
  const up = heading.getAttribute("aria-sort") !== "ascending";
  for (const one of table.tHead.rows[0].cells) one.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", up ? "ascending" : "descending");
  const text = (row) => row.cells[column].textContent.trim();
  const number = (row) => Number.parseFloat(text(row));
  const rows = [...body.rows];
  const numeric = rows.some((row) => /^[+-]?[\d.]+$/.test(text(row)));
  const order = numeric
    ? (a, b) => (number(a) || 0) - (number(b) || 0)
    : (a, b) => text(a).localeCompare(text(b));
  rows.sort((a, b) => (up ? order(a, b) : order(b, a)));
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
