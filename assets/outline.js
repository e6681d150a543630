// On a phone the outline of a page lies over it. Whoever chooses a section there wants to
// read it: the outline closes.
"use strict";
addEventListener("click", (event) => {
  event.target.closest?.("dialog a[href^='#']")?.closest("dialog").close();
});
