(figure, data) => {
  const lines = figure.querySelectorAll("polyline")
  const ends = figure.querySelectorAll("li b")
  figure.querySelector("input").addEventListener("input", event => {
    const state = data.states[event.target.value]
    lines.forEach((line, n) => line.setAttribute("points", state.points[n]))
    ends.forEach((end, n) => { end.textContent = state.ends[n] })
    figure.querySelector(".fs-scale").textContent = `${state.scale}×`
    figure.querySelector(".fs-says").textContent = data.sentences[event.target.value]
  })
}
