import { css } from 'lit';

export const devicesStyles = css`
  :host {
    display: block;
    container-type: inline-size;
  }

  .news:has(.problem) {
    margin-block-end: 0.75rem;
  }

  .list {
    position: relative;
    border: 1px solid var(--_line);
    border-radius: var(--_radius);
    background: var(--_surface);
  }

  .device {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.25rem 0.875rem;
    min-height: 5rem;
    padding: 0.75rem 1rem;
  }

  .device + .device {
    border-block-start: 1px solid var(--_line);
  }

  .picture {
    flex: none;
    display: grid;
    place-items: center;
    width: 2.5rem;
    height: 2.5rem;
    border-radius: 50%;
    background: var(--_hover);
    color: var(--_soft);
  }

  .words {
    flex: 1 1 12rem;
    min-width: 0;
  }

  .title {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.125rem 0.5rem;
  }

  .name {
    font-weight: 600;
    overflow-wrap: anywhere;
  }

  .badge {
    padding: 0 0.5rem;
    border: 1px solid currentColor;
    border-radius: 1rem;
    color: var(--_good);
    font-size: 0.75rem;
    font-weight: 600;
    line-height: 1.25rem;
  }

  .warning {
    display: inline-flex;
    align-items: center;
    gap: 0.25rem;
    color: var(--_danger);
  }

  .warning .glyph {
    width: 1rem;
    height: 1rem;
  }

  /* A line that begins with a dot has it clipped. */
  .words {
    overflow: clip;
  }

  .detail {
    display: flex;
    flex-wrap: wrap;
    margin-inline-start: -1rem;
    color: var(--_soft);
    font-size: 0.8125rem;
  }

  .detail > * {
    display: flex;
  }

  .detail > ::before {
    content: '·' / '';
    flex: none;
    width: 1rem;
    color: var(--_soft);
    font-weight: 400;
    text-align: center;
  }

  .online {
    color: var(--_good);
    font-weight: 600;
  }

  .actions {
    flex: none;
    display: flex;
    align-items: center;
    gap: 0.25rem;
    margin-inline-start: auto;
  }

  .actions .plain {
    display: grid;
    place-items: center;
    min-width: 5.5rem;
  }

  .actions .plain:hover {
    border-color: var(--_danger);
    background: none;
    color: var(--_danger);
  }

  .device form.field {
    flex: 1 1 100%;
    padding-block: 0.5rem 0.25rem;
  }

  .foot {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.5rem 1rem;
    min-height: var(--_target);
    margin-block-start: 0.75rem;
  }

  .foot .notice {
    flex: 1 1 12rem;
  }

  .others {
    display: flex;
    align-items: center;
    justify-content: center;
    gap: 0.5rem;
    margin-inline-start: auto;
  }

  .bars {
    flex: 1;
    height: 2.25rem;
    border-radius: calc(var(--_radius) * 0.667);
    background: var(--_hover);
  }

  @container (max-width: 26rem) {
    .device {
      padding-inline: 0.75rem;
    }

    .words {
      flex-basis: calc(100% - 7.5rem);
    }

    .actions {
      display: contents;
    }

    .actions .plain {
      margin-inline-start: 3.375rem;
    }

    .others {
      width: 100%;
    }
  }

  @media (prefers-reduced-motion: no-preference) {
    .blank > * {
      animation: breathe 1.4s ease-in-out infinite alternate;
    }

    @keyframes breathe {
      to {
        opacity: 0.5;
      }
    }
  }

  @media (forced-colors: active) {
    .picture,
    .bars {
      border: 1px solid GrayText;
    }
  }
`;
