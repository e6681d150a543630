// Remembers what a reader did on a page, in this browser and nowhere else: the options
// chosen in a quiz; the hints, solutions and answers opened.
//
// Each page has one entry in localStorage, an object from key to value. The keys are what
// outlives an edit of the page: the name of an exercise, the number of a hint, the text of
// a question. Where storage holds nonsense, nothing is remembered; where it is refused,
// storage.js stands in.
"use strict";
{
  const PREFIX = "five-sundays.marks:";
  const ENTRY = PREFIX + (DOCUMENTATION_OPTIONS.pagename ?? location.pathname);

  // ---- what is kept ----

  const load = () => {
    try {
      return { ...JSON.parse(localStorage.getItem(ENTRY)) };
    } catch {
      return {};
    }
  };

  const save = (marks) => {
    try {
      if (Object.keys(marks).length === 0) localStorage.removeItem(ENTRY);
      else localStorage.setItem(ENTRY, JSON.stringify(marks));
    } catch {
      // It is full: the page works on without a memory.
    }
  };

  // Read again each time: the same page may be open twice.
  const remember = (key, value) => {
    const marks = load();
    if (value) marks[key] = value;
    else delete marks[key];
    save(marks);
  };

  const entries = () =>
    Object.keys(localStorage).filter((name) => name.startsWith(PREFIX));

  // ---- what has a key ----

  const words = (block) => block.textContent.replace(/\s+/g, " ").trim();
  const unnumbered = (block) => words(block).replace(/^\w+\.\s*/, "");
  const optionText = (input) =>
    unnumbered(input.closest("label").querySelector(".fs-option"));

  const quizzes = new Map(); // key -> form
  const folded = new Map(); // key -> details

  for (const form of document.querySelectorAll(".fs-quiz")) {
    const question = unnumbered(form.querySelector("legend"));
    quizzes.set(`chosen: ${question}`, form);
    folded.set(`answer: ${question}`, form.nextElementSibling);
  }
  for (const solution of document.querySelectorAll("details.sd-dropdown")) {
    const title = words(solution.querySelector(".sd-summary-text"));
    if (title.startsWith("Solution: ")) folded.set(title, solution);
  }
  for (const hint of document.querySelectorAll(".fs-verdict details")) {
    const exercise = words(hint.closest(".fs-verdict").querySelector("code"));
    const number = words(hint.querySelector("summary")).match(/\d+/);
    folded.set(`hint: ${exercise} ${number}`, hint);
  }

  // ---- back on the page ----

  const restore = (marks) => {
    for (const [key, form] of quizzes) {
      [...form.querySelectorAll("input")]
        .find((input) => optionText(input) === marks[key])
        ?.click();
    }
    // After the choices: an answer that the reader has closed again stays closed.
    for (const [key, details] of folded) details.open = marks[key] === true;
  };

  const listen = () => {
    for (const [key, form] of quizzes) {
      form.addEventListener("fs-answered", () =>
        remember(key, optionText(form.querySelector(":checked"))));
    }
    for (const [key, details] of folded) {
      details.addEventListener("toggle", () => remember(key, details.open));
    }
  };

  // ---- forgetting ----

  const forget = (names) => {
    for (const name of names) localStorage.removeItem(name);
    for (const form of quizzes.values()) form.reset();
    for (const details of folded.values()) details.open = false;
  };

  const forgetPage = () => {
    const known = entries().includes(ENTRY);
    forget(known ? [ENTRY] : []);
    return known
      ? "Forgotten: your marks on this page."
      : "There was nothing to forget on this page.";
  };

  const forgetCourse = () => {
    const names = entries();
    if (names.length === 0) return "There was nothing to forget.";
    if (!confirm("Forget your marks on every page of the course?")) return "Kept.";
    forget(names);
    const pages = names.length === 1 ? "one page" : `${names.length} pages`;
    return `Forgotten: your marks on ${pages} of the course.`;
  };

  const panel = () => {
    const foot = document.createElement("div");
    foot.className = "fs-marks";
    foot.id = "your-marks";
    if (localStorage.forgetful) {
      foot.innerHTML = `<p>Your browser keeps nothing for this page: what you choose and
        unfold here is forgotten when you leave it.</p>`;
      return foot;
    }
    foot.innerHTML = `<p>What you choose in a quiz and what you unfold (hints, solutions,
      answers) is remembered in this browser, and nowhere else.</p>
      <button type="button">Forget this page</button>
      <button type="button">Forget the whole course</button>
      <p class="fs-says" role="status"></p>`;
    const [page, course] = foot.querySelectorAll("button");
    const says = foot.querySelector(".fs-says");
    page.addEventListener("click", () => (says.textContent = forgetPage()));
    course.addEventListener("click", () => (says.textContent = forgetCourse()));
    return foot;
  };

  const pointToPanel = (score) => {
    const link = document.createElement("a");
    link.href = "#your-marks";
    link.textContent = "What this page remembers";
    score.append(" ", link);
  };

  if (folded.size > 0) {
    restore(load());
    listen();
    document.querySelector(".bd-article").append(panel());
    document.querySelectorAll(".fs-score").forEach(pointToPanel);
  }
}
