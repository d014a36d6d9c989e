/**
 * Reads and writes .sstr files with the page's code, for tests: cases come as
 * JSON lines on stdin, and answers go to stdout in their order.
 */

import { createInterface } from "node:readline";

import { FileError, readFile, writeFile } from "../../examples/browser/sstr.js";

const base64 = (bytes) => Buffer.from(bytes).toString("base64");

const bytesOf = (text) => new Uint8Array(Buffer.from(text, "base64"));

const DO = {
  read({ bytes }) {
    const { header, ...found } = readFile(bytesOf(bytes));
    const raw = (array) => base64(new Uint8Array(array.buffer));
    return {
      ...found,
      codes: found.codes.map(raw),
      layers: found.layers.map(raw),
      header: { ...header, step: String(header.step) },
    };
  },
  write({ header, codes, options }) {
    const channels = codes.map((text) => new Int32Array(bytesOf(text).buffer));
    const step = BigInt(header.step);
    return base64(writeFile({ ...header, step }, channels, options));
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { kind, ...request } = JSON.parse(line);
  let answer;
  try {
    answer = { answer: DO[kind](request) };
  } catch (error) {
    if (!(error instanceof FileError || error instanceof RangeError))
      throw error;
    answer = { refused: error.message };
  }
  console.log(JSON.stringify(answer));
}
