// Paper is light: a page that is read in the dark is printed as in the light.
let theme;
addEventListener("beforeprint", () => {
  theme = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
});
addEventListener("afterprint", () => {
  document.documentElement.dataset.theme = theme;
});

// A formula that is wider than a phone scrolls inside itself: the keyboard reaches it, too.
function reachWideFormulas() {
  for (const formula of document.querySelectorAll("mjx-container[display=true]")) {
    if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
    else formula.removeAttribute("tabindex");
  }
}
addEventListener("load", () => {
  window.MathJax?.startup?.promise?.then(reachWideFormulas);
});
addEventListener("resize", reachWideFormulas);
