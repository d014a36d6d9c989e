"use strict";

document.documentElement.classList.add("js");

// One metric at a time; a choice is every group's that has the metric.
const choosers = [...document.querySelectorAll(".chooser")];

function choose(metric) {
  for (const chooser of choosers) {
    const inputs = [...chooser.querySelectorAll("input")];
    const wanted = inputs.find((input) => input.value === metric);
    if (!wanted) continue;
    wanted.checked = true;
    for (const block of chooser.parentElement.querySelectorAll(".block")) {
      block.hidden = block.dataset.metric !== metric;
    }
  }
}

for (const chooser of choosers) {
  chooser.addEventListener("change", (event) => choose(event.target.value));
  const first = chooser.querySelector("input");
  if (first) choose(first.value);
}

// Players: all versions of a clip run together, and one of them is loud.
const FADE_SECONDS = 0.008;
let context = null;
let active = null;

function bytesOf(audio) {
  const text = atob(audio.src.slice(audio.src.indexOf(",") + 1));
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0)).buffer;
}

function made(name, properties, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

class Player {
  constructor(root) {
    this.root = root;
    this.tracks = [...root.querySelectorAll(".track")];
    this.radios = this.tracks.map((track) => track.querySelector("input"));
    this.audios = this.tracks.map((track) => track.querySelector("audio"));
    this.chosen = 0;
    this.offset = 0; // seconds, where it stands still
    this.voices = null; // while it plays
    this.buffers = null;
    this.play = made("button", { type: "button", textContent: "Play" });
    this.slider = made("input", { type: "range", min: 0, max: 1, step: 0.01 });
    this.slider.value = 0;
    this.slider.setAttribute("aria-label", "Position");
    this.time = made("output", {});
    this.loop = made("input", { type: "checkbox", checked: true });
    const looping = made("label", {}, this.loop, "Repeat");
    const bar = made("div", { className: "transport" });
    bar.append(this.play, this.slider, this.time, looping);
    root.querySelector(".tracks").before(bar);
    root.classList.add("ready");
    this.play.addEventListener("click", () => this.toggle());
    this.slider.addEventListener("input", () => this.seek(+this.slider.value));
    this.loop.addEventListener("change", () => this.seek(this.position()));
    this.radios.forEach((radio, i) => {
      radio.addEventListener("change", () => this.select(i));
    });
    this.tracks.forEach((track, i) => {
      track.querySelector(".picture").addEventListener("click", (event) => {
        const box = event.currentTarget.getBoundingClientRect();
        const share = (event.clientX - box.left) / box.width;
        if (event.detail && this.chosen === i) this.seek(share * this.seconds());
      });
    });
    root.addEventListener("focusin", () => (active = this));
    root.addEventListener("pointerdown", () => (active = this));
    this.select(0);
    this.show();
  }

  seconds() {
    return this.buffers ? this.buffers[0].duration : 0;
  }

  position() {
    if (!this.voices) return this.offset;
    const passed = Math.max(0, context.currentTime - this.began);
    return this.loop.checked
      ? passed % this.seconds()
      : Math.min(passed, this.seconds());
  }

  async load() {
    context ??= new AudioContext();
    if (!this.buffers) {
      this.play.textContent = "Opening";
      this.buffers = await Promise.all(
        this.audios.map((audio) => context.decodeAudioData(bytesOf(audio)))
      );
      this.slider.max = this.seconds();
    }
    await context.resume();
  }

  async toggle() {
    active = this;
    if (this.voices) return this.stop(this.position());
    try {
      await this.load();
    } catch (error) {
      // The browser's own players remain.
      this.root.classList.remove("ready");
      this.time.textContent = "This browser opens the sounds one by one.";
      return;
    }
    for (const other of players) if (other.voices) other.stop(other.position());
    this.start(this.offset >= this.seconds() ? 0 : this.offset);
  }

  start(offset) {
    const at = context.currentTime + 0.02;
    this.began = at - offset;
    this.voices = this.buffers.map((buffer, i) => {
      const source = new AudioBufferSourceNode(context, {
        buffer,
        loop: this.loop.checked,
        loopEnd: this.seconds(),
      });
      const gain = new GainNode(context, { gain: i === this.chosen ? 1 : 0 });
      source.connect(gain).connect(context.destination);
      source.start(at, offset);
      return { source, gain };
    });
    this.root.classList.add("playing");
    this.play.textContent = "Pause";
    this.frame();
  }

  stop(offset) {
    for (const { source, gain } of this.voices ?? []) {
      source.stop();
      gain.disconnect();
    }
    this.voices = null;
    this.offset = offset;
    this.root.classList.remove("playing");
    this.root.classList.toggle("held", offset > 0);
    this.play.textContent = "Play";
    this.show();
  }

  seek(offset) {
    const playing = this.voices !== null;
    if (!this.buffers) return;
    this.stop(Math.min(Math.max(offset, 0), this.seconds()));
    if (playing) this.start(this.offset % this.seconds());
  }

  select(i) {
    this.chosen = i;
    this.radios[i].checked = true;
    this.tracks.forEach((t, j) => t.classList.toggle("chosen", i === j));
    const now = context?.currentTime;
    (this.voices ?? []).forEach(({ gain }, j) => {
      gain.gain.cancelScheduledValues(now);
      gain.gain.setValueAtTime(gain.gain.value, now);
      gain.gain.linearRampToValueAtTime(j === i ? 1 : 0, now + FADE_SECONDS);
    });
  }

  frame() {
    if (!this.voices) return;
    const at = this.position();
    if (!this.loop.checked && at >= this.seconds()) return this.stop(0);
    this.show();
    requestAnimationFrame(() => this.frame());
  }

  show() {
    const at = this.position();
    const all = this.seconds();
    this.slider.value = at;
    this.slider.setAttribute("aria-valuetext", `${at.toFixed(1)} seconds`);
    this.time.textContent = all ? `${at.toFixed(1)} of ${all.toFixed(1)} s` : "";
    this.root.style.setProperty("--at", all ? at / all : 0);
  }
}

const players = [...document.querySelectorAll(".player")].map(
  (root) => new Player(root)
);

// Digits switch, space plays: in the player that was used last.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || !active) return;
  const target = event.target;
  if (event.key === " ") {
    // A button, a box and a fold have their own.
    if (target.closest("button, summary, a, [type=checkbox], .chooser")) return;
    event.preventDefault();
    active.toggle();
  } else if (/^[0-9]$/.test(event.key)) {
    const i = (+event.key + 9) % 10;
    if (i >= active.tracks.length) return;
    event.preventDefault();
    active.select(i);
    if (active.root.contains(target)) active.radios[i].focus();
  }
});
