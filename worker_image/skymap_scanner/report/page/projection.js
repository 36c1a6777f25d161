// Projections of the sky, right ascension increasing to the left: Mollweide of the whole sky, and around a direction
// Lambert's azimuthal equal-area one. Both keep areas, so that a contour looks as large as it is.

const RADIANS = Math.PI / 180;
const ROOT2 = Math.SQRT2;
// Half the height of a view (deg): the widest of a zone, beyond which the whole sky is shown, and the narrowest.
const WIDEST = 75;
const NARROWEST = 0.01;

class View {
  // `whole`: the whole sky; otherwise `radius` degrees around (ra, dec).
  constructor(ra, dec, radius, whole) {
    Object.assign(this, { ra, dec, radius, whole, width: 1, height: 1, scale: 1 });
  }

  resize(width, height) {
    this.width = width;
    this.height = height;
    this.update();
  }

  update() {
    this.scale = this.whole
      ? Math.min(this.width / (4 * ROOT2), this.height / (2 * ROOT2)) * 0.985
      : Math.min(this.width, this.height) / 2 / (2 * Math.sin((this.radius * RADIANS) / 2));
    this.sinDec = Math.sin(this.dec * RADIANS);
    this.cosDec = Math.cos(this.dec * RADIANS);
  }

  // Moves the centre so that what is at `from` comes to `to` (both [x, y]).
  drag(from, to) {
    if (this.whole) {
      this.ra = turn(this.ra + ((to[0] - from[0]) / this.scale / (2 * ROOT2)) * 180);
    } else {
      const degrees = 1 / (this.scale * RADIANS);
      this.dec = Math.max(-90, Math.min(90, this.dec + (to[1] - from[1]) * degrees));
      const stretch = Math.max(Math.cos(this.dec * RADIANS), 0.05);
      this.ra = turn(this.ra + ((to[0] - from[0]) * degrees) / stretch);
    }
    this.update();
  }

  // Changes the radius by a factor (below 1: closer) and keeps the direction at `at` in place.
  zoom(factor, at) {
    if (this.whole) {
      if (factor >= 1) return;
      const there = this.invert(at[0], at[1]);
      if (there) Object.assign(this, { ra: turn(there.phi / RADIANS), dec: Math.asin(there.z) / RADIANS });
      Object.assign(this, { whole: false, radius: WIDEST * 0.6 });
      this.update();
      return;
    }
    const radius = Math.max(NARROWEST, this.radius * factor);
    if (radius > WIDEST) {
      Object.assign(this, { whole: true, dec: 0 });
      this.update();
      return;
    }
    const before = this.invert(at[0], at[1]);
    this.radius = radius;
    this.update();
    if (!before) return;
    // Each drag comes closer, as the sky is flat in a small view only.
    for (let i = 0; i < 8; i += 1) this.drag(this.project(before.phi / RADIANS, Math.asin(before.z) / RADIANS), at);
  }

  // Place of a direction (deg) in pixels of the canvas.
  project(ra, dec) {
    return this.whole ? this.mollweide(ra, dec) : this.azimuthal(ra, dec);
  }

  mollweide(ra, dec) {
    const sin = Math.sin(dec * RADIANS);
    let angle = dec * RADIANS;
    for (let i = 0; i < 12 && Math.abs(angle) < 1.5707; i += 1) {
      const step = (2 * angle + Math.sin(2 * angle) - Math.PI * sin) / (2 + 2 * Math.cos(2 * angle));
      angle -= step;
      if (Math.abs(step) < 1e-9) break;
    }
    angle = Math.max(-Math.PI / 2, Math.min(Math.PI / 2, angle));
    const east = turn(ra - this.ra + 180) - 180;
    const x = ((2 * ROOT2) / 180) * east * Math.cos(angle);
    return [this.width / 2 - x * this.scale, this.height / 2 - ROOT2 * Math.sin(angle) * this.scale];
  }

  azimuthal(ra, dec) {
    const lat = dec * RADIANS;
    const east = (ra - this.ra) * RADIANS;
    const cosLat = Math.cos(lat);
    const towards = this.sinDec * Math.sin(lat) + this.cosDec * cosLat * Math.cos(east);
    const stretch = Math.sqrt(2 / Math.max(1 + towards, 1e-9)) * this.scale;
    const x = cosLat * Math.sin(east);
    const y = this.cosDec * Math.sin(lat) - this.sinDec * cosLat * Math.cos(east);
    return [this.width / 2 - x * stretch, this.height / 2 - y * stretch];
  }

  // Direction {z, phi} at a place of the canvas; null outside of the sky.
  invert(left, top) {
    const x = (this.width / 2 - left) / this.scale;
    const y = (this.height / 2 - top) / this.scale;
    if (this.whole) {
      const sin = y / ROOT2;
      if (Math.abs(sin) > 1) return null;
      const angle = Math.asin(sin);
      const phi = (Math.PI * x) / (2 * ROOT2 * Math.max(Math.cos(angle), 1e-12));
      if (Math.abs(phi) > Math.PI) return null;
      return { z: (2 * angle + Math.sin(2 * angle)) / Math.PI, phi: phi + this.ra * RADIANS };
    }
    const square = x * x + y * y;
    if (square > 4) return null;
    const towards = 1 - square / 2;
    const across = Math.sqrt(1 - square / 4);
    const z = Math.max(-1, Math.min(1, towards * this.sinDec + y * across * this.cosDec));
    const forward = towards * this.cosDec - y * across * this.sinDec;
    return { z, phi: Math.atan2(x * across, forward) + this.ra * RADIANS };
  }
}

// Angle (deg) from 0 to 360.
function turn(angle) {
  return ((angle % 360) + 360) % 360;
}

// From J2000 galactic to equatorial coordinates (deg): pole at RA 192.85948, Dec +27.12825, and the pole's longitude.
function galacticToEquatorial(l, b) {
  const pole = 27.12825 * RADIANS;
  const away = (122.93192 - l) * RADIANS;
  const lat = b * RADIANS;
  const sin = Math.sin(pole) * Math.sin(lat) + Math.cos(pole) * Math.cos(lat) * Math.cos(away);
  const y = Math.cos(lat) * Math.sin(away);
  const x = Math.cos(pole) * Math.sin(lat) - Math.sin(pole) * Math.cos(lat) * Math.cos(away);
  return [turn(192.85948 + Math.atan2(y, x) / RADIANS), Math.asin(sin) / RADIANS];
}
