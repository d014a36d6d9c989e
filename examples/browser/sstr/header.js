/**
 * The header of an .sstr file, version 2: 120 bytes (docs/format.md, Header).
 */

import { crc32c } from "./crc32c.js";

export const HEADER_BYTES = 120;
export const MAX_FRAMES = 2 ** 32 - 1;
export const FILE_FRAMES = 256;

const VERSION = 2;
const MAGIC = "SSTR";
const UNKNOWN = 2n ** 64n - 1n;
const MAX_STRIDES = 8;
const MAX_PLANES = 2048;
const WEIGHTS = ["raw", "ema"];

/** What is wrong with a file, in one line. */
export class FileError extends Error {}

/**
 * A header's fields.
 *
 * @typedef {object} Header
 * @property {number} sourceRateHz
 * @property {?number} sourceSamples per channel; null in a stream
 * @property {number} sourceChannels
 * @property {number} channels that are coded
 * @property {number} modelRateHz
 * @property {number[]} strides the encoder's first one first
 * @property {number} codebookSize a power of two
 * @property {number} modelQuantizers layers of the model
 * @property {number} numQuantizers layers that are coded, at most
 * @property {number} chunkFrames of a chunk, at most
 * @property {string} fingerprint 64 hex digits
 * @property {bigint} step of the checkpoint
 * @property {string} weights "raw" or "ema"
 * @property {string} tables of the entropy coder, 32 hex digits; zeros: none
 */

export function hopSamples(header) {
  return header.strides.reduce((product, stride) => product * stride, 1);
}

export function codeBits(header) {
  return Math.log2(header.codebookSize);
}

/** Samples at the model's rate of so many of the source's. */
export function modelSamplesOf(header, sourceSamples) {
  return Number(resampled(header, sourceSamples));
}

export function framesOf(header, sourceSamples) {
  const hop = BigInt(hopSamples(header));
  return Number(ceiling(resampled(header, sourceSamples), hop));
}

/** Bits per second of one channel. */
export function bitrateBps(header, layers = header.numQuantizers) {
  const frameRate = header.modelRateHz / hopSamples(header);
  return frameRate * layers * codeBits(header);
}

/**
 * Returns the 120 bytes of a header.
 *
 * @param {Header} header
 * @throws {FileError} fields out of range
 */
export function headerToBytes(header) {
  check(header);
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < 4; i++) bytes[i] = MAGIC.charCodeAt(i);
  bytes[4] = VERSION;
  view.setUint16(6, HEADER_BYTES, true);
  const { sourceSamples } = header;
  view.setBigUint64(
    8,
    sourceSamples === null ? UNKNOWN : BigInt(sourceSamples),
    true,
  );
  view.setBigInt64(16, BigInt(header.step), true);
  view.setUint32(24, header.sourceRateHz, true);
  view.setUint32(28, header.modelRateHz, true);
  view.setUint32(32, hopSamples(header), true);
  view.setUint32(36, header.codebookSize, true);
  view.setUint16(40, header.sourceChannels, true);
  view.setUint16(42, header.channels, true);
  view.setUint16(44, header.modelQuantizers, true);
  view.setUint16(46, header.numQuantizers, true);
  view.setUint16(48, header.chunkFrames, true);
  bytes[50] = WEIGHTS.indexOf(header.weights);
  bytes[51] = header.strides.length;
  header.strides.forEach((s, i) => view.setUint16(52 + 2 * i, s, true));
  bytes.set(fromHex(header.tables ?? "00".repeat(16)), 68);
  bytes.set(fromHex(header.fingerprint), 84);
  view.setUint32(116, crc32c(bytes.subarray(0, 116)), true);
  return bytes;
}

/**
 * Reads the header at the start of a file.
 *
 * @param {Uint8Array} bytes
 * @returns {Header}
 * @throws {FileError} not version 2, damaged, or fields that cannot be
 */
export function headerFromBytes(bytes) {
  if (
    bytes.length < 4 ||
    [...MAGIC].some((c, i) => bytes[i] !== c.charCodeAt(0))
  ) {
    throw new FileError("this is not an .sstr file.");
  }
  if (bytes.length > 4 && bytes[4] !== VERSION) {
    throw new FileError(
      `version ${bytes[4]} of the .sstr format is not read here, only ` +
        `${VERSION}; soundstream decode may read it.`,
    );
  }
  if (bytes.length < HEADER_BYTES) {
    throw new FileError(
      `the header is truncated: expected ${HEADER_BYTES} bytes, found ` +
        `${bytes.length}.`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  if (view.getUint32(116, true) !== crc32c(bytes.subarray(0, 116))) {
    throw new FileError("the header is damaged: its checksum is another.");
  }
  const strides = Array.from({ length: MAX_STRIDES }, (_, i) =>
    view.getUint16(52 + 2 * i, true),
  );
  const count = bytes[51];
  const samples = view.getBigUint64(8, true);
  const header = {
    sourceRateHz: view.getUint32(24, true),
    sourceSamples: samples === UNKNOWN ? null : Number(samples),
    sourceChannels: view.getUint16(40, true),
    channels: view.getUint16(42, true),
    modelRateHz: view.getUint32(28, true),
    strides: strides.slice(0, count),
    codebookSize: view.getUint32(36, true),
    modelQuantizers: view.getUint16(44, true),
    numQuantizers: view.getUint16(46, true),
    chunkFrames: view.getUint16(48, true),
    fingerprint: toHex(bytes.subarray(84, 116)),
    step: view.getBigInt64(16, true),
    weights: WEIGHTS[bytes[50]],
    tables: toHex(bytes.subarray(68, 84)),
  };
  const wrong =
    bytes[5] !== 0 ||
    view.getUint16(6, true) !== HEADER_BYTES ||
    count > MAX_STRIDES ||
    strides.slice(count).some((stride) => stride !== 0) ||
    view.getUint32(32, true) !== hopSamples(header);
  if (wrong) throw new FileError("the header's fields contradict each other.");
  check(header);
  return header;
}

function check(header) {
  const { strides, codebookSize: size } = header;
  const within = (name, low, high) => {
    const value = header[name];
    // A bigint compares with a number, and is no integer of `Number`.
    if (!(value >= low && value <= high)) {
      throw new FileError(`${name}=${value} is not from ${low} to ${high}.`);
    }
  };
  if (!strides.length || strides.length > MAX_STRIDES || strides.includes(0)) {
    throw new FileError(`strides=${strides} are not 1 to ${MAX_STRIDES}.`);
  }
  for (const name of ["sourceRateHz", "modelRateHz"]) {
    within(name, 1, 2 ** 32 - 1);
  }
  if (header.sourceSamples !== null) {
    within("sourceSamples", 0, Number.MAX_SAFE_INTEGER);
  }
  within("sourceChannels", 1, 2 ** 16 - 1);
  within("channels", 1, 16);
  within("codebookSize", 2, 2 ** 16);
  within("modelQuantizers", 1, 255);
  within("numQuantizers", 1, header.modelQuantizers);
  within("chunkFrames", 8, 4096);
  within("step", 0n, 2n ** 63n - 1n);
  if (size & (size - 1)) {
    throw new FileError(`codebookSize=${size} is not a power of two.`);
  }
  if (header.chunkFrames % 8) {
    throw new FileError(`chunkFrames=${header.chunkFrames} is not 8 times n.`);
  }
  if (header.channels !== 1 && header.channels !== header.sourceChannels) {
    throw new FileError(
      `channels=${header.channels} is neither 1 nor the source's ` +
        `${header.sourceChannels}.`,
    );
  }
  if (header.numQuantizers * header.channels > MAX_PLANES) {
    throw new FileError(
      `${header.numQuantizers} layers of ${header.channels} channels are ` +
        `more than ${MAX_PLANES}.`,
    );
  }
  if (header.weights === undefined || !WEIGHTS.includes(header.weights)) {
    throw new FileError(`weights=${header.weights} is neither raw nor ema.`);
  }
  const { sourceSamples } = header;
  if (sourceSamples !== null && framesOf(header, sourceSamples) > MAX_FRAMES) {
    throw new FileError(
      `sourceSamples=${sourceSamples} are more than ${MAX_FRAMES} frames.`,
    );
  }
}

function toHex(bytes) {
  return [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
}

function fromHex(text) {
  return Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));
}

function resampled(header, sourceSamples) {
  const product = BigInt(sourceSamples) * BigInt(header.modelRateHz);
  return ceiling(product, BigInt(header.sourceRateHz));
}

function ceiling(value, by) {
  return (value + by - 1n) / by;
}
