/** The TypeScript of docs/frameworks.md; tests/browser/test_frameworks.py runs it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { writeBlocks } from "./frameworks/blocks.js";

const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");

test("the code for React and Vue type-checks", (t) => {
  const project = mkdtempSync(join(tmpdir(), "recovery-frameworks-"));
  t.after(() => rmSync(project, { recursive: true }));
  const files = writeBlocks(project, { hasTemplates: false });
  assert.ok(files.includes("react/ShoppingList.tsx") && files.includes("vue/ShoppingList.vue"), String(files));
  const { status, stdout } = spawnSync(process.execPath, [tsc, "--project", project], { encoding: "utf8" });
  assert.equal(status, 0, stdout);
});
