/** The mark and the name. */
export function Logo() {
  return (
    <span class="logo">
      <svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true" focusable="false">
        <rect class="logo-ground" width="32" height="32" rx="9" />
        <path
          class="logo-figure"
          d="M9 8h14a3 3 0 0 1 3 3v7a3 3 0 0 1-3 3h-7l-5 4.5V21H9a3 3 0 0 1-3-3v-7a3 3 0 0 1 3-3z"
        />
      </svg>
      <span class="logo-name">Parley</span>
    </span>
  );
}
