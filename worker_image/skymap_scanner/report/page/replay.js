// The pixels in the order in which they were fitted: what was known at a time.

class Replay {
  constructor(data) {
    this.rise = new Float32Array(data.levels.reduce((sum, level) => sum + level.rise.length, 0));
    this.end = [];
    for (const level of data.levels) this.end.push(...level.rise.map((value) => (value === null ? NaN : value)));
    const rounds = data.history ? data.history.rounds : { row: [], time: [], rise: [] };
    this.row = rounds.row;
    this.time = rounds.time;
    this.value = rounds.rise;
    this.before = new Float32Array(this.row.length); // what the row had before a round, for the way back
    this.bestBefore = new Int32Array(this.row.length);
    this.duration = this.time.length ? this.time[this.time.length - 1] : 0;
    this.finish();
  }

  // Shows the finished map; also if the history lacks some of its pixels. Its best fit is the one that the page states.
  finish() {
    this.rise.set(this.end);
    this.done = null;
    this.now = this.duration;
    this.best = -1;
    return null; // all rows may have changed
  }

  // Goes to a time (s); returns the rows that have changed, or null if all may have.
  seek(time) {
    if (time >= this.duration) return this.finish();
    let changed = [];
    if (this.done === null) {
      this.rise.fill(NaN);
      this.done = 0;
      this.best = -1;
      changed = null;
    }
    while (this.done < this.row.length && this.time[this.done] <= time) this.forward(changed);
    while (this.done > 0 && this.time[this.done - 1] > time) this.back(changed);
    this.now = time;
    return changed;
  }

  // Whether a row has a fit.
  has(row) {
    return !Number.isNaN(this.rise[row]);
  }

  forward(changed) {
    const number = this.done;
    const row = this.row[number];
    const value = this.value[number];
    this.before[number] = this.rise[row];
    this.bestBefore[number] = this.best;
    if (value !== null && !(this.rise[row] <= value)) this.rise[row] = value;
    if (this.has(row) && (this.best < 0 || this.rise[row] < this.rise[this.best])) this.best = row;
    this.done += 1;
    if (changed) changed.push(row);
  }

  back(changed) {
    this.done -= 1;
    this.rise[this.row[this.done]] = this.before[this.done];
    this.best = this.bestBefore[this.done];
    if (changed) changed.push(this.row[this.done]);
  }

  get pixels() {
    return this.done === null ? this.rise.length : this.done;
  }
}
