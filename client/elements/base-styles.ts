import { css } from 'lit';

/**
 * Colours and controls of both elements.
 *
 * `light-dark()` goes by the `color-scheme` of the page, so that the elements are dark where the page is, and only there.
 */
export const baseStyles = css`
  :host {
    --_accent: var(--webgram-accent, light-dark(#3f4fd8, #a9b3ff));
    --_on-accent: var(--webgram-on-accent, light-dark(#ffffff, #14172f));
    --_surface: var(--webgram-surface, light-dark(#ffffff, #1d1f2b));
    --_text: var(--webgram-text, light-dark(#191b2a, #eceef8));
    --_soft: var(--webgram-text-soft, light-dark(#575b70, #a9aec5));
    --_line: var(--webgram-line, light-dark(#d9dbe6, #373a4f));
    --_edge: var(--webgram-edge, light-dark(#82869c, #7b809b));
    --_hover: var(--webgram-hover, light-dark(#f0f1f7, #292c3c));
    --_danger: var(--webgram-danger, light-dark(#b3261e, #ff9d94));
    --_good: var(--webgram-good, light-dark(#1a7f4b, #5fd39a));
    --_radius: var(--webgram-radius, 0.75rem);
    --_target: 2.75rem;
    color: var(--_text);
    font-size: 0.9375rem;
    font-weight: 400;
    line-height: 1.4;
    letter-spacing: normal;
    text-align: start;
  }

  :host([hidden]),
  [hidden] {
    display: none !important;
  }

  *,
  ::before,
  ::after {
    box-sizing: border-box;
  }

  p,
  h2,
  ul {
    margin: 0;
    padding: 0;
  }

  ul {
    list-style: none;
  }

  button,
  input {
    margin: 0;
    color: inherit;
    font: inherit;
    letter-spacing: inherit;
  }

  button {
    min-width: var(--_target);
    min-height: var(--_target);
    padding: 0.375rem 0.75rem;
    /* Shows where colours are forced, and backgrounds are none. */
    border: 1px solid transparent;
    border-radius: calc(var(--_radius) * 0.667);
    background: none;
    text-align: start;
    cursor: pointer;
    -webkit-tap-highlight-color: transparent;
  }

  button:hover {
    background: var(--_hover);
  }

  button[aria-disabled='true'] {
    cursor: default;
    opacity: 0.6;
  }

  button[aria-disabled='true']:hover {
    background: none;
  }

  :focus-visible {
    outline: 2px solid var(--_accent);
    outline-offset: 1px;
  }

  .glyph {
    flex: none;
    display: block;
    width: 1.25rem;
    height: 1.25rem;
    fill: none;
    stroke: currentColor;
    stroke-width: 1.75;
    stroke-linecap: round;
    stroke-linejoin: round;
  }

  .dots {
    stroke-width: 3;
  }

  .turns,
  .turns ~ * {
    transform-origin: center;
  }

  :host(:dir(rtl)) .turns {
    transform: scaleX(-1);
  }

  .icon {
    flex: none;
    display: grid;
    place-items: center;
    padding: 0;
    border-radius: 50%;
    color: var(--_soft);
  }

  .icon:hover {
    color: var(--_text);
  }

  .plain,
  .quiet {
    padding-inline: 1rem;
    border-color: var(--_edge);
    font-weight: 600;
    text-align: center;
  }

  .quiet {
    border-color: transparent;
    color: var(--_accent);
  }

  .primary {
    border-color: var(--_accent);
    background: var(--_accent);
    color: var(--_on-accent);
  }

  .primary:hover,
  .primary[aria-disabled='true']:hover {
    background: color-mix(in oklab, var(--_accent) 86%, var(--_text));
  }

  .danger {
    color: var(--_danger);
  }

  .plain.danger {
    border-color: currentColor;
  }

  .buttons {
    display: flex;
    flex-wrap: wrap;
    justify-content: end;
    gap: 0.5rem;
  }

  .field {
    display: grid;
    gap: 0.375rem;
  }

  label {
    color: var(--_soft);
    font-size: 0.8125rem;
  }

  input {
    width: 100%;
    min-height: var(--_target);
    padding: 0.375rem 0.75rem;
    border: 1px solid var(--_edge);
    border-radius: calc(var(--_radius) * 0.667);
    background: var(--_surface);
    /* Smaller, and a phone zooms in. */
    font-size: max(1rem, 1em);
  }

  input::placeholder {
    color: var(--_soft);
    opacity: 1;
  }

  .notice,
  .problem {
    display: flex;
    align-items: center;
    gap: 0.625rem;
    color: var(--_soft);
    font-size: 0.875rem;
  }

  .problem {
    flex-wrap: wrap;
    padding: 0.25rem 0.25rem 0.25rem 0.75rem;
    padding-inline: 0.75rem 0.25rem;
    border: 1px solid var(--_danger);
    border-radius: calc(var(--_radius) * 0.667);
    color: var(--_text);
  }

  .problem > .glyph {
    color: var(--_danger);
  }

  .problem p {
    flex: 1 1 9rem;
    min-width: 0;
    padding-block: 0.5rem;
  }

  code {
    color: var(--_soft);
    font-size: 0.75rem;
    overflow-wrap: anywhere;
  }

  .spinner {
    flex: none;
    width: 1.25rem;
    height: 1.25rem;
    border: 2px solid var(--_line);
    border-block-start-color: var(--_accent);
    border-radius: 50%;
  }

  .unseen {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }

  dialog {
    width: min(26rem, calc(100vw - 2rem));
    max-height: calc(100dvh - 2rem);
    padding: 1.5rem;
    border: 1px solid var(--_line);
    border-radius: calc(var(--_radius) * 1.25);
    background: var(--_surface);
    color: var(--_text);
    box-shadow: 0 1rem 3rem #0005;
    overflow-wrap: anywhere;
  }

  dialog::backdrop {
    background: #0b0c1480;
  }

  dialog h2 {
    margin-block-end: 0.5rem;
    font-size: 1.125rem;
    line-height: 1.3;
  }

  dialog p {
    margin-block-end: 1.5rem;
    color: var(--_soft);
  }

  @media (prefers-reduced-motion: no-preference) {
    button {
      transition:
        background-color 120ms,
        color 120ms;
    }

    .spinner {
      animation: turn 800ms linear infinite;
    }

    @keyframes turn {
      to {
        rotate: 1turn;
      }
    }
  }

  @media (forced-colors: active) {
    button {
      border-color: ButtonText;
    }

    button:hover {
      border-color: Highlight;
    }

    button[aria-disabled='true'] {
      border-color: GrayText;
      color: GrayText;
      opacity: 1;
    }

    :focus-visible {
      outline-color: Highlight;
    }

    .spinner {
      border-color: GrayText;
      border-block-start-color: Highlight;
    }
  }
`;
