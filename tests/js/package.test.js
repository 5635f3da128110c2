/** The npm package, as a project has it that has installed the tarball. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const SOURCE = fileURLToPath(new URL("../../js/", import.meta.url));
const PROGRAM = fileURLToPath(new URL("support/program.ts", import.meta.url));
/** The kind and the code of each example in the README that imports something. */
const EXAMPLES = [...readFileSync(join(SOURCE, "README.md"), "utf8").matchAll(/^```(jsx?|ts)\n(import .*?)^```$/gms)].map(
  ([, kind, code]) => [kind, code],
);
const TSC = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
const EXPORTS = {
  "django-recovery-app": [
    "EventError", "LiveViewRecovery", "Recovery", "RecoveryChannel", "RecoverySocket", "fullJitter", "reconnectAfterMs", "rejoinAfterMs",
    "version",
  ],
  "django-recovery-app/phoenix": ["EventError", "Recovery", "fullJitter", "reconnectAfterMs", "rejoinAfterMs", "version"],
  "django-recovery-app/liveview": ["LiveViewRecovery", "fullJitter", "reconnectAfterMs", "rejoinAfterMs", "version"],
};

const project = mkdtempSync(join(tmpdir(), "recovery-npm-"));
after(() => rmSync(project, { recursive: true }));

execFileSync("npm", ["pack", "--silent", "--pack-destination", project], { cwd: SOURCE });
writeFileSync(join(project, "package.json"), '{ "private": true, "type": "module" }');
const [tarball] = readdirSync(project).filter((name) => name.endsWith(".tgz"));
const install = ["install", "--silent", "--offline", "--no-audit", "--no-fund", `./${tarball}`];
execFileSync("npm", install, { cwd: project });

for (const [path, names] of Object.entries(EXPORTS)) {
  test(`${path} can be imported in Node.js`, () => {
    const script = `console.log(JSON.stringify(Object.keys(await import("${path}"))))`;
    const printed = execFileSync(process.execPath, ["--input-type=module", "--eval", script], { cwd: project });
    assert.deepEqual(JSON.parse(String(printed)).sort(), names);
  });
}

for (const [resolution, module] of [["nodenext", "nodenext"], ["bundler", "esnext"]]) {
  test(`a strict TypeScript program type-checks with the module resolution ${resolution}`, () => {
    copyFileSync(PROGRAM, join(project, "program.ts"));
    // The first example too, which people paste into a project in TypeScript.
    const sources = ["EventError", "SocketOptions"].map((name) => EXAMPLES.find(([, code]) => code.includes(name))[1]);
    sources.forEach((source, index) => writeFileSync(join(project, `readme${index}.ts`), `${source}export {};\n`));
    const options = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--target", "es2022"];
    const words = [TSC, ...options, "--module", module, "--moduleResolution", resolution, "program.ts", "readme0.ts", "readme1.ts"];
    const { status, stdout } = spawnSync(process.execPath, words, { cwd: project, encoding: "utf8" });
    assert.equal(status, 0, stdout);
  });
}

test("what the README imports is there", async () => {
  assert.ok(EXAMPLES.length >= 5);
  for (const [loader, contents] of EXAMPLES) {
    const external = ["react", "phoenix", "phoenix_live_view", "vite"];
    const stdin = { contents, loader, resolveDir: project };
    await build({ stdin, bundle: true, format: "esm", target: "es2022", external, logLevel: "error", write: false });
  }
});

/** Return a bundle of a program. */
async function bundle(contents) {
  const stdin = { contents, resolveDir: project };
  const options = { bundle: true, minify: true, format: "esm", target: "es2022", logLevel: "error", write: false };
  const { outputFiles } = await build({ stdin, ...options });
  return outputFiles[0].contents;
}

const sizeOf = async (contents) => (await bundle(contents)).length;

/** What was reached, gzipped, and 1 % more; docs/client-reference.md says it. */
const MAX_GZIPPED_BYTES = {
  "django-recovery-app": 14_350,
  "django-recovery-app/phoenix": 10_700,
  "django-recovery-app/liveview": 11_050,
};

for (const [path, maximum] of Object.entries(MAX_GZIPPED_BYTES)) {
  test(`a bundle of ${path} stays small`, async () => {
    const { length } = gzipSync(await bundle(`export * from "${path}";`), { level: 9 });
    assert.ok(length <= maximum && length > 0.95 * maximum, `${length} bytes`);
  });
}

test("a bundle has only what is imported", async () => {
  const whole = await sizeOf('export * from "django-recovery-app";');
  const phoenix = await sizeOf('export { Recovery } from "django-recovery-app/phoenix";');
  assert.ok(phoenix < 0.8 * whole, `${phoenix} of ${whole} bytes`);
  const same = await sizeOf('export { Recovery } from "django-recovery-app";');
  assert.ok(Math.abs(same - phoenix) < 100, `${same} and ${phoenix} bytes`); // but for the lengths of short names
  assert.ok((await sizeOf('export { fullJitter } from "django-recovery-app";')) < 200);
  assert.equal(await sizeOf('import "django-recovery-app";'), 0);
});
