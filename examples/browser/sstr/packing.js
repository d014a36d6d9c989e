/**
 * Planes of codes as bits without gaps, most significant bit first.
 */

/** Bytes of `count` codes of `bits` bits, filled to a whole byte. */
export function planeBytes(count, bits) {
  return Math.ceil((count * bits) / 8);
}

/** The bits of a plane's last byte that hold no code and must be 0. */
export function fillingMask(count, bits) {
  return (1 << (8 * planeBytes(count, bits) - count * bits)) - 1;
}

/**
 * Packs codes.
 *
 * @param {ArrayLike<number>} codes each in [0, 2 ** bits)
 * @param {number} bits 1 to 16
 * @returns {Uint8Array} of `planeBytes`
 * @throws {RangeError} a code that does not fit
 */
export function pack(codes, bits) {
  const packed = new Uint8Array(planeBytes(codes.length, bits));
  let waiting = 0; // bits that fill no byte yet, at most 7 of them, and a code
  let held = 0;
  let at = 0;
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i];
    if (!Number.isInteger(code) || code < 0 || code >= 1 << bits) {
      throw new RangeError(`the code ${code} does not fit ${bits} bits.`);
    }
    waiting = (waiting << bits) | code;
    held += bits;
    while (held >= 8) {
      held -= 8;
      packed[at++] = waiting >>> held;
    }
    waiting &= (1 << held) - 1;
  }
  if (held) packed[at] = waiting << (8 - held);
  return packed;
}

/**
 * Inverse of `pack`; hands each code to `put(code, index)`.
 *
 * @param {Uint8Array} packed
 */
export function unpack(packed, count, bits, put) {
  let waiting = 0;
  let held = 0;
  let at = 0;
  for (let i = 0; i < count; i++) {
    while (held < bits) {
      waiting = (waiting << 8) | packed[at++];
      held += 8;
    }
    held -= bits;
    put(waiting >>> held, i);
    waiting &= (1 << held) - 1;
  }
}
