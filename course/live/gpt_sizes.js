// Counts the parameters and the FLOPs of a GPT by part; as in gpt_sizes.py.
(figure, {stops, models}) => {
  const buttons = [...figure.querySelectorAll(".fs-models button")]
  const sliders = [...figure.querySelectorAll(".fs-sizes input")]
  const names = figure.querySelectorAll(".fs-name b")
  const panels = figure.querySelectorAll(".fs-panel")
  const says = figure.querySelector(".fs-says")
  const spelled = (number) => number.toLocaleString("en-US")
  const sum = (numbers) => numbers.reduce((a, b) => a + b)

  const parameters = ([C, layers, V, P]) => [V * C, P * C,
    layers * (4 * C * C + 4 * C), layers * (8 * C * C + 5 * C), layers * 4 * C + 2 * C]
  const flops = ([C, layers, V, T]) => [2 * V * C, layers * 4 * T * C,
    layers * 8 * C * C, layers * 16 * C * C]
  figure.count = (sizes) => [parameters(sizes), flops(sizes)]  // for the tests

  const draw = (panel, parts) => {
    const total = sum(parts)
    panel.querySelector(".fs-total").textContent = spelled(total)
    const pieces = panel.querySelectorAll(".fs-strip span")
    const rows = panel.querySelectorAll("tr")
    parts.forEach((part, n) => {
      pieces[n].style.width = `${100 * part / total}%`
      rows[n].cells[1].textContent = spelled(part)
      rows[n].cells[2].textContent = `${Math.floor(100 * part / total + 0.5) || "<1"}%`
    })
    return spelled(total)
  }
  const show = () => {
    const sizes = sliders.map((slider, n) => stops[n][Number(slider.value)])
    sizes.forEach((size, n) => {
      names[n].textContent = sliders[n].ariaValueText = spelled(size)
    })
    buttons.forEach((button, n) => button.setAttribute("aria-pressed",
      models[n][1].every((size, m) => size === sizes[m])))
    const [numbers, work] = figure.count(sizes).map((parts, n) => draw(panels[n], parts))
    const [C, layers, V, T] = sizes.map(spelled)
    says.textContent = `Width ${C}, ${layers} layer${layers === "1" ? "" : "s"}, ` +
      `${V} tokens, context ${T}: ${numbers} parameters, ${work} FLOPs per token.`
  }

  for (const slider of sliders) slider.addEventListener("input", show)
  buttons.forEach((button, n) => button.addEventListener("click", () => {
    sliders.forEach((slider, m) => slider.value = stops[m].indexOf(models[n][1][m]))
    show()
  }))
}
