// Shows the chosen part of a block: by a click, or with the slider.
(figure, parts) => {
  const drawn = [...figure.querySelectorAll(".fs-part")]
  const slider = figure.querySelector("input")
  const says = figure.querySelector(".fs-says")
  const about = [figure.querySelector("code"), ...[...figure.querySelectorAll("dd")].slice(1)]

  const choose = (chosen) => {
    const [words, ...details] = parts[chosen]
    details.forEach((text, n) => about[n].textContent = text)
    for (const part of drawn)
      part.classList.toggle("fs-chosen", Number(part.dataset.part) === chosen)
    slider.value = chosen
    slider.ariaValueText = details[0]
    says.textContent = words
  }
  for (const part of drawn)
    part.addEventListener("click", () => choose(Number(part.dataset.part)))
  slider.addEventListener("input", () => choose(Number(slider.value)))
}
