// The button with which the panel of django-debug-toolbar is rendered anew.
const toolbar =
  document.getElementById("djDebugRoot")?.shadowRoot?.getElementById("djDebug") ?? document.getElementById("djDebug");

if (toolbar && !toolbar.dataset.recoveryRefreshes) {
  toolbar.dataset.recoveryRefreshes = "yes";
  toolbar.addEventListener("click", async (event) => {
    const button = event.target.closest(".recovery-debug-refresh");
    if (!button) return;
    const url = new URL(toolbar.dataset.renderPanelUrl, location);
    url.searchParams.set("request_id", button.dataset.requestId);
    url.searchParams.set("panel_id", button.dataset.panelId);
    const content = button.closest(".djdt-scroll");
    const response = await fetch(url);
    if (response.ok) content.innerHTML = (await response.json()).content;
  });
}
