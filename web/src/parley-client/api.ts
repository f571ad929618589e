import type { paths } from "./schema.gen";

/**
 * Calls of the HTTP API, held by the compiler against the description that the gateway serves (`schema.gen.ts` is made of
 * docs/openapi.json): a path, a parameter or a field of a body that it does not have does not compile.
 */

type Verb = "get" | "post" | "put" | "delete";

/** Methods as they stand in a request. */
export type Method = Uppercase<Verb>;

/** The paths that have this method. */
export type PathWith<V extends Verb> = { [P in keyof paths]: paths[P][V] extends { responses: object } ? P : never }[keyof paths];

type PathParams<O> = O extends { parameters: { path: infer R extends object } } ? { params: R } : object;
type Query<O> = O extends { parameters: { query?: infer Q } } ? ([Q] extends [undefined] ? object : { query?: NonNullable<Q> }) : object;
type Body<O> = O extends { requestBody: { content: { "application/json": infer B } } } ? { body: B } : object;

/** What an operation takes: the parameters of its path, its query and its body, as far as it has them. */
export type Given<V extends Verb, P extends PathWith<V>> = PathParams<paths[P][V]> & Query<paths[P][V]> & Body<paths[P][V]>;

/** The JSON of its answer 200. */
export type Answered<V extends Verb, P extends PathWith<V>> = paths[P][V] extends {
  responses: { 200: { content: { "application/json": infer A } } };
}
  ? A
  : undefined;

/** A call that is ready to be sent. `T` is what a 200 answers. */
export interface Call<T = unknown> {
  method: Method;
  path: string;
  body?: unknown;
  /** Never there: it only carries the type. */
  readonly answers?: T;
}

/** Makes a call of a path as the description has it, with `{name}` for its parameters. */
export function call<V extends Verb, P extends PathWith<V>>(verb: V, path: P, given: Given<V, P>): Call<Answered<V, P>> {
  const { params, query, body } = given as { params?: Record<string, string>; query?: Record<string, unknown>; body?: unknown };
  const place = path.replaceAll(/\{(\w+)\}/gu, (_whole, name: string) => encodeURIComponent(params?.[name] ?? ""));
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null) search.set(name, String(value));
  }
  const made: Call<Answered<V, P>> = {
    method: verb.toUpperCase() as Method,
    path: search.size === 0 ? place : `${place}?${search.toString()}`,
  };
  if (body !== undefined) made.body = body;
  return made;
}
