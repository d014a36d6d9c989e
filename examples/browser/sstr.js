/**
 * .sstr files of version 2: codes in, bytes out, and back (docs/format.md).
 */

export {
  FILE_FRAMES,
  FileError,
  bitrateBps,
  codeBits,
  framesOf,
  hopSamples,
  modelSamplesOf,
} from "./sstr/header.js";
export { readFile } from "./sstr/reader.js";
export { writeFile } from "./sstr/writer.js";
