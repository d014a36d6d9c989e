/**
 * An exported model in onnxruntime-web: streams of codes and of sound.
 *
 * A model is a folder: encode_step.onnx, decode_step.onnx, and export.json,
 * which says what the graphs are (onnxruntime-web does not show metadata). What
 * a stream remembers is one tensor, zeros [B, S] at its start.
 */

import * as ort from "./ort/ort.wasm.bundle.min.mjs";

ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

/**
 * What a model is.
 *
 * @typedef {object} About
 * @property {number} rateHz
 * @property {number[]} strides
 * @property {number} hop samples of a frame
 * @property {number} layers of the quantizer
 * @property {number} codebookSize
 * @property {string} film where denoising is switched: encoder, decoder, none
 * @property {string} fingerprint
 * @property {number} step
 * @property {string} weights "raw" or "ema"
 */

export class Codec {
  /**
   * Loads a model.
   *
   * @param {string} folder address, ending with "/"
   * @returns {Promise<Codec>}
   * @throws {Error} in one line: a file that is not there or is another's
   */
  static async load(folder) {
    const about = read(await fetched(`${folder}export.json`, "json"));
    const open = async (name) =>
      ort.InferenceSession.create(
        new Uint8Array(await fetched(`${folder}${name}.onnx`, "arrayBuffer")),
        { executionProviders: ["wasm"] },
      );
    return new Codec(
      about,
      await open("encode_step"),
      await open("decode_step"),
    );
  }

  constructor(about, encoder, decoder) {
    /** @type {About} */
    this.about = about;
    this.sessions = { encoder, decoder };
  }

  /** Begins B streams of sound, which become codes of all layers. */
  encoder(streams, denoise = false) {
    const { about } = this;
    const most = [BigInt(about.layers)];
    const step = new Step(this.sessions.encoder, streams, denoise);
    /**
     * Encodes the next frames of each stream.
     *
     * @param {Float32Array[]} audio of each stream, [F * hop]
     * @returns {Promise<Int32Array[]>} codes of each stream, [F, layers]
     */
    return async (audio) => {
      const codes = await step.run("codes", {
        audio: tensorOf("float32", audio, [audio[0].length]),
        num_quantizers: new ort.Tensor("int64", most, [1]),
      });
      return parted(codes, streams);
    };
  }

  /** Begins B streams of codes, which become sound. */
  decoder(streams, denoise = false) {
    const step = new Step(this.sessions.decoder, streams, denoise);
    /**
     * Decodes the next frames of each stream, and conceals what was lost.
     *
     * @param {Int32Array[]} codes of each stream, [F, q]
     * @param {Int32Array[]} layers of each stream, [F]: how many of a frame's
     *   layers arrived; 0 is a lost frame
     * @returns {Promise<Float32Array[]>} of each stream, [F * hop]
     */
    return async (codes, layers) => {
      const frames = layers[0].length;
      const audio = await step.run("audio", {
        codes: tensorOf("int32", codes, [frames, codes[0].length / frames]),
        layers: tensorOf("int32", layers, [frames]),
      });
      return parted(audio, streams);
    };
  }
}

/** Runs a graph block by block; the state goes from one to the next. */
class Step {
  constructor(session, streams, denoise) {
    this.session = session;
    const inputs = session.inputMetadata;
    const size = inputs.find(({ name }) => name === "state").shape[1];
    const zeros = new Float32Array(streams * size);
    this.state = new ort.Tensor("float32", zeros, [streams, size]);
    this.switches = inputs.some(({ name }) => name === "denoise")
      ? {
          denoise: new ort.Tensor("bool", Array(streams).fill(denoise), [
            streams,
          ]),
        }
      : {};
  }

  async run(output, inputs) {
    const { state } = this;
    const out = await this.session.run({ state, ...inputs, ...this.switches });
    this.state = out.new_state;
    return out[output].data;
  }
}

function read({ config, ...rest }) {
  const { strides, film } = config.model;
  const { num_quantizers: layers, codebook_size: codebookSize } =
    config.quantizer;
  const { fingerprint, step, weights } = rest;
  const rateHz = config.audio.sample_rate_hz;
  const hop = strides.reduce((product, stride) => product * stride, 1);
  const shape = { rateHz, strides, hop, layers, codebookSize, film };
  return { ...shape, fingerprint, step, weights };
}

async function fetched(address, as) {
  const response = await fetch(address);
  if (!response.ok) {
    throw new Error(
      `${address} is not there (${response.status}): make browser MODEL=… ` +
        "puts a model beside the page.",
    );
  }
  return response[as]();
}

function tensorOf(type, streams, shape) {
  const size = streams[0].length;
  const data = new streams[0].constructor(streams.length * size);
  streams.forEach((stream, i) => data.set(stream, i * size));
  return new ort.Tensor(type, data, [streams.length, ...shape]);
}

function parted(data, streams) {
  const size = data.length / streams;
  return Array.from({ length: streams }, (_, i) =>
    data.slice(i * size, (i + 1) * size),
  );
}
