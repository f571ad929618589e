// Holds the controller's rights against what it asked the API server for: each is used, and nothing was refused.
//   node hack/check/rights-used.mjs AUDIT.LOG ROLES.JSON
// AUDIT.LOG: the API server's, one Event a line. ROLES.JSON: the roles of the controller, a List.
import { readFileSync } from "node:fs";

const [log, roles] = process.argv.slice(2);
const CONTROLLER = "system:serviceaccount:parley:parley-controller";

const used = new Map();
const refused = new Map();
const count = (map, key) => map.set(key, (map.get(key) ?? 0) + 1);
for (const line of readFileSync(log, "utf8").split("\n").filter(Boolean)) {
  const event = JSON.parse(line);
  if (event.user.username !== CONTROLLER || !event.objectRef) continue;
  const { apiGroup = "", resource, subresource, namespace } = event.objectRef;
  const right = `${event.verb} ${resource}${apiGroup && `.${apiGroup}`}${subresource ? `/${subresource}` : ""}`;
  count(used, right);
  // A namespace that is being deleted takes no new events: not a right that is missing.
  const message = event.responseStatus?.message ?? "";
  if (event.responseStatus?.code === 403 && !message.includes("being terminated")) count(refused, `${right} in ${namespace}: ${message}`);
}

const given = new Set();
for (const { rules } of JSON.parse(readFileSync(roles, "utf8")).items)
  for (const { apiGroups, resources, verbs } of rules)
    for (const group of apiGroups)
      for (const resource of resources)
        for (const verb of verbs) {
          const [name, sub] = resource.split("/");
          given.add(`${verb} ${name}${group && `.${group}`}${sub ? `/${sub}` : ""}`);
        }

const problems = [
  ...[...given].filter((right) => !used.has(right)).map((right) => `a right that nothing used: ${right}`),
  ...[...refused.keys()].map((what) => `refused: ${what}`),
];
if (given.size === 0 || used.size === 0) problems.push(`nothing to compare: ${given.size} rights, ${used.size} kinds of requests`);
if (problems.length > 0) {
  console.error(problems.join("\n"));
  console.error(`used: ${[...used].map(([right, n]) => `${right} ×${n}`).join(", ")}`);
  process.exit(1);
}
console.log(`${given.size} rights used, by ${[...used.values()].reduce((a, b) => a + b, 0)} requests; nothing refused`);
