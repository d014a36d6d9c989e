/**
 * Plays a take: original and coded sound in one time, one of them heard.
 */

export class Listening {
  /** @param {(place: {position: number, playing: boolean}) => void} report */
  constructor(report) {
    this.report = report;
    this.node = null;
    this.take = null;
    this.version = 1;
  }

  /** Takes another take, whose length is known. */
  open(take) {
    this.take = take;
    this.report({ position: 0, playing: false });
    if (!this.node) return;
    this.send({ do: "open", length: take.samples });
    this.sendAll();
  }

  /** Coded sound has come, as one array of each channel. */
  coded(at, audio) {
    audio.forEach((samples, channel) => this.sound(1, channel, at, samples));
  }

  async play(position) {
    await this.begin();
    this.send({ do: "play", position });
  }

  pause() {
    this.send({ do: "pause" });
  }

  choose(version) {
    this.version = version;
    this.send({ do: "choose", version });
  }

  /** Makes the player; browsers allow it once a button was pressed. */
  async begin() {
    if (this.node) return;
    const context = new AudioContext({ sampleRate: this.take.about.rateHz });
    await context.audioWorklet.addModule("./player.js");
    this.node = new AudioWorkletNode(context, "player", {
      numberOfInputs: 0,
      outputChannelCount: [2],
    });
    this.node.port.onmessage = ({ data }) => this.report(data);
    this.node.connect(context.destination);
    this.send({ do: "open", length: this.take.samples });
    this.choose(this.version);
    this.sendAll();
  }

  sendAll() {
    const { original, coded } = this.take;
    [original, coded].forEach((channels, version) =>
      channels.forEach((sound, channel) =>
        this.sound(version, channel, 0, sound.view()),
      ),
    );
  }

  sound(version, channel, at, samples) {
    this.send({ do: "sound", version, channel, at, samples });
  }

  send(message) {
    this.node?.port.postMessage(message);
  }
}
