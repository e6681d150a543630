// Shows the steps up to one; as in kv_cache.py.
(figure, data) => {
  const slider = figure.querySelector("input")
  const said = figure.querySelector(".fs-says")
  slider.addEventListener("input", () => {
    const step = Number(slider.value)
    for (const panel of figure.querySelectorAll(".fs-panel"))
      panel.querySelectorAll(".fs-row").forEach((row, n) => {
        row.classList.toggle("fs-now", n + 1 === step)
        row.classList.toggle("fs-later", n + 1 > step)
      })
    slider.setAttribute("aria-valuetext", `${step}, ${data.tokens[step - 1]}`)
    said.innerHTML = data.says[step - 1]
  })
}
