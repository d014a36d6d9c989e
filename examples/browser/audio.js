/**
 * Sound in and out: files, the microphone, and wav files of float32.
 */

const MOST_S = 600;

/** What is wrong with a sound, in one line. */
export class SoundError extends Error {}

/**
 * A sound at the model's rate, and what it was.
 *
 * @typedef {object} Sound
 * @property {Float32Array[]} channels one or two
 * @property {number} sourceRateHz
 * @property {number} sourceSamples per channel, before resampling
 * @property {number} sourceChannels before more than two were mixed to one
 */

/**
 * Reads a sound file: a wav file itself, any other as the browser decodes it.
 *
 * @param {ArrayBuffer} buffer
 * @param {number} rateHz of the model
 * @returns {Promise<Sound>}
 * @throws {SoundError} in one line
 */
export async function readSound(buffer, rateHz) {
  const found = readWav(buffer) ?? (await decoded(buffer, rateHz));
  const { channels, rateHz: sourceRateHz } = found;
  const sourceSamples = channels[0].length;
  if (sourceSamples > MOST_S * sourceRateHz) {
    throw new SoundError(
      `it is ${Math.round(sourceSamples / sourceRateHz / 60)} minutes long; ` +
        `this page takes ${MOST_S / 60}, soundstream encode any length.`,
    );
  }
  if (channels.some((channel) => !channel.every(Number.isFinite))) {
    throw new SoundError("it holds values that are not finite.");
  }
  const mixed = channels.length > 2 ? [mean(channels)] : channels;
  return {
    channels: await resampled(mixed, sourceRateHz, rateHz),
    sourceRateHz,
    sourceSamples,
    sourceChannels: channels.length,
  };
}

/**
 * Reads a wav file of integers or floats; null where it is none.
 *
 * @param {ArrayBuffer} buffer
 * @returns {?{channels: Float32Array[], rateHz: number}}
 */
export function readWav(buffer) {
  const view = new DataView(buffer);
  const word = (at) =>
    String.fromCharCode(
      ...new Uint8Array(buffer, at, Math.min(4, buffer.byteLength - at)),
    );
  if (buffer.byteLength < 12 || word(0) !== "RIFF" || word(8) !== "WAVE") {
    return null;
  }
  let format = null;
  for (let at = 12; at + 8 <= buffer.byteLength;) {
    const size = view.getUint32(at + 4, true);
    const start = at + 8;
    if (word(at) === "fmt " && start + 16 <= buffer.byteLength) {
      format = {
        tag: view.getUint16(start, true),
        count: view.getUint16(start + 2, true),
        rateHz: view.getUint32(start + 4, true),
        bits: view.getUint16(start + 14, true),
      };
      // WAVE_FORMAT_EXTENSIBLE says what it is in its GUID.
      const isExtended = format.tag === 0xfffe && size >= 26;
      if (isExtended) format.tag = view.getUint16(start + 24, true);
    } else if (word(at) === "data" && format) {
      const bytes = Math.min(size, buffer.byteLength - start);
      return samplesOf(view, start, bytes, format);
    }
    at = start + size + (size % 2);
  }
  return null;
}

function samplesOf(view, start, bytes, { tag, count, rateHz, bits }) {
  const read = {
    "1/16": (at) => view.getInt16(at, true) / 2 ** 15,
    "1/24": (at) =>
      ((view.getInt8(at + 2) << 16) | view.getUint16(at, true)) / 2 ** 23,
    "1/32": (at) => view.getInt32(at, true) / 2 ** 31,
    "3/32": (at) => view.getFloat32(at, true),
  }[`${tag}/${bits}`];
  if (!read || !count || !rateHz) return null;
  const width = bits / 8;
  const samples = Math.floor(bytes / (width * count));
  const channels = Array.from({ length: count }, (_, channel) =>
    Float32Array.from({ length: samples }, (_, i) =>
      read(start + (i * count + channel) * width),
    ),
  );
  return { channels, rateHz };
}

async function decoded(buffer, rateHz) {
  const context = new OfflineAudioContext(1, 1, rateHz);
  let sound;
  try {
    sound = await context.decodeAudioData(buffer.slice(0));
  } catch {
    throw new SoundError(
      "it is neither sound that this browser decodes nor an .sstr file.",
    );
  }
  const channels = Array.from({ length: sound.numberOfChannels }, (_, i) =>
    sound.getChannelData(i),
  );
  return { channels, rateHz };
}

/** Returns channels at another rate: ceil(samples * to / from) of each. */
async function resampled(channels, fromHz, toHz) {
  const samples = channels[0].length;
  if (fromHz === toHz || !samples) return channels;
  const length = Math.ceil((samples * toHz) / fromHz);
  const context = new OfflineAudioContext(channels.length, length, toHz);
  const source = context.createBufferSource();
  source.buffer = new AudioBuffer({
    length: samples,
    numberOfChannels: channels.length,
    sampleRate: fromHz,
  });
  channels.forEach((c, i) => source.buffer.copyToChannel(c, i));
  source.connect(context.destination);
  source.start();
  const made = await context.startRendering();
  return channels.map((_, i) => made.getChannelData(i));
}

/**
 * Listens to the microphone, resampled by the browser, with nothing done to it.
 *
 * @param {number} rateHz
 * @param {(samples: Float32Array) => void} hear called as sound comes
 * @returns {Promise<() => Promise<void>>} what stops it, once all was heard
 * @throws {SoundError} in one line
 */
export async function listen(rateHz, hear) {
  let stream;
  const raw = {
    echoCancellation: false,
    noiseSuppression: false,
    autoGainControl: false,
  };
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: { ...raw, channelCount: 1 },
    });
  } catch (error) {
    throw new SoundError(`the microphone cannot be used (${error.name}).`);
  }
  const context = new AudioContext({ sampleRate: rateHz });
  const release = async () => {
    stream.getTracks().forEach((track) => track.stop());
    await context.close();
  };
  let source;
  try {
    await context.audioWorklet.addModule("./microphone.js");
    source = context.createMediaStreamSource(stream);
  } catch (error) {
    await release();
    throw new SoundError(
      `this browser does not resample a microphone (${error.name}).`,
    );
  }
  const node = new AudioWorkletNode(context, "microphone", {
    numberOfOutputs: 0,
    channelCount: 1,
    channelCountMode: "explicit",
  });
  let over;
  const isOver = new Promise((resolve) => (over = resolve));
  node.port.onmessage = ({ data }) => (data ? hear(data) : over());
  source.connect(node);
  return async () => {
    node.port.postMessage("stop");
    await isOver;
    await release();
  };
}

/**
 * Returns a wav file of float32 samples.
 *
 * @param {Float32Array[]} channels
 * @param {number} rateHz
 */
export function writeWav(channels, rateHz) {
  const count = channels.length;
  const samples = channels[0].length;
  const dataBytes = 4 * count * samples;
  const view = new DataView(new ArrayBuffer(58 + dataBytes));
  const word = (at, text) =>
    [...text].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  word(0, "RIFF");
  view.setUint32(4, 50 + dataBytes, true);
  word(8, "WAVEfmt ");
  view.setUint32(16, 18, true);
  view.setUint16(20, 3, true); // floats
  view.setUint16(22, count, true);
  view.setUint32(24, rateHz, true);
  view.setUint32(28, rateHz * count * 4, true);
  view.setUint16(32, count * 4, true);
  view.setUint16(34, 32, true);
  word(38, "fact");
  view.setUint32(42, 4, true);
  view.setUint32(46, samples, true);
  word(50, "data");
  view.setUint32(54, dataBytes, true);
  for (let i = 0, at = 58; i < samples; i++) {
    for (let c = 0; c < count; c++, at += 4) {
      view.setFloat32(at, channels[c][i], true);
    }
  }
  return new Uint8Array(view.buffer);
}

function mean(channels) {
  return channels[0].map((_, i) => {
    let sum = 0;
    for (const channel of channels) sum += channel[i];
    return sum / channels.length;
  });
}
