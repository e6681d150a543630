// Temperature, then top-k, then top-p, as in `write` of solutions/gpt_block.py.
(figure, {logits, orders, labels, stops}) => {
  const find = (selector) => figure.querySelector(selector)
  const after = find("select"), heat = find(".fs-heat"), top = find(".fs-k")
  const nucleus = find(".fs-p"), says = find(".fs-says")
  const values = figure.querySelectorAll(".fs-name b")
  const parts = (kind) => [...figure.querySelectorAll(kind)]
  const names = parts(".fs-label"), tracks = parts(".fs-track")
  const bars = parts(".fs-bar"), chances = parts(".fs-chance")
  const sum = (numbers) => numbers.reduce((a, b) => a + b, 0)

  const softmax = (row, temperature) => {
    const largest = Math.max(...row)
    const powers = row.map((z) => temperature === 0 ? Number(z === largest)
      : Math.exp((z - largest) / temperature))
    if (temperature === 0) powers.fill(0, powers.indexOf(1) + 1)  // the first of equals
    const total = sum(powers)
    return powers.map((power) => power / total)
  }
  // The probabilities that are drawn with, by token; k is 0 where all are kept.
  const cut = (at, temperature, k, p) => {
    const row = logits[at]
    let shares = softmax(row, temperature)
    if (temperature === 0) return shares
    if (k && k < row.length) {
      const least = [...row].sort((a, b) => b - a)[k - 1]
      shares = shares.map((share, token) => row[token] < least ? 0 : share)
      const total = sum(shares)
      shares = shares.map((share) => share / total)
    }
    // From the least probable on: spare while they have at most 1 - p together.
    const order = row.map((_, token) => token).sort((a, b) => row[a] - row[b] || b - a)
    let together = 0
    for (const token of order.slice(0, -1)) {
      together += shares[token]
      if (p === 1 || together > 1 - p + 1e-12) break
      shares[token] = 0
    }
    const total = sum(shares)
    return shares.map((share) => share / total)
  }
  figure.cut = cut  // for the console and the tests

  const show = () => {
    const at = after.selectedIndex, row = logits[at], temperature = Number(heat.value)
    const k = stops[Number(top.value)] ?? 0, p = Number(nucleus.value)
    values[0].textContent = temperature.toFixed(1)
    values[1].textContent = top.ariaValueText = k || "all"
    values[2].textContent = p.toFixed(2)
    const was = softmax(row, 1), now = cut(at, temperature, k, p)
    const grouped = (all) => {
      const shown = orders[at].map((token) => all[token])
      return bars.length > shown.length ? [...shown, Math.max(0, 1 - sum(shown))] : shown
    }
    const before = grouped(was), left = now.filter((share) => share > 0).length
    grouped(now).forEach((share, n) => {
      const token = orders[at][n]
      const out = token !== undefined && now[token] === 0
      if (token !== undefined) names[n].textContent = labels[at][n]
      names[n].classList.toggle("fs-out", out)
      bars[n].style.width = `${100 * share}%`
      tracks[n].style.setProperty("--was", `${100 * before[n]}%`)
      chances[n].textContent = out ? "out" : share.toFixed(3)
    })
    const mass = sum(was.filter((_, token) => now[token] > 0))
    const spelled = (number) => number.toLocaleString("en-US")
    says.textContent = left === row.length
      ? `All ${spelled(left)} tokens are left to draw from.`
      : `${spelled(left)} of ${spelled(row.length)} tokens ${left === 1 ? "is" : "are"} ` +
        `left to draw from. Before the cut, ${(100 * mass).toFixed(1)}% of the ` +
        "probability was theirs."
  }
  for (const control of [after, heat, top, nucleus])
    control.addEventListener("input", show)
}
