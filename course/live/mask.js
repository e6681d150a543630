// Moves the mask, a row and the scores of the last token; as in mask.py.
(figure, data) => {
  const {tokens, scores} = data
  const last = tokens.length - 1
  const buttons = figure.querySelectorAll("button")
  const pick = figure.querySelector(".fs-pick"), change = figure.querySelector(".fs-change")
  const rows = figure.querySelectorAll(".fs-row")

  const softmax = (row) => {
    const largest = Math.max(...row)
    const parts = row.map((score) => Math.exp(score - largest))  // exp(-Infinity) is 0
    const total = parts.reduce((a, b) => a + b)
    return parts.map((part) => part / total)
  }
  const weightsOf = (kind, by) => scores.map((row, t) => {
    const changed = row.map((score, s) => s === last ? score + by : score)
    if (kind === "before")
      return softmax(changed.map((score, s) => s > t ? -Infinity : score))
    const weights = softmax(changed)
    return kind === "after" ? weights.map((w, s) => s > t ? 0 : w) : weights
  })
  figure.weightsOf = weightsOf  // for the console and the tests

  const saysOf = (kind, row, weights, moved) => {
    const seen = weights[row].slice(0, row + 1).reduce((a, b) => a + b)
    const name = tokens[row], rest = (1 - seen).toFixed(2)
    const first = row === last
      ? `“${name}” is the last token: nothing is hidden from it.`
      : kind === "none"
      ? `“${name}” gives ${rest} of its attention to later tokens.`
      : kind === "after"
      ? `The weights of “${name}” sum to ${seen.toFixed(2)}: the missing ${rest} went ` +
        "to tokens it may not see."
      : `“${name}” shares out ${seen.toFixed(2)} among what it may see.`
    if (!moved[last])
      return `${first} Change the scores of the last token: which rows notice?`
    const noticed = moved.slice(0, last).filter(Boolean).length
    return `${first} Of the ${last} rows before the last, ${noticed} noticed the change.`
  }

  const show = () => {
    const kind = figure.querySelector("[aria-pressed=true]").dataset.kind
    const chosen = Number(pick.value), by = Number(change.value)
    const weights = weightsOf(kind, by), before = weightsOf(kind, 0)
    // To the last bit: a row that may not see the last token must not change at all.
    const moved = weights.map((row, t) => row.some((w, s) => w !== before[t][s]))
    rows.forEach((row, t) => {
      row.classList.toggle("fs-chosen", t === chosen)
      row.classList.toggle("fs-leak", moved[t] && t < last)
      const squares = row.querySelectorAll("rect"), texts = row.querySelectorAll("text")
      weights[t].forEach((weight, s) => {
        squares[s].style.setProperty("--w", `${(100 * weight).toFixed(1)}%`)
        texts[s + 1].textContent = weight ? weight.toFixed(2) : ""
      })
      row.querySelector(".fs-sum").textContent =
        weights[t].reduce((a, b) => a + b).toFixed(2)
    })
    const signed = by ? (by > 0 ? "+" : "") + by.toFixed(1) : "as they are"
    figure.querySelector(".fs-by").textContent = change.ariaValueText = signed
    figure.querySelector(".fs-name").textContent = pick.ariaValueText = tokens[chosen]
    figure.querySelector(".fs-says").textContent = saysOf(kind, chosen, weights, moved)
  }

  for (const button of buttons) button.addEventListener("click", () => {
    for (const other of buttons) other.ariaPressed = String(other === button)
    show()
  })
  for (const slider of [pick, change]) slider.addEventListener("input", show)
  // A short cut for the mouse: the slider reaches the same rows.
  rows.forEach((row, t) => row.addEventListener("click", () => {
    pick.value = t
    show()
  }))
}
