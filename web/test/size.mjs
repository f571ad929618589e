// Fails when the first load of what was built is 100 KB or more, compressed.
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const mostBytes = 100_000;
const dist = fileURLToPath(new URL("../dist", import.meta.url));

// Nothing is loaded later: what is built is what the first load takes.
const files = (await readdir(dist, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
const sizes = await Promise.all(files.map(async ({ parentPath, path, name }) => gzipSync(await readFile(`${parentPath ?? path}/${name}`)).length));
const bytes = sizes.reduce((sum, size) => sum + size, 0);
console.log(`first load: ${bytes} bytes compressed, in ${files.length} files`);
if (files.length < 3 || bytes >= mostBytes) {
  console.error(`error: it has to be under ${mostBytes} bytes: look at what was added, or load it later`);
  process.exit(1);
}
