// Shows what the operator reports of a scan: its workers, its backlog over time, and its conditions.

function drawResource(one) {
  document.getElementById("resource").hidden = false;
  const parts = [`Phase: ${one.phase}`];
  if (one.done !== null) parts.push(`${one.done} of ${one.planned} pixels`);
  if (one.eta !== null) parts.push(`${clock(one.eta)} to go`);
  if (one.desired !== null) parts.push(`workers: ${one.busy} busy, ${one.ready} ready, ${one.desired} wanted`);
  if (one.backlog !== null) parts.push(`backlog: ${one.backlog} fits`);
  const why = one.workers ? ` Workers: ${one.workers}.` : "";
  const where = one.results ? ` Results: ${one.results}.` : "";
  document.getElementById("resource-state").textContent = `${parts.join(", ")}.${why}${where}`;
  const rows = one.conditions.map(({ type, status, reason, message, since }) => [type, status, reason, message, since]);
  fillRows(document.getElementById("conditions"), rows);
  drawBacklog(one.backlogs);
}

// The curves begin when the server has seen the scan first.
function drawBacklog(points) {
  const box = document.getElementById("backlog");
  if (points.length < 2) return;
  const [first] = points[0];
  const duration = points[points.length - 1][0] - first;
  const curve = (title, unit, column) => {
    const figure = element("figure");
    const values = points.map((point) => [point[0] - first, point[column]]);
    const caption = `${title}, since the server of this page has seen the scan`;
    figure.append(element("figcaption", "", caption), drawCurve(title, unit, values, duration));
    return figure;
  };
  box.replaceChildren(curve("Backlog", "fits", 1), curve("Workers wanted", "workers", 2));
}
