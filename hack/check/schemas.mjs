// JSON schemas for kubeconform, strict ones, from what an API server says of its kinds.
//   kubectl get --raw /openapi/v2 | node hack/check/schemas.mjs FOLDER
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

const [folder] = process.argv.slice(2);
const { definitions } = JSON.parse(readFileSync(0, "utf8"));
mkdirSync(folder, { recursive: true });

// Unknown fields are mistakes, but where the server keeps them; numbers may stand for names, as in targetPort.
const strict = (schema) => {
  if (Array.isArray(schema)) return schema.map(strict);
  if (typeof schema !== "object" || schema === null) return schema;
  if (schema.format === "int-or-string") return { anyOf: [{ type: "string" }, { type: "integer" }] };
  const out = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, strict(value)]));
  if (schema["x-kubernetes-int-or-string"]) return { anyOf: [{ type: "string" }, { type: "integer" }] };
  if (out.properties && typeof schema.properties.type !== "string" && !out.additionalProperties && !schema["x-kubernetes-preserve-unknown-fields"]) out.additionalProperties = false;
  return out;
};

// With what a definition needs, and no more: one file a kind.  kubeconform names a group by its first word.
const needed = (name, found = new Set()) => {
  if (found.has(name)) return found;
  found.add(name);
  for (const [, other] of JSON.stringify(definitions[name]).matchAll(/"#\/definitions\/([^"]+)"/g)) needed(other, found);
  return found;
};
// These say "object" and mean anything, or are written as a number too.
const LOOSE = { "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": {}, "io.k8s.apimachinery.pkg.api.resource.Quantity": { type: ["string", "number"] } };

let kinds = 0;
for (const [name, definition] of Object.entries(definitions)) {
  for (const { group, version, kind } of definition["x-kubernetes-group-version-kind"] ?? []) {
    if (/List$|Options$/.test(kind)) continue;
    const own = Object.fromEntries([...needed(name)].map((n) => [n, LOOSE[n] ?? strict(definitions[n])]));
    const schema = { $ref: `#/definitions/${name}`, definitions: own };
    writeFileSync(`${folder}/${[kind, group.split(".")[0], version].filter(Boolean).join("-").toLowerCase()}.json`, JSON.stringify(schema));
    kinds += 1;
  }
}
if (kinds < 50) throw new Error(`only ${kinds} kinds in the server's document`);
