// A list of names that a visitor edits: chips with a remove button, a box to type another, presets.
// Every text is set as text, never as markup. The value is the list, a name that is being typed last.
const list = element.querySelector("ul");
const box = element.querySelector("input");
const PAUSE = 450; // milliseconds without a key before a half-typed name counts
let names = [...(props.value || [])];
let timer;

function split(text) {
  return text.split(/[,;\n\t、，；]/).map((part) => part.trim()).filter(Boolean);
}

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
        names = names.filter((other) => other !== name);
        send();
        box.focus();
      });
      return item;
    }),
  );
}

function send() {
  clearTimeout(timer);
  const value = [...new Set([...names, ...split(box.value)])];
  draw();
  if (JSON.stringify(value) !== JSON.stringify(props.value)) {
    props.value = value;
    trigger("input");
  }
}

function commit() {
  names = [...new Set([...names, ...split(box.value)])];
  box.value = "";
  send();
}

box.addEventListener("input", () => {
  clearTimeout(timer);
  if (/[,;\n、，；]/.test(box.value)) commit();
  else timer = setTimeout(send, PAUSE);
});
box.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.isComposing) {
    event.preventDefault();
    commit();
  } else if (event.key === "Backspace" && !box.value && names.length) {
    names = names.slice(0, -1);
    send();
  }
});
box.addEventListener("blur", commit);
for (const preset of element.querySelectorAll("[data-names]")) {
  preset.addEventListener("click", () => {
    names = JSON.parse(preset.dataset.names);
    box.value = "";
    send();
    if (!names.length) box.focus();
  });
}
watch("value", () => {
  names = (props.value || []).filter((name) => !split(box.value).includes(name));
  draw();
});
draw();
