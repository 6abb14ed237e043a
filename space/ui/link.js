// Copies the link, and fills in the page's address where HTML has a place for it.
const here = () => location.origin + location.pathname;

function refresh() {
  for (const place of element.querySelectorAll(".origin")) place.textContent = here();
}

element.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-link]");
  if (!button) return;
  const address = here() + button.dataset.link;
  try {
    await navigator.clipboard.writeText(address);
    button.textContent = "Link copied";
  } catch {
    prompt("Copy this link", address);
  }
  setTimeout(() => (button.textContent = "Copy link"), 2000);
});
watch("value", refresh);
refresh();
