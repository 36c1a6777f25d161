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
    this.relate(data.levels);
    this.duration = this.time.length ? this.time[this.time.length - 1] : 0;
    this.finish();
  }

  // Finds, for each row, its parent in the level before, and how many children it has.
  relate(levels) {
    this.parent = new Int32Array(this.rise.length).fill(-1);
    this.children = new Uint32Array(this.rise.length);
    this.shown = new Uint32Array(this.rise.length); // how many of its children are fitted, or replaced themselves
    let coarse = new Map();
    let first = 0;
    levels.forEach((level, number) => {
      const count = number ? (level.nside / levels[number - 1].nside) ** 2 : 1;
      level.nested.forEach((pixel, i) => {
        const parent = coarse.get(Math.floor(pixel / count));
        if (parent === undefined) return;
        this.parent[first + i] = parent;
        this.children[parent] = count;
      });
      coarse = new Map(level.nested.map((pixel, i) => [pixel, first + i]));
      first += level.nested.length;
    });
  }

  // Whether fitted pixels of finer levels cover a row, which is no best fit then.
  replaced(row) {
    return this.children[row] > 0 && this.shown[row] === this.children[row];
  }

  // Counts a row that was fitted (1), or is not any more (-1), for those that it helps to replace.
  count(row, step) {
    let child = row;
    while (this.parent[child] >= 0) {
      const parent = this.parent[child];
      const before = this.replaced(parent);
      this.shown[parent] += step;
      if (this.replaced(parent) === before || this.has(parent)) return;
      child = parent;
    }
  }

  // The best fit so far: the lowest one that finer ones do not cover; of equal ones the coarser, then the first.
  lowest() {
    let best = -1;
    for (let row = 0; row < this.rise.length; row += 1) {
      if (this.has(row) && !this.replaced(row) && (best < 0 || this.rise[row] < this.rise[best])) best = row;
    }
    return best;
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
      this.shown.fill(0);
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
    const known = this.has(row);
    if (value !== null && !(this.rise[row] <= value)) this.rise[row] = value;
    if (!known && this.has(row) && !this.replaced(row)) this.count(row, 1);
    if (this.best >= 0 && this.replaced(this.best)) this.best = this.lowest();
    if (this.has(row) && !this.replaced(row) && (this.best < 0 || this.isBelow(row, this.best))) this.best = row;
    this.done += 1;
    if (changed) changed.push(row);
  }

  isBelow(row, other) {
    return this.rise[row] < this.rise[other] || (this.rise[row] === this.rise[other] && row < other);
  }

  back(changed) {
    this.done -= 1;
    const row = this.row[this.done];
    const known = this.has(row);
    this.rise[row] = this.before[this.done];
    if (known && !this.has(row) && !this.replaced(row)) this.count(row, -1);
    this.best = this.bestBefore[this.done];
    if (changed) changed.push(row);
  }

  get pixels() {
    return this.done === null ? this.rise.length : this.done;
  }
}
