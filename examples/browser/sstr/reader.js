/**
 * Reads the codes of an .sstr file, whole or damaged (docs/format.md, Damage).
 *
 * Damage is named and costs what it must: a damaged plane the layers from it on
 * in its channel and chunk, a damaged head or first layer the frames. Frame
 * indices say how many frames are missing, so what follows is in its time.
 */

import {
  CHECKSUM_BYTES,
  END,
  END_BYTES,
  HEAD_BYTES,
  MARKER,
  endSamples,
  headAt,
  planeChecksum,
} from "./chunks.js";
import {
  FileError,
  HEADER_BYTES,
  codeBits,
  framesOf,
  headerFromBytes,
  hopSamples,
} from "./header.js";
import { fillingMask, planeBytes, unpack } from "./packing.js";

// Missing frames need no bytes, so a few bytes could claim years of them: at
// least one frame of so many must be there.
const MAX_LOSS = 16;
const FREE_BYTES = 2 ** 26;
const BYTES_PER_BYTE = 256;

/**
 * What a file holds.
 *
 * @typedef {object} Recording
 * @property {import("./header.js").Header} header
 * @property {Int32Array[]} codes of each channel, [F, numQuantizers]; 0 where
 *   they are not whole
 * @property {Uint8Array[]} layers of each channel, [F]: how many of a frame's
 *   first layers are whole; 0 is a lost frame
 * @property {number} frames F
 * @property {number} sourceSamples of a stream without an end: estimated
 * @property {{seconds: number, text: string}[]} damages
 */

/**
 * Reads a file.
 *
 * @param {Uint8Array} bytes
 * @returns {Recording}
 * @throws {FileError} in one line: no .sstr file, another version, a damaged
 *   header, entropy coding, or too little that is whole
 */
export function readFile(bytes) {
  const header = headerFromBytes(bytes);
  if (/[^0]/.test(header.tables)) {
    throw new FileError(
      "its codes are entropy coded, which is not read here; soundstream " +
        "decode reads it, and encode without --entropy writes what is.",
    );
  }
  const found = { chunks: [], damages: [], end: null };
  const body = new Body(bytes, header, found);
  body.read();
  const { frames, sourceSamples } = extent(header, found);
  const codes = [];
  const layers = [];
  for (let channel = 0; channel < header.channels; channel++) {
    codes.push(new Int32Array(frames * header.numQuantizers));
    layers.push(new Uint8Array(frames));
  }
  for (const chunk of found.chunks) {
    fill(bytes, header, chunk, codes, layers);
  }
  return {
    header,
    codes,
    layers,
    frames,
    sourceSamples,
    damages: found.damages,
  };
}

/** Walks through what follows the header. */
class Body {
  constructor(bytes, header, found) {
    Object.assign(this, { bytes, header, found });
    this.at = HEADER_BYTES;
    this.position = 0; // frames that had their turn
  }

  read() {
    const { bytes, header, found } = this;
    const frames =
      header.sourceSamples === null
        ? null
        : framesOf(header, header.sourceSamples);
    let cut = 0;
    while (this.position !== frames) {
      const start = this.at;
      const head = this.nextHead();
      const skipped = this.at - start;
      if (skipped && !head && cut) this.damage(brokenOff(cut));
      else if (skipped) this.damage(`${skipped} bytes belong to no chunk`);
      if (!head) break;
      if (head.kind === END) {
        const samples = endSamples(bytes, this.at, head, header);
        if (samples === null || head.firstFrame < this.position) {
          this.damage("the end chunk is damaged");
          this.at += HEAD_BYTES;
          continue;
        }
        this.missing(head.firstFrame);
        this.at += END_BYTES;
        found.end = { frames: head.firstFrame, sourceSamples: samples };
        this.rest(head.firstFrame);
        return;
      }
      const chunk = this.chunk(head);
      if (head.firstFrame < this.position) {
        const last = head.firstFrame + head.frames - 1;
        this.damage(`frames ${head.firstFrame} to ${last} come again`);
      } else {
        this.missing(head.firstFrame);
        this.position = head.firstFrame + head.frames;
        this.complain(chunk);
        if (chunk.layers.some(Boolean)) found.chunks.push(chunk);
      }
      const left = bytes.length - this.at;
      cut = Math.max(0, HEAD_BYTES + head.bodyBytes - left);
      this.at += Math.min(this.length(chunk), left);
    }
    if (frames === null) {
      this.damage("the stream breaks off without an end chunk");
      return;
    }
    this.missing(frames);
    if (this.position === frames && cut) this.damage(brokenOff(cut));
    else this.rest(frames);
  }

  /** Goes to the next head and returns it; null: to the end. */
  nextHead() {
    const { bytes, header } = this;
    while (this.at < bytes.length) {
      const head = headAt(bytes, this.at, header);
      if (head) return head;
      const next = bytes.indexOf(MARKER[0], this.at + 1);
      this.at = next < 0 ? bytes.length : next;
    }
    return null;
  }

  /** Returns a chunk: where its planes are, and how many are whole. */
  chunk(head) {
    const { bytes, header, at } = this;
    const { channels } = header;
    const size = planeBytes(head.frames, codeBits(header));
    const filling = fillingMask(head.frames, codeBits(header));
    const layers = new Array(channels).fill(0);
    let wholeBytes = HEAD_BYTES;
    let there = 0; // entries that the file has bytes for
    for (let i = 0; i < head.numQuantizers * channels; i++) {
      const layer = Math.floor(i / channels);
      const channel = i % channels;
      const start = at + HEAD_BYTES + i * (size + CHECKSUM_BYTES);
      const stop = start + size;
      if (stop + CHECKSUM_BYTES > bytes.length) break;
      if (layer > Math.max(...layers)) break;
      there++;
      if (layers[channel] !== layer) continue;
      const plane = bytes.subarray(start, stop);
      const sum = planeChecksum(
        plane,
        head.firstFrame,
        head.frames,
        layer,
        channel,
      );
      const view = new DataView(bytes.buffer, bytes.byteOffset + stop, 4);
      if (view.getUint32(0, true) !== sum || plane[size - 1] & filling)
        continue;
      layers[channel]++;
      wholeBytes = stop + CHECKSUM_BYTES - at;
    }
    // A layer that is cut off is none, also in channels that have it.
    const cut = Math.floor(there / channels);
    const good = layers.map((count) => Math.min(count, cut));
    return { head, at, layers: good, wholeBytes };
  }

  /** How far a chunk reaches: as claimed, unless bytes of it were lost. */
  length({ head, at, wholeBytes }) {
    const { bytes, header } = this;
    const size = HEAD_BYTES + head.bodyBytes;
    if (wholeBytes === size) return size;
    const fits =
      at + size === bytes.length || headAt(bytes, at + size, header) !== null;
    // Whole chunks may be as long as what was lost before them.
    return fits && !this.holdsHead(at + wholeBytes, at + size)
      ? size
      : wholeBytes;
  }

  holdsHead(start, stop) {
    const last = Math.min(stop, this.bytes.length);
    const part = this.bytes.subarray(0, last);
    let place = part.indexOf(MARKER[0], start);
    while (place >= 0) {
      if (headAt(part, place, this.header)) return true;
      place = part.indexOf(MARKER[0], place + 1);
    }
    return false;
  }

  /** Names the damage of a chunk's channels. */
  complain({ head, layers }) {
    const lost = count(head.frames, "frame");
    if (!layers.some(Boolean)) {
      this.damage(`the first layer is damaged: ${lost} lost`, head.firstFrame);
      return;
    }
    layers.forEach((good, channel) => {
      if (good === head.numQuantizers) return;
      const where = layers.length > 1 ? ` of channel ${channel + 1}` : "";
      const text = good
        ? `layer ${good + 1}${where} is damaged: ${count(good, "layer")} left ` +
          `for ${lost}`
        : `the first layer${where} is damaged: ${lost} lost`;
      this.damage(text, head.firstFrame);
    });
  }

  missing(until) {
    if (until > this.position) {
      this.damage(`${count(until - this.position, "frame")} missing`);
    }
  }

  rest(frames) {
    if (this.at < this.bytes.length) {
      this.damage("more bytes follow the end", frames);
    }
  }

  damage(text, frame = this.position) {
    const { header } = this;
    const seconds = (frame * hopSamples(header)) / header.modelRateHz;
    this.found.damages.push({ seconds, text });
  }
}

/** Returns the length of a file that was read, if enough of it is there. */
function extent(header, { chunks, damages, end }) {
  const there = chunks.reduce((sum, chunk) => sum + chunk.head.frames, 0);
  let { sourceSamples } = header;
  let frames;
  if (sourceSamples !== null) {
    frames = framesOf(header, sourceSamples);
  } else if (end) {
    ({ frames, sourceSamples } = end);
  } else if (!chunks.length) {
    throw new FileError(`no chunk is whole: ${damages[0].text}.`);
  } else {
    const { head } = chunks[chunks.length - 1];
    frames = head.firstFrame + head.frames;
    const samples = BigInt(frames) * BigInt(hopSamples(header));
    sourceSamples = Number(
      (samples * BigInt(header.sourceRateHz)) / BigInt(header.modelRateHz),
    );
  }
  if (frames > MAX_LOSS * there) {
    throw new FileError(
      `only ${there} of ${frames} frames are there, fewer than one of ` +
        `${MAX_LOSS}: too little to be heard.`,
    );
  }
  const read = chunks.reduce(
    (sum, chunk) => sum + entriesBytes(header, chunk),
    0,
  );
  const size = frames * header.channels * header.numQuantizers * 4;
  if (size > FREE_BYTES + BYTES_PER_BYTE * read) {
    throw new FileError(
      `${frames} frames of ${header.numQuantizers} layers would take ${size} ` +
        `bytes, and the file has ${read} bytes of codes.`,
    );
  }
  return { frames, sourceSamples };
}

function entriesBytes(header, { head, layers }) {
  const each = planeBytes(head.frames, codeBits(header)) + CHECKSUM_BYTES;
  return Math.max(...layers) * header.channels * each;
}

function fill(bytes, header, { head, at, layers: good }, codes, layers) {
  const { channels, numQuantizers: width } = header;
  const bits = codeBits(header);
  const size = planeBytes(head.frames, bits);
  for (let channel = 0; channel < channels; channel++) {
    const stop = head.firstFrame + head.frames;
    layers[channel].fill(good[channel], head.firstFrame, stop);
    for (let layer = 0; layer < good[channel]; layer++) {
      const i = layer * channels + channel;
      const start = at + HEAD_BYTES + i * (size + CHECKSUM_BYTES);
      const plane = bytes.subarray(start, start + size);
      unpack(plane, head.frames, bits, (code, frame) => {
        codes[channel][(head.firstFrame + frame) * width + layer] = code;
      });
    }
  }
}

function brokenOff(bytes) {
  return `the file breaks off: ${bytes} bytes of its last chunk are missing`;
}

function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
