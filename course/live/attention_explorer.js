// Whom the chosen token looks at, in the chosen head. `looks[layer][head][token]` is a
// flat list: place, percent, place, percent, ...
(figure, { tokens, looks, first: [layer, head, token] }) => {
  const spans = [...figure.querySelectorAll(".fs-text span")]
  const buttons = [...figure.querySelectorAll("button")]
  const slider = figure.querySelector("input")
  const title = figure.querySelector(".fs-head b")
  const says = figure.querySelector(".fs-says")
  const quoted = (token) => `“${token.trim() || "⏎"}”`

  const draw = () => {
    const flat = looks[layer][head][token]
    const shares = new Map()
    for (let i = 0; i < flat.length; i += 2) shares.set(flat[i], flat[i + 1])
    spans.forEach((span, place) => {
      span.style.setProperty("--share", (shares.get(place) ?? 0) + "%")
      span.classList.toggle("fs-chosen", place === token)
    })
    for (const button of buttons) {
      const chosen = +button.dataset.layer === layer && +button.dataset.head === head
      button.setAttribute("aria-pressed", chosen)
    }
    title.textContent = `Layer ${layer}, head ${head}.`
    slider.value = token
    slider.setAttribute("aria-valuetext", tokens[token].trim() || "end of line")
    const most = [...shares].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, 3)
    const named = most.map(([place, share]) => `${quoted(tokens[place])} (${share}%)`)
    says.textContent = `From ${quoted(tokens[token])} it looks at ${
      named.join(", ") || "nothing in particular"
    }.`
  }

  for (const button of buttons)
    button.addEventListener("click", () => {
      layer = +button.dataset.layer
      head = +button.dataset.head
      draw()
    })
  // Tokens answer to a click; from the keyboard the slider walks through them.
  spans.forEach((span, place) =>
    span.addEventListener("click", () => {
      token = place
      draw()
    }),
  )
  slider.addEventListener("input", () => {
    token = +slider.value
    draw()
  })
}
