/** What is built and committed is what the sources give, and stays small. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { createContext, runInContext } from "node:vm";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { MANGLED_NAMES } from "../../js/mangled_names.mjs";

const BUILD = fileURLToPath(new URL("../../js/build.mjs", import.meta.url));
const COMMITTED = fileURLToPath(new URL("../../recovery_app/static/recovery_app/", import.meta.url));
/** What was reached, and 1 % more. */
const MAX_GZIPPED_BYTES = 13_460;

const directory = mkdtempSync(join(tmpdir(), "recovery-js-"));
after(() => rmSync(directory, { recursive: true }));
execFileSync(process.execPath, [BUILD, "--out", directory], { cwd: directory });

for (const file of ["recovery.js", "recovery.min.js", "recovery.min.js.map", "recovery.mjs", "recovery.d.ts", "recovery.d.mts"]) {
  test(`${file} is what the sources give (else: make js)`, () => {
    assert.equal(readFileSync(join(COMMITTED, file), "utf8"), readFileSync(join(directory, file), "utf8"));
  });
}

test("no other file is built", () => {
  assert.equal(readdirSync(directory).length, 6);
});

test("recovery.min.js stays small", () => {
  const { length } = gzipSync(readFileSync(join(COMMITTED, "recovery.min.js")), { level: 9 });
  assert.ok(length <= MAX_GZIPPED_BYTES, `${length} bytes`);
});

test("the source map has the sources, and is where the script says", () => {
  const [, map] = readFileSync(join(COMMITTED, "recovery.min.js"), "utf8").match(/\n\/\/# sourceMappingURL=(\S+)\s*$/);
  const { sources, sourcesContent } = JSON.parse(readFileSync(join(COMMITTED, map), "utf8"));
  assert.ok(sources.includes("src/recovery.js"));
  assert.equal(sourcesContent.length, sources.length);
});

test("the minified file works as a module and as a plain script, as recovery.js does", async () => {
  const [plain, minified, module] = await Promise.all(
    ["recovery.js", "recovery.min.js", "recovery.mjs"].map((file) => import(join(COMMITTED, file))),
  );
  assert.deepEqual(Object.keys(minified), Object.keys(plain));
  assert.deepEqual(Object.keys(module), Object.keys(plain));
  const page = createContext({ EventTarget });
  runInContext(readFileSync(join(COMMITTED, "recovery.min.js"), "utf8"), page);
  assert.deepEqual(Object.keys(page.RecoveryApp).sort(), Object.keys(plain).sort());
});

test("no public name is shortened in the minified file", () => {
  const types = readFileSync(join(COMMITTED, "recovery.d.ts"), "utf8");
  const members = new Set([...types.matchAll(/^ +(?:get |set |static |readonly )*(\w+)\??[(:<]/gm)].map(([, name]) => name));
  assert.ok(members.has("joinPayload") && members.has("isWaiting"));
  assert.deepEqual(MANGLED_NAMES.filter((name) => members.has(name)), []);
});
