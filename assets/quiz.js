// Makes the quizzes of a page clickable.
//
// A quiz is written so that it reads well without this: a paragraph with the question, a
// list whose items begin with a bold letter, and a folded answer that begins with the
// right one. Here each question becomes a form, with a radio button for each option.
"use strict";
{
  const ANSWER = /^Answer \d+$/;
  const OPTION = /^[a-z]\.$/;

  const element = (name, properties, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };

  const bold = (block) => block?.querySelector("strong")?.textContent ?? "";

  // The letter of an option, or of the option that an answer is about.
  const letter = (block) => (OPTION.test(bold(block)) ? bold(block)[0] : "");

  // What a folded answer belongs to: its list of options, and the paragraphs from the
  // one with the number down to that list. Null where it belongs to no such quiz.
  const questionOf = (answer) => {
    const list = answer.previousElementSibling;
    if (!list?.matches("ul") || ![...list.children].every(letter)) return null;
    const blocks = [];
    let block = list;
    do {
      block = block.previousElementSibling;
      if (!block) return null;
      blocks.unshift(block);
    } while (!/^\d+\.$/.test(bold(block)));
    return { list, blocks };
  };

  const optionOf = (item, group) =>
    element("label", {},
      element("input", { type: "radio", name: group, value: letter(item) }),
      element("span", { className: "fs-option" }, ...item.firstElementChild.childNodes),
      element("span", { className: "fs-judged" }));

  // The nodes move, they are not copied: formulas and links stay what they are.
  const formOf = (answer, { list, blocks: [first, ...more] }, number) => {
    const options = [...list.children].map((item) => optionOf(item, `fs-quiz-${number}`));
    const form = element("form", { className: "fs-quiz", autocomplete: "off" },
      element("fieldset", {},
        element("legend", {}, ...first.childNodes), ...more, ...options),
      element("p", { className: "fs-says", role: "status" }));
    first.remove();
    list.replaceWith(form);
    return form;
  };

  const clear = (form) => {
    delete form.dataset.right;
    for (const label of form.querySelectorAll("label")) {
      delete label.dataset.judged;
      label.querySelector(".fs-judged").textContent = "";
    }
    form.querySelector(".fs-says").textContent = "";
  };

  const judge = (form, answer) => {
    const chosen = form.querySelector(":checked");
    if (!chosen) return;
    clear(form);
    const right = chosen.value === letter(answer.querySelector(".sd-summary-content"));
    const label = chosen.closest("label");
    label.dataset.judged = right ? "right" : "not-yet";
    label.querySelector(".fs-judged").textContent = right ? "✓ right" : "✗ not yet";
    form.querySelector(".fs-says").textContent = right
      ? "Right. The answer below says why."
      : `Not yet: ${chosen.value} is not it. Try another, or unfold the answer.`;
    if (right) {
      form.dataset.right = "";
      answer.open = true;
    }
    form.dispatchEvent(new CustomEvent("fs-answered", { bubbles: true }));
  };

  // Arrow keys have to pass over options to reach one: they only choose, and Enter or the
  // space bar answers.
  const listen = (form, answer) => {
    let passing = false;
    form.addEventListener("keydown", (event) => {
      passing = event.key.startsWith("Arrow");
      if (!["Enter", " "].includes(event.key) || !event.target.checked) return;
      event.preventDefault();
      judge(form, answer);
    });
    form.addEventListener("keyup", () => {
      passing = false;
    });
    form.addEventListener("click", (event) => {
      if (!event.target.matches("input")) return;
      if (!passing) return judge(form, answer);
      clear(form);
      form.querySelector(".fs-says").textContent = "Press Enter to answer with this option.";
    });
    form.addEventListener("reset", () => clear(form));
  };

  // One line after the last answer of each section.
  const keepScore = (section) => {
    const forms = [...section.querySelectorAll(":scope > .fs-quiz")];
    const score = element("p", { className: "fs-score" }, element("span"));
    const count = () => {
      const right = forms.filter((form) => "right" in form.dataset).length;
      score.firstChild.textContent = `Answered right: ${right} of ${forms.length}.`;
    };
    forms.at(-1).nextElementSibling.after(score);
    for (const event of ["click", "fs-answered", "reset"])
      section.addEventListener(event, count);
    count();
  };

  const sections = new Set();
  for (const answer of document.querySelectorAll("details.sd-dropdown")) {
    if (!ANSWER.test(answer.querySelector(".sd-summary-text").textContent)) continue;
    const question = questionOf(answer);
    if (!question) continue;
    listen(formOf(answer, question, document.querySelectorAll(".fs-quiz").length), answer);
    sections.add(answer.parentElement);
  }
  sections.forEach(keepScore);
}
