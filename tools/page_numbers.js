/* SPDX-License-Identifier: BSD-3-Clause
 *
 * page_numbers.js: what the page of attn plot computes. Weights are in units, a power of two, so that no bit is lost;
 * page.js shows them.
 */
'use strict';
const numbers = (() => {
  /* float32, lowest byte first, in base64. */
  function decode(text) {
    if (text === undefined) return null;
    const view = new DataView(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);
    return Float32Array.from({ length: view.byteLength / 4 }, (_, i) => view.getFloat32(4 * i, true));
  }

  /* softmax(scores / temperature) * factors in each row; zeros where a row sees nothing. */
  function weightsAt(head, temperature, unit) {
    const weights = new Float64Array(head.scores.length);
    for (let first = 0; first < weights.length; first += head.columns) {
      const row = head.scores.subarray(first, first + head.columns), most = Math.max(...row);
      if (most === -Infinity) continue;
      const terms = Array.from(row, score => Math.exp((score - most) / temperature));
      const sum = terms.reduce((a, b) => a + b, 0);
      terms.forEach((term, i) => {
        weights[first + i] = term / sum * (head.factors === null ? 1 : head.factors[first + i]) / unit;
      });
    }
    return weights;
  }

  /* Bits of a row's entropy, as if it summed to 1; NaN where it is all 0. Two to their power is the effective number of
   * keys. */
  function entropy(row) {
    let sum = 0, logs = 0;
    for (const weight of row) sum += weight;
    for (const weight of row) logs -= weight > 0 ? weight / sum * Math.log2(weight / sum) : 0;
    return sum > 0 ? logs : NaN;
  }

  /* The place of the largest, the first of several; -1 where all are 0. */
  function strongest(row) {
    let best = -1;
    row.forEach((weight, i) => { if (weight > (best < 0 ? 0 : row[best])) best = i; });
    return best;
  }

  /* As the other pictures have it: halves go to the even digit, where toFixed takes the larger number. */
  function fixed(weight, digits) {
    const scaled = weight * 10 ** digits, below = Math.floor(scaled);
    return (scaled - below === 0.5 && below % 2 === 0 ? below / 10 ** digits : weight).toFixed(digits);
  }

  function format(weight, notation, digits) {
    if (notation === 'f') return fixed(weight, digits);
    return notation === 'e' ? weight.toExponential(digits) : String(Number(weight.toPrecision(digits)));
  }

  return { decode, weightsAt, entropy, strongest, format };
})();
