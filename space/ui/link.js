// The address bar and the copy button follow the recipe; {…} of the page's address are filled in.
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
watch("value", () => {
  refresh();
  const button = element.querySelector("[data-link]");
  const tab = new URLSearchParams(location.search).get("tab") || "now";
  if (button && tab === "now") history.replaceState(null, "", button.dataset.link);
});
refresh();
