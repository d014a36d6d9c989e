/**
 * Codes in a worker: sound comes in, packets are made, lost and decoded.
 *
 * Messages to it: `load` a model; `begin` a take, `push` its sound, `end` it;
 * `codes`, a take that is codes already; `set`, other settings. Settings change
 * what comes next while a take is recorded; one that is whole is done again
 * from its start. Messages from it: `model`, `frames`, `done`, `error`.
 */

import { Codec } from "./codec.js";
import { Growing } from "./growing.js";
import { isLost } from "./packets.js";

// So long it works before it looks whether a message has come, in ms.
const TURN_MS = 12;

let codec;
let take = null;
let working = false;

const DO = {
  async load({ folder }) {
    codec = await Codec.load(folder);
    postMessage({ is: "model", about: codec.about });
  },

  begin({ id, channels, settings }) {
    take = new Take(id, channels, codec.about.layers, settings);
  },

  push({ id, audio }) {
    if (take?.id === id) take.push(audio);
  },

  end({ id }) {
    if (take?.id === id) take.end();
  },

  codes({ id, codes, layers, width, settings }) {
    take = new Take(id, codes.length, width, settings);
    take.codes.forEach((each, i) => each.push(codes[i]));
    take.fileLayers = layers;
    take.encoded = layers[0].length;
    take.isWhole = true;
  },

  set({ id, settings }) {
    if (take?.id === id) take.set(settings);
  },
};

/** One recording, and how far it is coded. */
class Take {
  constructor(id, channels, width, settings) {
    const { hop } = codec.about;
    Object.assign(this, { id, channels, width, settings, hop });
    this.audio = each(channels, () => new Growing(Float32Array));
    this.codes = each(channels, () => new Growing(Int32Array));
    this.fileLayers = null; // [C][F] of a file that is damaged
    this.encoded = 0; // frames
    this.isWhole = false; // no more sound comes
    this.run = 0; // how often it was begun anew
    this.wasSaid = false;
    this.encodeAnew();
    this.decodeAnew();
  }

  encodeAnew() {
    this.encoder = codec.encoder(this.channels, this.settings.denoise);
    this.encoded = 0;
  }

  decodeAnew() {
    this.decoder = codec.decoder(this.channels, this.settings.denoise);
    this.decoded = 0;
    this.run++;
    this.wasSaid = false;
  }

  push(audio) {
    audio.forEach((samples, i) => this.audio[i].push(samples));
  }

  end() {
    const { hop } = this;
    const samples = Math.ceil(this.audio[0].length / hop) * hop;
    for (const channel of this.audio) channel.reach(samples);
    this.isWhole = true;
  }

  set(settings) {
    const before = this.settings;
    this.settings = settings;
    if (!this.isWhole) return;
    const isCodes = this.fileLayers !== null;
    const again =
      settings.packet !== before.packet ||
      (settings.denoise !== before.denoise && codec.about.film === "encoder");
    if (again && !isCodes) this.encodeAnew();
    this.decodeAnew();
  }

  /** Frames of the next packet, once they are all there; else 0. */
  next(done, there) {
    const frames = Math.min(this.settings.packet, there - done);
    return frames === this.settings.packet || this.isWhole ? frames : 0;
  }

  /** Encodes and decodes a packet; returns whether there was one. */
  async advance() {
    const there = Math.floor(this.audio[0].length / this.hop);
    const found = this.fileLayers ? 0 : this.next(this.encoded, there);
    let encodeMs = null;
    if (found) encodeMs = await timed(() => this.encode(found));
    const frames = this.next(this.decoded, this.encoded);
    if (frames) await this.decode(frames, encodeMs);
    const isDone =
      this.isWhole &&
      this.decoded === this.encoded &&
      (this.fileLayers !== null || this.encoded === there);
    if (isDone && !this.wasSaid) {
      this.wasSaid = true;
      postMessage({ is: "done", id: this.id, run: this.run });
    }
    return Boolean(found || frames);
  }

  async encode(frames) {
    const { encoded, hop, width } = this;
    const start = encoded * hop;
    const blocks = this.audio.map((a) => a.view(start, start + frames * hop));
    const { encoder } = this;
    const codes = await encoder(blocks);
    if (encoder !== this.encoder) return; // begun anew meanwhile
    codes.forEach((each, i) => this.codes[i].set(each, encoded * width));
    this.encoded += frames;
  }

  async decode(frames, encodeMs) {
    const { decoded: first, width, settings, run } = this;
    // Packets are counted by where they begin: the last of a take may be short.
    const lost = isLost(Math.floor(first / settings.packet), settings.loss);
    const layers = each(this.channels, (c) =>
      Int32Array.from({ length: frames }, (_, i) => {
        const there = this.fileLayers ? this.fileLayers[c][first + i] : width;
        return lost ? 0 : Math.min(there, settings.layers);
      }),
    );
    const codes = this.codes.map((c) =>
      c.view(first * width, (first + frames) * width).slice(),
    );
    let audio;
    const decodeMs = await timed(async () => {
      audio = await this.decoder(codes, layers);
    });
    if (run !== this.run) return; // begun anew meanwhile
    this.decoded += frames;
    const times = { encodeMs, decodeMs };
    const found = {
      id: this.id,
      run,
      first,
      frames,
      lost,
      codes,
      layers,
      audio,
    };
    postMessage(
      { is: "frames", ...found, ...times },
      [...codes, ...layers, ...audio].map((array) => array.buffer),
    );
  }
}

async function work() {
  if (working) return;
  working = true;
  let began = performance.now();
  try {
    // A take may be another one after every wait.
    while (take && (await take.advance())) {
      if (performance.now() - began < TURN_MS) continue;
      await new Promise((resolve) => turn(resolve));
      began = performance.now();
    }
  } finally {
    working = false;
  }
}

/** Calls back once the messages that have come were looked at. */
function turn(callback) {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    callback();
  };
  port2.postMessage(null);
}

async function timed(action) {
  const began = performance.now();
  await action();
  return performance.now() - began;
}

function each(count, make) {
  return Array.from({ length: count }, (_, i) => make(i));
}

onmessage = async ({ data }) => {
  try {
    await DO[data.do](data);
    await work();
  } catch (error) {
    postMessage({ is: "error", text: error.message });
  }
};
