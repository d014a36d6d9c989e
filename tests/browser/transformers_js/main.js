/**
 * Opens ./model/ as a MimiModel of transformers.js, for a test that calls it.
 */

import {
  AutoFeatureExtractor,
  MimiModel,
  Tensor,
  env,
} from "./transformers.min.js";

env.allowRemoteModels = false;
env.allowLocalModels = true;
env.localModelPath = new URL("./", location.href).href;
env.useBrowserCache = false;
env.useWasmCache = false;
env.backends.onnx.wasm.wasmPaths = new URL("./", location.href).href;
env.backends.onnx.wasm.numThreads = 1;

/** Returns codes of a sound, and the sound of codes, as lists and shapes. */
window.coded = async (audio) => {
  const model = await MimiModel.from_pretrained("model", { dtype: "fp32" });
  const extractor = await AutoFeatureExtractor.from_pretrained("model");
  const inputs = await extractor(Float32Array.from(audio));
  const { audio_codes: codes } = await model.encode(inputs);
  const { audio_values: heard } = await model.decode({ audio_codes: codes });
  return {
    codes: [...codes.data].map(Number),
    shape: codes.dims,
    audio: [...heard.data],
  };
};

document.documentElement.dataset.ready = "true";
