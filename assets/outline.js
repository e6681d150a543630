// On a phone the outline of a page lies over it. Whoever chooses a section there wants to
// read it: the outline closes, and the keyboard goes on from that section.
"use strict";
addEventListener("click", (event) => {
  const link = event.target.closest?.("dialog a[href^='#']");
  const section = link && document.getElementById(decodeURIComponent(link.hash.slice(1)));
  if (!section) return;
  const outline = link.closest("dialog");
  section.tabIndex = -1;
  // The theme, too, moves the focus when the outline closes: this has to come after it.
  outline.addEventListener("close", () => section.focus({ preventScroll: true }), { once: true });
  outline.close();
});
