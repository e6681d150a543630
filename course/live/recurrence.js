(figure, data) => {
  const find = (selector) => figure.querySelector(selector)
  const still = matchMedia("(prefers-reduced-motion: reduce)")
  const play = find(".fs-play")
  let length = data.shown
  let step = 1
  let timer = null

  const show = () => {
    const words = data.words[length][step]
    find(".fs-rnn .fs-count").innerHTML = words.rnn
    find(".fs-attention .fs-count").innerHTML = words.attention
    find(".fs-says").textContent = words.says
    for (const svg of figure.querySelectorAll("svg")) {
      svg.toggleAttribute("hidden", Number(svg.dataset.length) !== length)
      for (const part of svg.querySelectorAll("[data-at]")) {
        const at = Number(part.dataset.at)
        const state = at > step ? "fs-wait" : at === step ? "fs-now" : "fs-done"
        part.setAttribute("class", state)
      }
    }
    for (const button of figure.querySelectorAll(".fs-lengths button"))
      button.setAttribute("aria-pressed", String(Number(button.value) === length))
  }

  const go = (to) => {
    step = Math.min(to, length)
    show()
  }

  const pause = () => {
    clearInterval(timer)
    timer = null
    play.textContent = "Play"
  }

  find(".fs-step").addEventListener("click", () => {
    pause()
    go(step + 1)
  })
  find(".fs-again").addEventListener("click", () => {
    pause()
    go(0)
  })
  find(".fs-lengths").addEventListener("click", (event) => {
    const button = event.target.closest("button")
    if (!button) return
    pause()
    length = Number(button.value)
    go(1)
  })
  play.addEventListener("click", () => {
    if (timer) return pause()
    // Who asked for less motion gets the end at once.
    if (still.matches) return go(length)
    go(step === length ? 0 : step + 1)
    play.textContent = "Pause"
    timer = setInterval(() => {
      go(step + 1)
      if (step === length || !figure.isConnected) pause()
    }, 700)
  })
}
