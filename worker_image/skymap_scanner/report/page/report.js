// The page of a scan: reads the data, draws everything, and connects the controls.

const DATA = JSON.parse(document.getElementById("data").textContent);

// The slider and the button that replay the scan.
function replayControls(model, maps, followers) {
  const { replay } = model;
  const [slider, button, speed, state] = ["time", "play", "speed", "state"].map((id) => document.getElementById(id));
  const steps = Number(slider.max);
  const show = (time) => {
    const changed = replay.seek(time);
    for (const map of maps) {
      map.recolour(changed);
      map.draw();
    }
    for (const follower of followers) follower.seek(replay.now);
    const done = `${clock(replay.now)} of ${clock(replay.duration)}, ${replay.pixels} rounds of pixels done`;
    state.textContent = replay.done === null ? `finished after ${clock(replay.duration)}` : done;
    slider.setAttribute("aria-valuetext", state.textContent);
  };
  let playing = 0;
  let last = 0;
  let now = replay.duration;
  const stop = () => {
    cancelAnimationFrame(playing);
    playing = 0;
    button.textContent = "Play";
  };
  const frame = (time) => {
    now = Math.min(replay.duration, now + ((time - last) / 1000 / Number(speed.value)) * replay.duration);
    last = time;
    slider.value = String(Math.round((steps * now) / Math.max(replay.duration, 1e-9)));
    show(now);
    if (now >= replay.duration) stop();
    else playing = requestAnimationFrame(frame);
  };
  slider.addEventListener("input", () => {
    stop();
    now = (replay.duration * Number(slider.value)) / steps;
    show(now);
  });
  button.addEventListener("click", () => {
    if (playing) {
      stop();
      return;
    }
    if (now >= replay.duration) now = 0;
    button.textContent = "Pause";
    last = performance.now();
    playing = requestAnimationFrame(frame);
  });
  show(replay.duration);
}

function start() {
  const replay = new Replay(DATA);
  const model = makeModel(DATA, replay);
  const maps = DATA.best ? makeMaps(model) : [];
  const followers = [];
  if (DATA.best) contourControls(model, maps);
  if (DATA.event) drawEvent(document.getElementById("event"), DATA.event);
  if (DATA.history) {
    followers.push(...drawCurves(document.getElementById("curves"), DATA.growth, replay.duration));
    const lanes = new Lanes(document.getElementById("lanes"), DATA.history, replay.duration);
    followers.push(lanes);
    fillWorkerTable(document.getElementById("workers"), workerRows(DATA.history));
    if (DATA.best) replayControls(model, maps, followers);
  }
  themeControl(() => {
    maps.forEach((map) => map.draw());
    followers.forEach((one) => one.seek(replay.now));
  });
  document.body.dataset.ready = "yes";
}

start();
