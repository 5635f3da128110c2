import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");

for (const [what, config] of [["the sources", "../../js/tsconfig.json"], ["the usage of what is built", "tsconfig.json"]]) {
  test(`${what} type-check`, () => {
    const path = fileURLToPath(new URL(config, import.meta.url));
    const { status, stdout } = spawnSync(process.execPath, [tsc, "--project", path], { encoding: "utf8" });
    assert.equal(status, 0, stdout);
  });
}
