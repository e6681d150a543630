// Byte pair encoding as in solutions/tokens.py, drawn as in playground.py.
(figure, data) => {
  const find = (selector) => figure.querySelector(selector)
  const area = find("textarea"), choice = find("select"), slider = find("input")
  const back = find(".fs-back"), on = find(".fs-on"), label = find(".fs-step")
  const says = find(".fs-says"), list = find(".fs-ids"), words = find(".fs-words")
  const names = find(".fs-names")
  const utf8 = new TextEncoder()
  const text = (bytes) =>  // a byte order mark is a character like any other
    new TextDecoder("utf-8", {ignoreBOM: true}).decode(Uint8Array.from(bytes))

  // ---- cut: GPT-2's pattern, with the letters, digits and spaces of Python's regex

  const characters = (packed) => {
    let at = 0
    const ends = packed.split(" ").map((digits) => at += parseInt(digits, 36))
    return ends.map((end, n) => `${n % 2 ? "-" : ""}\\u{${end.toString(16)}}`).join("")
  }
  const [L, N, S] = [data.letters, data.numbers, data.spaces].map(characters)
  const pattern = new RegExp(
    `'(?:s|t|re|ve|m|ll|d)| ?[${L}]+| ?[${N}]+| ?[^${S}${L}${N}]+` +
    `|[${S}]+(?![^${S}])|[${S}]+`, "gu")
  const cut = (whole) => whole.match(pattern) ?? []
  const half = /[\ud800-\udfff]/u  // with "u", both halves together are one character

  // ---- merge

  // The bytes of each token, and the token that two neighbours join to, if any.
  const vocabulary = (packed) => {
    const tokens = Array.from({length: 256}, (_, byte) => [byte])
    for (const hex of packed.match(/\S+/g) ?? [])
      tokens.push(hex.match(/../g).map((digits) => parseInt(digits, 16)))
    const ids = new Map(tokens.map((bytes, id) => [bytes.join(), id]))
    const joined = new Uint16Array(tokens.length ** 2)  // 0: they do not join
    tokens.forEach((bytes, id) => {
      for (let n = 1; n < bytes.length; n++) {
        const left = ids.get(bytes.slice(0, n).join())
        const right = ids.get(bytes.slice(n).join())
        if (left !== undefined && right !== undefined)
          joined[left * tokens.length + right] = id
      }
    })
    const join = (left, right) => joined[left * tokens.length + right] || Infinity
    return {tokens, join}
  }

  // The ids of a word: whatever joins at the lowest rank, from left to right; then
  // again, as long as that rank is `last` at most. Each merge is told to `note`.
  const merge = (bytes, {join}, last = Number.MAX_VALUE, note = () => {}) => {
    const ids = Uint16Array.from(bytes)
    let length = ids.length
    for (;;) {
      let lowest = Infinity
      for (let i = 1; i < length; i++)
        lowest = Math.min(lowest, join(ids[i - 1], ids[i]))
      if (lowest > last) return ids.subarray(0, length)
      let kept = 0, lower = false
      for (let i = 0; i < length; i++) {
        if (lower || i + 1 === length || join(ids[i], ids[i + 1]) !== lowest) {
          ids[kept++] = ids[i]
          continue
        }
        note(lowest, ids[i], ids[++i])
        ids[kept++] = lowest
        // The new token may join at a lower rank: then that comes next. Training in
        // this order makes no such vocabulary, but others may.
        lower = kept > 1 && join(ids[kept - 2], lowest) < lowest ||
          i + 1 < length && join(lowest, ids[i + 1]) < lowest
      }
      length = kept
    }
  }

  // For the console and the tests: the words and the ids of any text.
  const vocabularies = data.vocabularies.map(vocabulary)
  figure.cut = cut
  figure.encode = (whole) => cut(whole).flatMap((word) =>
    [...merge(utf8.encode(word), vocabularies[choice.selectedIndex])])

  // ---- read: the words of the text, and all that is merged in them

  let vocab, pieces, steps, made
  const read = () => {
    vocab = vocabularies[choice.selectedIndex]
    pieces = cut(area.value).map((word) => utf8.encode(word))
    made = new Map()  // rank -> of what it is made, and in how many places
    const known = new Map()  // the merges of each distinct word
    for (const bytes of pieces) {
      const word = bytes.join()
      if (!known.has(word)) {
        const merges = []
        let highest = 0
        merge(bytes, vocab, undefined, (rank, left, right) => {
          highest = Math.max(highest, rank)
          merges.push([highest, left, right])
        })
        known.set(word, merges)
      }
      for (const [rank, left, right] of known.get(word)) {
        if (!made.has(rank)) made.set(rank, {left, right, places: 0})
        made.get(rank).places++
      }
    }
    steps = [...made.keys()].sort((a, b) => a - b)
  }

  // ---- draw

  const cell = (content, width = 1, kind = "") => {
    const span = document.createElement("span")
    if (kind) span.className = kind
    if (width > 1) span.style.setProperty("--w", width)
    span.textContent = content
    return span
  }
  const hex = (number, digits) =>
    number.toString(16).toUpperCase().padStart(digits, "0")
  const signs = {" ": "·", "\n": "⏎", "\t": "⇥", "\x7f": "␡"}
  const seen = (character) => {
    if (signs[character]) return signs[character]
    const point = character.codePointAt(0)
    if (point < 32) return String.fromCodePoint(0x2400 + point)
    if (/[\p{C}\p{Z}]/u.test(character)) return hex(point, 4)
    return /\p{M}/u.test(character) ? `◌${character}` : character
  }
  const readable = (bytes) => text(bytes).includes("\ufffd")
    ? bytes.map((byte) => hex(byte, 2)).join(" ")
    : [...text(bytes)].map(seen).join("")

  // A word, `room` bytes of it: rows as long as a phone is wide.
  const drawn = (bytes, ids, newest, room, columns) => {
    const word = cell("", 1, "fs-word")
    for (let first = 0, end; first < Math.min(bytes.length, room); first = end) {
      end = Math.min(first + columns, bytes.length)
      while ((bytes[end] & 0xc0) === 0x80) end--  // never within a character
      const row = cell("", 1, "fs-row")
      row.style.setProperty("--n", end - first)
      for (const character of text(bytes.subarray(first, end)))
        row.append(cell(seen(character), utf8.encode(character).length))
      for (const byte of bytes.subarray(first, end)) row.append(cell(hex(byte, 2)))
      let begins = 0
      for (const id of ids) {
        const ends = begins + vocab.tokens[id].length
        if (begins >= end) break
        if (ends > first) {
          const kind = (id > 255 ? ` fs-hue${id % 6 + 1}` : "") +
            (id === newest ? " fs-new" : "")
          const width = Math.min(ends, end) - Math.max(begins, first)
          row.append(cell(id, width, `fs-token${kind}`))
        }
        begins = ends
      }
      word.append(row)
    }
    return word
  }

  const many = (number, name) =>
    `${number.toLocaleString("en")} ${name}${number === 1 ? "" : "s"}`

  const draw = () => {
    const step = Number(slider.value)
    const last = step ? steps[step - 1] : 0
    const between = step < steps.length
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0)
    const tokens = steps.slice(0, step)
      .reduce((sum, rank) => sum - made.get(rank).places, bytes)
    const shown = [], ids = []
    let room = data.shown
    for (const piece of pieces) {
      if (room <= 0) break
      const merged = merge(piece, vocab, last)
      const columns = data.columns - (shown.length ? 0 : data.labels)
      shown.push(drawn(piece, merged, between ? last : -1, room, columns))
      ids.push(...merged.subarray(0, room))
      room -= piece.length
    }
    words.replaceChildren(names, ...shown)
    list.textContent = `ids: ${ids.join(" ")}${ids.length < tokens ? " …" : ""}`
    label.textContent = `Merges: ${step} of ${steps.length}`
    back.disabled = step === 0
    on.disabled = !between
    const lines = [[...area.value].length, bytes, tokens].map((number, n) =>
      many(number, ["character", "byte", "token"][n])).join(", ") + "."
    const {left, right, places} = made.get(last) ?? {}
    const news = !between ? "" : !step ? " Nothing is merged yet." :
      ` ${readable(vocab.tokens[left])} and ${readable(vocab.tokens[right])} ` +
      `became token ${last}, in ${many(places, "place")}.`
    const part = room < 0 ? ` The first ${data.shown} bytes are drawn.` : ""
    says.textContent = lines + news + part
  }

  const changed = () => {
    const wrong = half.exec(area.value)
    area.ariaInvalid = String(Boolean(wrong))
    if (wrong) {
      const place = [...area.value.slice(0, wrong.index)].length
      words.replaceChildren(names)
      list.textContent = "ids:"
      says.textContent = `Character ${place} is half a surrogate pair and no ` +
        "character: remove it."
      return
    }
    read()
    slider.max = steps.length
    slider.value = steps.length
    draw()
  }
  const go = (by) => {
    slider.value = Number(slider.value) + by
    draw()
  }
  area.addEventListener("input", changed)
  choice.addEventListener("change", changed)
  slider.addEventListener("input", draw)
  back.addEventListener("click", () => go(-1))
  on.addEventListener("click", () => go(1))
  changed()
}
