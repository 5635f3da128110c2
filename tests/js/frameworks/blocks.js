/** The files of docs/frameworks.md: each block of code whose first line names one. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileScript, parse } from "vue/compiler-sfc";

const TOP = fileURLToPath(new URL("../../../", import.meta.url));
const BLOCK = /^```[\w+]+\n(?:\/\/|#|<!--|\{#) ([\w/]+\.\w+)(?: -->| #\})?\n(.*?)^```$/gms;
const SERVED = join(TOP, "recovery_app", "static", "recovery_app");

/** The client that the bundles have. */
export const CLIENT = join(SERVED, "recovery.mjs");

/** The options of a new project of Vite and stricter ones, and the types of the client. */
const CONFIG = {
  compilerOptions: {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUnusedLocals: true,
    verbatimModuleSyntax: true,
    noEmit: true,
    skipLibCheck: true,
    target: "es2022",
    lib: ["es2022", "dom", "dom.iterable"],
    module: "esnext",
    moduleResolution: "bundler",
    moduleDetection: "force",
    jsx: "react-jsx",
    types: [],
    paths: { "django-recovery-app": [join(SERVED, "recovery.d.mts")] },
  },
  include: ["react", "vue"],
};

/** Return the TypeScript that a component of Vue is compiled to. */
function compileVue(path, source, inlineTemplate) {
  const { descriptor, errors } = parse(source, { filename: path });
  if (errors.length > 0) throw errors[0];
  return compileScript(descriptor, { id: path, inlineTemplate }).content;
}

/** Write the files of the page to a directory, where they can be type-checked or bundled. Return their paths.
 * The types of Vue's templates are known to its own compiler only, so these are left out unless they are asked for. */
export function writeBlocks(directory, { hasTemplates }) {
  const page = readFileSync(join(TOP, "docs", "frameworks.md"), "utf8");
  const files = [...page.matchAll(BLOCK)].map(([, path, code]) => [path, code]);
  for (const [path, code] of files) {
    mkdirSync(join(directory, dirname(path)), { recursive: true });
    const isVue = path.endsWith(".vue");
    writeFileSync(join(directory, isVue ? `${path}.ts` : path), isVue ? compileVue(path, code, hasTemplates) : code);
  }
  symlinkSync(join(TOP, "node_modules"), join(directory, "node_modules"));
  writeFileSync(join(directory, "tsconfig.json"), JSON.stringify(CONFIG));
  return files.map(([path]) => path);
}
