import type { AnchorHTMLAttributes, ComponentChildren } from "preact";
import { go, hrefOf, type Route } from "../state/route";

type Props = Omit<AnchorHTMLAttributes, "href" | "role" | "onClick"> & { to: Route; children: ComponentChildren; [data: `data-${string}`]: string };

/** A link within the page. A click with a modifier stays the browser's, so that a new tab can be opened. */
export function Link({ to, children, ...rest }: Props) {
  return (
    <a
      {...rest}
      href={hrefOf(to)}
      onClick={(event) => {
        if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        go(to);
      }}
    >
      {children}
    </a>
  );
}
