/**
 * Chunks of an .sstr file: heads, entries, checksums (docs/format.md, Chunk).
 */

import { crc32c } from "./crc32c.js";
import { MAX_FRAMES, codeBits, framesOf } from "./header.js";
import { planeBytes } from "./packing.js";

export const MARKER = [0xd3, 0x53, 0x43];
export const HEAD_BYTES = 20;
export const END_BYTES = 32;
export const CHECKSUM_BYTES = 4;
export const PACKED = 0;
export const END = 255;

/**
 * The first bytes of a chunk.
 *
 * @typedef {object} Head
 * @property {number} kind PACKED or END
 * @property {number} frames
 * @property {number} numQuantizers
 * @property {number} firstFrame
 * @property {number} bodyBytes
 */

/** Returns a head's 20 bytes. */
export function headToBytes(head) {
  const bytes = new Uint8Array(HEAD_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MARKER);
  bytes[3] = head.kind;
  view.setUint16(4, head.frames, true);
  view.setUint16(6, head.numQuantizers, true);
  view.setUint32(8, head.firstFrame, true);
  view.setUint32(12, head.bodyBytes, true);
  view.setUint32(16, crc32c(bytes.subarray(0, 16)), true);
  return bytes;
}

/**
 * Returns the head at a place; null if none is there.
 *
 * It is one only if its checksum is right and a chunk of this file can begin
 * so: what it claims is bounded by what the header claims.
 *
 * @param {Uint8Array} bytes
 * @param {number} at
 * @param {import("./header.js").Header} header
 * @returns {?Head}
 */
export function headAt(bytes, at, header) {
  if (at + HEAD_BYTES > bytes.length) return null;
  if (MARKER.some((byte, i) => bytes[at + i] !== byte)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, HEAD_BYTES);
  const sum = crc32c(bytes.subarray(at, at + 16));
  if (view.getUint32(16, true) !== sum) return null;
  const head = {
    kind: bytes[at + 3],
    frames: view.getUint16(4, true),
    numQuantizers: view.getUint16(6, true),
    firstFrame: view.getUint32(8, true),
    bodyBytes: view.getUint32(12, true),
  };
  return isPossible(head, header) ? head : null;
}

/** CRC-32C of a plane in its place; of `bytes` before its checksum. */
export function planeChecksum(bytes, firstFrame, frames, layer, channel) {
  const place = new Uint8Array(10);
  const view = new DataView(place.buffer);
  view.setUint32(0, firstFrame, true);
  view.setUint16(4, frames, true);
  view.setUint16(6, layer, true);
  view.setUint16(8, channel, true);
  return crc32c(place, bytes);
}

/** Returns the end chunk of a stream. */
export function endToBytes(sourceSamples, frames) {
  const bytes = new Uint8Array(END_BYTES);
  const head = { kind: END, frames: 0, numQuantizers: 0, firstFrame: frames };
  bytes.set(headToBytes({ ...head, bodyBytes: END_BYTES - HEAD_BYTES }));
  const view = new DataView(bytes.buffer);
  view.setBigUint64(HEAD_BYTES, BigInt(sourceSamples), true);
  const samples = bytes.subarray(HEAD_BYTES, END_BYTES - CHECKSUM_BYTES);
  const sum = planeChecksum(samples, frames, 0, 0, 0);
  view.setUint32(END_BYTES - CHECKSUM_BYTES, sum, true);
  return bytes;
}

/** Source samples that the end chunk at a place says; null if it is damaged. */
export function endSamples(bytes, at, head, header) {
  if (at + END_BYTES > bytes.length) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, END_BYTES);
  const stop = END_BYTES - CHECKSUM_BYTES;
  const samples = bytes.subarray(at + HEAD_BYTES, at + stop);
  const sum = planeChecksum(samples, head.firstFrame, 0, 0, 0);
  if (view.getUint32(stop, true) !== sum) return null;
  const found = Number(view.getBigUint64(HEAD_BYTES, true));
  return framesOf(header, found) === head.firstFrame ? found : null;
}

function isPossible(head, header) {
  if (head.kind === END) {
    return (
      header.sourceSamples === null &&
      head.frames === 0 &&
      head.numQuantizers === 0 &&
      head.bodyBytes === END_BYTES - HEAD_BYTES
    );
  }
  const last =
    header.sourceSamples === null
      ? MAX_FRAMES
      : framesOf(header, header.sourceSamples);
  const planes = head.numQuantizers * header.channels;
  const each = planeBytes(head.frames, codeBits(header)) + CHECKSUM_BYTES;
  return (
    head.kind === PACKED &&
    head.frames >= 1 &&
    head.frames <= header.chunkFrames &&
    head.numQuantizers >= 1 &&
    head.numQuantizers <= header.numQuantizers &&
    head.firstFrame + head.frames <= last &&
    head.bodyBytes === planes * each
  );
}
