// Where a browser refuses to keep anything, even to ask may throw, and the theme's scripts
// would stop half-way. They get a memory that lasts as long as the page.
"use strict";
try {
  localStorage.setItem("five-sundays", "");
  localStorage.removeItem("five-sundays");
} catch {
  const memory = new Map();
  Object.defineProperty(window, "localStorage", {
    value: {
      forgetful: true,
      getItem: (key) => memory.get(key) ?? null,
      setItem: (key, value) => memory.set(key, String(value)),
      removeItem: (key) => memory.delete(key),
    },
  });
  document.documentElement.dataset.mode ??= "auto";
}
