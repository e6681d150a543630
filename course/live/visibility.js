(figure, data) => {
  const slider = figure.querySelector("input")
  const said = figure.querySelector(".fs-heard")
  let position = Number(slider.value) - 1
  let draw = 0

  const show = () => {
    const hidden = data.gaps[draw]
    const says = {
      gpt: data.says.gpt[position],
      bert: data.says.bert[position][Number(hidden.includes(position))],
    }
    for (const kind of ["gpt", "bert"]) {
      const panel = figure.querySelector(`.fs-${kind}`)
      panel.querySelectorAll(".fs-row").forEach((row, t) =>
        row.classList.toggle("fs-chosen", t === position))
      panel.querySelectorAll(".fs-token").forEach((token, t) => {
        token.classList.toggle("fs-seen", Boolean(data.sees[kind][position][t]))
        token.classList.toggle("fs-chosen", t === position)
        if (kind === "gpt") return
        const gap = hidden.includes(t)
        token.querySelector("b").textContent = gap ? data.gap : data.tokens[t]
        token.querySelector("i").textContent = gap ? data.tokens[t] : ""
      })
      panel.querySelector(".fs-here").innerHTML = says[kind]
    }
    slider.setAttribute("aria-valuetext", `${position + 1}, ${data.tokens[position]}`)
  }

  const choose = (t) => {
    position = t
    slider.value = t + 1
    show()
    const here = [...figure.querySelectorAll(".fs-here")].map((p) => p.textContent)
    said.textContent = `GPT: ${here[0]} BERT: ${here[1]}`
  }

  slider.addEventListener("input", () => choose(Number(slider.value) - 1))
  figure.querySelector(".fs-draw").addEventListener("click", () => {
    draw = (draw + 1) % data.gaps.length
    show()
    const places = data.gaps[draw].map((t) => t + 1).join(" and ")
    said.textContent = `BERT's gaps are now at ${places}.`
  })
  // A short cut for the mouse: the slider reaches the same positions.
  for (const parts of [".fs-gpt .fs-token", ".fs-bert .fs-token",
                       ".fs-gpt .fs-row", ".fs-bert .fs-row"])
    figure.querySelectorAll(parts).forEach((part, t) =>
      part.addEventListener("click", () => choose(t)))
}
