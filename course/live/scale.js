// Divides scores by a temperature, and by the root of their width; as in scale.py.
(figure, data) => {
  const find = (selector) => figure.querySelector(selector)
  const width = find(".fs-width"), heat = find(".fs-heat"), says = find(".fs-says")
  const names = figure.querySelectorAll(".fs-name b")
  const {widths, temperatures, rows, spread, reach, high, up, down, floor} = data
  const short = (number) => String(Number(number.toFixed(1)))

  const softmax = (row, divisor) => {
    const largest = Math.max(...row)
    const parts = row.map((score) => Math.exp((score - largest) / divisor))
    const total = parts.reduce((a, b) => a + b)
    return parts.map((part) => part / total)
  }
  const histogram = (scores, divisor) => {
    const counts = Array(2 * reach + 1).fill(0)
    let beyond = 0
    for (const score of scores) {
      const nearest = Math.floor(score / divisor + 0.5)
      if (Math.abs(nearest) > reach) beyond++
      else counts[nearest + reach]++
    }
    const path = counts.map((count, n) => {
      if (!count) return ""
      const height = up * Math.min(1, count / scores.length / high)
      const x = 148 + 3.6 * (n - reach)
      return `M${(x - 1.8).toFixed(1)} ${up}v${(-height).toFixed(1)}h3.6` +
        `v${height.toFixed(1)}z`
    }).join("")
    const outside = beyond ? `, ${beyond} beyond ±${reach}` : ""
    return {path, words: `scores of ${scores.length} random pairs${outside}`}
  }
  figure.softmax = softmax  // for the console and the tests

  // One side: its title, how far the scores spread, the weights, what can be learned.
  const draw = (side, title, at, divisor) => {
    const panel = find(`.fs-${side}`)
    panel.querySelector("b").textContent = title
    const {path, words} = histogram(spread[at], divisor)
    panel.querySelector(".fs-spread").setAttribute("d", path)
    panel.querySelector(".fs-pairs").textContent = words
    const weights = softmax(rows[at], divisor)
    const bars = panel.querySelectorAll(".fs-weights rect")
    const values = panel.querySelectorAll(".fs-weight")
    weights.forEach((weight, n) => {
      bars[n].setAttribute("y", floor - down * weight)
      bars[n].setAttribute("height", down * weight)
      values[n].setAttribute("y", floor - down * weight - 4)
      values[n].textContent = weight.toFixed(2)
    })
    panel.querySelector(".fs-learns b").textContent =
      Math.max(...weights.map((weight) => weight * (1 - weight))).toFixed(3)
    return Math.max(...weights)
  }

  const show = () => {
    const at = Number(width.value), D = widths[at], root = Math.sqrt(D)
    const temperature = temperatures[Number(heat.value)]
    names[0].textContent = width.ariaValueText = D
    names[1].textContent = heat.ariaValueText = short(temperature)
    const left = draw("left", `q · k / τ, τ = ${short(temperature)}`, at, temperature)
    const right = draw("right", `q · k / √D, √D = ${short(root)}`, at, root)
    const words = `D = ${D}: the largest weight is ${left.toFixed(2)} on the left`
    says.textContent = temperature === root
      ? `${words} and on the right: √D is a temperature, here ${short(root)}.`
      : `${words}, ${right.toFixed(2)} on the right.`
  }
  for (const slider of [width, heat]) slider.addEventListener("input", show)
}
