/**
 * An AudioWorklet that plays two versions of a sound in one time.
 *
 * Both run; which is heard is faded over in 10 ms. Sound may come, and come
 * anew, while it plays. Messages to it: `open` {length}, `sound` {version,
 * channel, at, samples}, `play` {position}, `pause`, `choose` {version}; from
 * it: {position, playing}.
 */

const FADE_S = 0.01;
const REPORT_S = 0.03;

class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.open({ length: 0 });
    this.mix = 1; // 0 the original, 1 the coded one
    this.version = 1;
    this.reported = 0;
    this.port.onmessage = ({ data }) => this[data.do](data);
  }

  open({ length }) {
    this.length = length;
    this.position = 0;
    this.playing = false;
    this.sounds = [[], []];
  }

  sound({ version, channel, at, samples }) {
    const channels = this.sounds[version];
    channels[channel] ??= new Float32Array(this.length);
    // A last frame is longer than the sound.
    const there = Math.max(0, this.length - at);
    channels[channel].set(samples.subarray(0, there), at);
  }

  play({ position }) {
    this.position = position;
    this.playing = true;
  }

  pause() {
    this.playing = false;
    this.report();
  }

  choose({ version }) {
    this.version = version;
  }

  report() {
    const { position, playing } = this;
    this.port.postMessage({ position, playing });
    this.reported = currentTime;
  }

  process(_, [output]) {
    if (!this.playing) return true;
    const step = (this.version ? 1 : -1) / (FADE_S * sampleRate);
    const count = output[0].length;
    for (let i = 0; i < count; i++) {
      this.mix = Math.min(1, Math.max(0, this.mix + step));
      for (let c = 0; c < output.length; c++) {
        output[c][i] =
          (1 - this.mix) * this.at(0, c, i) + this.mix * this.at(1, c, i);
      }
    }
    this.position += count;
    if (this.position >= this.length) {
      this.position = 0;
      this.playing = false;
    }
    const isDue = currentTime - this.reported > REPORT_S;
    if (isDue || !this.playing) this.report();
    return true;
  }

  at(version, channel, offset) {
    const channels = this.sounds[version];
    const sound = channels[channel % (channels.length || 1)];
    return sound?.[this.position + offset] ?? 0;
  }
}

registerProcessor("player", Player);
