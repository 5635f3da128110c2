/** The components of docs/frameworks.md on one page. `toggle` unmounts those that are there, and mounts them again. */
import { createElement, StrictMode, useEffect, useRef } from "react";
import { createRoot, type Root } from "react-dom/client";
import { type App, createApp } from "vue";
import { ShoppingList } from "./react/ShoppingList";
import { useRecovery } from "./react/useRecovery";
import VueShoppingList from "./vue/ShoppingList.vue";

/** Pushes once, at the first mount: to the socket that `StrictMode` closes at once. */
function Early() {
  const { state, push } = useRecovery<{ items: string[] }>("/ws/list/", "list:early");
  const hasPushed = useRef(false);
  useEffect(() => {
    if (!hasPushed.current) void push("add", { item: "early" });
    hasPushed.current = true;
  }, [push]);
  return createElement("output", null, state?.items.join());
}

function makePlace(id: string) {
  const place = document.createElement("section");
  place.id = id;
  document.body.append(place);
  return place;
}

const places = { react: makePlace("react"), vue: makePlace("vue") };
let root: Root | null = null;
let app: App | null = null;

function mount() {
  root = createRoot(places.react);
  const lists = [createElement(ShoppingList, { key: 1, topic: "list:react" }), createElement(Early, { key: 2 })];
  root.render(createElement(StrictMode, null, lists));
  app = createApp(VueShoppingList, { topic: "list:vue" });
  app.mount(places.vue);
}

function unmount() {
  root?.unmount();
  app?.unmount();
  root = app = null;
}

/** Take the element of Alpine away or bring it back, as htmx would. */
const list = document.querySelector("#list")!;
const body = list.parentElement!;

Object.assign(globalThis, {
  unmountAll() {
    unmount();
    list.remove();
  },
  mountAll() {
    mount();
    body.prepend(list);
  },
});
mount();
