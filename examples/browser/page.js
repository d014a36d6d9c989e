/**
 * The page: what is pressed, opened and dropped, and what is said of it.
 */

import { SoundError, listen } from "./audio.js";
import * as facts from "./facts.js";
import { Listening } from "./listening.js";
import * as opening from "./opening.js";
import { Pictures } from "./pictures.js";
import { FileError } from "./sstr.js";

const PACKET_FRAMES = [1, 2, 4, 8];
const FIRST_PACKET_FRAMES = 4;
const MODEL = "./model/";

const find = (id) => document.getElementById(id);
const worker = new Worker("./worker.js", { type: "module" });
const pictures = new Pictures(find, describe);
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
  },

  done({ id, run }) {
    if (id !== take?.id || run < take.run) return;
    if (run > take.run) take.begin(run); // there was no packet
    take.isDone = true;
    sayTake();
    pictures.change();
    enable();
  },

  error({ text }) {
    complain(text);
  },
};

worker.onmessage = ({ data }) => HEAR[data.is](data);
// What no one expected is said as well.
addEventListener("unhandledrejection", ({ reason }) =>
  complain(`${reason.message ?? reason}`),
);
worker.onerror = () => complain("the codec's worker cannot be started.");
worker.postMessage({ do: "load", folder: new URL(MODEL, location.href).href });

/** A model has come: the controls get its limits. */
async function prepare() {
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
  const { ok } = await fetch(`${MODEL}example.wav`, { method: "HEAD" });
  find("example").hidden = !ok;
  showSettings();
  enable();
  document.body.dataset.ready = "true";
}

// Takes.

function open(opened) {
  take = opened;
  find("original-figure").hidden = !take.hasOriginal;
  find("damages").hidden = !take.damages.length;
  find("damages").replaceChildren(
    ...take.damages.map(({ seconds, text }) => {
      const item = document.createElement("li");
      item.textContent = `At ${facts.seconds(seconds)}: ${text}.`;
      return item;
    }),
  );
  if (!take.hasOriginal) choose(1);
  pictures.open(take);
  if (take.samples !== null) listening.open(take);
  enable();
}

/** Tells the worker something about the take. */
function tell(what, more = {}) {
  worker.postMessage({ do: what, id: take.id, ...more });
}

function begin() {
  tell("begin", { channels: take.channels, settings: settings() });
}

async function openFile(name, buffer) {
  say(`Reading ${name}…`);
  complain("");
  const isSstr = /\.sstr$/i.test(name);
  try {
    if (isSstr) openSstr(name, new Uint8Array(buffer));
    else await openSound(name, buffer);
  } catch (error) {
    sayTake();
    const isTheirs = error instanceof SoundError || error instanceof FileError;
    complain(`${name}: ${isTheirs ? error.message : error}`);
  }
}

async function openSound(name, buffer) {
  open(await opening.ofSound(name, buffer, about));
  begin();
  tell("push", { audio: take.original.map((each) => each.view().slice()) });
  tell("end");
}

function openSstr(name, bytes) {
  const { take: opened, codes, layers } = opening.ofSstr(name, bytes, about);
  open(opened);
  tell("codes", { codes, layers, width: take.width, settings: settings() });
}

async function record() {
  complain("");
  listening.pause();
  open(opening.ofMicrophone(about));
  begin();
  isTurning = true;
  enable();
  try {
    stopListening = await listen(about.rateHz, (samples) => {
      take.hear([samples]);
      tell("push", { audio: [samples] });
      const heard = take.original[0].length / about.rateHz;
      find("time").textContent = facts.seconds(heard);
    });
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
  take.end();
  tell("end");
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

/** Says which take is there. */
function sayTake() {
  const length = take?.isDone ? take.samples / about.rateHz : null;
  say(length === null ? "" : `${take.name}: ${facts.seconds(length)}.`);
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
    tell("set", { settings: settings() });
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
