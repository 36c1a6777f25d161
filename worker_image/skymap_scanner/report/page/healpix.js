// HEALPix in NESTED numbering, after Górski et al. (2005), ApJ 622, 759: between pixels and directions.
// A direction is z = sin(declination) and phi = right ascension (rad); a pixel is its order (log2 of nside) and number.

const FACE_ROW = [2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4];
const FACE_COLUMN = [1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7];

// Puts the lower 16 bits of v at the even places, and the reverse.
function spreadBits(v) {
  v = (v | (v << 8)) & 0x00ff00ff;
  v = (v | (v << 4)) & 0x0f0f0f0f;
  v = (v | (v << 2)) & 0x33333333;
  return (v | (v << 1)) & 0x55555555;
}

function compressBits(v) {
  v &= 0x55555555;
  v = (v | (v >>> 1)) & 0x33333333;
  v = (v | (v >>> 2)) & 0x0f0f0f0f;
  v = (v | (v >>> 4)) & 0x00ff00ff;
  return (v | (v >>> 8)) & 0x0000ffff;
}

// Numbers of a face stay below 2^28; only the number of the face needs more than 32 bits.
function pixelCentre(order, pixel) {
  const nside = 2 ** order;
  const face = Math.floor(pixel / (nside * nside));
  const within = pixel - face * nside * nside;
  const x = (compressBits(within) + 0.5) / nside;
  const y = (compressBits(within >>> 1) + 0.5) / nside;
  const ring = FACE_ROW[face] - x - y;
  let width = 1;
  let z = ((2 - ring) * 2) / 3;
  if (ring < 1) {
    width = ring;
    z = 1 - (width * width) / 3;
  } else if (ring > 3) {
    width = 4 - ring;
    z = (width * width) / 3 - 1;
  }
  const eighths = (FACE_COLUMN[face] * width + x - y + 8 * width) % (8 * width);
  return { z, phi: width > 0 ? ((Math.PI / 4) * eighths) / width : 0 };
}

function directionToPixel(order, z, phi) {
  const nside = 2 ** order;
  const height = Math.abs(z);
  const quarter = (((phi * 2) / Math.PI) % 4 + 4) % 4;
  let face;
  let x;
  let y;
  if (height <= 2 / 3) {
    const up = Math.floor(nside * (0.5 + quarter - z * 0.75));
    const down = Math.floor(nside * (0.5 + quarter + z * 0.75));
    const faceUp = up >> order;
    const faceDown = down >> order;
    face = faceUp === faceDown ? faceUp | 4 : faceUp < faceDown ? faceUp : faceDown + 8;
    x = down & (nside - 1);
    y = nside - (up & (nside - 1)) - 1;
  } else {
    const sector = Math.min(3, Math.floor(quarter));
    const part = quarter - sector;
    const width = nside * Math.sqrt(3 * (1 - height));
    const up = Math.min(nside - 1, Math.floor(part * width));
    const down = Math.min(nside - 1, Math.floor((1 - part) * width));
    face = z >= 0 ? sector : sector + 8;
    x = z >= 0 ? nside - down - 1 : up;
    y = z >= 0 ? nside - up - 1 : down;
  }
  return face * nside * nside + (spreadBits(x) | (spreadBits(y) << 1));
}
