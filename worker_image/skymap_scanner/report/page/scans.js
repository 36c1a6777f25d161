// Keeps the list of scans up to date: asks for the page again, and changes the rows that differ.

// Time between two requests (ms).
const INTERVAL = 5000;

const nameOf = (row) => row.cells[0].textContent;

function takeOver(rows) {
  const before = new Map([...body.rows].map((row) => [nameOf(row), row]));
  for (const fresh of rows) {
    const row = before.get(nameOf(fresh));
    before.delete(nameOf(fresh));
    if (!row) {
      body.append(document.importNode(fresh, true));
      continue;
    }
    [...fresh.cells].slice(1).forEach((cell, i) => {
      const shown = row.cells[i + 1];
      if (shown.textContent !== cell.textContent) shown.textContent = cell.textContent;
      if (shown.className !== cell.className) shown.className = cell.className;
    });
  }
  for (const gone of before.values()) gone.remove();
  document.getElementById("filter").dispatchEvent(new Event("input"));
}

async function update() {
  if (document.hidden) { // nobody sees it
    document.addEventListener("visibilitychange", update, { once: true });
    return;
  }
  let words = "";
  try {
    const answer = await fetch("/");
    if (answer.ok) {
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      takeOver([...fresh.querySelectorAll("#scans tbody tr")]);
    } else {
      if (answer.status === 401) location.reload(); // signed out meanwhile
      words = await answer.text();
    }
  } catch {
    words = "The connection is lost; trying again.";
  }
  const state = document.getElementById("state");
  state.textContent = words || (body.rows.length ? "" : state.dataset.empty);
  setTimeout(update, INTERVAL);
}

setTimeout(update, body.rows.length ? INTERVAL : 0);
