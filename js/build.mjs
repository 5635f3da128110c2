/**
 * Builds the client: `npm run build`, or `make js`.
 *
 *   node js/build.mjs             the files that Django serves, into recovery_app/static/recovery_app/ (or `--out`)
 *   node js/build.mjs --scripts   the same without the types, which is faster
 *   node js/build.mjs --package   the types of the npm package, into js/types/; `npm pack` does that
 *
 * The same sources give the same bytes. tests/js/build.test.js fails if what is committed is stale.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { minify } from "terser";
import ts from "typescript";
import { MANGLED_NAMES } from "./mangled_names.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const { values: args } = parseArgs({
  options: {
    out: { type: "string", default: join(HERE, "..", "recovery_app", "static", "recovery_app") },
    sources: { type: "string", default: join(HERE, "src") },
    scripts: { type: "boolean", default: false },
    package: { type: "boolean", default: false },
  },
});
const SOURCES = resolve(args.sources);
const { name, version, license } = JSON.parse(readFileSync(join(HERE, "package.json"), "utf8"));

const SMALL = "recovery.min.js";
const BANNER = `/*! ${name} ${version} | ${license} */`;

const OPTIONS = {
  absWorkingDir: dirname(SOURCES), // which the comments with paths are relative to
  bundle: true,
  target: "es2022",
  charset: "utf8",
  legalComments: "inline",
  banner: { js: BANNER },
  write: false,
};

/** Options of terser, tried one by one: what they make is smaller when it is gzipped. */
const COMPRESS = {
  passes: 4, conditionals: false, hoist_funs: true, keep_fargs: false, lhs_constants: false, sequences: false, unsafe_arrows: true,
  unsafe_methods: true,
};

/**
 * The exports of a file that works as a module and as a plain script.
 *
 * `export` is a syntax error in a plain script, so it is hidden there: in a module, `await` is a keyword and a regular
 * expression follows it; in a plain script, `await` is a name, `/` is a division, and `/*` opens a comment around the
 * exports. The expression is never evaluated in either.
 */
const exportsOf = (names) => `false && await /[/*]/;\nexport const { ${names.join(", ")} } = RecoveryApp;\n//*/ 0];`;

/** Keeps the comments, of which esbuild only keeps those of licenses. `restoreComments` makes them what they were. */
const keepComments = {
  name: "keep-comments",
  setup({ onLoad }) {
    onLoad({ filter: /\.js$/ }, ({ path }) => {
      const text = readFileSync(path, "utf8").replace(/^\/\*\* @import .*\n/gm, "");
      return { contents: text.replace(/^( *)\/\*\*/gm, "$1/*!*").replace(/^( *)\/\/ /gm, "$1//! ") };
    });
  },
};
const restoreComments = (text) => text.replaceAll("/*!*", "/**").replaceAll("//! ", "// ");

/** Return the built files of an entry, by their names, and the names that it exports. */
async function bundle(entry, outfile, options) {
  const entryPoints = [join(SOURCES, entry)];
  const { outputFiles, metafile } = await build({ ...OPTIONS, entryPoints, outfile, metafile: true, ...options });
  const files = Object.fromEntries(outputFiles.map(({ path, text }) => [basename(path), text]));
  const { exports } = Object.values(metafile.outputs).find(({ entryPoint }) => entryPoint);
  return { files, names: exports };
}

const readable = (files) => Object.fromEntries(Object.entries(files).map(([file, text]) => [file, restoreComments(text)]));

async function scripts() {
  const module = await bundle("index.js", "recovery.mjs", { format: "esm", plugins: [keepComments] });
  const script = { format: "iife", footer: { js: exportsOf(module.names) } };
  const plain = await bundle("script.js", "recovery.js", { ...script, plugins: [keepComments] });
  return { ...readable(module.files), ...readable(plain.files), ...(await minified(exportsOf(module.names))) };
}

/** Return recovery.min.js and its source map: esbuild shortens members, and terser makes the rest smaller still. */
async function minified(exports) {
  const mangleProps = new RegExp(`^(${MANGLED_NAMES.join("|")})$`);
  const small = { format: "iife", minify: true, mangleProps, sourcemap: true };
  const { files } = await bundle("script.js", SMALL, small);
  const sourceMap = { content: files[`${SMALL}.map`], filename: SMALL, includeSources: true };
  const { code, map } = await minify(files[SMALL], { ecma: 2022, module: true, compress: COMPRESS, sourceMap, format: { comments: /^!/ } });
  return { [SMALL]: `${code}\n${exports}\n//# sourceMappingURL=${SMALL}.map\n`, [`${SMALL}.map`]: map };
}

/** Return the declaration files of all sources, by their paths below `js/src`. */
function declarations() {
  const { config } = ts.readConfigFile(join(HERE, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, HERE);
  const emitted = new Map();
  const host = ts.createCompilerHost(options);
  host.writeFile = (path, text) => emitted.set(path.slice("/".length), text);
  const emit = { ...options, noEmit: false, declaration: true, emitDeclarationOnly: true, noCheck: true, rootDir: SOURCES, outDir: "/" };
  const entries = ["index.js", "phoenix.js", "liveview.js"].map((entry) => join(SOURCES, entry));
  ts.createProgram(entries, emit, host).emit();
  return emitted;
}

/** Return the types of what `index.js` exports in one file: the declarations that it needs, without their imports. */
function types() {
  const emitted = declarations();
  const parts = new Map();
  const visit = (path) => {
    if (parts.has(path)) return;
    parts.set(path, "");
    const text = emitted.get(path);
    for (const [, other] of text.matchAll(/ from "(.+)\.js";$/gm)) visit(join(dirname(path), `${other}.d.ts`));
    parts.delete(path);
    parts.set(path, text.replace(/^(import|export) .* from ".+";\n/gm, "").replace(/^export \{\};\n/gm, ""));
  };
  visit("index.d.ts");
  const text = [BANNER, "export as namespace RecoveryApp;\n", ...parts.values()].join("\n").replace(/\n{3,}/g, "\n\n");
  return { "recovery.d.ts": `${text.trimEnd()}\n`, "recovery.d.mts": 'export * from "./recovery.js";\n' };
}

function write(directory, files) {
  for (const [file, text] of Object.entries(files)) {
    const path = join(directory, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
}

if (args.package) {
  rmSync(join(HERE, "types"), { recursive: true, force: true });
  write(join(HERE, "types"), Object.fromEntries(declarations()));
} else {
  write(resolve(args.out), await scripts());
  if (!args.scripts) write(resolve(args.out), types());
}
