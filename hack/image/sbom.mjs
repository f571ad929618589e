// What is in the image, as SPDX 2.3 JSON: the crates that the release links, the npm packages in the web client, and
// the C libraries that are linked statically. From the lock files; the same sources give the same bytes.
//   node hack/image/sbom.mjs IMAGE-TAG TARGET > FILE
// Time: SOURCE_DATE_EPOCH, else that of the newest commit.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const [tag, target] = process.argv.slice(2);
if (!tag || !target) throw new Error("usage: sbom.mjs IMAGE-TAG TARGET");
const ROOT = new URL("../../", import.meta.url).pathname;
const run = (program, ...args) => execFileSync(program, args, { cwd: ROOT, maxBuffer: 1 << 28, encoding: "utf8" }).trim();
const id = (...parts) => `SPDXRef-${parts.join("-").replace(/[^A-Za-z0-9.-]/g, "-")}`;

const pkg = (kind, name, version, license, purl, more = {}) => ({
  SPDXID: id(kind, name, version), name, versionInfo: version, downloadLocation: "NOASSERTION", filesAnalyzed: false,
  // Old manifests write a slash where SPDX says OR.
  licenseConcluded: "NOASSERTION", licenseDeclared: license?.replaceAll("/", " OR ") || "NOASSERTION", copyrightText: "NOASSERTION",
  ...(purl && { externalRefs: [{ referenceCategory: "PACKAGE-MANAGER", referenceType: "purl", referenceLocator: purl }] }),
  ...more,
});

// The crates that a build links: what is reached without dev-dependencies.
const metadata = JSON.parse(run("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target));
const nodes = new Map(metadata.resolve.nodes.map((node) => [node.id, node]));
const reached = new Set();
const todo = [metadata.resolve.root];
while (todo.length > 0) {
  const at = todo.pop();
  if (reached.has(at)) continue;
  reached.add(at);
  for (const dep of nodes.get(at).deps) if (dep.dep_kinds.some(({ kind }) => kind !== "dev")) todo.push(dep.pkg);
}
const crates = metadata.packages.filter((p) => reached.has(p.id) && p.id !== metadata.resolve.root);
const root = metadata.packages.find((p) => p.id === metadata.resolve.root);
const sums = new Map([...readFileSync(`${ROOT}Cargo.lock`, "utf8").matchAll(/name = "(.*)"\nversion = "(.*)"\nsource = .*\nchecksum = "(.*)"/g)].map(([, n, v, sum]) => [`${n} ${v}`, sum]));
const cratePackages = crates.map((c) => {
  const sum = sums.get(`${c.name} ${c.version}`);
  return pkg("cargo", c.name, c.version, c.license, `pkg:cargo/${c.name}@${c.version}`, sum && { checksums: [{ algorithm: "SHA256", checksumValue: sum }] });
});

const npm = Object.entries(JSON.parse(readFileSync(`${ROOT}web/package-lock.json`, "utf8")).packages)
  .filter(([path, p]) => path && !p.dev && !p.devOptional && !p.optional)
  .map(([path, p]) => [path.replace(/.*node_modules\//, ""), p])
  .map(([name, p]) => pkg("npm", name, p.version, p.license, `pkg:npm/${name.replace("@", "%40")}@${p.version}`));

const library = (name, version, license, of) => pkg("generic", name, version, license, `pkg:generic/${name}@${version}`, { comment: of });
const libraries = [
  library("openssl", run("pkg-config", "--modversion", "openssl"), "Apache-2.0", "linked statically, from the build machine's development package"),
  library("glibc", run("getconf", "GNU_LIBC_VERSION").split(" ").at(-1), "LGPL-2.1-or-later", "linked statically"),
];

const image = pkg("image", root.name, tag, root.license, `pkg:oci/parley?tag=${tag}`, { primaryPackagePurpose: "CONTAINER" });
const parts = [...cratePackages, ...npm, ...libraries].sort((a, b) => (a.SPDXID < b.SPDXID ? -1 : 1));
const seconds = Number(process.env.SOURCE_DATE_EPOCH ?? run("git", "log", "-1", "--format=%ct"));
const digest = createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16);
console.log(JSON.stringify({
  spdxVersion: "SPDX-2.3", dataLicense: "CC0-1.0", SPDXID: "SPDXRef-DOCUMENT", name: `parley-${tag}`,
  documentNamespace: `https://parley.dev/spdx/parley-${tag}-${digest}`,
  creationInfo: { created: new Date(seconds * 1000).toISOString().replace(/\.\d+Z/, "Z"), creators: ["Tool: hack/image/sbom.mjs"] },
  documentDescribes: [image.SPDXID],
  packages: [image, ...parts],
  relationships: [
    { spdxElementId: "SPDXRef-DOCUMENT", relationshipType: "DESCRIBES", relatedSpdxElement: image.SPDXID },
    ...parts.map(({ SPDXID }) => ({ spdxElementId: image.SPDXID, relationshipType: "CONTAINS", relatedSpdxElement: SPDXID })),
  ],
}, null, 1));
