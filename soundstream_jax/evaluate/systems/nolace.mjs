// Decodes Ogg Opus files with NoLACE, one after the other, until stdin ends.
//
//   node nolace.mjs FOLDER none|lace|nolace
//
// FOLDER holds node_modules. A request is a length (uint32, little endian) and
// so many bytes of a file; its answer is 0, the number of samples, and float32
// samples at 48 kHz, or 1, a length, and a complaint in UTF-8. The first answer
// comes unasked: the decoder is ready.

import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

// What libraries print must not come between the answers.
console.log = console.info = console.warn = console.error;

const [folder, enhancement] = process.argv.slice(2);
const find = createRequire(path.resolve(folder, "package.json"));

// A library without it goes on without enhancement, and says so at most.
const SIMD = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8,
  0, 65, 0, 253, 15, 253, 98, 11,
];

function answer(status, bytes, count) {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(status, 0);
  head.writeUInt32LE(count, 4);
  process.stdout.write(head);
  process.stdout.write(bytes);
}

function refuse(error) {
  const text = Buffer.from(String(error?.message ?? error));
  answer(1, text, text.length);
}

async function* requests() {
  let waiting = Buffer.alloc(0);
  for await (const part of process.stdin) {
    waiting = Buffer.concat([waiting, part]);
    while (waiting.length >= 4) {
      const end = 4 + waiting.readUInt32LE(0);
      if (waiting.length < end) break;
      yield new Uint8Array(waiting.subarray(4, end));
      waiting = waiting.subarray(end);
    }
  }
}

async function decode(decoder, file) {
  const { channelData, samplesDecoded, sampleRate, errors } =
    await decoder.decodeFile(file);
  if (errors.length) throw new Error(errors[0].message);
  if (!samplesDecoded) throw new Error("there is no sound in the file");
  if (sampleRate !== 48000) throw new Error(`it decodes to ${sampleRate} Hz`);
  if (channelData.length !== 1) {
    throw new Error(`it decodes ${channelData.length} channels`);
  }
  const sound = channelData[0].subarray(0, samplesDecoded);
  answer(
    0,
    Buffer.from(sound.buffer, sound.byteOffset, sound.byteLength),
    sound.length,
  );
}

try {
  if (!WebAssembly.validate(new Uint8Array(SIMD))) {
    throw new Error("this processor, or this node, has no WebAssembly SIMD");
  }
  const { OggOpusDecoder } = await import(
    pathToFileURL(find.resolve("ogg-opus-decoder"))
  );
  const decoder = new OggOpusDecoder({
    sampleRate: 48000,
    speechQualityEnhancement: enhancement,
  });
  await decoder.ready;
  answer(0, Buffer.alloc(0), 0);
  for await (const file of requests()) {
    try {
      await decode(decoder, file);
    } catch (error) {
      refuse(error);
    }
  }
} catch (error) {
  refuse(error);
}
