/**
 * Makes takes of what comes: a sound file, an .sstr file, the microphone.
 */

import { readSound } from "./audio.js";
import * as sstr from "./sstr.js";
import { Take } from "./take.js";

/**
 * Opens a sound file, which is to be encoded.
 *
 * @param {string} name of the file
 * @param {ArrayBuffer} buffer
 * @param {import("./codec.js").About} about of the model
 * @returns {Promise<Take>}
 * @throws {import("./audio.js").SoundError} in one line
 */
export async function ofSound(name, buffer, about) {
  const sound = await readSound(buffer, about.rateHz);
  const take = newTake(name, about, headerOf(about, sound));
  take.hear(sound.channels);
  take.samples = sound.channels[0].length;
  return take;
}

/** Begins a recording, whose samples are not known yet. */
export function ofMicrophone(about) {
  const source = { sourceSamples: 0, sourceChannels: 1 };
  const header = headerOf(about, { ...source, sourceRateHz: about.rateHz });
  return newTake("recording", about, header);
}

/**
 * Opens an .sstr file of this model, whose codes are there.
 *
 * @param {string} name of the file
 * @param {Uint8Array} bytes
 * @param {import("./codec.js").About} about
 * @returns {{take: Take, codes: Int32Array[], layers: Uint8Array[]}}
 * @throws {sstr.FileError} in one line
 */
export function ofSstr(name, bytes, about) {
  const { header, codes, layers, damages, sourceSamples } =
    sstr.readFile(bytes);
  if (header.fingerprint !== about.fingerprint) {
    throw new sstr.FileError(
      `it was made by the model ${header.fingerprint.slice(0, 12)}, not by ` +
        `this page's, ${about.fingerprint.slice(0, 12)}.`,
    );
  }
  // Streams are saved as files, whose length is known.
  const { FILE_FRAMES: chunkFrames } = sstr;
  const take = new Take({
    name: stem(name),
    about,
    header: { ...header, sourceSamples, chunkFrames },
    hasOriginal: false,
    damages,
  });
  take.samples = sstr.modelSamplesOf(header, sourceSamples);
  return { take, codes, layers };
}

function newTake(name, about, header) {
  return new Take({ name: stem(name), about, header, hasOriginal: true });
}

function headerOf(about, { sourceRateHz, sourceSamples, sourceChannels }) {
  return {
    sourceRateHz,
    sourceSamples,
    sourceChannels,
    channels: sourceChannels > 2 ? 1 : sourceChannels,
    modelRateHz: about.rateHz,
    strides: about.strides,
    codebookSize: about.codebookSize,
    modelQuantizers: about.layers,
    numQuantizers: about.layers,
    chunkFrames: sstr.FILE_FRAMES,
    fingerprint: about.fingerprint,
    step: BigInt(about.step),
    weights: about.weights,
    tables: "00".repeat(16),
  };
}

function stem(name) {
  return name.replace(/\.[^.]*$/, "");
}
