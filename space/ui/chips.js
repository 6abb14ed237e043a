// A list of names that a visitor edits: chips with a remove button, a box to type another, presets.
// Every text is set as text, never as markup. The value is the list, a name that is being typed last.
const list = element.querySelector("ul");
const box = element.querySelector("input");
const undo = element.querySelector(".undo");
const { part } = element.querySelector(".chips").dataset;
const { split } = firstScreen;
const PAUSE = 450; // milliseconds without a key before a half-typed name counts
const past = []; // lists before a preset or ✕
let names = [...(props.value || [])];
let timer;

function draw() {
  list.replaceChildren(
    ...names.map((name) => {
      const item = document.createElement("li");
      const remove = document.createElement("button");
      item.append(name, remove);
      remove.type = "button";
      remove.textContent = "✕";
      remove.setAttribute("aria-label", `Remove ${name}`);
      remove.addEventListener("click", () => {
        replace(names.filter((other) => other !== name));
        box.focus();
      });
      return item;
    }),
  );
  undo.hidden = !past.length;
}

function send() {
  clearTimeout(timer);
  const value = [...new Set([...names, ...split(box.value)])];
  draw();
  if (JSON.stringify(value) !== JSON.stringify(props.value)) {
    props.value = value;
    firstScreen.address(part, value.length || part === "forget" ? value.join(",") : null);
    trigger("input");
  }
}

function replace(others) {
  past.push(names);
  names = others;
  send();
}

function restore() {
  names = past.pop();
  send();
  box.focus();
}

function commit() {
  names = [...new Set([...names, ...split(box.value)])];
  box.value = "";
  send();
}

function wait() {
  clearTimeout(timer);
  if (/[,;\n、，；]/.test(box.value)) commit();
  else timer = setTimeout(send, PAUSE);
}

box.addEventListener("input", (event) => event.isComposing || wait()); // a word is composed of other letters first
box.addEventListener("compositionend", wait);
box.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.isComposing) {
    event.preventDefault();
    firstScreen.lookAtNext();
    commit();
  } else if (event.key === "Backspace" && !box.value && names.length) {
    names = names.slice(0, -1);
    send();
  } else if (event.key === "z" && (event.ctrlKey || event.metaKey) && !box.value && past.length) {
    event.preventDefault();
    restore();
  }
});
box.addEventListener("blur", commit);
undo.addEventListener("click", restore);
for (const preset of element.querySelectorAll("[data-names]")) {
  preset.addEventListener("click", () => {
    firstScreen.lookAtNext();
    box.value = "";
    replace(JSON.parse(preset.dataset.names));
    if (!names.length) box.focus();
  });
}
watch("value", () => {
  names = (props.value || []).filter((name) => !split(box.value).includes(name));
  draw();
});
draw();
