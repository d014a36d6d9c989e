/**
 * Spectrograms that grow with a sound, drawn to a canvas.
 */

const WINDOW = 1024;
const HOP_S = 0.01;
const ROWS = 128;
const TOP_DB = -10; // of a sine of full scale
const FLOOR_DB = -95;

/** Columns of a sound's spectrum, each of ROWS loudnesses from 0 to 255. */
export class Spectrogram {
  /** @param {number} rateHz */
  constructor(rateHz) {
    this.hop = Math.round(rateHz * HOP_S);
    this.rows = rowsOf(rateHz);
    this.columns = [];
  }

  /**
   * Computes the columns of a part of a sound.
   *
   * @param {Float32Array} sound
   * @param {number} from the first sample that is new or changed
   * @param {number} to where what is known ends
   * @param {boolean} isWhole whether nothing will follow
   */
  update(sound, from, to, isWhole) {
    const start = Math.max(0, Math.floor((from - WINDOW / 2) / this.hop));
    for (let i = start; ; i++) {
      const middle = i * this.hop;
      const end = middle + WINDOW / 2;
      if (middle >= to || (end > to && !isWhole)) break;
      this.columns[i] = this.column(sound, middle - WINDOW / 2);
    }
  }

  column(sound, start) {
    const power = spectrum(sound, start);
    return Uint8ClampedArray.from(this.rows, ([low, high]) => {
      let loudest = 0;
      for (let bin = low; bin <= high; bin++) {
        loudest = Math.max(loudest, power[bin]);
      }
      const level = 10 * Math.log10(loudest + 1e-12);
      return (255 * (level - FLOOR_DB)) / (TOP_DB - FLOOR_DB);
    });
  }

  /**
   * Draws it.
   *
   * @param {HTMLCanvasElement} canvas as many pixels high as it likes
   * @param {number} samples of the whole width
   * @param {number} skip samples before it
   * @param {Uint32Array} palette 256 colours, of `paletteOf`
   */
  draw(canvas, samples, skip, palette) {
    const { width, height } = canvas;
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const perPixel = samples / this.hop / width;
    for (let x = 0; x < width; x++) {
      const at = skip / this.hop + x * perPixel;
      const column = this.loudest(Math.floor(at), Math.floor(at + perPixel));
      if (!column) continue;
      for (let y = 0; y < height; y++) {
        const row = ((height - 1 - y) * (ROWS - 1)) / (height - 1);
        const low = Math.floor(row);
        const rest = row - low;
        const above = column[Math.min(low + 1, ROWS - 1)];
        const level = column[low] * (1 - rest) + above * rest;
        pixels[y * width + x] = palette[Math.round(level)];
      }
    }
    context.putImageData(image, 0, 0);
  }

  /** The loudest of the columns that fall on one pixel. */
  loudest(first, last) {
    const one = this.columns[first];
    if (!one || last <= first + 1) return one;
    const found = one.slice();
    for (let i = first + 1; i < Math.min(last, this.columns.length); i++) {
      const column = this.columns[i];
      for (let row = 0; row < ROWS; row++) {
        if (column[row] > found[row]) found[row] = column[row];
      }
    }
    return found;
  }
}

/**
 * Returns 256 colours, from the quietest to the loudest.
 *
 * @param {string[]} stops colours as #rrggbb, evenly apart
 */
export function paletteOf(stops) {
  const parts = stops.map((stop) =>
    stop.match(/[0-9a-f]{2}/gi).map((pair) => parseInt(pair, 16)),
  );
  return Uint32Array.from({ length: 256 }, (_, level) => {
    const at = (level / 255) * (parts.length - 1);
    const low = Math.min(Math.floor(at), parts.length - 2);
    const [r, g, b] = parts[low].map((value, i) =>
      Math.round(value + (parts[low + 1][i] - value) * (at - low)),
    );
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
}

/** The bins of each row: rows are evenly apart on a mel scale. */
function rowsOf(rateHz) {
  const mel = (hz) => Math.log1p(hz / 700);
  const top = mel(rateHz / 2);
  const binOf = (row) =>
    (700 * Math.expm1((row / ROWS) * top) * WINDOW) / rateHz;
  return Array.from({ length: ROWS }, (_, row) => {
    const low = Math.floor(binOf(row));
    return [low, Math.max(low, Math.floor(binOf(row + 1)) - 1)];
  });
}

const HANN = Float64Array.from(
  { length: WINDOW },
  (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / WINDOW),
);
const COSINES = HANN.map((_, i) => Math.cos((2 * Math.PI * i) / WINDOW));
const SINES = HANN.map((_, i) => -Math.sin((2 * Math.PI * i) / WINDOW));
const REVERSED = Uint16Array.from({ length: WINDOW }, (_, i) => {
  let reversed = 0;
  for (let bit = 1; bit < WINDOW; bit *= 2) {
    reversed = 2 * reversed + ((i & bit) > 0);
  }
  return reversed;
});
const real = new Float64Array(WINDOW);
const imaginary = new Float64Array(WINDOW);

/** Power of each bin of a window of sound; 1 for a sine of full scale. */
function spectrum(sound, start) {
  for (let i = 0; i < WINDOW; i++) {
    const at = start + REVERSED[i];
    real[i] = (sound[at] ?? 0) * HANN[REVERSED[i]];
    imaginary[i] = 0;
  }
  for (let half = 1; half < WINDOW; half *= 2) {
    const stride = WINDOW / (2 * half);
    for (let first = 0; first < WINDOW; first += 2 * half) {
      for (let k = 0; k < half; k++) {
        const i = first + k;
        const j = i + half;
        const [cos, sin] = [COSINES[k * stride], SINES[k * stride]];
        const re = real[j] * cos - imaginary[j] * sin;
        const im = real[j] * sin + imaginary[j] * cos;
        real[j] = real[i] - re;
        imaginary[j] = imaginary[i] - im;
        real[i] += re;
        imaginary[i] += im;
      }
    }
  }
  const power = new Float64Array(WINDOW / 2 + 1);
  for (let bin = 0; bin < power.length; bin++) {
    power[bin] = (real[bin] ** 2 + imaginary[bin] ** 2) / (WINDOW / 4) ** 2;
  }
  return power;
}
