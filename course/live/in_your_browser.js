// The model itself, at work: what it reads and writes, what it expects, where it looks.
// GPT, chances, draw and dart are of assets/gpt.js, BPE is of assets/bpe.js.
(figure, data) => {
  const find = (kind) => figure.querySelector(`.fs-${kind}`)
  const example = find("example"), asks = find("asks textarea"), text = find("text"), says = find("says")
  const write = find("write"), once = find("once"), again = find("again")
  const seed = find("seed"), pace = find("pace"), machine = find("machine")
  const temperature = find("temperature"), top = find("top"), bars = find("bars")
  const rows = [...bars.querySelectorAll(".fs-row")]
  const heads = [...figure.querySelectorAll(".fs-heads button")]
  const values = figure.querySelectorAll(".fs-name b")
  let { layer, head } = data

  // ---- the state: a text, of which the model has read a part

  let model, bpe
  let ids = []  // of its tokens
  let given = 0  // so many of them were there before the model wrote
  const read = []  // of each token that was read: {logits, looks}
  let wanted = 0  // so many tokens are still to be written
  let place = null, pointed = null  // the token that is chosen, or under the mouse
  let due = 0, spent = 0, timed = 0, ready = 0  // milliseconds
  let news = "", problem = ""

  const settings = () => [
    Number(temperature.value),
    top.value === top.max ? Infinity : Number(top.value),
  ]
  const full = () => ids.length === model.config.n_positions

  // Go on from the first `kept` tokens with others. What was read of them stays read.
  const change = (kept, others) => {
    model.length = read.length = Math.min(read.length, kept)
    ids = [...ids.slice(0, kept), ...others]
    given = Math.min(given, ids.length)
    wanted = 0
    place = pointed = null
    news = problem = ""
    wake()
  }

  // The text as it is typed; what it shares with the one before is not read again.
  const begin = () => {
    const { value } = asks, { n_positions } = model.config
    const typed = value.startsWith(data.start) ? value : data.start + value
    const longest = Math.max(...bpe.tokens.map((token) => token.length))
    const tokens = typed.length > n_positions * longest ? [] : bpe.encode(typed)
    const fits = tokens.length > 0 && tokens.length <= n_positions
    asks.ariaInvalid = String(!fits)
    if (!fits) {
      const length = tokens.length ? `has ${tokens.length} tokens` : "is far too long"
      problem = `The beginning ${length}, and the context of this model has ` +
        `${n_positions} places: shorten it.`
      wanted = 0
      wake()
      return
    }
    const differs = tokens.findIndex((id, n) => id !== ids[n])
    const kept = differs < 0 ? tokens.length : differs
    change(kept, tokens.slice(kept))
    given = tokens.length
  }

  // One token is read or written, if it is time for one.
  const step = () => {
    const now = performance.now()
    if (read.length < ids.length) {
      read.push(model.read(ids[read.length]))
      spent += performance.now() - now
      timed++
      return true
    }
    if (wanted === 0 || now < due) return false
    if (full()) {
      wanted = 0
      return false
    }
    const shares = chances(read.at(-1).logits, ...settings())
    ids.push(draw(shares, dart(Number(seed.value), ids.length)))
    wanted--
    due = Math.max(due, now - 100) + (Number(pace.value) && 1000 / Number(pace.value))
    if (bpe.text(ids.at(-2)) + bpe.text(ids.at(-1)) === "\n\n") {
      wanted = 0
      news = "The story has ended; Write begins another. "
    }
    return true
  }

  // As much as there is time for, so that the page can be used meanwhile.
  let awake = false
  const wake = () => {
    if (!awake) requestAnimationFrame(frame)
    awake = true
    show()
  }
  const frame = () => {
    const end = performance.now() + 12
    while (performance.now() < end && step());
    show()
    awake = wanted > 0 || read.length < ids.length
    if (awake) requestAnimationFrame(frame)
  }

  // ---- what is shown: all of it is of the place that is looked at

  const at = () => Math.min(pointed ?? place ?? Infinity, ids.length)
  const percent = (chance) => chance === 0 || chance === 1 ? `${100 * chance}%`
    : chance < 0.001 ? "<0.1%" : chance > 0.999 ? ">99.9%" : `${(100 * chance).toFixed(1)}%`
  const label = (id) => bpe.text(id).replaceAll(" ", "·").replaceAll("\n", "⏎")
  const quoted = (id) => `“${bpe.text(id).trim() || label(id)}”`

  const next = find("next")
  const spans = []  // of the tokens, with the id and whether its chance is known
  // A space before a word stands before its span, where a line may break.
  const append = (id) => {
    const token = bpe.text(id), word = token.trim()
    const span = document.createElement("span")
    span.textContent = word || label(id)
    span.role = "option"
    next.before(word && token.startsWith(" ") ? " " : "", span)
    spans.push({ span, id, known: false })
  }
  const removeFrom = (n) => {
    for (const { span } of spans.splice(n)) {
      span.previousSibling.remove()
      span.remove()
    }
  }
  const showText = (chosen, looks) => {
    const same = ids.findIndex((id, n) => id !== spans[n]?.id)
    removeFrom(same < 0 ? ids.length : same)
    ids.slice(spans.length).forEach(append)
    spans.forEach((one, n) => {
      if (!one.known && (n === 0 || read[n - 1])) {
        const odd = n && 1 - chances(read[n - 1].logits, 1, Infinity)[one.id]
        one.span.style.setProperty("--odd", `${(100 * odd).toFixed(1)}%`)
        one.known = true
      }
      const share = (100 * (looks[n] ?? 0)).toFixed(1)
      one.span.style.setProperty("--share", `${share}%`)
      one.span.classList.toggle("fs-given", n < given)
      one.span.classList.toggle("fs-from", n === chosen - 1)
    })
    for (const [n, span] of [...spans.map((one) => one.span), next].entries()) {
      span.classList.toggle("fs-chosen", n === chosen)
      span.ariaSelected = String(n === chosen)
      span.tabIndex = n === chosen ? 0 : -1
    }
  }

  const showBars = (chosen, logits) => {
    const shares = chances(logits, ...settings()), own = chances(logits, 1, Infinity)
    const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a])
    const shown = order.slice(0, data.bars), came = ids[chosen]
    if (came !== undefined && !shown.includes(came)) shown[data.bars - 1] = came
    const rest = (all) => Math.max(0, 1 - shown.reduce((sum, id) => sum + all[id], 0))
    rows.forEach((row, n) => {
      const id = shown[n], [name, track, chance] = row.children
      const share = id === undefined ? rest(shares) : shares[id]
      track.style.setProperty("--own",
        `${(100 * (id === undefined ? rest(own) : own[id])).toFixed(2)}%`)
      track.firstChild.style.width = `${(100 * share).toFixed(2)}%`
      chance.textContent = percent(share)
      if (id === undefined) return
      name.textContent = label(id)
      row.dataset.id = id
      row.classList.toggle("fs-came", id === came)
      row.ariaLabel = `${quoted(id)}, ${percent(share)}` +
        (id === came ? ", came" : ": go on with it")
    })
    const words = chosen < ids.length ? "What might have come here" : "What may come next"
    bars.ariaLabel = bars.firstChild.textContent = words
  }

  const strip = (looks) => {
    const wide = Math.max(1, Math.round(ids.length / 30))
    let path = ""
    looks.forEach((look, n) => {
      if (look < data.least) return
      path += `M${n} 1v-${look.toFixed(2)}h${wide}v${look.toFixed(2)}z`
    })
    return path
  }
  const showHeads = (looks) => {
    for (const button of heads) {
      const { layer: a, head: b } = button.dataset
      button.ariaPressed = String(+a === layer && +b === head)
      button.lastChild.setAttribute("viewBox", `0 0 ${ids.length} 1`)
      button.lastChild.firstChild.setAttribute("d", strip(looks[a][b]))
    }
  }

  const inWords = (chosen, looks) => {
    const most = [...looks.keys()].sort((a, b) => looks[b] - looks[a]).slice(0, 3)
    const named = most.map((s) => `${quoted(ids[s])} (${percent(looks[s])})`).join(", ")
    const own = chances(read[chosen - 1].logits, 1, Infinity)[ids[chosen]]
    return (chosen === ids.length ? "What comes next?"
      : `The model gave ${quoted(ids[chosen])} ${percent(own)} here.`) +
      ` Layer ${layer}, head ${head} looks from ${quoted(ids[chosen - 1])} at ${named}.`
  }

  const show = () => {
    const running = wanted > 1
    const chosen = at(), known = read[chosen - 1]
    write.textContent = running ? "Pause" : "Write"
    write.disabled = once.disabled = full() || problem !== ""
    values[0].textContent = Number(temperature.value).toFixed(1)
    top.ariaValueText = values[1].textContent = top.value === top.max ? "all" : top.value
    showText(chosen, known?.looks[layer][head] ?? [])
    if (!known) return  // it is still being read
    showBars(chosen, known.logits)
    showHeads(known.looks)
    // A screen reader is told when the writing pauses, not of each token.
    says.ariaLive = running ? "off" : "polite"
    const places = model.config.n_positions
    if (full()) news = `All ${places} places of the context are taken: the model can ` +
      "read no more. Start again, or with less. "
    says.textContent = problem || (running
      ? `Writing: ${ids.length} of the ${places} places in the context are taken.`
      : news + inWords(chosen, known.looks[layer][head]))
    const each = spent / timed
    machine.textContent = `Ready after ${(ready / 1000).toFixed(2)} s. To read a token ` +
      `takes ${each.toFixed(1)} ms on this machine: ${Math.round(1000 / each)} a second.`
  }

  // ---- what the reader does

  const go = (tokens) => {
    wanted = tokens
    place = pointed = null
    news = ""
    due = 0
    wake()
  }
  const listen = () => {
    write.addEventListener("click", () => go(wanted > 1 ? 0 : Infinity))
    once.addEventListener("click", () => go(1))
    again.addEventListener("click", begin)
    asks.addEventListener("input", begin)
    example.addEventListener("change", () => {
      asks.value = example.value
      begin()
    })
    seed.addEventListener("input", begin)
    for (const slider of [temperature, top]) slider.addEventListener("input", show)
    for (const button of heads)
      button.addEventListener("click", () => {
        layer = Number(button.dataset.layer)
        head = Number(button.dataset.head)
        show()
      })
    // Another token in its place: what came after it is gone.
    for (const row of rows.slice(0, -1))
      row.addEventListener("click", () => change(at(), [Number(row.dataset.id)]))

    const placeOf = (event) => {
      const span = event.target.closest(".fs-text > span")
      const n = span === next ? ids.length : spans.findIndex((one) => one.span === span)
      return n > 0 ? n : null  // nothing was expected before the first
    }
    const choose = (n) => {
      place = n < ids.length ? n : null
      pointed = null
      show()
    }
    text.addEventListener("click", (event) => choose(placeOf(event) ?? ids.length))
    text.addEventListener("pointerover", (event) => {
      if (event.pointerType !== "mouse") return
      pointed = placeOf(event)
      show()
    })
    text.addEventListener("pointerleave", () => {
      pointed = null
      show()
    })
    text.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: at() - 1, ArrowRight: at() + 1, Home: 1, End: ids.length,
        Escape: ids.length }[event.key]
      if (to === undefined) return
      event.preventDefault()
      choose(Math.max(1, Math.min(to, ids.length)))
      text.querySelector(".fs-chosen").focus()
    })
  }

  // ---- the model comes when the reader does

  const load = (address) => new Promise((done, failed) => {
    const script = document.createElement("script")
    Object.assign(script, { src: address, onload: done, onerror: failed })
    document.head.append(script)
  })
  const start = async () => {
    const began = performance.now()
    machine.textContent = "The model is loading."
    try {
      for (const address of data.scripts) await load(address)
    } catch {
      machine.textContent = "The model could not be loaded: its files lie in the folder " +
        "_static of the book. Open this page in the book's own folder."
      return
    }
    const { config, vocabulary, weights, sizes } = globalThis.shippedModel
    model = new GPT(config, unpacked(weights, sizes))
    bpe = new BPE(vocabulary)
    ready = performance.now() - began
    text.role = "listbox"
    text.ariaLabel = "The text, token by token"
    text.ariaOrientation = "horizontal"
    next.role = "option"
    text.replaceChildren(next)
    for (const button of figure.querySelectorAll(":disabled")) button.disabled = false
    Object.assign(figure, { model, bpe })  // for the console and the tests
    listen()
    begin()
  }
  if (!data.scripts.length) start()
  else new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return
    observer.disconnect()
    start()
  }, { rootMargin: "200px" }).observe(figure)
}
