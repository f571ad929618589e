/** Moves the focus to the first field of a form that is marked as wrong, once it has been rendered so. */
export function focusFirstFault(form: EventTarget | null): void {
  if (!(form instanceof HTMLElement)) return;
  requestAnimationFrame(() => form.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus());
}
