// Byte pair encoding in plain JavaScript: `encode` of solutions/tokens.py.
//
//   const bpe = new BPE(vocabulary)
//   bpe.encode("She hid the key.")  // ids
//   bpe.text(id)                    // of one token
//
// `vocabulary` holds the `tokens`, base64 of each in the order of the ids;
// and the code points that Python takes for `letters`, `numbers` and
// `spaces`: browsers know others, each version its own.
"use strict";
{
  // A token is kept as a string with one character for each byte.
  const packed = (bytes) => String.fromCharCode(...bytes);
  const utf8 = new TextEncoder();
  const whole = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  class BPE {
    constructor({ tokens, letters, numbers, spaces }) {
      this.tokens = tokens.split(" ").map(atob);
      this.ranks = new Map(this.tokens.map((token, rank) => [token, rank]));
      const [L, N, S] = [letters, numbers, spaces].map(ranges);
      this.pattern = new RegExp(
        "'(?:s|t|re|ve|m|ll|d)" +
          `| ?[${L}]+| ?[${N}]+| ?[^${S}${L}${N}]+` +
          `|[${S}]+(?![^${S}])|[${S}]+`,
        "gu",
      );
    }

    // Half of a surrogate pair, which is no character, is read as U+FFFD.
    encode(text) {
      const words = text.match(this.pattern) ?? [];
      return words.flatMap((word) => this.merge(packed(utf8.encode(word))));
    }

    // Of all neighbours that join to a token, join the first two with the
    // lowest rank; and again, until no two join.
    merge(word) {
      const parts = [...word];
      for (;;) {
        let lowest = Infinity;
        let place = -1;
        for (let i = 1; i < parts.length; i++) {
          const rank = this.ranks.get(parts[i - 1] + parts[i]) ?? Infinity;
          if (rank < lowest) [lowest, place] = [rank, i];
        }
        if (place < 0) return parts.map((part) => this.ranks.get(part));
        parts.splice(place - 1, 2, parts[place - 1] + parts[place]);
      }
    }

    // A token as it is read: its characters; or each byte, as <0xEC>, if
    // these are no whole characters.
    text(id) {
      const codes = [...this.tokens[id]].map((byte) => byte.charCodeAt(0));
      try {
        return whole.decode(Uint8Array.from(codes));
      } catch {
        const hex = (code) => code.toString(16).padStart(2, "0");
        return codes.map((code) => `<0x${hex(code).toUpperCase()}>`).join("");
      }
    }
  }

  // Code points as a regular expression has them between brackets. They come
  // as gaps and lengths, see `ranges` in course/live/playground.py.
  const ranges = (list) => {
    let at = 0;
    const ends = list.split(" ").map((digits) => (at += parseInt(digits, 36)));
    const written = ends.map((end) => `\\u{${end.toString(16)}}`);
    return written.map((end, n) => (n % 2 ? "-" : "") + end).join("");
  };

  globalThis.BPE = BPE;
}
