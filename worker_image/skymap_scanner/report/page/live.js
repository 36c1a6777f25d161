// The page of a scan that runs: takes the events of the server, and draws what has changed twice a second at most.

// Shortest time between two drawings (ms).
const REST = 500;
// Time before the first attempt after the server has refused the updates, and longest one; each takes twice as long (ms).
const RETRY = 5000;
const LONGEST_RETRY = 60000;
const COLUMNS = ["llh", "energy", "energyIn", "x", "y", "z", "t"];

// The pixels that are planned, and the best fit of each so far, by level as the report has them.
class LiveFits {
  constructor() {
    this.levels = [];
    this.places = new Map();
  }

  addPixels(levels) {
    for (const { nside, index, nested } of levels) {
      const level = this.level(nside);
      index.forEach((pixel, i) => {
        const key = `${nside}/${pixel}`;
        if (this.places.has(key)) return; // a second round of the pixel
        this.places.set(key, level.index.length);
        level.index.push(pixel);
        level.nested.push(nested[i]);
        level.rise.push(null);
        for (const name of COLUMNS) level[name].push(null);
      });
    }
  }

  level(nside) {
    let level = this.levels.find((one) => one.nside === nside);
    if (!level) {
      level = { nside, index: [], nested: [], rise: [] };
      for (const name of COLUMNS) level[name] = [];
      this.levels.push(level);
      this.levels.sort((a, b) => a.nside - b.nside);
    }
    return level;
  }

  addFits(fits) {
    for (const [nside, pixel, ...values] of fits) {
      const place = this.places.get(`${nside}/${pixel}`);
      if (place === undefined) continue;
      const level = this.level(nside);
      COLUMNS.forEach((name, i) => { level[name][place] = values[i]; });
    }
  }

  // The fit with the lowest -ln L, for the time before the server has stated the best one; null without a fit.
  lowest() {
    let found = null;
    for (const level of this.levels) {
      level.llh.forEach((llh, i) => {
        if (llh !== null && (!found || llh < found.llh)) found = { llh, level, i };
      });
    }
    if (!found) return null;
    const { level, i, llh } = found;
    const { z, phi } = pixelCentre(Math.log2(level.nside), level.nested[i]);
    return { ra: phi / RADIANS, dec: Math.asin(z) / RADIANS, llh, nside: level.nside };
  }

  // Sets what each fit has above the best one.
  rise(lowest) {
    for (const level of this.levels) {
      level.rise = level.llh.map((value) => (value === null ? null : value - lowest));
    }
  }
}

const text = (id, value) => { document.getElementById(id).textContent = value; };

// Rows of cells, the first a heading; rows that stay are kept, so that a screen reader stays where it is.
function fillRows(body, rows) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, i) => {
    const line = body.rows[i] ?? body.insertRow();
    cells.forEach((value, column) => {
      let cell = line.cells[column];
      if (!cell) {
        cell = element(column ? "td" : "th");
        if (!column) cell.setAttribute("scope", "row");
        line.append(cell);
      }
      const shown = String(value);
      if (cell.textContent !== shown) cell.textContent = shown;
    });
  });
}

class LivePage {
  constructor() {
    this.fits = new LiveFits();
    this.status = {};
    this.maps = [];
    this.hidden = new Set();
    this.fresh = { pixels: false, fits: false, status: false };
    this.last = 0;
    this.timer = 0;
    this.said = "";
    this.retry = RETRY;
    this.over = false; // whether the operator reports that the scan has ended
  }

  // Tells screen readers too; `about`: what it depends on, so that it is told once.
  say(words, about) {
    if (about === this.said) return;
    this.said = about;
    document.getElementById("state").textContent = words;
  }

  begin() {
    this.fits = new LiveFits();
    this.changed("pixels");
  }

  changed(what) {
    this.fresh[what] = true;
    if (this.timer) return;
    const rest = Math.max(0, this.last + REST - performance.now());
    this.timer = setTimeout(() => requestAnimationFrame(() => this.draw()), rest);
  }

  draw() {
    this.timer = 0;
    this.last = performance.now();
    const { pixels, fits, status } = this.fresh;
    this.fresh = { pixels: false, fits: false, status: false };
    if (status) this.drawStatus();
    const best = this.status.best ?? this.fits.lowest();
    if (best) this.drawMaps(best, pixels, fits || status);
    document.body.dataset.drawn = String(Number(document.body.dataset.drawn ?? 0) + 1);
  }

  drawStatus() {
    const { status } = this;
    const { event } = status;
    if (event) {
      text("title", event.name);
      const kind = `${event.kind}${event.real ? "" : " (simulated)"}`;
      text("event", `${event.time} UTC, run ${event.run}, event ${event.event}, ${kind}. Name of the scan: ${status.scan}.`);
      document.title = `${event.name} – scan`;
    }
    this.drawState();
    document.getElementById("progress").hidden = status.phase === "unread";
    if (status.fits) this.drawProgress();
    const cautions = [...(status.cautions ?? []).map((one) => `Caution: ${one}`), status.note, status.obstacle];
    const shown = cautions.filter(Boolean).map((one) => element("p", "caution", one));
    document.getElementById("cautions").replaceChildren(...shown);
    document.getElementById("direction").hidden = !status.best;
    if (status.best) this.drawDirection();
    document.getElementById("workers").hidden = !status.workers?.length;
    fillRows(document.querySelector("#workers tbody"), (status.workers ?? []).map((one) => (
      [one.name, one.fits, one.repeated, one.failed, one.last ? new Date(1000 * one.last).toISOString().slice(11, 19) : "–"]
    )));
  }

  // States what matters, not every number that changes.
  drawState() {
    const { phase, levels, trouble, best } = this.status;
    const whole = (levels ?? []).filter((one) => one.decided && one.done === one.planned);
    const where = best ? ` Best fit so far: RA ${best.ra.toFixed(2)}°, Dec ${best.dec.toFixed(2)}°.` : "";
    const done = whole.length ? ` All pixels of nside ${whole[whole.length - 1].nside} have a fit.${where}` : "";
    const words = {
      waiting: this.over ? "The scan has ended before this page could read it." : "Waiting for the scan to begin.",
      scanning: `Scanning.${done}`,
      writing: "All fits are done: the report is being made.",
      done: "The scan has ended.",
      failed: `The scan cannot be followed: ${trouble}`,
      unread: trouble,
    };
    if (trouble && !["failed", "unread"].includes(phase)) this.say(`${trouble}; trying again.`, trouble);
    else if (phase) this.say(words[phase], `${phase} ${whole.length} ${this.over}`);
  }

  drawProgress() {
    const { fits, levels, rate, eta, elapsed, calibration } = this.status;
    const bar = document.getElementById("fits");
    bar.max = Math.max(fits.planned, 1);
    bar.value = fits.done;
    const parts = [`${fits.done} of ${fits.planned} fits`];
    if (calibration) parts.push(`${calibration.done} of ${calibration.planned} re-simulations`);
    if (rate !== null) parts.push(`${rate.toFixed(1)} fits/s`);
    if (elapsed !== null) parts.push(`${clock(elapsed)} elapsed`);
    if (eta !== null) parts.push(`${clock(eta)} to go`);
    text("counts", parts.join(", "));
    fillRows(document.getElementById("levels"), levels.map((one) => (
      [one.nside, one.done, one.decided ? one.planned : `about ${one.planned}`, one.failed]
    )));
  }

  drawDirection() {
    const { best, regions, rule } = this.status;
    const energy = best.energy === null ? "" : `, losses ${best.energy} TeV`;
    const declination = `${best.dec < 0 ? "−" : "+"}${Math.abs(best.dec).toFixed(2)}°`;
    const where = `RA ${best.ra.toFixed(2)}°, Dec ${declination} (J2000, pixel ${best.index} of nside ${best.nside})`;
    text("best", `Best fit so far: ${where}, −ln L ${best.llh.toFixed(2)}${energy}. Contours: ${rule}.`);
    document.getElementById("regions").hidden = !regions.length;
    document.getElementById("no-regions").hidden = regions.length > 0;
    const rows = regions.map((one) => [one.name, one.area, one.ra, one.dec]);
    fillRows(document.querySelector("#regions tbody"), rows);
  }

  drawMaps(best, pixels, fits) {
    const data = { levels: this.fits.levels, best, contours: this.status.contours ?? [], history: null };
    this.fits.rise(best.llh);
    const replay = new Replay(data);
    if (pixels || !this.model) this.model = makeModel(data, replay, this.hidden);
    else if (fits) Object.assign(this.model, { data, replay });
    if (!this.maps.length) {
      document.getElementById("map").hidden = false;
      this.maps = makeMaps(this.model);
    }
    const scales = makeScales(data);
    // Around the best fit: its contours, and some pixels of the level that it has come to.
    const radius = Math.min(60, Math.max(zoneRadius(data), 150 / best.nside));
    this.maps.forEach((map, i) => map.update(this.model, scales[i]));
    if (this.centre !== `${best.ra} ${best.dec} ${radius.toFixed(2)}`) {
      this.centre = `${best.ra} ${best.dec} ${radius.toFixed(2)}`;
      this.maps[1].follow(best.ra, best.dec, radius);
    }
    const names = data.contours.map((one) => one.name).join();
    if (names !== this.names) {
      this.names = names;
      contourControls(this.model, this.maps);
    }
  }

  connect() {
    const source = new EventSource("events");
    const on = (kind, act) => source.addEventListener(kind, (message) => act(JSON.parse(message.data)));
    on("begin", () => this.begin());
    on("pixels", (data) => { this.fits.addPixels(data.levels); this.changed("pixels"); });
    on("fits", (data) => { this.fits.addFits(data.fits); this.changed("fits"); });
    on("status", (data) => { this.status = data; this.changed("status"); });
    on("resource", (data) => {
      if (data.gone) {
        source.close();
        this.say("The scan was deleted.", "gone");
        return;
      }
      this.over = data.finished;
      drawResource(data);
      this.changed("status");
    });
    on("end", (data) => {
      source.close();
      if (data.report) location.replace("report");
    });
    source.addEventListener("open", () => { this.retry = RETRY; });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) {
        this.reconnect();
      } else {
        this.say("The connection is lost; trying again. The scan itself goes on, unless it was stopped too.", "lost");
      }
    });
  }

  // Connects again after a while: the browser itself gives up when the answer is an error, such as that of a server that
  // cannot ask who may see the scan. Ends where the user may not see it any more.
  async reconnect() {
    const answer = await fetch(location.pathname, { method: "HEAD", cache: "no-store" }).catch(() => null);
    if (answer && (answer.status === 401 || answer.status === 404)) {
      this.say("You may not see this scan any more, or it was deleted: reload the page.", "refused");
      return;
    }
    this.say("The server refuses the updates; trying again.", "unavailable");
    setTimeout(() => this.connect(), this.retry);
    this.retry = Math.min(2 * this.retry, LONGEST_RETRY);
  }
}

const page = new LivePage();
page.connect();
themeControl(() => page.maps.forEach((map) => map.draw()));
document.body.dataset.ready = "yes";
