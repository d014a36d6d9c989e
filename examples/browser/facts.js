/**
 * What is said of a model, of settings and of a take, in words and numbers.
 */

import { packetBytes } from "./packets.js";

export const grouped = (number) => number.toLocaleString("en");
export const seconds = (number) => `${number.toFixed(1)} s`;

/** Milliseconds of a frame. */
export function frameMs({ hop, rateHz }) {
  return (1000 * hop) / rateHz;
}

export function ofModel(about) {
  const { rateHz, layers, codebookSize, fingerprint } = about;
  return (
    `${rateHz / 1000} kHz, frames of ${frameMs(about).toFixed(1)} ms, ` +
    `${layers} layers of ${codebookSize} codes. Model ` +
    `${fingerprint.slice(0, 12)}.`
  );
}

export function ofPacket(about, frames) {
  const noun = frames === 1 ? "frame" : "frames";
  return `${frames} ${noun}, ${Math.round(frames * frameMs(about))} ms`;
}

export function ofLayers(about, layers) {
  return `${bitrate(about, layers)}, ${layers} of ${about.layers} layers`;
}

export function bitrate({ rateHz, hop, codebookSize }, layers, channels = 1) {
  const bps = (channels * layers * Math.log2(codebookSize) * rateHz) / hop;
  return `${grouped(Math.round(bps))} bit/s`;
}

export function ofPackets(take, { layers, packet }) {
  const { about, channels } = take;
  const bits = Math.log2(about.codebookSize);
  const width = Math.min(layers, take.width);
  const bytes = packetBytes({ frames: packet, channels, layers: width, bits });
  const [sent, gone] = [take.packets, take.lost].map(grouped);
  return `${sent} of ${bytes} bytes, ${gone} lost`;
}

/** The size of the file, beside the source's in PCM of 16 bits. */
export function ofSize(take, { layers }) {
  const { sourceSamples, sourceChannels } = take.header;
  const size = take.sstrBytes(layers);
  const times = Math.round((2 * sourceSamples * sourceChannels) / size);
  const share = times > 1 ? `, 1/${times} of PCM` : "";
  return `${grouped(size)} bytes${share}`;
}

/** The time of a frame, and whether it is more than half of what there is. */
export function ofSpeed(take) {
  const { encode, decode } = take.times;
  const most = frameMs(take.about);
  const parts = [encode, decode].filter((ms) => ms !== null);
  const times = parts.map((ms) => ms.toFixed(1)).join(" + ");
  const text = encode === null ? `decode ${times}` : times;
  const sum = parts.reduce((a, b) => a + b, 0);
  return { text: `${text} of ${most.toFixed(1)} ms`, isLate: sum > most / 2 };
}
