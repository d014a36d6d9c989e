/**
 * A take: one sound, or one .sstr file, as it goes through the codec.
 */

import { writeWav } from "./audio.js";
import { Growing } from "./growing.js";
import * as sstr from "./sstr.js";

// Packets whose times are looked at.
const RECENT = 64;

let made = 0;

export class Take {
  /**
   * @param {object} of
   * @param {string} of.name without suffix
   * @param {import("./codec.js").About} of.about of the model
   * @param {import("./sstr.js").Header} of.header of its file, of all layers
   *   that there are; its samples are not known while it is recorded
   * @param {boolean} of.hasOriginal false: it came as codes
   * @param {object[]} [of.damages] of the file that it came from
   */
  constructor({ name, about, header, hasOriginal, damages = [] }) {
    Object.assign(this, { name, about, header, hasOriginal, damages });
    this.channels = header.channels;
    this.width = header.numQuantizers; // of its codes
    this.id = ++made;
    const each = (Type) =>
      Array.from({ length: this.channels }, () => new Growing(Type));
    this.original = each(Float32Array);
    this.coded = each(Float32Array);
    this.codes = each(Int32Array);
    this.layers = new Growing(Int32Array); // that arrived, least of channels
    this.samples = null; // in all, at the model's rate; null: not known yet
    this.begin(0);
  }

  /** The last sound was heard: its length is known. */
  end() {
    this.samples = this.original[0].length;
    this.header.sourceSamples = this.samples;
  }

  /** Begins the coded sound anew, over what is there. */
  begin(run) {
    this.run = run;
    this.frames = 0;
    this.isDone = false;
    this.packets = 0;
    this.lost = 0;
    this.encodeTimes = [];
    this.decodeTimes = [];
  }

  get decodedSamples() {
    return this.frames * this.about.hop;
  }

  /** Adds sound that was heard or read. */
  hear(channels) {
    channels.forEach((samples, i) => this.original[i].push(samples));
  }

  /** Adds what the worker made of a packet; returns whether it is of use. */
  add({ run, first, frames, lost, codes, layers, audio, ...times }) {
    if (run < this.run) return false;
    if (run > this.run) this.begin(run);
    const { hop } = this.about;
    codes.forEach((each, i) => this.codes[i].set(each, first * this.width));
    audio.forEach((each, i) => this.coded[i].set(each, first * hop));
    const least = layers[0].map((_, f) => Math.min(...layers.map((l) => l[f])));
    this.layers.set(least, first);
    this.frames = first + frames;
    this.packets++;
    this.lost += lost;
    remember(this.encodeTimes, times.encodeMs, frames);
    remember(this.decodeTimes, times.decodeMs, frames);
    return true;
  }

  /** Milliseconds per frame: medians; null where nothing was encoded. */
  get times() {
    return {
      encode: median(this.encodeTimes),
      decode: median(this.decodeTimes),
    };
  }

  /** Bytes of the .sstr file with the first layers. */
  sstrBytes(layers) {
    const numQuantizers = Math.min(layers, this.width);
    const header = { ...this.header, numQuantizers };
    const planes = numQuantizers * this.channels;
    const bits = sstr.codeBits(header);
    const frames = sstr.framesOf(header, header.sourceSamples);
    const chunk = (f) => 20 + planes * (4 + Math.ceil((f * bits) / 8));
    const full = Math.floor(frames / header.chunkFrames);
    const rest = frames % header.chunkFrames;
    return 120 + full * chunk(header.chunkFrames) + (rest ? chunk(rest) : 0);
  }

  /** The .sstr file with the first layers, as a file of known length. */
  toSstr(layers) {
    const numQuantizers = Math.min(layers, this.width);
    const frames = sstr.framesOf(this.header, this.header.sourceSamples);
    const codes = this.codes.map((c) => c.view(0, frames * this.width));
    const header = { ...this.header, numQuantizers };
    return sstr.writeFile(header, codes, { width: this.width });
  }

  codedWav() {
    return this.wav(this.coded);
  }

  originalWav() {
    return this.wav(this.original);
  }

  wav(sound) {
    const channels = sound.map((each) => each.view(0, this.samples));
    return writeWav(channels, this.about.rateHz);
  }
}

function remember(times, ms, frames) {
  if (ms === null) return;
  times.push(ms / frames);
  if (times.length > RECENT) times.shift();
}

function median(times) {
  if (!times.length) return null;
  return [...times].sort((a, b) => a - b)[times.length >> 1];
}
