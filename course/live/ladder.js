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

  // In JupyterLab: chapters are notebooks. Lab resolves the links of an output by
  // itself, before or after this script, and keeps where they lead in an attribute.
  if ("jpThemeLight" in document.body.dataset) {
    const turn = (link, name) => {
      const old = link.getAttribute(name)
      if (old) link.setAttribute(name, old.replace(".html", ".ipynb"))
    }
    for (const link of figure.querySelectorAll("a")) {
      turn(link, "href")
      link.addEventListener("click", () => turn(link, "data-commandlinker-args"))
    }
  }

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
