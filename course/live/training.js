// Chooses a checkpoint, and one of two axes; training.py has drawn both.
(figure, {steps, says, texts}) => {
  const find = (selector) => figure.querySelector(selector)
  const slider = find("input"), button = find("button"), plot = find(".fs-plot")
  const stops = [...figure.querySelectorAll(".fs-stop")]

  // All texts lie one on another, one of them seen: the longest decides the height.
  const stories = texts.map((text) => {
    const story = document.createElement("p")
    story.textContent = text
    return story
  })
  find(".fs-story").replaceChildren(...stories)

  const show = () => {
    const chosen = Number(slider.value)
    for (const parts of [stops, stories])
      parts.forEach((part, n) => part.classList.toggle("fs-chosen", n === chosen))
    find("label b").textContent = slider.ariaValueText = steps[chosen]
    find(".fs-says").textContent = says[chosen]
  }
  show()

  slider.addEventListener("input", show)
  // A tap chooses the nearest point; then the arrow keys go on from there.
  plot.addEventListener("click", (event) => {
    const away = stops.map((stop) =>
      Math.abs(stop.getBoundingClientRect().left - event.clientX))
    slider.value = away.indexOf(Math.min(...away))
    slider.focus({preventScroll: true})
    show()
  })
  button.addEventListener("click", () => {
    const pressed = figure.classList.toggle("fs-log")
    button.setAttribute("aria-pressed", pressed)
  })
}
