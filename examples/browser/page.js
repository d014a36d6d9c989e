/**
 * The page: what is pressed, opened and dropped, and what is said of it.
 */

import { SoundError, listen, readSound } from "./audio.js";
import * as facts from "./facts.js";
import { Listening } from "./listening.js";
import { Pictures } from "./pictures.js";
import * as sstr from "./sstr.js";
import { Take, headerOf } from "./take.js";

const PACKET_FRAMES = [1, 2, 4, 8];
const FIRST_PACKET_FRAMES = 4;
const MODEL = "./model/";

const find = (id) => document.getElementById(id);
const worker = new Worker("./worker.js", { type: "module" });
const pictures = new Pictures(find);
const listening = new Listening(showPlace);
let about = null;
let take = null;
let stopListening = null;
let isTurning = false; // the microphone, on or off
let place = { position: 0, playing: false };

const settings = () => ({
  layers: Number(find("layers").value),
  loss: Number(find("loss").value) / 100,
  packet: Number(find("packet").value),
  denoise: find("denoise").checked,
});

// From the worker.

const HEAR = {
  model(found) {
    about = found.about;
    prepare();
  },

  frames(found) {
    if (found.id !== take?.id || !take.add(found)) return;
    if (take.samples !== null) {
      listening.coded(found.first * about.hop, found.audio);
    }
    pictures.change();
    describe();
  },

  done({ id, run }) {
    if (id !== take?.id || run < take.run) return;
    if (run > take.run) take.begin(run); // there was no packet
    take.isDone = true;
    say(`${take.name}: ${facts.seconds(take.samples / about.rateHz)}.`);
    pictures.change();
    describe();
    enable();
  },

  error({ text }) {
    complain(text);
  },
};

worker.onmessage = ({ data }) => HEAR[data.is](data);
worker.onerror = () => complain("the codec's worker cannot be started.");
worker.postMessage({ do: "load", folder: new URL(MODEL, location.href).href });

/** A model has come: the controls get its limits. */
function prepare() {
  find("layers").max = about.layers;
  find("layers").value = about.layers;
  for (const frames of PACKET_FRAMES) {
    find("packet").add(new Option(facts.ofPacket(about, frames), frames));
  }
  find("packet").value = FIRST_PACKET_FRAMES;
  find("denoise-control").hidden = about.film === "none";
  find("model").textContent = facts.ofModel(about);
  for (const range of document.querySelectorAll(".range")) {
    range.textContent = `, 0 to ${about.rateHz / 2000} kHz`;
  }
  fetch(`${MODEL}example.wav`, { method: "HEAD" }).then(
    ({ ok }) => (find("example").hidden = !ok),
  );
  showSettings();
  enable();
  document.body.dataset.ready = "true";
}

// Takes.

function open(made, samples) {
  take = made;
  take.samples = samples;
  find("original-figure").hidden = !take.hasOriginal;
  find("damages").hidden = !take.damages.length;
  find("damages").replaceChildren(
    ...take.damages.map(({ seconds: at, text }) => {
      const item = document.createElement("li");
      item.textContent = `At ${facts.seconds(at)}: ${text}.`;
      return item;
    }),
  );
  if (!take.hasOriginal) choose(1);
  pictures.open(take);
  if (samples !== null) listening.open(take);
  enable();
}

async function openFile(name, buffer) {
  say(`Reading ${name}…`);
  complain("");
  const isSstr = /\.sstr$/i.test(name);
  try {
    if (isSstr) openSstr(name, new Uint8Array(buffer));
    else await openSound(name, buffer);
  } catch (error) {
    if (!(error instanceof SoundError || error instanceof sstr.FileError)) {
      throw error;
    }
    say("");
    complain(`${name}: ${error.message}`);
  }
}

async function openSound(name, buffer) {
  const sound = await readSound(buffer, about.rateHz);
  const { channels } = sound;
  const header = headerOf(about, sound);
  const width = about.layers;
  const made = { name: stem(name), about, channels: channels.length, width };
  const found = new Take({ ...made, header, hasOriginal: true });
  found.hear(channels);
  open(found, channels[0].length);
  const { id } = found;
  begin();
  worker.postMessage({ do: "push", id, audio: channels });
  worker.postMessage({ do: "end", id });
}

function openSstr(name, bytes) {
  const read = sstr.readFile(bytes);
  const { header, damages, sourceSamples } = read;
  if (header.fingerprint !== about.fingerprint) {
    throw new sstr.FileError(
      `it was made by the model ${header.fingerprint.slice(0, 12)}, not by ` +
        `this page's, ${about.fingerprint.slice(0, 12)}.`,
    );
  }
  const width = header.numQuantizers;
  const { codes, layers } = read;
  const made = { name: stem(name), about, channels: header.channels, width };
  // Streams are saved as files, whose length is known.
  const chunkFrames = sstr.FILE_FRAMES;
  const file = { ...header, sourceSamples, chunkFrames };
  const samples = sstr.modelSamplesOf(header, sourceSamples);
  open(new Take({ ...made, header: file, hasOriginal: false, damages }), samples);
  const message = { id: take.id, codes, layers, width, settings: settings() };
  worker.postMessage({ do: "codes", ...message });
}

function begin() {
  const { id, channels } = take;
  worker.postMessage({ do: "begin", id, channels, settings: settings() });
}

async function record() {
  complain("");
  const { rateHz, layers: width } = about;
  const source = { sourceRateHz: rateHz, sourceSamples: 0, sourceChannels: 1 };
  const made = { name: "recording", about, channels: 1, width };
  const header = headerOf(about, source);
  const recorded = new Take({ ...made, header, hasOriginal: true });
  const hear = (samples) => {
    recorded.hear([samples]);
    const { id } = recorded;
    worker.postMessage({ do: "push", id, audio: [samples] });
    const heard = recorded.original[0].length / rateHz;
    find("time").textContent = facts.seconds(heard);
  };
  listening.pause();
  open(recorded, null);
  begin();
  isTurning = true;
  enable();
  try {
    stopListening = await listen(rateHz, hear);
    say("Recording…");
  } catch (error) {
    say("");
    complain(error.message);
    take = null;
  }
  isTurning = false;
  enable();
}

async function stop() {
  const over = stopListening;
  stopListening = null;
  isTurning = true;
  await over();
  isTurning = false;
  const samples = take.original[0].length;
  take.header.sourceSamples = samples;
  take.samples = samples;
  worker.postMessage({ do: "end", id: take.id });
  listening.open(take);
  enable();
}

// What is said and shown.

function describe() {
  const chosen = settings();
  const { layers } = chosen;
  const width = take ? Math.min(layers, take.width) : layers;
  find("bitrate").textContent = facts.bitrate(about, width, take?.channels);
  if (!take) return;
  find("packets-said").textContent = facts.ofPackets(take, chosen);
  const isKnown = take.samples !== null;
  find("size").textContent = isKnown ? facts.ofSize(take, chosen) : "–";
  if (!take.packets) return;
  const { text, isLate } = facts.ofSpeed(take);
  find("speed").textContent = text;
  find("speed").parentElement.classList.toggle("late", isLate);
}

function showSettings() {
  const { layers, loss } = settings();
  const told = {
    layers: facts.ofLayers(about, layers),
    loss: `${Math.round(100 * loss)} %`,
  };
  for (const [id, text] of Object.entries(told)) {
    find(`${id}-said`).textContent = text;
    find(id).setAttribute("aria-valuetext", text);
  }
  describe();
}

function showPlace(now) {
  const whole = take?.samples ?? 0;
  place = whole ? now : { position: 0, playing: false };
  const at = place.position / (about?.rateHz ?? 1);
  const end = whole / (about?.rateHz ?? 1);
  find("play").textContent = place.playing ? "Pause" : "Play";
  find("seek").max = Math.max(end, 0.01);
  find("seek").value = at;
  find("seek").setAttribute("aria-valuetext", facts.seconds(at));
  find("time").textContent = `${at.toFixed(1)} of ${facts.seconds(end)}`;
  const share = whole ? place.position / whole : 0;
  find("listen").style.setProperty("--at", share);
}

/** Lets be pressed what makes sense. */
function enable() {
  const isReady = about !== null;
  const isRecording = stopListening !== null || isTurning;
  const isHeard = isReady && take !== null && take.samples !== null;
  const isDone = isHeard && take.isDone;
  const set = (id, on) => (find(id).disabled = !on);
  for (const id of ["file", "example"]) set(id, isReady && !isRecording);
  for (const id of ["record", "layers", "loss", "packet", "denoise"]) {
    set(id, isReady);
  }
  for (const id of ["play", "seek"]) set(id, isHeard);
  for (const radio of document.getElementsByName("version")) {
    radio.disabled = !isHeard || !(take.hasOriginal || radio.value === "1");
  }
  set("save-sstr", isDone && !take.damages.length);
  set("save-coded", isDone);
  set("save-original", isDone && take.hasOriginal);
  find("record").textContent = isRecording ? "Stop" : "Record";
  find("record").classList.toggle("on", isRecording);
}

function choose(version) {
  document.getElementsByName("version")[version].checked = true;
  listening.choose(version);
}

function say(text) {
  find("status").textContent = text;
}

function complain(text) {
  find("error").textContent = text;
}

function save(suffix, bytes) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes]));
  link.download = take.name + suffix;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const stem = (name) => name.replace(/\.[^.]*$/, "");

// What is pressed.

find("file").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  if (file) await openFile(file.name, await file.arrayBuffer());
  target.value = ""; // so that the same file may be opened again
});
find("example").addEventListener("click", async () => {
  const response = await fetch(`${MODEL}example.wav`);
  await openFile("example.wav", await response.arrayBuffer());
});
find("record").addEventListener("click", () => {
  // Never disabled, so that it keeps the focus.
  if (isTurning) return;
  if (stopListening) stop();
  else record();
});
for (const id of ["layers", "loss", "packet", "denoise"]) {
  find(id).addEventListener("input", () => {
    showSettings();
    if (!take) return;
    if (take.samples !== null) take.isDone = false;
    worker.postMessage({ do: "set", id: take.id, settings: settings() });
    enable();
  });
}
find("play").addEventListener("click", () =>
  place.playing ? listening.pause() : listening.play(place.position),
);
find("seek").addEventListener("input", ({ target }) => {
  const position = Math.round(Number(target.value) * about.rateHz);
  if (place.playing) listening.play(position);
  else showPlace({ position, playing: false });
});
for (const radio of document.getElementsByName("version")) {
  radio.addEventListener("change", () => choose(Number(radio.value)));
}
find("save-sstr").addEventListener("click", () =>
  save(".sstr", take.toSstr(settings().layers)),
);
find("save-coded").addEventListener("click", () =>
  save("-coded.wav", take.codedWav()),
);
find("save-original").addEventListener("click", () =>
  save("-original.wav", take.originalWav()),
);
for (const kind of ["dragover", "dragleave", "drop"]) {
  addEventListener(kind, async (event) => {
    event.preventDefault();
    document.body.classList.toggle("dropping", kind === "dragover");
    const file = kind === "drop" ? event.dataTransfer.files[0] : null;
    if (file && !find("file").disabled) {
      await openFile(file.name, await file.arrayBuffer());
    }
  });
}
