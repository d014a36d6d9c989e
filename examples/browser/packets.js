/**
 * Packets and their loss: which arrive is the same whenever it is asked.
 */

/**
 * Whether a packet is lost. Those that are lost at one share are lost at every
 * greater one, so that the slider changes nothing but what it says.
 *
 * @param {number} index of the packet
 * @param {number} share that is lost, from 0 to 1
 */
export function isLost(index, share) {
  // The finalizer of MurmurHash3, whose bits are as good as random.
  let hash = Math.imul(index + 1, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32 < share;
}

/** Bytes of a packet: codes of its frames and channels, without a header. */
export function packetBytes({ frames, channels, layers, bits }) {
  return channels * Math.ceil((frames * layers * bits) / 8);
}

/**
 * Draws a strip, from left to right: what arrived of each frame.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {ArrayLike<number>} layers that arrived of a frame; 0 is lost
 * @param {number} frames of the whole width
 * @param {number} most layers
 * @param {{arrived: string, lost: string}} colours
 */
export function drawPackets(canvas, layers, frames, most, colours) {
  const { width, height } = canvas;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  for (let x = 0; x < width; x++) {
    const start = Math.floor((x * frames) / width);
    const stop = Math.max(start + 1, Math.floor(((x + 1) * frames) / width));
    if (start >= layers.length) break;
    let least = most;
    for (let i = start; i < Math.min(stop, layers.length); i++) {
      least = Math.min(least, layers[i]);
    }
    const tall = least ? Math.max(2, (height * least) / most) : height;
    context.fillStyle = least ? colours.arrived : colours.lost;
    context.fillRect(x, height - tall, 1, tall);
  }
}
