/**
 * An AudioWorklet that hands on what a microphone hears, sample for sample.
 */

// 128 samples come at a time; so many are a message.
const SAMPLES = 512;

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(SAMPLES);
    this.filled = 0;
    this.runs = true;
    // What is left, and then nothing more.
    this.port.onmessage = () => {
      this.runs = false;
      this.port.postMessage(this.block.slice(0, this.filled));
      this.port.postMessage(null);
    };
  }

  process([[heard]]) {
    if (!this.runs) return false;
    if (heard) this.take(heard);
    return true;
  }

  take(heard) {
    this.block.set(heard, this.filled);
    this.filled += heard.length;
    if (this.filled < SAMPLES) return;
    this.port.postMessage(this.block, [this.block.buffer]);
    this.block = new Float32Array(SAMPLES);
    this.filled = 0;
  }
}

registerProcessor("microphone", Microphone);
