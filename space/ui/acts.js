// Clicks on a button with data-act become a "select" event; the server's HTML has the buttons.
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button) trigger("select", { act: button.dataset.act, name: button.dataset.name });
});
