/**
 * CRC-32C, Castagnoli's: the checksum of .sstr files (docs/format.md, Damage).
 */

const POLYNOMIAL = 0x82f63b78; // reflected

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) {
    crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  }
  return crc;
});

/**
 * Returns the checksum of bytes that follow each other, as a u32.
 *
 * @param {...Uint8Array} pieces
 */
export function crc32c(...pieces) {
  let crc = 0xffffffff;
  for (const piece of pieces) {
    for (let i = 0; i < piece.length; i++) {
      crc = TABLE[(crc ^ piece[i]) & 255] ^ (crc >>> 8);
    }
  }
  return (crc ^ 0xffffffff) >>> 0;
}
