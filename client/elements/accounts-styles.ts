import { css } from 'lit';

export const accountsStyles = css`
  :host {
    --_avatar: var(--webgram-avatar-size, 2.25rem);
    display: inline-block;
    vertical-align: middle;
  }

  #button {
    position: relative;
    display: grid;
    place-items: center;
    min-width: max(var(--_target), var(--_avatar));
    min-height: max(var(--_target), var(--_avatar));
    padding: 0;
    border-radius: 50%;
  }

  #button.words {
    display: flex;
    align-items: center;
    gap: 0.5rem;
    padding-inline: 0.875rem 1.125rem;
    border-color: var(--_edge);
    border-radius: var(--_target);
    font-weight: 600;
    white-space: nowrap;
  }

  #button .avatar {
    width: var(--_avatar);
    height: var(--_avatar);
  }

  #button[aria-expanded='true'] {
    background: var(--_hover);
  }

  .badge {
    position: absolute;
    inset-block-end: 0;
    inset-inline-end: 0;
    display: grid;
    place-items: center;
    width: 1.25rem;
    height: 1.25rem;
    border: 1px solid var(--_line);
    border-radius: 50%;
    background: var(--_surface);
    color: var(--_text);
  }

  .badge .glyph {
    width: 0.8125rem;
    height: 0.8125rem;
    stroke-width: 2;
  }

  .badge.busy {
    border: 0;
    background: none;
  }

  .avatar {
    position: relative;
    flex: none;
    display: grid;
    place-items: center;
    width: 2.25rem;
    height: 2.25rem;
    overflow: hidden;
    border-radius: 50%;
    background: var(--_tone, var(--_hover));
    color: #ffffff;
    font-size: calc(var(--_avatar) * 0.4);
    font-weight: 600;
    line-height: 1;
    letter-spacing: 0;
    user-select: none;
  }

  .row .avatar {
    font-size: 0.875rem;
  }

  .nobody {
    background: var(--_hover);
    color: var(--_soft);
  }

  .tone-0 {
    --_tone: #3f4fd8;
  }
  .tone-1 {
    --_tone: #0b7285;
  }
  .tone-2 {
    --_tone: #2b7a3d;
  }
  .tone-3 {
    --_tone: #a8460f;
  }
  .tone-4 {
    --_tone: #8e35a8;
  }
  .tone-5 {
    --_tone: #b8255f;
  }
  .tone-6 {
    --_tone: #5f3dc4;
  }
  .tone-7 {
    --_tone: #6b5f18;
  }

  .avatar img {
    position: absolute;
    inset: 0;
    width: 100%;
    height: 100%;
    object-fit: cover;
  }

  #panel {
    position: fixed;
    inset: auto;
    width: min(var(--webgram-panel-width, 21rem), calc(100vw - 1rem));
    margin: 0;
    padding: 0;
    overflow: hidden;
    border: 1px solid var(--_line);
    border-radius: var(--_radius);
    background: var(--_surface);
    color: var(--_text);
    box-shadow:
      0 0.125rem 0.25rem #0000000f,
      0 0.75rem 2rem #0000002e;
  }

  #panel:popover-open {
    display: flex;
    flex-direction: column;
  }

  .news:has(.notice, .problem) {
    flex: none;
    padding: 0.5rem;
    border-block-end: 1px solid var(--_line);
  }

  .notice + * > .problem {
    margin-block-start: 0.5rem;
  }

  .news .notice {
    padding: 0.375rem 0.5rem;
  }

  ul {
    flex: 0 1 auto;
    min-height: 4rem;
    padding: 0.375rem;
    overflow: hidden auto;
    overscroll-behavior: contain;
    scrollbar-width: thin;
  }

  ul:empty {
    display: none;
  }

  .line {
    display: flex;
    align-items: center;
    gap: 0.125rem;
  }

  .row,
  .command {
    display: flex;
    align-items: center;
    gap: 0.75rem;
    width: 100%;
    min-width: 0;
  }

  .row {
    min-height: 3.5rem;
    padding: 0.375rem 0.5rem;
  }

  .words {
    flex: 1;
    display: block;
    min-width: 0;
  }

  .name,
  .detail {
    display: block;
    overflow: hidden;
    /* Each as its own script runs, and all of them along one edge. */
    text-align: -webkit-match-parent;
    text-align: match-parent;
    text-overflow: ellipsis;
    white-space: nowrap;
  }

  .name {
    font-weight: 600;
  }

  .detail {
    color: var(--_soft);
    font-size: 0.8125rem;
  }

  .row > .glyph {
    color: var(--_accent);
    stroke-width: 2.25;
  }

  .options {
    padding-block: 0 0.375rem;
    padding-inline-start: 2.5rem;
  }

  .command {
    gap: 0.75rem;
    padding-inline: 0.75rem;
  }

  .command > .glyph {
    color: var(--_soft);
  }

  .command.danger > .glyph {
    color: inherit;
  }

  .command .glyph:last-child {
    margin-inline-start: auto;
    color: var(--_accent);
  }

  form.field {
    padding-block: 0.25rem 0.5rem;
    padding-inline: 0.75rem 0.5rem;
  }

  .commands {
    flex: none;
    padding: 0.375rem;
  }

  ul:not(:empty) + .commands {
    border-block-start: 1px solid var(--_line);
  }

  .commands .glyph {
    margin-inline: 0.375rem;
  }

  @media (prefers-reduced-motion: no-preference) {
    #panel:popover-open {
      transition:
        opacity 120ms ease-out,
        translate 120ms ease-out;

      @starting-style {
        opacity: 0;
        translate: 0 -0.25rem;
      }
    }
  }

  @media (forced-colors: active) {
    .avatar,
    .badge {
      border: 1px solid CanvasText;
      color: CanvasText;
    }

    .row[aria-current] {
      border-color: Highlight;
    }
  }
`;
