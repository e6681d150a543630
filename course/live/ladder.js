(figure) => {
  // In the book: the sidebar knows which chapters have been written since.
  for (const rung of figure.querySelectorAll(".fs-later")) {
    const ending = `/${rung.dataset.chapter}.html`
    const pages = document.querySelectorAll(".bd-sidebar-primary nav a[href]")
    const page = [...pages].find(a => a.href.endsWith(ending))
    if (!page) continue
    const link = document.createElement("a")
    link.href = page.href
    const title = rung.querySelector("b")
    link.append(...title.childNodes)
    title.append(link)
  }

  // In JupyterLab: chapters are notebooks. Lab has resolved the links of an output before
  // any script of it runs, to /files/week1/tokens.html, and opens what its command says.
  figure.addEventListener("click", (event) => {
    const link = event.target.closest("a")
    const page = link && decodeURIComponent(link.pathname).split("/files/")[1]
    if (!page || !("jpThemeLight" in document.body.dataset)) return
    event.preventDefault()
    event.stopPropagation()
    const opener = document.createElement("span")
    opener.dataset.commandlinkerCommand = "docmanager:open"
    opener.dataset.commandlinkerArgs =
      JSON.stringify({ path: page.replace(/\.html$/, ".ipynb") })
    figure.append(opener)
    opener.click()
    opener.remove()
  }, { capture: true })

  // The numbers of a rung unfold what they mean.
  for (const costs of figure.querySelectorAll(".fs-costs")) {
    const rung = costs.parentElement
    const bits = rung.querySelector(".fs-bits")
    const button = document.createElement("button")
    button.type = "button"
    button.className = bits.className
    button.append(...bits.childNodes)
    bits.replaceWith(button)
    const title = rung.querySelector(".fs-rung b").textContent
    button.setAttribute("aria-label", `${title}, ${button.textContent}: what it means`)
    button.setAttribute("aria-expanded", "false")
    button.addEventListener("click", () => {
      costs.hidden = !costs.hidden
      button.setAttribute("aria-expanded", String(!costs.hidden))
    })
  }
}
