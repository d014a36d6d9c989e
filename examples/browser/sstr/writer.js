/**
 * Writes codes as an .sstr file, packed (docs/format.md).
 */

import {
  CHECKSUM_BYTES,
  PACKED,
  endToBytes,
  headToBytes,
  planeChecksum,
} from "./chunks.js";
import { FileError, codeBits, framesOf, headerToBytes } from "./header.js";
import { pack } from "./packing.js";

/**
 * Returns a whole file: of known length, or a stream with its end chunk where
 * the header's `sourceSamples` is null.
 *
 * @param {import("./header.js").Header} header
 * @param {Int32Array[]} codes of each channel, [F, width], frame by frame;
 *   width is at least the header's numQuantizers, whose first are written
 * @param {object} options
 * @param {number} [options.width] of the codes; default numQuantizers
 * @param {number} [options.chunkFrames] of a chunk; default the header's
 * @param {number} [options.sourceSamples] of a stream
 * @returns {Uint8Array}
 * @throws {FileError} fields, codes or samples that the format does not hold
 */
export function writeFile(header, codes, options = {}) {
  const {
    width = header.numQuantizers,
    chunkFrames = header.chunkFrames,
    sourceSamples = header.sourceSamples,
  } = options;
  const frames = codes[0].length / width;
  if (codes.length !== header.channels || width < header.numQuantizers) {
    throw new FileError(
      `codes of ${codes.length} channels and ${width} layers are not the ` +
        `header's ${header.channels} and ${header.numQuantizers}.`,
    );
  }
  if (sourceSamples === null || framesOf(header, sourceSamples) !== frames) {
    throw new FileError(
      `sourceSamples=${sourceSamples} do not have the ${frames} frames of ` +
        "codes.",
    );
  }
  const pieces = [headerToBytes(header)];
  for (let first = 0; first < frames; first += chunkFrames) {
    const count = Math.min(chunkFrames, frames - first);
    pieces.push(...chunk(header, codes, width, first, count));
  }
  if (header.sourceSamples === null) {
    pieces.push(endToBytes(sourceSamples, frames));
  }
  return joined(pieces);
}

function chunk(header, codes, width, first, frames) {
  const { numQuantizers, channels } = header;
  const entries = [];
  const plane = new Int32Array(frames);
  for (let layer = 0; layer < numQuantizers; layer++) {
    for (let channel = 0; channel < channels; channel++) {
      for (let i = 0; i < frames; i++) {
        plane[i] = codes[channel][(first + i) * width + layer];
      }
      const packed = pack(plane, codeBits(header));
      const sum = planeChecksum(packed, first, frames, layer, channel);
      const stored = new Uint8Array(CHECKSUM_BYTES);
      new DataView(stored.buffer).setUint32(0, sum, true);
      entries.push(packed, stored);
    }
  }
  const bodyBytes = entries.reduce((sum, entry) => sum + entry.length, 0);
  const head = { kind: PACKED, frames, numQuantizers, firstFrame: first };
  return [headToBytes({ ...head, bodyBytes }), ...entries];
}

function joined(pieces) {
  const size = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
