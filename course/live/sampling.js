// Draws the next character as torch does: softmax(logits / temperature), and a dart.
(figure, data) => {
  const find = (selector) => figure.querySelector(selector)
  const after = find(".fs-after"), temperature = find(".fs-temperature")
  const top = find(".fs-top"), says = find(".fs-says"), written = find(".fs-written")
  const dart = find(".fs-dart"), values = figure.querySelectorAll(".fs-name b")
  const parts = (kind) => [...figure.querySelectorAll(kind)]
  const labels = parts(".fs-label"), bars = parts(".fs-bar"), pieces = parts(".fs-piece")
  const chances = parts(".fs-chance"), tallies = parts(".fs-tally")
  const {characters, logits} = data
  const head = find(".fs-hits")
  const seen = (id) => ({" ": "␣", "\n": "⏎"})[characters[id]] ?? characters[id]

  // The ids from the likeliest to the least likely, and their probabilities. What is
  // not among the k likeliest gets 0, and the others share its part.
  const predict = (id, heat, k) => {
    const row = logits[id]
    const order = row.map((_, next) => next).sort((a, b) => row[b] - row[a] || a - b)
    const scores = order.map((next, place) => place >= k ? 0 : heat === 0
      ? Number(place === 0) : Math.exp((row[next] - row[order[0]]) / heat))
    const total = scores.reduce((a, b) => a + b)
    return {order, chances: scores.map((score) => score / total)}
  }
  figure.predict = predict  // for the console and the tests

  // mulberry32 of Tommy Ettinger: 32 bits of state, so that a start can be repeated.
  const darts = (state) => () => {
    state = state + 0x6d2b79f5 | 0
    let mixed = Math.imul(state ^ state >>> 15, 1 | state)
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32
  }

  let now, prediction, hits, throws, text, random
  const ask = () => {
    prediction = predict(now, Number(temperature.value), Number(top.value))
    hits = characters.map(() => 0)  // by place in the order
    throws = 0
    dart.hidden = true
  }
  // Where the dart lands, and in whose piece: the last that begins before it.
  const draw = () => {
    const place = random()
    let piece = 0
    for (let end = prediction.chances[0]; end <= place;) {
      if (piece + 1 === prediction.chances.length || !prediction.chances[piece + 1]) break
      end += prediction.chances[++piece]
    }
    hits[piece]++
    throws++
    dart.hidden = false
    dart.style.left = `${100 * place}%`
    return {place, id: prediction.order[piece]}
  }

  // ---- show

  const grouped = (numbers) => bars.length === characters.length ? numbers
    : [...numbers.slice(0, data.bars), numbers.slice(data.bars).reduce((a, b) => a + b)]
  const show = (news) => {
    values[0].textContent = Number(temperature.value).toFixed(1)
    values[1].textContent = Number(top.value) === characters.length ? "all" : top.value
    after.selectedIndex = now
    const counts = grouped(hits)
    grouped(prediction.chances).forEach((chance, n) => {
      const other = n === data.bars
      if (!other) labels[n].textContent = seen(prediction.order[n])
      bars[n].style.width = pieces[n].style.width = `${100 * chance}%`
      pieces[n].textContent = chance > 0.04 && !other ? seen(prediction.order[n]) : ""
      chances[n].textContent = chance.toFixed(3)
      tallies[n].textContent = throws ? `${counts[n]}` : ""
      bars[n].parentElement.style.setProperty("--hit",
        throws ? `${100 * counts[n] / throws}%` : "-9px")
    })
    head.textContent = throws ? "hits" : ""
    written.textContent = text.map((id) => characters[id]).join("").slice(-600)
    says.textContent = news
  }
  const expects = () => `What the model expects after ${seen(now)}.`

  const start = () => {
    random = darts(5)
    text = [now]
    ask()
    show(expects())
  }
  const throwDarts = (number) => {
    let last
    for (let n = 0; n < number; n++) last = draw()
    show(`The ${number > 1 ? "last " : ""}dart, at ${last.place.toFixed(2)}, hits ` +
      `${seen(last.id)}. Darts thrown so far: ${throws}.`)
  }
  // The character drawn is what the next one comes after.
  const write = (number) => {
    let last
    for (let n = 0; n < number; n++) {
      last = draw()
      now = last.id
      text.push(now)
      ask()
    }
    show(number > 1 ? `${number} characters written. ${expects()}`
      : `The dart, at ${last.place.toFixed(2)}, hit ${seen(last.id)}. ${expects()}`)
  }

  after.addEventListener("change", () => {
    now = after.selectedIndex
    start()
  })
  for (const slider of [temperature, top]) slider.addEventListener("input", () => {
    ask()
    show(expects())
  })
  find(".fs-once").addEventListener("click", () => throwDarts(1))
  find(".fs-often").addEventListener("click", () => throwDarts(100))
  find(".fs-write").addEventListener("click", () => write(1))
  find(".fs-write-on").addEventListener("click", () => write(100))
  find(".fs-again").addEventListener("click", () => {
    now = text[0]
    start()
  })
  now = data.after
  start()
}
