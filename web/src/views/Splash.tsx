import { Logo } from "./Logo";

/** The page before it knows whether there is a session. */
export function Splash({ text }: { text: string }) {
  return (
    <main class="gate" aria-busy="true">
      <Logo />
      <p role="status" class="quiet">
        <span class="spinner" aria-hidden="true" /> {text}
      </p>
    </main>
  );
}
