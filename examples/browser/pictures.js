/**
 * What is seen of a take: spectrograms, packets, where the sound is.
 */

import { drawPackets } from "./packets.js";
import { Spectrogram, paletteOf } from "./spectrogram.js";

const PALETTES = {
  light: ["#ffffff", "#c3d5ee", "#5b8fd0", "#174a94", "#0a1733"],
  dark: ["#0d0f13", "#152c50", "#2c67b5", "#7db7ff", "#f4f7ff"],
};
// While it is recorded, so much is seen of a take.
const WINDOW_S = 8;
const EVERY_MS = 50;

export class Pictures {
  /**
   * @param {(id: string) => HTMLElement} find
   * @param {() => void} describe called whenever something is drawn
   */
  constructor(find, describe) {
    this.describe = describe;
    this.canvases = ["original", "coded", "packets"].map(find);
    this.night = matchMedia("(prefers-color-scheme: dark)");
    this.night.addEventListener("change", () => this.paint());
    const seen = new ResizeObserver(() => this.resize());
    this.canvases.forEach((canvas) => seen.observe(canvas));
    this.drawn = -EVERY_MS;
    this.isDue = false;
    this.take = null;
  }

  open(take) {
    this.take = take;
    this.run = take.run;
    this.looked = 0; // samples of the coded sound
    const { rateHz } = take.about;
    this.spectrograms = [new Spectrogram(rateHz), new Spectrogram(rateHz)];
    this.change();
  }

  /** Something has come: it is drawn soon. */
  change() {
    if (this.isDue) return;
    this.isDue = true;
    const wait = Math.max(0, EVERY_MS - (performance.now() - this.drawn));
    setTimeout(() => requestAnimationFrame(() => this.draw()), wait);
  }

  draw() {
    this.isDue = false;
    this.drawn = performance.now();
    this.look();
    this.paint();
    this.describe();
  }

  /** Computes spectra of what has come since. */
  look() {
    const { take } = this;
    if (take.run !== this.run) {
      this.run = take.run;
      this.looked = 0;
    }
    const to = Math.min(take.decodedSamples, take.samples ?? Infinity);
    const [original, coded] = this.spectrograms;
    if (take.hasOriginal) {
      original.update(mixed(take.original), this.looked, to, take.isDone);
    }
    coded.update(mixed(take.coded), this.looked, to, take.isDone);
    this.looked = to;
  }

  paint() {
    const { take } = this;
    if (!take) return;
    const { hop, rateHz } = take.about;
    const shown = Math.max(1, take.samples ?? WINDOW_S * rateHz);
    const skip =
      take.samples === null ? Math.max(0, take.decodedSamples - shown) : 0;
    const palette = paletteOf(PALETTES[this.night.matches ? "dark" : "light"]);
    this.spectrograms.forEach((spectrogram, i) =>
      spectrogram.draw(this.canvases[i], shown, skip, palette),
    );
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    drawPackets(
      this.canvases[2],
      take.layers.view(Math.floor(skip / hop)),
      shown / hop,
      take.about.layers,
      { arrived: colour("--accent"), lost: colour("--lost") },
    );
  }

  resize() {
    const ratio = Math.min(2, devicePixelRatio);
    for (const canvas of this.canvases) {
      canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
      canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    }
    this.paint();
  }
}

/** One channel, or the mean of two. */
function mixed(channels) {
  const [first, second] = channels.map((channel) => channel.view());
  return second ? first.map((value, i) => (value + second[i]) / 2) : first;
}
