// A GPT in plain JavaScript: solutions/gpt_block.py, part by part, with the
// cache of week 5. It reads one token at a time.
//
//   const model = new GPT(config, weights)
//   const { logits, looks } = model.read(id)
//
// Shapes: C channels, H heads, D = C / H channels of a head, V tokens in the
// vocabulary. A vector is a Float64Array. A matrix (out, in) is a
// Float32Array, one row after the other.
"use strict";
{
  // ---- layers ----

  // x W^T + b: (in) -> (out)
  const linear = (x, { weight, bias }) => {
    const y = new Float64Array(weight.length / x.length);
    for (let row = 0, place = 0; row < y.length; row++) {
      let sum = bias ? bias[row] : 0;
      for (let i = 0; i < x.length; i++) sum += x[i] * weight[place++];
      y[row] = sum;
    }
    return y;
  };

  const add = (x, y) => x.map((v, i) => v + y[i]);

  const mean = (x) => x.reduce((a, b) => a + b) / x.length;

  // (x - mean) / sqrt(variance + eps) * weight + bias: (C) -> (C)
  const layerNorm = (x, { weight, bias }, eps) => {
    const average = mean(x);
    const centered = x.map((v) => v - average);
    const deviation = Math.sqrt(mean(centered.map((v) => v * v)) + eps);
    return centered.map((v, i) => (v / deviation) * weight[i] + bias[i]);
  };

  // x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
  const gelu = (x) => {
    const inner = Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3);
    return 0.5 * x * (1 + Math.tanh(inner));
  };

  // The largest score is taken off first, so that nothing overflows.
  const softmax = (scores) => {
    const largest = scores.reduce((a, b) => Math.max(a, b));
    const powers = scores.map((score) => Math.exp(score - largest));
    const total = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / total);
  };

  // ---- the model ----

  class GPT {
    // `config` has the names of GPT-2, `weights` those of solutions/.
    constructor(config, weights) {
      const part = (name) => ({
        weight: weights[`${name}.weight`],
        bias: weights[`${name}.bias`],
      });
      const block = (name) => ({
        attentionNorm: part(`${name}.attention_norm`),
        qkv: part(`${name}.attention.qkv`), // (3 C, C)
        projection: part(`${name}.attention.projection`), // (C, C)
        feedForwardNorm: part(`${name}.feed_forward_norm`),
        expand: part(`${name}.feed_forward.expand`), // (4 C, C)
        contract: part(`${name}.feed_forward.projection`), // (C, 4 C)
        keys: [], // of each token that was read: (C)
        values: [],
      });
      this.config = config;
      this.tokens = part("embedding.token_embedding"); // (V, C)
      this.positions = part("embedding.position_embedding"); // (context, C)
      this.norm = part("norm");
      this.blocks = [...Array(config.n_layer).keys()].map((n) =>
        block(`blocks.${n}`),
      );
    }

    // How many tokens it has read. Set to less, it forgets the last ones.
    get length() {
      return this.blocks[0].keys.length;
    }
    set length(length) {
      for (const { keys, values } of this.blocks)
        keys.length = values.length = length;
    }

    // Read the next token of the text. `logits` (V) are of what comes after
    // it; `looks` are, for each layer and head, the weights with which this
    // token looks at every token so far, itself included.
    read(id) {
      const { n_embd: C, n_positions, layer_norm_epsilon: eps } = this.config;
      const t = this.length;
      if (t >= n_positions)
        throw new RangeError(`the context holds ${n_positions} tokens`);
      const row = ({ weight }, n) =>
        Float64Array.from(weight.subarray(n * C, (n + 1) * C));
      const looks = [];

      let x = add(row(this.tokens, id), row(this.positions, t)); // (C)
      for (const block of this.blocks) {
        const normed = layerNorm(x, block.attentionNorm, eps);
        const found = this.attend(normed, block);
        looks.push(found.looks);
        x = add(x, linear(found.values, block.projection));
        const again = layerNorm(x, block.feedForwardNorm, eps);
        const hidden = linear(again, block.expand).map(gelu); // (4 C)
        x = add(x, linear(hidden, block.contract));
      }
      const logits = linear(layerNorm(x, this.norm, eps), this.tokens);
      return { logits, looks };
    }

    // What each head finds among all tokens so far: x (C) -> `values` (C),
    // and `looks`, H times (tokens so far).
    attend(x, { qkv, keys, values }) {
      const { n_embd: C, n_head: H } = this.config;
      const D = C / H;
      const made = linear(x, qkv); // (3 C): query, key and value
      keys.push(made.subarray(C, 2 * C));
      values.push(made.subarray(2 * C));
      const found = new Float64Array(C);
      const looks = [];
      for (let first = 0; first < C; first += D) {
        const end = first + D; // of the channels of this head
        const scores = Float64Array.from(keys, (key) => {
          let score = 0;
          for (let i = first; i < end; i++) score += made[i] * key[i];
          return score / Math.sqrt(D);
        });
        const weights = softmax(scores);
        values.forEach((value, s) => {
          for (let i = first; i < end; i++) found[i] += weights[s] * value[i];
        });
        looks.push(weights);
      }
      return { values: found, looks };
    }
  }

  // ---- the next token ----

  // softmax(logits / temperature) of the k largest, and of those that equal
  // the k-th. Temperature 0 leaves the largest alone.
  const chances = (logits, temperature, k) => {
    if (temperature === 0) {
      const first = logits.indexOf(Math.max(...logits));
      return logits.map((_, id) => Number(id === first));
    }
    const least = logits.slice().sort().at(-k) ?? -Infinity;
    return softmax(
      logits.map((z) => (z < least ? -Infinity : z / temperature)),
    );
  };

  // The id in whose piece of [0, 1) the dart lands.
  const draw = (shares, dart) => {
    let end = 0;
    let last = 0;
    for (let id = 0; id < shares.length; id++) {
      if (shares[id] === 0) continue;
      last = id;
      end += shares[id];
      if (dart < end) break;
    }
    return last;
  };

  // The n-th number in [0, 1) of a seed: mulberry32 of Tommy Ettinger. It
  // needs none of the numbers before it, so that each place in a text has
  // its own dart, whatever stands there.
  const dart = (seed, n) => {
    const state = (seed + Math.imul(n + 1, 0x6d2b79f5)) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };

  // ---- weights that travelled as text ----

  // A number in half precision: 1 bit for the sign, 5 for the power of two,
  // 10 for the rest.
  const half = (bits) => {
    const power = (bits >> 10) & 31;
    const rest = bits & 1023;
    const size = power
      ? (1024 + rest) * 2 ** (power - 25)
      : rest * 2 ** -24;
    return bits >> 15 ? -size : size;
  };

  // Base64 of halves, the low byte first -> an array for each of `sizes`,
  // which has the names, and how many numbers each is.
  const unpacked = (base64, sizes) => {
    const bytes = atob(base64);
    const byte = (n) => bytes.charCodeAt(n);
    const numbers = new Float32Array(bytes.length / 2);
    for (let i = 0; i < numbers.length; i++)
      numbers[i] = half(byte(2 * i) | (byte(2 * i + 1) << 8));
    let end = 0;
    const next = (size) => numbers.subarray(end, (end += size));
    return Object.fromEntries(
      Object.entries(sizes).map(([name, size]) => [name, next(size)]),
    );
  };

  Object.assign(globalThis, { GPT, chances, draw, dart, unpacked });
}
