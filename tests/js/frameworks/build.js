/** Writes the files of docs/frameworks.md to a directory, and bundles those that need a build: `node build.js DIRECTORY`. */
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { CLIENT, writeBlocks } from "./blocks.js";

const [directory] = process.argv.slice(2);
writeBlocks(directory, { hasTemplates: true });
const entry = join(directory, "mounts.ts");
copyFileSync(fileURLToPath(new URL("mounts.ts", import.meta.url)), entry);
await build({
  entryPoints: [entry],
  outfile: join(directory, "static", "shop", "mounts.js"),
  bundle: true,
  format: "esm",
  target: "es2022",
  logLevel: "warning",
  alias: { "django-recovery-app": CLIENT },
  tsconfigRaw: { compilerOptions: { jsx: "react-jsx" } },
  // the development builds: with them, StrictMode mounts twice
  define: {
    "process.env.NODE_ENV": '"development"',
    __VUE_OPTIONS_API__: "false",
    __VUE_PROD_DEVTOOLS__: "false",
    __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false",
  },
});
const alpine = join(directory, "static", "alpinejs");
mkdirSync(alpine);
copyFileSync(join(directory, "node_modules", "alpinejs", "dist", "module.esm.js"), join(alpine, "module.esm.js"));
