/** The installed Chromium, with tabs opened and closed through its DevTools port. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kill } from "node:process";

/** The first one has no windows that nobody sees, and costs the processor less than half. */
const NAMES = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome"];
const ARGUMENTS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
];

/** Return the browser's path, or null if there is none; in CI it is required. */
export function findChromium() {
  const found = process.env.CHROMIUM ?? NAMES.find((name) => spawnSync(name, ["--version"]).status === 0) ?? null;
  if (found === null && process.env.CI) throw new Error("Chromium isn't installed, and CI must not skip its tests");
  return found;
}

/** Wait until the browser prints the address it listens on. */
function listening(process) {
  return new Promise((resolve, reject) => {
    let output = "";
    process.on("close", () => reject(new Error(`Chromium ended: ${output}`)));
    process.stderr.on("data", (text) => {
      output += text;
      const [, address] = /DevTools listening on ws:\/\/([^/]+)/.exec(output) ?? [];
      if (address) resolve(address);
    });
  });
}

export class Chromium {
  static async start() {
    const profile = mkdtempSync(join(tmpdir(), "recovery-chromium-"));
    // Debian starts it by a shell, which would die alone.
    const options = { detached: true };
    const process = spawn(findChromium(), [...ARGUMENTS, `--user-data-dir=${profile}`, "about:blank"], options);
    return new Chromium(process, profile, await listening(process));
  }

  constructor(process, profile, address) {
    Object.assign(this, { process, profile, address });
  }

  async stop() {
    kill(-this.process.pid);
    await once(this.process, "close");
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }

  /** Open a tab. Return a function that closes it. */
  async open(url) {
    const { id } = await this.#request(`new?${url}`, "PUT");
    return async () => {
      await fetch(`http://${this.address}/json/close/${id}`);
      while ((await this.#request("list")).some((tab) => tab.id === id));
    };
  }

  async #request(path, method = "GET") {
    return (await fetch(`http://${this.address}/json/${path}`, { method })).json();
  }
}
