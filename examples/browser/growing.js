/**
 * Typed arrays that grow at their end: sound and codes as they come.
 */

export class Growing {
  /** @param {Function} Type such as Float32Array */
  constructor(Type, capacity = 1024) {
    this.values = new Type(capacity);
    this.length = 0;
  }

  /** Makes it so long; what is new is 0. */
  reach(length) {
    if (length > this.values.length) {
      const Type = this.values.constructor;
      const larger = new Type(Math.max(length, 2 * this.values.length));
      larger.set(this.values.subarray(0, this.length));
      this.values = larger;
    }
    this.length = Math.max(this.length, length);
  }

  /** Writes values at a place, which may be beyond the end. */
  set(values, at) {
    this.reach(at + values.length);
    this.values.set(values, at);
  }

  push(values) {
    this.set(values, this.length);
  }

  /** A view, of now. */
  view(start = 0, stop = this.length) {
    return this.values.subarray(start, stop);
  }
}
