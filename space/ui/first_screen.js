// The first screen's order of events. The page holds the recipe; every click changes it here, without the server. One
// event asks the server about the whole recipe, and its answer is shown only if the page still holds that recipe.
window.firstScreen = (() => {
  const PHOTO = "photo"; // the picture is the visitor's
  const LINK = ["forget", "keep", "labels", "image", "model", "breadth", "login"]; // "login": the link is kept meanwhile
  const linked = LINK.some((part) => new URLSearchParams(location.search).has(part));
  const page = document.documentElement.classList; // "arriving": a link's answer is on its way; "waiting": any answer is
  const acts = []; // clicks that are not part of the recipe yet
  let asked = ""; // the recipe that was sent last
  let held = ""; // the recipe that the page held when an answer came last
  let edit = ""; // what of it makes the edit
  let clicked; // the button of an answer that was clicked last
  let look = false; // whether the next answer is brought into view
  let opened = false; // whether the server has answered the link; it reads the page's address
  const own = { ask() {} }; // asks the server; set by the page's part that can

  function describe([forget, keep, labels, picture, base, breadth, enabled, image]) {
    return JSON.stringify([forget, keep, labels, picture, base, breadth, enabled, picture === PHOTO ? image?.path : null]);
  }

  // What is sent: the recipe, the photo if there is one, and the whole as text, which the answer repeats.
  function send(...state) {
    asked = describe(state);
    page.add("waiting");
    return [...state.slice(0, 7), state[3] === PHOTO ? state[7] : null, asked];
  }

  function show(answer, ...state) {
    arrive();
    held = describe(state);
    if (!answer) return [];
    if ((typeof answer.asked === "string" ? answer.asked : JSON.stringify(answer.asked)) !== held) {
      setTimeout(() => asked !== held && own.ask(), 200); // unless the newer recipe was sent meanwhile
      return [];
    }
    page.remove("waiting");
    const { 0: forget, 1: keep, 4: base, 5: breadth } = state;
    const last = edit;
    edit = JSON.stringify([forget, keep, base, breadth]);
    const query = new URLSearchParams(location.search);
    const here = (query.get("tab") ?? "now") === "now" && (asked || query.has("forget")); // else another tab's link
    if (answer.query && here) history.replaceState(null, "", answer.query);
    if (edit !== last) document.dispatchEvent(new CustomEvent("new-edit"));
    if (look) requestAnimationFrame(bringIntoView);
    setTimeout(keepFocus, 100);
    look = false;
    return [choose(answer.shown, state[7]), ...answer.parts];
  }

  // The picture's value; undefined leaves it as it is.
  function choose(key, image) {
    const url = `pictures/${key}.png`;
    if (key === null || key === PHOTO || (key && image?.url?.endsWith(url))) return undefined;
    return key ? { path: `${key}.png`, url, meta: { _type: "gradio.FileData" } } : null;
  }

  // The button that was clicked last may have left the page with its focus; the same one, or its part of the page, has it.
  function keepFocus() {
    const { act, name, place } = clicked ?? {};
    const part = place && document.activeElement === document.body && document.getElementById(place);
    clicked = null;
    if (!part) return;
    part.tabIndex = -1;
    (part.querySelector(`[data-act="${act}"][data-name="${CSS.escape(name)}"]`) ?? part).focus({ preventScroll: true });
  }

  function bringIntoView() {
    const smooth = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    document.querySelector(".stage").scrollIntoView({ block: "nearest", behavior: smooth ? "smooth" : "auto" });
  }

  // Gradio forgets what waits behind a call that fails.
  function failed(...state) {
    held = describe(state);
    if (asked !== held) own.ask();
  }

  // What clicks on buttons of the answer change; what is undefined stays as it is by then.
  function act(forget, keep) {
    const changed = {};
    for (const { act, name } of acts.splice(0)) {
      if (act === "show") changed.picture = name;
      if (act === "add") changed.forget = join(changed.forget ?? forget, name);
      if (act === "protect") changed.keep = join(changed.keep ?? keep, name);
    }
    return [changed.forget, changed.keep, changed.picture, changed.forget && true];
  }

  // After other words were written: a picture of them, forgetting on, and no more of the link that was opened.
  function reword(forget, picture, answer) {
    const added = forget.filter((name) => !(answer?.forget ?? []).includes(name));
    const chosen = added.length === forget.length ? "" : `of:${added}`; // see NEWEST in recipe.py
    return [added.length && picture !== PHOTO ? chosen.slice(0, 200) : undefined, true, { __type__: "update", visible: false }];
  }

  function join(names, text) {
    return [...new Set([...names, ...split(text)])];
  }

  function split(text) {
    return text.split(/[,;\n\t、，；]/).map((part) => part.trim()).filter(Boolean);
  }

  // Changes a part of the page's address; what is in it survives a reload.
  function address(part, value) {
    if (!opened) return;
    const query = new URLSearchParams(location.search);
    if (value === null) query.delete(part);
    else query.set(part, value);
    history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}`);
  }

  // A tab is part of the address, beside the words.
  function open(tab) {
    address("tab", tab === "now" ? null : tab);
  }

  function arrive() {
    opened = true;
    page.remove("arriving");
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("#tab-now [data-act]");
    if (!button) return;
    acts.push({ ...button.dataset });
    clicked = { ...button.dataset, place: button.closest("#verdict, #strip, #neighbours")?.id };
    look = button.dataset.act === "show" || look;
    own.ask();
  });
  if (linked) page.add("arriving");
  const lookAtNext = () => (look = true);
  return Object.assign(own, { send, show, failed, act, reword, split, address, open, arrive, lookAtNext });
})();
