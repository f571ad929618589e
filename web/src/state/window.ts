/** Which rows of a long list are in the page, by arithmetic over their heights in pixels. No IO. */

/** What a row is taken for until it has been measured. */
export const guessedHeight = 40;
/** Lists up to this are shown whole: simpler for readers, for searching in the page and for tests. */
export const wholeUpTo = 200;
/** Rows kept above and below what is visible, in pixels: more than a wheel's turn. */
const marginPx = 800;

export interface Slice {
  start: number;
  end: number;
  /** Height of everything before and after the slice. */
  above: number;
  below: number;
}

/** The tops of all rows, and as last element the height of all. */
export function topsOf(heights: readonly number[]): number[] {
  const tops = [0];
  let sum = 0;
  for (const height of heights) tops.push((sum += height));
  return tops;
}

/** The row that holds the point `y`; the first or last one when `y` lies outside. */
export function rowAt(tops: readonly number[], y: number): number {
  let low = 0;
  let high = Math.max(0, tops.length - 2);
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((tops[middle] ?? 0) <= y) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The rows to show for a scroll position. */
export function sliceOf(tops: readonly number[], scrollTop: number, viewport: number): Slice {
  const count = tops.length - 1;
  const total = tops[count] ?? 0;
  if (count <= wholeUpTo) return { start: 0, end: count, above: 0, below: 0 };
  const start = rowAt(tops, scrollTop - marginPx);
  const end = Math.min(count, rowAt(tops, scrollTop + viewport + marginPx) + 1);
  return { start, end, above: tops[start] ?? 0, below: total - (tops[end] ?? total) };
}
